//! The alert of a fault of the hardware that a tracepoint reported.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Context, Draft, fingerprint};
use crate::alert::Severity;
use crate::engine::events;
use crate::event::{Event, Hardware, LogMatch, Source};
use crate::text::clean;

const MAX_NAME: usize = 64;
const MAX_TEXT: usize = 300;

/// The alert; `reports` of one fault, the worst first.
pub fn draft(
    event: &Event,
    reports: &[Hardware],
    log: Option<&LogMatch>,
    sources: &[Source],
    id: String,
) -> Draft {
    let lead = reports.first().cloned().unwrap_or_default();
    let mut labels = BTreeMap::from([("rule".to_owned(), lead.rule.to_owned())]);
    // The leading report comes last: its word counts.
    for (name, value) in reports.iter().rev().flat_map(|report| &report.labels) {
        labels.insert((*name).to_owned(), clean(value, MAX_NAME));
    }
    let severity = reports.iter().filter_map(|report| report.severity).max().unwrap_or(Severity::Warn);
    let own = lead.labels.iter().map(|(_, value)| value.as_str());
    let print = fingerprint([lead.rule, severity.name()].into_iter().chain(own));
    let mut c = Context::default();
    for report in reports {
        c.put(report.reporter, Some(details(report)));
    }
    c.put_if("line", log.map(|found| clean(&found.line, MAX_TEXT)))
        .put("what_to_do", Some(lead.advice))
        .put("kernel_time_ns", Some(event.at.mono_ns));
    Draft {
        rule: lead.rule.to_owned(),
        noun: "hardware alerts".into(),
        phrase: clean(&lead.text, 80),
        severity,
        metric: events::HARDWARE.name.into(),
        message: format!("{}: {}", lead.meaning, clean(&lead.text, MAX_TEXT)),
        labels,
        fingerprint: print,
        sources: sources.to_vec(),
        runbook_url: None,
        context: c.done(),
        ..Draft::of(event, id)
    }
}

/// What a tracepoint told, names of other hands made harmless.
fn details(report: &Hardware) -> Value {
    let mut map = Map::new();
    for (name, value) in &report.details {
        let value = value.as_str().map_or_else(|| value.clone(), |text| json!(clean(text, MAX_TEXT)));
        map.insert((*name).to_owned(), value);
    }
    Value::Object(map)
}
