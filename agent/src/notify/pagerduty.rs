//! Alerts as events of PagerDuty: an incident is triggered, updated and resolved under one key.
//! <https://developer.pagerduty.com/docs/send-alert-event>

use super::backoff::Backoff;
use super::channel::{Channel, SendError, Sending};
use super::fit::PLAIN;
use super::http::{self, Http, Reading};
use super::routes::Made;
use super::terminal::Screen;
use super::trial::RULE as TEST;
use super::worker::HELD_BACK;
use super::{TIMEOUT, facts, json_body};
use crate::alert::{Alert, Severity, Status};
use crate::config::Config;
use crate::text;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Its section below `[alerting]`.
pub const NAME: &str = "pagerduty";
/// Characters of the summary.
const MAX_SUMMARY: usize = 1024;
/// Characters of a key.
const MAX_KEY: usize = 255;
/// Facts sent; the whole event may have 512 KB.
const MAX_FACTS: usize = 60;

/// Made as the configuration says.
pub(super) fn make(config: &Config, _: Screen) -> Result<Option<Made>, String> {
    let section = &config.alerting.pagerduty;
    if !section.enabled {
        return Ok(None);
    }
    let options = Options {
        url: section.url.clone(),
        routing_key: section.routing_key.clone(),
        template: config.alerting.templates.pagerduty.is_some(),
    };
    Ok(Some(Made {
        channel: Arc::new(PagerDuty::new(options).map_err(|why| format!("alerting.pagerduty: {why}"))?),
        backoff: Backoff::default(),
    }))
}

/// Where to and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where events go.
    pub url: String,
    /// Integration key of the service.
    pub routing_key: SecretString,
    /// The template's text is the summary.
    pub template: bool,
}

/// The channel.
#[derive(Debug)]
pub struct PagerDuty {
    http: Http,
    options: Options,
}

impl PagerDuty {
    /// Checks the options; connects to nothing.
    ///
    /// # Errors
    /// A sentence without secrets.
    pub fn new(options: Options) -> Result<Self, String> {
        let mut http = Http::new(&options.url.as_str().into(), "POST", TIMEOUT)?;
        http.header("content-type", &http::JSON.into())?;
        http.hide(&options.routing_key);
        Ok(Self { http, options })
    }

    async fn deliver(&self, alert: &Alert, text: &str) -> Result<(), SendError> {
        let key = self.options.routing_key.expose_secret();
        let text = self.options.template.then_some(text);
        for action in actions(alert) {
            self.http.send_to(json_body(&body(alert, text, key, action))?, read).await?;
        }
        for id in alert.also_over() {
            self.http.send_to(json_body(&end(alert, id, key))?, read).await?;
        }
        Ok(())
    }
}

/// What is over when it is told, of whose begin nobody knows, what was held back, and a test: opened and closed at once.
fn actions(alert: &Alert) -> &'static [&'static str] {
    if alert.is_only_message() || [TEST, HELD_BACK].contains(&alert.rule.as_str()) {
        return &["trigger", "resolve"];
    }
    if alert.status == Status::Resolved { &["resolve"] } else { &["trigger"] }
}

impl Channel for PagerDuty {
    fn name(&self) -> &'static str {
        NAME
    }

    fn follows_incidents(&self) -> bool {
        true
    }

    fn http(&mut self) -> Option<&mut Http> {
        Some(&mut self.http)
    }

    fn send<'a>(&'a self, alert: &'a Alert, text: &'a str) -> Sending<'a> {
        Box::pin(self.deliver(alert, text))
    }
}

/// The event. With `text` that is its summary.
pub fn body(alert: &Alert, text: Option<&str>, routing_key: &str, action: &str) -> Value {
    let severity = match alert.severity {
        Severity::Info => "info",
        Severity::Warn => "warning",
        Severity::Critical | Severity::Emergency => "critical",
    };
    let text = text.filter(|text| !text.trim().is_empty()).map(str::to_owned);
    let built_in = || format!("{}: {}", facts::headline(alert), facts::message(alert));
    let known =
        facts::facts(alert).into_iter().take(MAX_FACTS).map(|(name, value)| (name, Value::from(value)));
    let mut details: Map<String, Value> = known.collect();
    details.extend(facts::measured(alert).map(|reading| ("reading".to_owned(), reading.into())));
    let members = facts::members(alert);
    if !members.is_empty() {
        details.insert("alerts".into(), members.into());
    }
    if !alert.source.is_empty() {
        details.insert("seen by".into(), facts::sources(alert).into());
    }
    let mut payload = Map::from_iter([
        ("summary".to_owned(), Value::from(PLAIN.fit(&text.unwrap_or_else(built_in), MAX_SUMMARY))),
        ("source".to_owned(), some(&alert.hostname).into()),
        ("severity".to_owned(), severity.into()),
        ("component".to_owned(), some(&alert.metric).into()),
        ("class".to_owned(), some(&alert.rule).into()),
        ("custom_details".to_owned(), details.into()),
    ]);
    if let Some(at) = facts::instant(alert) {
        payload.insert("timestamp".into(), at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into());
    }
    let mut event = Map::from_iter([
        ("routing_key".to_owned(), Value::from(routing_key)),
        ("event_action".to_owned(), action.into()),
        ("dedup_key".to_owned(), key(alert).into()),
        ("client".to_owned(), "sysops-agent".into()),
        ("payload".to_owned(), payload.into()),
    ]);
    if let Some(url) = facts::runbook(alert) {
        event.insert("links".into(), json!([{ "href": url, "text": "runbook" }]));
    }
    event.into()
}

/// The end of another incident that is over with this one.
fn end(alert: &Alert, id: &str, routing_key: &str) -> Value {
    json!({ "routing_key": routing_key, "event_action": "resolve", "dedup_key": key_of(&alert.hostname, id) })
}

/// PagerDuty wants a text, and refuses an empty one.
fn some(text: &str) -> String {
    let text = text::clean(text, MAX_KEY);
    if text.trim().is_empty() { "unknown".to_owned() } else { text }
}

/// One for each incident of a host.
fn key(alert: &Alert) -> String {
    key_of(&alert.hostname, &alert.id)
}

fn key_of(hostname: &str, id: &str) -> String {
    let whole = format!("{hostname}/{id}");
    let tail = format!("/{:08x}", crc32fast::hash(whole.as_bytes()));
    if whole.chars().count() <= MAX_KEY {
        return text::clean(&whole, MAX_KEY);
    }
    text::clean(&whole, MAX_KEY - tail.len() - 1) + &tail
}

/// What PagerDuty says: `{"status": "invalid event", "message": …, "errors": […]}`.
fn read(status: u16, body: &str) -> Reading {
    // "Invalid routing key", "Length of 'routing_key' is incorrect (should be 32 characters)"
    let said = body.to_ascii_lowercase();
    let of_key =
        status == 400 && ["routing key", "routing_key", "service_key"].iter().any(|k| said.contains(k));
    let advice = match status {
        400 if of_key => Some("the key is not valid; check routing_key"),
        400 => Some("the event is not valid"),
        403 => Some("the key is not allowed to send events; check routing_key"),
        429 => Some("too many events for this key"),
        _ => None,
    };
    Reading { advice, barred: of_key, ..Reading::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::samples::{hostile, huge, oom, resolved, show, update};

    #[test]
    fn an_incident_keeps_its_key() {
        assert_eq!(key(&oom()), "web-1/oom-1234-99");
        assert_eq!(key(&oom()), key(&update()));
        let (a, b) = (huge(), Alert { id: huge().id + "b", ..huge() });
        assert_ne!(key(&a), key(&b));
        for alert in [a, b, hostile()] {
            assert!(key(&alert).chars().count() <= MAX_KEY && !key(&alert).contains('\n'));
        }
    }

    #[test]
    fn what_nothing_ends_but_time_is_closed_at_once() {
        let held_back = Alert { rule: HELD_BACK.into(), ..oom() };
        assert_eq!(actions(&held_back), ["trigger", "resolve"]);
        assert_eq!(actions(&oom()), ["trigger"]);
        assert_eq!(actions(&resolved()), ["resolve"]);
    }

    #[test]
    fn a_wrong_key_is_no_fault_of_the_event() {
        for (body, barred) in [
            (
                r#"{"status":"invalid event","message":"Event object is invalid","errors":["Invalid routing key"]}"#,
                true,
            ),
            (r#"{"errors":["Length of 'routing_key' is incorrect (should be 32 characters)"]}"#, true),
            (r#"{"errors":["'payload.summary' is too long"]}"#, false),
            ("", false),
        ] {
            assert_eq!(read(400, body).barred, barred, "{body}");
        }
        assert!(!read(500, "routing_key").barred);
    }

    #[test]
    fn limits_are_kept() {
        for text in [None, Some("é".repeat(5000)), Some(String::new())] {
            let body = body(&huge(), text.as_deref(), "KEY", "trigger");
            let summary = body["payload"]["summary"].as_str().unwrap();
            assert!((1..=1024).contains(&summary.chars().count()));
            assert!(show(&body).len() < 512_000, "{}", show(&body).len());
        }
        let nameless = Alert { hostname: String::new(), ..resolved() };
        assert_eq!(body(&nameless, None, "KEY", "resolve")["payload"]["source"], "unknown");
    }
}
