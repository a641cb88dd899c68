//! Alerts in the words of Prometheus: labels that name, annotations that tell. Pure; for Alertmanager's API and for
//! webhooks that expect what Alertmanager sends.

use super::facts;
use super::fit::PLAIN;
use crate::alert::{Alert, MEMBERS, Status};
use crate::text;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// A moment that is not, as Go writes it.
const NEVER: &str = "0001-01-01T00:00:00Z";
/// Characters of a label's value.
const MAX_VALUE: usize = 200;
/// Labels of an alert.
const MAX_LABELS: usize = 30;
/// Characters of an annotation.
const MAX_TEXT: usize = 8000;

/// What names the alert.
pub fn labels(alert: &Alert) -> Map<String, Value> {
    let own = alert.labels.iter().take(MAX_LABELS).map(|(name, value)| (label_name(name), value.as_str()));
    // Two summaries of one rule are two alerts, and each ends for itself.
    let group = if alert.context.contains_key(MEMBERS) { alert.id.as_str() } else { "" };
    let fixed = [
        ("group", group),
        ("alertname", alert.rule.as_str()),
        ("severity", alert.severity.name()),
        ("instance", alert.hostname.as_str()),
        ("metric", alert.metric.as_str()),
    ];
    let fixed = fixed.into_iter().map(|(name, value)| (name.to_owned(), value));
    let all = own.chain(fixed).map(|(name, value)| (name, text::clean(value.trim(), MAX_VALUE)));
    let mut labels: Map<String, Value> =
        all.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name, value.into())).collect();
    labels.entry("alertname").or_insert_with(|| "sysops_agent".into());
    labels
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
fn label_name(name: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = name.chars().take(64).map(word).collect();
    let bad = name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit());
    if bad { format!("_{name}") } else { name }
}

/// What tells of it.
pub fn annotations(alert: &Alert) -> Map<String, Value> {
    let lines: Vec<String> = facts::measured(alert)
        .into_iter()
        .chain(facts::members(alert).into_iter().map(|member| format!("• {member}")))
        .chain(
            facts::facts(alert)
                .into_iter()
                .map(|(name, value)| format!("{name}: {}", value.replace('\n', "; "))),
        )
        .collect();
    let limit = alert.threshold.filter(|_| alert.reading().is_some());
    let all = [
        ("summary", PLAIN.fit(&facts::message(alert), MAX_TEXT)),
        ("description", PLAIN.fit(&lines.join("\n"), MAX_TEXT)),
        ("value", alert.reading().map_or("absent".to_owned(), text::number)),
        ("threshold", limit.map(text::number).unwrap_or_default()),
        ("status", alert.status.name().to_owned()),
        ("incident", text::clean(&alert.id, MAX_VALUE)),
        ("seen_by", facts::sources(alert)),
        ("runbook_url", facts::runbook(alert).unwrap_or_default()),
    ];
    all.into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| (name.to_owned(), text.into()))
        .collect()
}

/// When it began.
pub fn began(alert: &Alert) -> Option<Timestamp> {
    alert.started_at.parse().ok().or_else(|| facts::instant(alert))
}

/// When it ended, if it did.
pub fn ended(alert: &Alert) -> Option<Timestamp> {
    let ended = alert.ended_at.as_deref().and_then(|at| at.parse().ok()).or_else(|| facts::instant(alert));
    ended.filter(|_| alert.status == Status::Resolved)
}

/// A moment in RFC 3339, UTC.
pub fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// An alert for `POST /api/v2/alerts`, standing until `until`.
pub fn posted(alert: &Alert, until: Timestamp) -> Value {
    let mut posted = Map::from_iter([
        ("labels".to_owned(), Value::from(labels(alert))),
        ("annotations".to_owned(), annotations(alert).into()),
        ("endsAt".to_owned(), moment(until).into()),
        ("generatorURL".to_owned(), "".into()),
    ]);
    // Alertmanager refuses an alert that ends before it begins.
    if let Some(began) = began(alert).filter(|began| *began <= until) {
        posted.insert("startsAt".into(), moment(began).into());
    }
    posted.into()
}

/// The body that Alertmanager sends to webhooks, version 4:
/// <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>
pub fn webhook(alert: &Alert) -> Value {
    let (labels, annotations) = (labels(alert), annotations(alert));
    let status = if alert.status == Status::Resolved { "resolved" } else { "firing" };
    let name = labels.get("alertname").cloned().unwrap_or_default();
    let key = format!("{{}}:{{alertname={name}}}");
    json!({
        "version": "4",
        "groupKey": key,
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "sysops-agent",
        "groupLabels": { "alertname": name },
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "alerts": [{
            "status": status,
            "labels": labels,
            "annotations": annotations,
            "startsAt": began(alert).map_or_else(|| NEVER.to_owned(), moment),
            "endsAt": ended(alert).map_or_else(|| NEVER.to_owned(), moment),
            "generatorURL": "",
            "fingerprint": text::clean(&alert.fingerprint, 64),
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::samples::{hostile, huge, oom, resolved, show};

    #[test]
    fn labels_have_names_that_prometheus_takes() {
        for (name, expect) in [("a", "a"), ("a-b.c", "a_b_c"), ("9a", "_9a"), ("", "_"), ("é\n", "__")] {
            assert_eq!(label_name(name), expect, "{name:?}");
        }
        for alert in [hostile(), huge()] {
            let labels = labels(&alert);
            assert!(labels.len() <= MAX_LABELS + 5 && labels.contains_key("alertname"));
            assert!(labels.values().all(|v| v.as_str().is_some_and(|v| !v.is_empty() && !v.contains('\n'))));
            assert!(show(&webhook(&alert)).len() < 200_000);
        }
    }

    #[test]
    fn two_summaries_of_a_rule_are_two_alerts() {
        let summary = |id: &str| {
            let mut alert = oom();
            alert.id = id.to_owned();
            alert.context.insert(MEMBERS.into(), serde_json::json!(["m1", "m2"]));
            labels(&alert)
        };
        assert_ne!(summary("s1"), summary("s2"));
        assert_eq!(summary("s1")["group"], "s1");
        assert!(!labels(&oom()).contains_key("group"));
    }

    #[test]
    fn an_alert_never_ends_before_it_begins() {
        let long_ago = "2020-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(posted(&oom(), long_ago).get("startsAt"), None);
        assert_eq!(ended(&oom()), None);
        assert_eq!(ended(&resolved()).map(moment).as_deref(), Some("2026-02-22T07:30:00.000Z"));
    }
}
