//! One signed `POST` of one JSON body to a collector.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hmac::{Hmac, Mac};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::config::Config;
use crate::notify::SendError;
use crate::notify::http::{self, Http};
use crate::notify::way::Way;
use crate::time::{Now, SECOND};

/// When it was sent, Unix seconds.
const TIMESTAMP: HeaderName = HeaderName::from_static("x-timestamp");
/// Who sent it: hex of the HMAC-SHA256 of body and timestamp.
const SIGNATURE: HeaderName = HeaderName::from_static("x-signature");

/// A try under way.
pub type Sending = Pin<Box<dyn Future<Output = Result<(), SendError>> + Send>>;

/// Sends a body at a moment: [`Poster::post`], or a test's own.
pub type Post = Arc<dyn Fn(Vec<u8>, Now) -> Sending + Send + Sync>;

/// Knows one address of the collector, and the key.
#[derive(Debug)]
pub struct Poster {
    http: Http,
    /// Empty: nothing is signed.
    key: SecretString,
    /// The key that the address comes from.
    name: Box<str>,
    /// Whether it was said that web pages are answered.
    told: AtomicBool,
}

impl Poster {
    /// To `url`, with the key and time limit of `[push]`, through `alerting.proxy` and trusting `alerting.ca_file`, too.
    /// None where `url` is empty: that push is off. Connects to nothing.
    ///
    /// # Errors
    /// A sentence without secrets; `name` is the key that `url` comes from.
    pub fn of(config: &Config, name: &str, url: &SecretString) -> Result<Option<Self>, String> {
        if url.expose_secret().is_empty() {
            return Ok(None);
        }
        let wrong = |why| format!("{name}: {why}");
        let section = &config.push;
        let timeout = Duration::from_secs(section.timeout_secs);
        let mut http = Http::new(url, "POST", timeout).map_err(wrong)?;
        http.header("content-type", &http::JSON.into()).map_err(wrong)?;
        let key = section.auth_key.clone();
        if !key.expose_secret().is_empty() {
            let bearer = format!("Bearer {}", key.expose_secret()).into();
            http.header("authorization", &bearer).map_err(|why| format!("push.auth_key: {why}"))?;
        }
        http.travel(&Way::of(config)?);
        Ok(Some(Self { http, key, name: name.into(), told: AtomicBool::new(false) }))
    }

    /// Host and port, without secrets.
    pub fn host(&self) -> String {
        self.http.host()
    }

    /// As a function.
    pub fn into_post(self) -> Post {
        let poster = Arc::new(self);
        Arc::new(move |body, now| {
            let poster = Arc::clone(&poster);
            Box::pin(async move { poster.post(body, now).await })
        })
    }

    /// Sends `body`, signed at `now`. Only a 2xx answer is success, whatever is in its body: of that at most 4 KiB are read,
    /// for at most two seconds. Of the errors `Refused` is about this body (400, 413, …),
    /// `Barred` about address or key (401, 404, a redirect, …), `Retry` about the server; sentences hold no secret.
    pub async fn post(&self, body: Vec<u8>, now: Now) -> Result<(), SendError> {
        let timestamp = now.wall_ns.div_euclid(SECOND as i64);
        let mut headers = HeaderMap::from_iter([(TIMESTAMP, HeaderValue::from(timestamp))]);
        let key = self.key.expose_secret();
        if !key.is_empty() {
            let signature = HeaderValue::from_str(&sign(key, &body, timestamp));
            headers.extend(signature.ok().map(|signature| (SIGNATURE, signature)));
        }
        let taken = self.http.send_with(body, headers).await?;
        if taken.is_web_page && !self.told.swap(true, Relaxed) {
            tracing::warn!(
                "{}: {} answers with success and a web page: is it the collector, or a proxy or login page before it? \
                 By its status what is pushed counts as taken (said once)",
                self.name,
                self.host()
            );
        }
        Ok(())
    }
}

/// Hex of the HMAC-SHA256 of `body` and, behind it, `timestamp` in decimal digits.
fn sign(key: &str, body: &[u8], timestamp: i64) -> String {
    // HMAC takes keys of any length.
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else { return String::new() };
    let sum = mac.chain_update(body).chain_update(timestamp.to_string()).finalize().into_bytes();
    sum.iter().fold(String::with_capacity(64), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_come_to_the_same_signature() {
        let check = |key: &str, body: &str, timestamp: i64, expect: &str| {
            assert_eq!(sign(key, body.as_bytes(), timestamp), expect);
        };
        // printf '%s' '{"a":1}1748437647' | openssl dgst -sha256 -hmac s3cret
        let openssl = "f1e9d64abde439e8e6846d560cd9b15366258e2722b49abadc7a6d2839812cf0";
        check("s3cret", "{\"a\":1}", 1_748_437_647, openssl);
        // hmac.new(key, body + timestamp, hashlib.sha256).hexdigest() of Python.
        let long = "732712934caf0eab66daf20de4c5a02317185d92ef8fb58eb71ffbce8b030257";
        check(&"k".repeat(200), "{\"name\":\"\u{fc}\"}", -1, long);
        check("x", "", 0, "7109e5ad21bcad78a39f536065d775fddec9aa166f286cef7e50a689da09a6ff");
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        let check = |url: &str, key: &str, expect: Result<bool, &str>| {
            let mut config = Config::default();
            config.push.auth_key = key.into();
            match (Poster::of(&config, "push.log_url", &url.into()), expect) {
                (Ok(made), Ok(expect)) => assert_eq!(made.is_some(), expect, "{url}"),
                (Err(why), Err(expect)) => {
                    assert!(why.starts_with(expect), "{why}");
                    assert!(!why.contains("s3cret"), "{why}");
                }
                (made, expect) => panic!("{url}: {made:?}, expected {expect:?}"),
            }
        };
        check("", "s3cret", Ok(false));
        check("http://collector:8080/logs?token=s3cret", "s3cret", Ok(true));
        check("http://collector/", "", Ok(true));
        check("s3cret", "", Err("push.log_url: url is not an address"));
        check("http://collector/", "s3cret\r\nX: y", Err("push.auth_key: `authorization` has a value"));
    }
}

#[cfg(test)]
#[path = "poster_tests.rs"]
mod answers;
