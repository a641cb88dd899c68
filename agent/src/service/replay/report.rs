//! What would have been told: a line each, and how many of which rule.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::Options;
use crate::alert::{Alert, Severity, Status};

/// Rules counted one by one at most; the others are counted together.
const MAX_RULES: usize = 1000;

/// Prints and counts.
pub(super) struct Report<W> {
    options: Options,
    out: W,
    /// Time of the row that is looked at, as it stands in the file.
    stamp: Option<String>,
    counts: BTreeMap<(String, &'static str), u64>,
    /// Readings, and what happened.
    readings: u64,
    events: u64,
}

impl<W: Write> Report<W> {
    pub(super) fn new(options: Options, out: W) -> Self {
        Self { options, out, stamp: None, counts: BTreeMap::new(), readings: 0, events: 0 }
    }

    /// What is told from here on was raised by the row with this time.
    pub(super) fn row(&mut self, stamp: &str) {
        let own = self.stamp.get_or_insert_default();
        own.clear();
        own.push_str(stamp);
    }

    /// So many readings were taken.
    pub(super) fn took(&mut self, readings: usize) {
        self.readings += readings as u64;
    }

    /// Something that happened was taken.
    pub(super) fn heard(&mut self) {
        self.events += 1;
    }

    /// What was taken so far.
    pub(super) fn inputs(&self) -> u64 {
        self.readings + self.events
    }

    /// Something is told.
    pub(super) fn alert(&mut self, alert: &Alert) -> io::Result<()> {
        if alert.status == Status::Resolved && !self.options.ends {
            return Ok(());
        }
        let key = (alert.rule.clone(), alert.severity.name());
        if self.counts.len() < MAX_RULES || self.counts.contains_key(&key) {
            *self.counts.entry(key).or_default() += 1;
        } else {
            *self.counts.entry(("others".to_owned(), "")).or_default() += 1;
        }
        let timestamp = self.stamp.as_deref().unwrap_or(&alert.timestamp);
        if self.options.json {
            serde_json::to_writer(&mut self.out, &Told::of(alert, timestamp))?;
            return writeln!(self.out);
        }
        let (severity, status, rule) = (alert.severity.name(), alert.status.name(), &alert.rule);
        writeln!(self.out, "{timestamp} {severity:<9} {status:<8} {rule}: {}", alert.message)
    }

    /// The counts; as lines for people to read beside JSON.
    pub(super) fn finish(mut self) -> io::Result<Vec<String>> {
        let all: u64 = self.counts.values().sum();
        let Self { readings, events, .. } = self;
        let mut lines = vec![format!("{readings} readings and {events} events: {all} alerts")];
        lines.extend(
            self.counts.iter().map(|((rule, severity), count)| format!("{count:>8} {severity:<9} {rule}")),
        );
        if !self.options.json {
            for line in lines.drain(..) {
                writeln!(self.out, "{line}")?;
            }
        }
        self.out.flush()?;
        Ok(lines)
    }
}

/// An alert as an object; the first five keys are a fixed contract.
#[derive(Serialize)]
struct Told<'a> {
    timestamp: &'a str,
    severity: Severity,
    metric: &'a str,
    analyzer: &'a str,
    message: &'a str,
    status: Status,
    rule: &'a str,
    value: f64,
    threshold: Option<f64>,
    labels: &'a BTreeMap<String, String>,
    hostname: &'a str,
}

impl<'a> Told<'a> {
    fn of(alert: &'a Alert, timestamp: &'a str) -> Self {
        Self {
            timestamp,
            severity: alert.severity,
            metric: &alert.metric,
            analyzer: analyzer(alert),
            message: &alert.message,
            status: alert.status,
            rule: &alert.rule,
            value: alert.value,
            threshold: alert.threshold,
            labels: &alert.labels,
            hostname: &alert.hostname,
        }
    }
}

/// What found it: an analyzer of values, an expectation, or the source of an event.
fn analyzer(alert: &Alert) -> &str {
    let named = alert.context.get("analyzer").and_then(|name| name.as_str());
    let event = if alert.source.is_empty() { None } else { Some("event") };
    named.or(event).unwrap_or("threshold")
}
