//! Alerts to a topic of ntfy: <https://docs.ntfy.sh/publish/#publish-as-json>

use super::backoff::Backoff;
use super::channel::{Channel, Sending};
use super::fit::{BYTES, take_while_they_fit};
use super::http::{self, Http, Reading};
use super::routes::Made;
use super::terminal::Screen;
use super::{TIMEOUT, facts, json_body};
use crate::alert::{Alert, Severity, Status};
use crate::config::Config;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

/// Its section below `[alerting]`.
pub const NAME: &str = "ntfy";
/// Bytes of a message; a longer one becomes an attachment.
const MAX_MESSAGE: usize = 4096;
/// Bytes of that for the sentence.
const MAX_SENTENCE: usize = 2500;
/// Bytes of the title.
const MAX_TITLE: usize = 200;
/// Facts shown; a phone is small.
const MAX_FACTS: usize = 12;

/// Made as the configuration says.
pub(super) fn make(config: &Config, _: Screen) -> Result<Option<Made>, String> {
    let section = &config.alerting.ntfy;
    if !section.enabled {
        return Ok(None);
    }
    let options = Options {
        url: section.url.clone(),
        topic: section.topic.clone(),
        token: section.token.clone(),
        template: config.alerting.templates.ntfy.is_some(),
    };
    Ok(Some(Made {
        channel: Arc::new(Ntfy::new(options).map_err(|why| format!("alerting.ntfy: {why}"))?),
        backoff: Backoff::default(),
    }))
}

/// Where to and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub url: String,
    /// The topic; whoever knows it can read it.
    pub topic: SecretString,
    /// Access token; empty: none.
    pub token: SecretString,
    /// Show the template's text in place of the built-in form.
    pub template: bool,
}

/// The channel.
#[derive(Debug)]
pub struct Ntfy {
    http: Http,
    options: Options,
}

impl Ntfy {
    /// Checks the options; connects to nothing.
    ///
    /// # Errors
    /// A sentence without secrets.
    pub fn new(options: Options) -> Result<Self, String> {
        let topic = options.topic.expose_secret();
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if topic.is_empty() || topic.len() > 64 || !topic.bytes().all(good) {
            return Err("topic is none: write up to 64 letters, digits, `_` and `-`".into());
        }
        let mut http = Http::new(&options.url.as_str().into(), "POST", TIMEOUT)?;
        http.header("content-type", &http::JSON.into())?;
        http.hide(&options.topic);
        if !options.token.expose_secret().is_empty() {
            http.hide(&options.token);
            http.header("authorization", &format!("Bearer {}", options.token.expose_secret()).into())?;
        }
        Ok(Self { http, options })
    }
}

impl Channel for Ntfy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn http(&mut self) -> Option<&mut Http> {
        Some(&mut self.http)
    }

    fn send<'a>(&'a self, alert: &'a Alert, text: &'a str) -> Sending<'a> {
        Box::pin(async move {
            let text = self.options.template.then_some(text);
            let body = body(alert, text, self.options.topic.expose_secret());
            self.http.send_to(json_body(&body)?, read).await
        })
    }
}

/// The message. With `text` that is it, else it is made of the alert.
pub fn body(alert: &Alert, text: Option<&str>, topic: &str) -> Value {
    let (priority, tag) = match (alert.status, alert.severity) {
        (Status::Resolved, _) => (2, "white_check_mark"),
        (_, Severity::Info) => (2, "information_source"),
        (_, Severity::Warn) => (3, "warning"),
        (_, Severity::Critical) => (4, "rotating_light"),
        (_, Severity::Emergency) => (5, "sos"),
    };
    let said = text.filter(|text| !text.trim().is_empty());
    let mut message = Map::from_iter([
        ("topic".to_owned(), Value::from(topic)),
        ("title".to_owned(), BYTES.fit(&facts::headline(alert), MAX_TITLE).into()),
        (
            "message".to_owned(),
            said.map_or_else(|| built_in(alert), |text| BYTES.fit(text, MAX_MESSAGE)).into(),
        ),
        ("priority".to_owned(), priority.into()),
        ("tags".to_owned(), json!([tag])),
    ]);
    if let Some(url) = facts::runbook(alert) {
        message.insert("click".into(), url.into());
    }
    message.into()
}

fn built_in(alert: &Alert) -> String {
    let mut out = BYTES.fit(&facts::message(alert), MAX_SENTENCE);
    let members = facts::members(alert).into_iter().map(|member| format!("\n• {member}"));
    let reading = facts::measured(alert).map(|reading| format!("\n{reading}"));
    let facts = facts::facts(alert).into_iter().map(|(name, value)| format!("\n{name}: {value}"));
    let lines = reading.into_iter().chain(members).chain(facts).map(|line| {
        let length = line.len();
        (line, length)
    });
    let last = format!("\n{}", facts::time(alert));
    let room = MAX_MESSAGE - out.len() - last.len() - 40;
    let (lines, left_out) = take_while_they_fit(lines.collect(), MAX_FACTS, room);
    out.extend(lines);
    if left_out > 0 {
        let _ = write!(out, "\n… and {left_out} more facts");
    }
    out + &last
}

/// What ntfy says: `{"code": 40301, "http": 403, "error": "forbidden"}`.
fn read(status: u16, body: &str) -> Reading {
    let said: Value = serde_json::from_str(body).unwrap_or_default();
    let advice = match (status, said.get("code").and_then(Value::as_u64)) {
        (401, _) => Some("the token is not valid; make a new one"),
        (403, _) => Some("not allowed to write to this topic; check topic and token"),
        (404, _) => Some("no ntfy server there; check url"),
        (429, Some(42_908)) => Some("the server's number of messages a day is used up"),
        (429, _) => Some("too many messages for this server"),
        _ => None,
    };
    Reading { advice, ..Reading::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::samples::{hostile, huge, oom};

    #[test]
    fn a_message_never_becomes_an_attachment() {
        for alert in [huge(), hostile(), oom()] {
            for text in [None, Some("é<".repeat(20_000))] {
                let body = body(&alert, text.as_deref(), "t");
                let (message, title) = (body["message"].as_str().unwrap(), body["title"].as_str().unwrap());
                assert!((1..=4096).contains(&message.len()) && title.len() <= 200);
            }
        }
        assert!(body(&huge(), None, "t")["message"].as_str().unwrap().contains(" characters cut)"));
    }

    #[cfg(any(feature = "tls-rustls", feature = "tls-native"))]
    #[test]
    fn topics_are_judged_without_telling_them() {
        for (topic, good) in
            [("ops-alerts_1", true), ("", false), ("s3cret topic", false), ("s3cret/x", false)]
        {
            let (url, token) = ("https://ntfy.sh".to_owned(), "tk_s3cret".into());
            let made = Ntfy::new(Options { url, topic: topic.into(), token, template: false });
            assert_eq!(made.is_ok(), good, "{topic}");
            assert!(!format!("{made:?}").contains("s3cret"), "{made:?}");
        }
    }

    #[test]
    fn answers_are_read() {
        for (status, body, advice) in [
            (403, r#"{"code":40301,"http":403,"error":"forbidden"}"#, "check topic and token"),
            (401, "", "token"),
            (429, r#"{"code":42908}"#, "a day is used up"),
            (429, "", "too many"),
        ] {
            assert!(read(status, body).advice.unwrap().contains(advice), "{status} {body}");
        }
        assert_eq!(read(500, ""), Reading::default());
    }
}
