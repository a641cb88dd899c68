//! Alerts as JSON to any HTTP server.

use super::backoff::Backoff;
use super::channel::{Channel, SendError, Sending};
use super::http::{self, Http};
use super::prometheus;
use super::routes::Made;
use super::terminal::Screen;
use crate::alert::Alert;
use crate::config::{Config, WebhookFormat};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Its section below `[alerting]`.
pub const NAME: &str = "webhook";

/// Made as the configuration says.
pub(super) fn make(config: &Config, _: Screen) -> Result<Option<Made>, String> {
    let section = &config.alerting.webhook;
    if !section.enabled {
        return Ok(None);
    }
    let channel = Webhook::new(&Options {
        url: section.url.clone(),
        method: section.method.name(),
        headers: section.headers.clone(),
        timeout: Duration::from_secs(section.timeout_secs),
        format: section.format,
        template: config.alerting.templates.webhook.is_some(),
    });
    Ok(Some(Made {
        channel: Arc::new(channel.map_err(|why| format!("alerting.webhook: {why}"))?),
        backoff: Backoff { quick: section.retry_count, ..Backoff::default() },
    }))
}

/// Where to and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The endpoint.
    pub url: SecretString,
    /// HTTP method.
    pub method: &'static str,
    /// Further headers.
    pub headers: BTreeMap<String, SecretString>,
    /// Longest time for a request.
    pub timeout: Duration,
    /// What the body is.
    pub format: WebhookFormat,
    /// The template's text is the message of the alert.
    pub template: bool,
}

/// The channel.
#[derive(Debug)]
pub struct Webhook {
    http: Http,
    format: WebhookFormat,
    template: bool,
}

impl Webhook {
    /// Checks the options; connects to nothing.
    ///
    /// # Errors
    /// A sentence without secrets.
    pub fn new(options: &Options) -> Result<Self, String> {
        let Options { url, method, headers, timeout, format, template } = options;
        let mut http = Http::new(url, method, *timeout)?;
        http.header("content-type", &http::JSON.into())?;
        for (name, value) in headers {
            http.header(name, value)?;
        }
        Ok(Self { http, format: *format, template: *template })
    }
}

impl Channel for Webhook {
    fn name(&self) -> &'static str {
        NAME
    }

    fn follows_incidents(&self) -> bool {
        self.format == WebhookFormat::Alertmanager
    }

    fn http(&mut self) -> Option<&mut Http> {
        Some(&mut self.http)
    }

    fn send<'a>(&'a self, alert: &'a Alert, text: &'a str) -> Sending<'a> {
        Box::pin(async move {
            let worded = self.template.then(|| Alert { message: text.to_owned(), ..alert.clone() });
            let alert = worded.as_ref().unwrap_or(alert);
            let body = match self.format {
                WebhookFormat::Alert => serde_json::to_vec(alert),
                WebhookFormat::Alertmanager => serde_json::to_vec(&prometheus::webhook(alert)),
            };
            let body = body.map_err(|error| SendError::refused(format!("the alert is no JSON: {error}")))?;
            self.http.send(body).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, headers: &[(&str, &str)], expect: Result<(), &str>) {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).into())).collect();
        let (timeout, format) = (Duration::from_secs(1), WebhookFormat::Alert);
        let options = Options { url: url.into(), method: "POST", headers, timeout, format, template: false };
        let made = Webhook::new(&options).map(drop);
        match (made, expect) {
            (Ok(()), Ok(())) => {}
            (Err(why), Err(part)) => {
                assert!(why.contains(part), "{why}");
                assert!(!why.contains("s3cret"), "{why}");
            }
            (made, expect) => panic!("{url}: {made:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn options_are_judged_without_telling_secrets() {
        check("http://collector/alerts", &[], Ok(()));
        check("http://user:s3cret@[::1]:8080/x?token=s3cret", &[("X-Key", "s3cret")], Ok(()));
        check("", &[], Err("url is empty"));
        check("s3cret", &[], Err("is not an address"));
        check("ftp://host/s3cret", &[], Err("must begin with http"));
        check("http://", &[], Err("is not an address"));
        check("http://host/", &[("bad name", "s3cret")], Err("`bad name` is not the name of an HTTP header"));
        check("http://host/", &[("X-Key", "s3cret\r\nX: y")], Err("`X-Key` has a value that"));
    }

    #[test]
    #[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
    fn https_is_taken_with_tls() {
        check("https://collector/alerts", &[], Ok(()));
    }

    #[test]
    #[cfg(not(any(feature = "tls-rustls", feature = "tls-native")))]
    fn https_is_an_error_without_tls() {
        check("https://collector/s3cret", &[], Err("this build has no TLS"));
    }
}
