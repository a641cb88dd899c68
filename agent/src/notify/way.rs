//! The way out of the host for channels that speak HTTP: a proxy, and authorities of the company's own.

use super::disguise;
use crate::config::Config;
use crate::host::state;
#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
use reqwest::Certificate;
use reqwest::{ClientBuilder, NoProxy, Proxy, Url};
use secrecy::{ExposeSecret, SecretString};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Without TLS nobody shows a certificate.
#[cfg(not(any(feature = "tls-rustls", feature = "tls-native")))]
type Certificate = std::convert::Infallible;

/// Where requests go first, and whose certificates are trusted.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// `alerting.proxy`; none: as `HTTPS_PROXY` and `HTTP_PROXY` say.
    proxy: Option<SecretString>,
    /// Those of `alerting.ca_file`, besides the system's.
    authorities: Vec<Certificate>,
    /// Content of that file.
    pem: String,
}

impl Way {
    /// As the configuration says; reads the certificates.
    ///
    /// # Errors
    /// A sentence without secrets.
    pub fn of(config: &Config) -> Result<Self, String> {
        let alerting = &config.alerting;
        let proxy = Some(alerting.proxy.clone()).filter(|proxy| !proxy.expose_secret().is_empty());
        let path = &alerting.ca_file;
        let (mut pem, mut authorities) = (String::new(), Vec::new());
        if !path.as_os_str().is_empty() {
            pem = state::read_user_file(path)
                .map_err(|error| format!("alerting.ca_file {} cannot be read: {error}", path.display()))?;
            authorities = certificates(&pem).ok_or_else(|| {
                format!("alerting.ca_file {} holds no certificates in PEM form", path.display())
            })?;
        }
        let way = Self { proxy, authorities, pem };
        way.proxy()?;
        Ok(way)
    }

    /// A hash of the file that it was made of.
    pub(super) fn files(&self) -> u64 {
        hash(&self.pem)
    }

    fn proxy(&self) -> Result<Option<Proxy>, String> {
        let Some(proxy) = &self.proxy else { return Ok(None) };
        // The error could quote the address, and the password in it.
        let made =
            Proxy::all(proxy.expose_secret()).map_err(|_| "alerting.proxy cannot be used".to_owned())?;
        Ok(Some(made.no_proxy(NoProxy::from_env())))
    }

    /// Adds it to a client.
    pub(super) fn lead(&self, builder: ClientBuilder) -> Result<ClientBuilder, String> {
        let builder = match self.proxy()? {
            Some(proxy) => builder.proxy(proxy),
            None => builder,
        };
        Ok(self.trust(builder))
    }

    #[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
    fn trust(&self, builder: ClientBuilder) -> ClientBuilder {
        if self.authorities.is_empty() { builder } else { builder.tls_certs_merge(self.authorities.clone()) }
    }

    #[cfg(not(any(feature = "tls-rustls", feature = "tls-native")))]
    fn trust(&self, builder: ClientBuilder) -> ClientBuilder {
        let _ = &self.authorities;
        builder
    }

    fn url(&self) -> Option<Url> {
        Url::parse(self.proxy.as_ref()?.expose_secret()).ok()
    }

    /// Whether the proxy itself is spoken to by TLS.
    pub(super) fn needs_tls(&self) -> bool {
        self.url().is_some_and(|url| url.scheme() == "https")
    }

    /// Its password, as it is and as it is sent.
    pub(super) fn secrets(&self) -> Vec<String> {
        let Some(url) = self.url() else { return Vec::new() };
        url.password().map(str::to_owned).into_iter().chain(disguise::basic(&url)).collect()
    }

    /// `host`, and through which proxy.
    pub(super) fn describe(&self, host: &str) -> String {
        match self.url() {
            Some(url) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("{host} through the proxy {}{port}", url.host_str().unwrap_or_default())
            }
            None => host.to_owned(),
        }
    }
}

/// Of the content of a file, to see whether it changed.
pub(super) fn hash(content: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

#[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
fn certificates(pem: &str) -> Option<Vec<Certificate>> {
    Certificate::from_pem_bundle(pem.as_bytes()).ok().filter(|all| !all.is_empty())
}

#[cfg(not(any(feature = "tls-rustls", feature = "tls-native")))]
fn certificates(pem: &str) -> Option<Vec<Certificate>> {
    // Nothing is spoken to by TLS: that it looks like some is all that can be asked.
    pem.contains("-----BEGIN CERTIFICATE-----").then(Vec::new)
}
