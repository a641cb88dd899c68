//! Alerts of metrics beyond their limits.

use std::collections::BTreeMap;

use super::{Context, Draft, fingerprint};
use crate::alert::{Severity, Status};
use crate::analyze::threshold::Op;
use crate::engine::condition::Firing;
use crate::engine::limits::{Rule, Style};
use crate::engine::series::Series;
use crate::engine::store::Summary;
use crate::sample::ProcTable;
use crate::text::{clean, number, span};
use crate::time::{Now, SECOND};
use serde_json::{Value, json};

const MAX_LABEL: usize = 200;
const TOP: usize = 3;
/// A label that says since when; it makes nothing another condition.
const SINCE: &str = "started";

/// What a condition's alert is made from.
pub struct Finding<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// The series it judges.
    pub series: &'a Series,
    /// Level and begin.
    pub firing: Firing,
    /// Firing, updated or resolved.
    pub status: Status,
    /// The series' last minutes.
    pub recent: Option<Summary>,
    /// Newest process table.
    pub processes: Option<&'a ProcTable>,
    /// Why it ended without a value below the limit.
    pub gone: bool,
}

/// The alert.
pub fn draft(finding: &Finding<'_>, id: String, now: Now) -> Draft {
    let Finding { rule, series, firing, status, .. } = finding;
    let labels: BTreeMap<String, String> = series
        .metric
        .labels
        .iter()
        .zip(&series.labels)
        .map(|(name, value)| ((*name).to_owned(), clean(value, MAX_LABEL)))
        .collect();
    let limit = rule.limit(firing.level);
    let started = now.at_mono(firing.since_ns);
    let held = now.since(started) / SECOND;
    let lasting = labels.iter().filter(|(name, _)| *name != SINCE).map(|(_, value)| value.as_str());
    let parts = [rule.name.as_str()].into_iter().chain(lasting);
    let print = fingerprint(parts);
    let subject = subject(rule, &labels);
    let value = told(rule, series.value);
    Draft {
        rule: rule.name.clone(),
        place: String::new(),
        noun: rule.noun,
        phrase: format!("{subject} ({value})"),
        lasts: true,
        severity: if *status == Status::Resolved { firing.worst } else { firing.level },
        metric: series.metric.name,
        value: series.value,
        threshold: limit,
        message: sentence(finding, &subject, &value, limit, held),
        labels,
        status: *status,
        id,
        fingerprint: print,
        started,
        ended: (*status == Status::Resolved).then_some(now),
        sources: Vec::new(),
        context: context(finding, held),
    }
}

fn subject(rule: &Rule, labels: &BTreeMap<String, String>) -> String {
    let values: Vec<&str> = rule
        .shown
        .iter()
        .filter_map(|name| labels.get(*name))
        .map(String::as_str)
        .filter(|v| !v.is_empty())
        .collect();
    if values.is_empty() { rule.subject.to_owned() } else { format!("{} {}", rule.subject, values.join(" ")) }
}

/// A value in the words of its rule.
fn told(rule: &Rule, value: f64) -> String {
    match rule.style {
        Style::Number(unit) => format!("{}{unit}", number(value)),
        Style::State(bad, _) => bad.to_owned(),
    }
}

/// What is wrong, and what to do about it.
fn sentence(finding: &Finding<'_>, subject: &str, value: &str, limit: Option<f64>, held: u64) -> String {
    let what = what(finding, subject, value, limit, held);
    match finding.rule.hint {
        "" => what,
        _ if finding.status == Status::Resolved => what,
        hint => format!("{what}. {hint}"),
    }
}

fn what(finding: &Finding<'_>, subject: &str, value: &str, limit: Option<f64>, held: u64) -> String {
    let rule = finding.rule;
    let span = span(held);
    if let Style::State(bad, good) = rule.style {
        return match (finding.status, finding.gone) {
            (Status::Resolved, true) => {
                format!("{subject} is no longer reported; the alert stood for {span}")
            }
            (Status::Resolved, false) => format!("{subject} {good} after {span}"),
            (Status::Firing | Status::Updated, _) => format!("{subject} {bad}"),
        };
    }
    let limit = limit.map(|l| told(rule, l)).unwrap_or_default();
    let side = match rule.policy.limits.op {
        Op::Above => "over",
        Op::Below => "under",
    };
    match (finding.status, finding.gone) {
        (Status::Resolved, true) => format!("{subject} is no longer reported; the alert stood for {span}"),
        (Status::Resolved, false) => format!("{subject} is back to {value} after {span}"),
        (Status::Firing, _) => format!("{subject} is {value}, {side} {limit} for {span}"),
        (Status::Updated, _) => {
            format!("{subject} is {value}, now {side} {limit}; the alert stands for {span}")
        }
    }
}

fn context(finding: &Finding<'_>, held: u64) -> serde_json::Map<String, Value> {
    let mut c = Context::default();
    let level = match finding.firing.level {
        Severity::Critical | Severity::Emergency => "critical",
        Severity::Warn | Severity::Info => "warn",
    };
    c.put("level", Some(level)).put("held_secs", Some(held));
    c.put_if("last_minutes", finding.recent.map(|r| {
        json!({ "min": r.min, "mean": r.mean, "max": r.max, "change": finding.series.value - r.first, "samples": r.samples })
    }));
    let by = finding.rule.culprits;
    c.put_if(
        "top_processes",
        finding.processes.and_then(|t| by.top(t)).filter(|_| finding.status != Status::Resolved),
    );
    c.done()
}

/// Which processes are worth naming beside a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprits {
    /// None.
    Nobody,
    /// Those that use most CPU.
    Cpu,
    /// Those that hold most memory.
    Memory,
}

impl Culprits {
    fn top(self, table: &ProcTable) -> Option<Value> {
        let list: Vec<Value> = match self {
            Self::Nobody => return None,
            Self::Memory => table
                .rows
                .iter()
                .take(TOP)
                .map(|r| json!({ "pid": r.pid, "comm": &*r.comm, "rss_kb": r.rss_bytes / 1024 }))
                .collect(),
            Self::Cpu => {
                let mut rows: Vec<_> = table.rows.iter().collect();
                rows.sort_by(|a, b| b.cpu_percent.total_cmp(&a.cpu_percent));
                let shown = rows.into_iter().take(TOP);
                shown
                    .map(|r| json!({ "pid": r.pid, "comm": &*r.comm, "cpu_percent": r.cpu_percent }))
                    .collect()
            }
        };
        Some(Value::Array(list))
    }
}
