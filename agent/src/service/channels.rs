//! How each channel stands for alerts on this host, as `doctor` tells it: without sending anything.

use super::features::Feature;
use crate::config::{Config, Lack};
use crate::edge;
use crate::host::state;
use crate::notify::{Channel, Route, routes};

/// Every enabled channel, and what is lacking of the configuration, whatever it is of.
pub(super) fn examine(config: &Config, lacking: &[Lack]) -> Vec<Feature> {
    let (all, _) = edge::routes_in_any_case(config, None, lacking);
    let is_syslog = |route: &&Route| route.unmade.is_none() && route.channel.name() == "syslog";
    let mut features: Vec<Feature> =
        all.iter().filter(|route| !is_syslog(route)).map(|route| channel(route, lacking)).collect();
    features.extend(all.iter().find(is_syslog).map(|_| syslog(config)));
    if features.is_empty() {
        let remedy = "enable one in [alerting.…]; see docs/CONFIGURATION.md";
        let reason = "no channel is enabled: nobody would hear of an alert";
        features.push(Feature::broken("channel", reason, remedy));
    }
    let told =
        |lack: &&Lack| all.iter().any(|r| r.unmade.is_some() && routes::is_of(r.channel.name(), &lack.key));
    features.extend(lacking.iter().filter(|lack| !told(lack)).map(elsewhere));
    features
}

fn channel(route: &Route, lacking: &[Lack]) -> Feature {
    let channel: &dyn Channel = route.channel.as_ref();
    let name = format!("channel.{}", channel.name());
    let section =
        if channel.name() == "nats" { "[nats]".into() } else { format!("[alerting.{}]", channel.name()) };
    if let Some(unmade) = &route.unmade {
        let lacks: Vec<&Lack> =
            lacking.iter().filter(|lack| routes::is_of(channel.name(), &lack.key)).collect();
        let all: Vec<String> = lacks.iter().map(ToString::to_string).collect();
        let why = if all.is_empty() { unmade.why.clone() } else { all.join("; ") };
        let remedies: Vec<String> = lacks.iter().map(|lack| lack.remedy()).collect();
        let remedy = if remedies.is_empty() { format!("mend {section}") } else { remedies.join("; ") };
        let reason = format!("{why}; what it is to tell waits, and it is tried again");
        return Feature::broken(name, reason, remedy);
    }
    match channel.doubt() {
        Some(doubt) => Feature::degraded(name, doubt, format!("mend {section}")),
        None => Feature::on(name, "configured; try it with: sysops-agent test-alert"),
    }
}

/// What is lacking elsewhere. The agent itself begins without what is of alerts.
fn elsewhere(lack: &Lack) -> Feature {
    let waits = ["alerting.", "nats."].iter().any(|section| lack.key.starts_with(section));
    let section = lack.key.rsplit_once('.').map_or(lack.key.as_str(), |(section, _)| section);
    let name = section.strip_prefix("alerting.").unwrap_or(section);
    let then = if waits { "it is tried again" } else { "the agent does not start without it" };
    Feature::broken(name, format!("{lack}; {then}"), lack.remedy())
}

fn syslog(config: &Config) -> Feature {
    const NAME: &str = "channel.syslog";
    let section = &config.alerting.syslog;
    if section.address.is_empty() && !state::is_there(&section.socket) {
        return Feature::degraded(
            NAME,
            format!(
                "{} does not exist: alerts wait for it and are given up after 72 h",
                section.socket.display()
            ),
            "start a syslog daemon, or set alerting.syslog.enabled = false",
        );
    }
    Feature::on(NAME, "configured; try it with: sysops-agent test-alert")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_says_what_it_lacks_and_the_others_go_on() {
        let mut config = Config::default();
        config.alerting.slack.enabled = true;
        config.alerting.webhook.enabled = true;
        config.alerting.webhook.url = "http://127.0.0.1:9/".to_owned().into();
        let lack = |key: &str, from: &str| Lack { key: key.into(), from: from.into() };
        let lacking = [
            lack("alerting.slack.webhook_url", "file:/run/slack"),
            lack("alerting.heartbeat.url", "credential:beat"),
            lack("push.auth_key", "PUSH_KEY"),
        ];
        let features = examine(&config, &lacking);
        let check = |name: &str, state: &str, parts: &[&str]| {
            let feature =
                features.iter().find(|f| f.name == name).unwrap_or_else(|| panic!("{name}: {features:?}"));
            let told = format!("{} -> {}", feature.reason, feature.remedy.as_deref().unwrap_or_default());
            assert_eq!(feature.state.name(), state, "{told}");
            for part in parts {
                assert!(told.contains(part), "{part}: {told}");
            }
        };
        check("channel.webhook", "on", &[]);
        check(
            "channel.slack",
            "off",
            &[
                "alerting.slack.webhook_url needs file:/run/slack, which cannot be read",
                "write the secret alone into /run/slack",
            ],
        );
        check("heartbeat", "off", &["tried again", "LoadCredential=beat:"]);
        check(
            "push",
            "off",
            &["environment variable PUSH_KEY", "does not start without it", "EnvironmentFile="],
        );
    }
}
