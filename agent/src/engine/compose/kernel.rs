//! Alerts of kernel-log lines.

use std::collections::BTreeMap;

use super::{Context, Draft, fingerprint};
use crate::engine::events;
use crate::event::{Event, LogMatch};
use crate::text::clean;

const MAX_NAME: usize = 64;
const MAX_TEXT: usize = 300;

/// The alert of a kernel-log line.
pub fn log(event: &Event, found: &LogMatch, id: String) -> Draft {
    // A record may hold several lines.
    let whole = found.line.trim_end().replace('\n', " ");
    let line = clean(&whole, MAX_TEXT);
    let mut labels = BTreeMap::from([("rule".to_owned(), found.rule.clone())]);
    labels.extend(found.fields.iter().map(|(k, v)| (k.clone(), clean(v, MAX_NAME))));
    let parts = labels.values().map(String::as_str).collect::<Vec<_>>();
    let print = fingerprint(parts);
    let mut c = Context::default();
    c.put("line", Some(line.clone())).put("kernel_time_ns", Some(event.at.mono_ns));
    Draft {
        rule: found.rule.clone(),
        noun: "kernel-log alerts",
        phrase: clean(&whole, 80),
        severity: found.severity,
        metric: events::LOG_EVENTS.name,
        message: format!("{}: {line}", found.meaning),
        labels,
        fingerprint: print,
        context: c.done(),
        ..Draft::of(event, id)
    }
}
