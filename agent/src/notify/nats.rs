//! Alerts to NATS: `{prefix}.{host}.alerts`, plain JSON; and the connection that heartbeats and `publish` use, too.
//!
//! Core NATS acknowledges nothing. So messages are followed by one to ourselves ([`probe`]): it comes back after the server has
//! dealt with what came before. `JetStream` answers each message itself (`nats.jetstream`).

mod ack;
mod link;
mod login;
mod probe;
mod terms;

pub use link::{Link, Outgoing};
pub use terms::Later;

use super::backoff::Backoff;
use super::channel::{Channel, SendError, Sending};
use super::routes::Made;
use super::terminal::Screen;
use crate::alert::Alert;
use crate::config::Config;
use crate::host::agent_id;
use std::hash::Hasher;
use std::sync::Arc;

/// Name of the channel; its section is `[nats]`.
pub const NAME: &str = "nats";

/// Made as the configuration says.
pub(super) fn make(config: &Config, _: Screen) -> Result<Option<Made>, String> {
    let section = &config.nats;
    if !section.enabled || !section.include_alerts {
        return Ok(None);
    }
    let channel = Nats {
        link: Link::of(config)?,
        template: config.alerting.templates.nats.is_some(),
        jetstream: section.jetstream,
        agent_id: agent_id::known(config),
    };
    Ok(Some(Made { channel: Arc::new(channel), backoff: Backoff::default() }))
}

/// A host name as one token of a subject: a dot would split it.
pub fn token(name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    if name.is_empty() { "unknown".to_owned() } else { name.chars().take(255).map(safe).collect() }
}

/// The channel.
#[derive(Debug)]
struct Nats {
    link: Link,
    template: bool,
    jetstream: bool,
    agent_id: Option<String>,
}

impl Channel for Nats {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Programs listen there, not people: each alert arrives, after an outage, too.
    fn follows_incidents(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, alert: &'a Alert, text: &'a str) -> Sending<'a> {
        Box::pin(async move {
            let worded = self.template.then(|| Alert { message: text.to_owned(), ..alert.clone() });
            let no_json = |error| SendError::refused(format!("the alert is no JSON: {error}"));
            let mut body = serde_json::to_value(worded.as_ref().unwrap_or(alert)).map_err(no_json)?;
            if let (Some(body), Some(id)) = (body.as_object_mut(), &self.agent_id) {
                body.insert("agent_id".to_owned(), id.as_str().into());
            }
            let body = serde_json::to_vec(&body).map_err(no_json)?;
            let mut message = Outgoing::plain(self.link.subject(&alert.hostname, "alerts"), body);
            message.id = self.jetstream.then(|| message_id(self.agent_id.as_deref(), alert));
            self.link.deliver(vec![message], self.jetstream).await
        })
    }
}

/// The same for each try of one alert, and for no other one: what only the worker adds is left out.
fn message_id(agent_id: Option<&str>, alert: &Alert) -> String {
    let mut bare = alert.clone();
    bare.message.clear();
    bare.context.remove("late_secs");
    bare.context.remove("held_back");
    // A hasher without keys: the same in each run of this build. After an update an alert may come twice.
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(&serde_json::to_vec(&bare).unwrap_or_default());
    format!("{}-a{:016x}", agent_id.unwrap_or(&alert.hostname), hasher.finish()).replace(['\r', '\n'], "_")
}

#[cfg(test)]
mod tests {
    use super::super::tests::gpu;
    use super::*;
    use crate::alert::Status;

    #[test]
    fn host_names_are_one_token() {
        let check = |name: &str, expect: &str| assert_eq!(token(name), expect);
        check("web-1", "web-1");
        check("web-1.example.com", "web-1_example_com");
        check("a b*>\u{e9}", "a_b___");
        check("", "unknown");
    }

    #[test]
    fn one_alert_has_one_id_however_often_it_is_tried() {
        let id = |alert: &Alert| message_id(Some("5f0c"), alert);
        let (first, mut late, mut other) = (gpu(), gpu(), gpu());
        late.message = format!("{} (sent 3 min late)", first.message);
        late.context.insert("late_secs".into(), 180.into());
        late.context.insert("held_back".into(), 2.into());
        assert_eq!(id(&first), id(&late));
        other.status = Status::Updated;
        assert_ne!(id(&first), id(&other));
        other = gpu();
        other.context.insert("victims_count".into(), 2.into());
        assert_ne!(id(&first), id(&other), "two updates of one second");
        assert_ne!(message_id(Some("0000"), &first), id(&first));
        let hostile = Alert { hostname: "a\r\nNats-Msg-Id: x".into(), ..gpu() };
        assert!(!message_id(None, &hostile).contains(['\r', '\n']));
    }
}
