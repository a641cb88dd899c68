//! One HTTP request, for every channel that needs one: what its outcome means for the message, in sentences that
//! hold no secret.

use super::backoff::{MAX_RETRY_AFTER, retry_after};
use super::channel::SendError;
use super::disguise;
use super::way::Way;
use crate::host::clock;
use crate::text;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use std::error::Error;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::timeout;

/// Content type of a JSON body.
pub const JSON: &str = "application/json";
/// Longest time for the connection alone.
const CONNECT: Duration = Duration::from_secs(10);
/// Most bytes read of an answer.
const MAX_ANSWER: usize = 4096;
/// Characters of an answer that are shown.
const MAX_SHOWN: usize = 160;
/// Longest time for the rest of an answer whose status is success: the message is taken.
const REST: Duration = Duration::from_secs(2);
/// Idle connections are closed after this: alerts are rare.
const IDLE: Duration = Duration::from_secs(30);
/// Shorter texts are not worth hiding and would blot out ordinary words.
const MIN_SECRET: usize = 4;

/// What a service says of a refusal beyond its status.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// After how long it wants to be asked again.
    pub after: Option<Duration>,
    /// What it means and what to do, in place of the general words.
    pub advice: Option<&'static str>,
    /// Whether the same message may be taken later, where the status misleads.
    pub retry: Option<bool>,
    /// Whether the fault is not the message's but that of key, address or place, where the status misleads.
    pub barred: bool,
}

/// An answer of success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Success {
    /// It is a page for people: of a proxy that asks for a login, say, or of a server that is not the one meant.
    pub is_web_page: bool,
}

/// How the answers of a service are read: status and beginning of the body.
pub type Read = fn(u16, &str) -> Reading;

/// Where requests go, and the client, made at the first of them: the platform's certificates cost memory.
pub struct Http {
    url: Url,
    method: Method,
    headers: HeaderMap,
    timeout: Duration,
    client: OnceLock<Client>,
    way: Way,
    /// What must not appear in a sentence.
    secrets: Vec<SecretString>,
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Http({})", self.host())
    }
}

impl Http {
    /// Checks the address; connects to nothing.
    ///
    /// # Errors
    /// A sentence without secrets.
    pub fn new(url: &SecretString, method: &str, timeout: Duration) -> Result<Self, String> {
        let url = parse(url.expose_secret())?;
        let method =
            Method::from_bytes(method.as_bytes()).map_err(|_| format!("method `{method}` is unknown"))?;
        let mut secrets: Vec<String> = url.path_segments().into_iter().flatten().map(str::to_owned).collect();
        secrets.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
        secrets
            .extend([url.query(), url.password(), Some(url.path())].into_iter().flatten().map(str::to_owned));
        secrets.extend(disguise::basic(&url));
        let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(AGENT))]);
        let (client, way) = (OnceLock::new(), Way::default());
        let mut http = Self { url, method, headers, timeout, client, way, secrets: Vec::new() };
        for secret in secrets {
            http.hide_text(secret);
        }
        Ok(http)
    }

    /// Sets a header of every request.
    ///
    /// # Errors
    /// A sentence without the value.
    pub fn header(&mut self, name: &str, value: &SecretString) -> Result<(), String> {
        let wrong = |what: &str| format!("`{}` {what}", text::clean(name, 60));
        let content = HeaderValue::from_str(value.expose_secret());
        let mut content = content.map_err(|_| wrong("has a value that no HTTP header can have"))?;
        let name: HeaderName = name.parse().map_err(|_| wrong("is not the name of an HTTP header"))?;
        content.set_sensitive(true);
        if name != CONTENT_TYPE {
            self.hide_text(value.expose_secret().to_owned());
            // Of `Bearer TOKEN` the token alone is one too.
            if let Some((_, token)) = value.expose_secret().split_once(' ') {
                self.hide_text(token.trim().to_owned());
            }
        }
        self.headers.insert(name, content);
        Ok(())
    }

    fn hide_text(&mut self, secret: String) {
        if secret.len() >= MIN_SECRET {
            self.secrets.push(secret.into());
            // The longest first, so that a part does not leave the rest readable.
            self.secrets.sort_by_key(|s| std::cmp::Reverse(s.expose_secret().len()));
        }
    }

    /// Host and port, which may be told.
    pub fn host(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", self.url.host_str().unwrap_or_default())
    }

    /// Keeps one more text out of every sentence.
    pub fn hide(&mut self, secret: &SecretString) {
        self.hide_text(secret.expose_secret().to_owned());
    }

    /// Which way requests go from now on.
    pub fn travel(&mut self, way: &Way) {
        self.way = way.clone();
        self.client = OnceLock::new();
        for secret in way.secrets() {
            self.hide_text(secret);
        }
    }

    /// Sends a body; only a 2xx answer is success.
    pub async fn send(&self, body: Vec<u8>) -> Result<(), SendError> {
        self.send_to(body, |_, _| Reading::default()).await
    }

    /// The same to a service that says more than its status.
    pub async fn send_to(&self, body: Vec<u8>, read: Read) -> Result<(), SendError> {
        self.request(body, self.headers.clone(), read).await.map(drop)
    }

    /// Sends a body with further headers of its own.
    pub async fn send_with(&self, body: Vec<u8>, more: HeaderMap) -> Result<Success, SendError> {
        let mut headers = self.headers.clone();
        headers.extend(more);
        self.request(body, headers, |_, _| Reading::default()).await
    }

    async fn request(&self, body: Vec<u8>, headers: HeaderMap, read: Read) -> Result<Success, SendError> {
        let client = self.client().map_err(SendError::retry)?;
        let request = client.request(self.method.clone(), self.url.clone()).headers(headers);
        match request.body(body).send().await {
            Ok(answer) => self.judge(answer, read).await,
            Err(error) => Err(SendError::retry(self.explain(error))),
        }
    }

    async fn judge(&self, mut answer: Response, read: Read) -> Result<Success, SendError> {
        let status = answer.status();
        let header = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = header.and_then(|value| retry_after(value, clock::now()));
        if status.is_success() {
            return Ok(Success { is_web_page: is_web_page(&mut answer).await });
        }
        let mut body = Vec::new();
        read_some(&mut answer, &mut body).await;
        let body = String::from_utf8_lossy(&body);
        let reading = read(status.as_u16(), &body);
        let meaning =
            reading.advice.map_or_else(|| meaning(status).to_owned(), |advice| format!(" ({advice})"));
        let said = self.harmless(&body, MAX_SHOWN);
        let said = if said.is_empty() { said } else { format!(": {said}") };
        // That is the proxy's answer, whoever was asked.
        let is_of_proxy = status == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        let who = if is_of_proxy { self.way.describe(&self.host()) } else { self.host() };
        let why = format!("{who} answered {}{meaning}{said}", status.as_u16());
        Err(if reading.retry.unwrap_or_else(|| is_worth_retrying(status)) {
            // A service that names its wait in the body is more exact there.
            let after = reading.after.map(|after| after.min(MAX_RETRY_AFTER)).or(after);
            SendError::Retry { after, why }
        } else if reading.barred || reading.retry.is_none() && is_barred(status) {
            SendError::Barred { why }
        } else {
            SendError::Refused { why }
        })
    }

    fn client(&self) -> Result<&Client, String> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let builder = Client::builder()
            // A redirect would turn POST into GET, or carry the headers to another host.
            .redirect(Policy::none())
            .timeout(self.timeout)
            .connect_timeout(CONNECT.min(self.timeout))
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1);
        let builder = self.way.lead(builder)?;
        let client = tls(builder, self.url.scheme() == "https" || self.way.needs_tls()).build();
        let client = client.map_err(|error| format!("cannot set up HTTP: {}", root(&error)))?;
        Ok(self.client.get_or_init(|| client))
    }

    fn explain(&self, error: reqwest::Error) -> String {
        let error = error.without_url();
        let host = self.way.describe(&self.host());
        if error.is_timeout() {
            return format!("{host} did not answer within {} s", self.timeout.as_secs());
        }
        let what = if error.is_connect() { "cannot connect to" } else { "lost the connection to" };
        let why = root(&error);
        // Of rustls, and of OpenSSL.
        let is_unknown =
            why.contains("UnknownIssuer") || why.contains("self-signed") || why.contains("local issuer");
        let advice = if is_unknown { BY_ONES_OWN } else { "" };
        format!("{what} {host}: {}{advice}", self.harmless(&why, MAX_SHOWN))
    }

    /// Text from outside without secrets and control characters, cut.
    fn harmless(&self, text: &str, max: usize) -> String {
        let hidden = self.secrets.iter().fold(text.to_owned(), |t, s| t.replace(s.expose_secret(), "***"));
        text::clean(hidden.trim(), max)
    }
}

/// What helps against a certificate that is not trusted.
const BY_ONES_OWN: &str = " (if an authority of your own signs it, set alerting.ca_file)";
const AGENT: &str = concat!("sysops-agent/", env!("CARGO_PKG_VERSION"));

fn parse(url: &str) -> Result<Url, String> {
    if url.is_empty() {
        return Err("url is empty".to_owned());
    }
    let url = Url::parse(url).map_err(|error| format!("url is not an address: {error}"))?;
    match url.scheme() {
        "http" => Ok(url),
        "https" if cfg!(any(feature = "tls-rustls", feature = "tls-native")) => Ok(url),
        "https" => Err("url is https, but this build has no TLS: use http, or a build with the feature \
                        tls-rustls or tls-native"
            .to_owned()),
        _ => Err("url must begin with http:// or https://".to_owned()),
    }
}

/// Certificates are only loaded for an https address.
#[cfg(feature = "tls-rustls")]
fn tls(builder: reqwest::ClientBuilder, https: bool) -> reqwest::ClientBuilder {
    // Fails if it is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if https { builder } else { builder.tls_certs_only([]) }
}

#[cfg(not(feature = "tls-rustls"))]
fn tls(builder: reqwest::ClientBuilder, _: bool) -> reqwest::ClientBuilder {
    builder
}

/// Reads as much of the body as the bounds allow.
async fn read_some(answer: &mut Response, body: &mut Vec<u8>) {
    while body.len() < MAX_ANSWER {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk[..chunk.len().min(MAX_ANSWER - body.len())]),
            // The status has said what matters.
            Ok(None) | Err(_) => break,
        }
    }
}

/// Whether HTML is said, by the header or by how the body begins. Reads the body also where the header says it: only then
/// can the connection serve again.
async fn is_web_page(answer: &mut Response) -> bool {
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_html = begins(kind, "text/html");
    let mut body = Vec::new();
    // One that drips or never ends holds up nothing that waits behind this message.
    let _ = timeout(REST, read_some(answer, &mut body)).await;
    let body = String::from_utf8_lossy(&body);
    is_html || ["<!doctype html", "<html"].iter().any(|tag| begins(body.trim_start(), tag))
}

fn begins(text: &str, with: &str) -> bool {
    text.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with))
}

fn root(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Whether the same request may succeed later: the server is overloaded, broken or being restarted.
fn is_worth_retrying(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        )
}

/// Whether it says nothing of the message: a wrong address, or wrong credentials.
fn is_barred(status: StatusCode) -> bool {
    status.is_redirection() || matches!(status.as_u16(), 401 | 403 | 404 | 405 | 407 | 410)
}

fn meaning(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => " (a redirect; set the url to where it leads)",
        401 | 403 => " (not allowed; check the credentials)",
        404 | 410 => " (nothing there; check the url)",
        405 => " (method not allowed; check the method)",
        413 => " (too large)",
        429 => " (too many requests)",
        502..=504 => " (not available now)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_means() {
        for (status, retry) in [
            (301, false),
            (400, false),
            (401, false),
            (404, false),
            (408, true),
            (413, false),
            (425, true),
            (429, true),
            (500, true),
            (503, true),
            (599, true),
        ] {
            assert_eq!(is_worth_retrying(StatusCode::from_u16(status).unwrap()), retry, "{status}");
        }
        for (status, barred) in
            [(301, true), (400, false), (401, true), (403, true), (404, true), (413, false), (500, false)]
        {
            assert_eq!(is_barred(StatusCode::from_u16(status).unwrap()), barred, "{status}");
        }
    }

    #[test]
    fn secrets_are_hidden_in_what_the_server_says() {
        let url = "http://u:passw0rd@host:81/services/T000/tok%20en?key=abcdef&n=1".into();
        let mut http = Http::new(&url, "POST", CONNECT).unwrap();
        http.header("X-Key", &"hdr-s3cret".into()).unwrap();
        http.header("Authorization", &"Bearer tok-s3cret".into()).unwrap();
        let check = |text: &str, expect: &str| assert_eq!(http.harmless(text, 80), expect);
        check("no service T000/tok%20en", "no service ***/***");
        check("POST /services/T000/tok%20en?key=abcdef&n=1", "POST ***?***");
        check("wrong key abcdef or hdr-s3cret for passw0rd", "wrong key *** or *** for ***");
        check("no tok-s3cret, no Bearer tok-s3cret", "no ***, no ***");
        check(" fine\n", "fine");
        assert_eq!(format!("{http:?}"), "Http(host:81)");
    }
}
