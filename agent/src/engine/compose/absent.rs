//! Alerts of what is expected and not there.

use super::condition::print;
use super::words::Words;
use super::{Context, Draft, Identity, lived_secs};
use crate::alert::{ABSENT, HELD_SECS, LEVEL, Status};
use crate::engine::absent::Absence;
use crate::text::span;
use crate::time::Now;

/// The alert. It begins with the last reading. There is no reading to tell: its value are the seconds without one, its limit those allowed.
pub fn draft(
    rule: &Absence,
    status: Status,
    since: Now,
    id: String,
    identity: &Identity,
    (now, why): (Now, &str),
) -> Draft {
    let labels = rule.labels.iter().cloned().collect();
    let held = lived_secs(since, now);
    let what = what(rule);
    let words = Words {
        severity: rule.severity,
        metric: &rule.metric,
        value: held as f64,
        threshold: Some(rule.for_secs as f64),
        labels: &labels,
        trend: None,
    };
    let own = Some(&*rule.message).filter(|text| !text.is_empty() && status != Status::Resolved);
    let message =
        own.and_then(|template| words.fill(template, identity, now)).unwrap_or_else(|| match status {
            Status::Resolved => format!("{}: {what} {why} after {}", rule.name, span(held)),
            Status::Firing | Status::Updated => {
                format!("{}: {what} has not been reported for {}", rule.name, span(held))
            }
        });
    let mut c = Context::default();
    c.put(HELD_SECS, Some(held)).put(LEVEL, Some(rule.severity.name()));
    c.put(ABSENT, Some(true));
    Draft {
        rule: rule.name.clone(),
        place: String::new(),
        noun: "absence alerts".into(),
        phrase: what,
        lasts: true,
        severity: rule.severity,
        metric: rule.metric.clone().into(),
        value: held as f64,
        threshold: Some(rule.for_secs as f64),
        message,
        fingerprint: print(&rule.name, &labels),
        labels,
        status,
        id,
        started: since,
        ended: (status == Status::Resolved).then_some(now),
        sources: Vec::new(),
        runbook_url: rule.runbook_url.clone(),
        context: c.done(),
    }
}

/// `disk_used_percent{mount=/data}`.
fn what(rule: &Absence) -> String {
    let labels: Vec<String> = rule.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if labels.is_empty() { rule.metric.clone() } else { format!("{}{{{}}}", rule.metric, labels.join(", ")) }
}
