//! Alerts of metrics beyond their limits.

use std::collections::BTreeMap;

pub use super::culprits::Culprits;
use super::words::Words;
use super::{Context, Draft, Identity, fingerprint, lived_secs};
use crate::alert::{HELD_SECS, LEVEL, Severity, Status};
use crate::analyze::threshold::{Op, Verdict};
use crate::analyze::trend::Trend;
use crate::analyze::usual::Off;
use crate::cgroup::owner;
use crate::engine::condition::Firing;
use crate::engine::limits::{ALL_LABELS, Rule, Style};
use crate::engine::series::{Series, SeriesTable};
use crate::engine::store::Summary;
use crate::sample::ProcTable;
use crate::text::{clean, number, span, with_unit};
use crate::time::Now;
use serde_json::{Value, json};

const MAX_LABEL: usize = 200;
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
    /// Why it ended without a value below the limit: `is no longer reported`.
    pub gone: Option<&'static str>,
    /// Who speaks.
    pub identity: &'a Identity,
    /// Where the value is going.
    pub trend: Option<Trend>,
    /// The last minutes, drawn.
    pub sparkline: Option<String>,
    /// How far its value is off, and what is usual; `None`: it is not.
    pub unusual: Option<(Off, f64)>,
    /// All series, for those of processes.
    pub table: Option<&'a SeriesTable>,
}

/// The alert.
pub fn draft(finding: &Finding<'_>, id: String, now: Now) -> Draft {
    let Finding { rule, series, firing, status, .. } = finding;
    let labels = labels(series);
    let limit = rule.limit(firing.level);
    let started = firing.started(now);
    let held = lived_secs(started, now);
    let subject = subject(rule, &labels);
    let value = told(rule, series, series.value);
    let fingerprint = print(&rule.name, &labels);
    let message = own_message(finding, &labels, limit, now)
        .unwrap_or_else(|| sentence(finding, &subject, &value, limit, held));
    Draft {
        rule: rule.name.clone(),
        place: String::new(),
        noun: rule.noun.clone(),
        phrase: format!("{subject} ({value})"),
        lasts: true,
        severity: if *status == Status::Resolved { firing.worst } else { firing.level },
        metric: series.metric.name.into(),
        value: series.value,
        threshold: limit,
        message,
        labels,
        status: *status,
        id,
        fingerprint,
        started,
        ended: (*status == Status::Resolved).then_some(now),
        sources: Vec::new(),
        runbook_url: rule.own.as_ref().and_then(|own| own.runbook_url.clone()),
        context: context(finding, held),
    }
}

/// The labels of a series, harmless.
pub fn labels(series: &Series) -> BTreeMap<String, String> {
    let all = series.metric.labels.iter().zip(&*series.labels);
    all.map(|(name, value)| ((*name).to_owned(), clean(value, MAX_LABEL))).collect()
}

/// The fingerprint of a condition.
pub fn print(rule: &str, labels: &BTreeMap<String, String>) -> String {
    let lasting = labels.iter().filter(|(name, _)| *name != SINCE).map(|(_, value)| value.as_str());
    fingerprint([rule].into_iter().chain(lasting))
}

/// The message in the words of the configuration. `None` for an end, without a template, or where it cannot be
/// filled in.
fn own_message(
    finding: &Finding<'_>,
    labels: &BTreeMap<String, String>,
    limit: Option<f64>,
    now: Now,
) -> Option<String> {
    let own = finding.rule.own.as_ref().filter(|own| !own.message.is_empty())?;
    if finding.status == Status::Resolved {
        return None;
    }
    let words = Words {
        severity: finding.firing.level,
        metric: finding.series.metric.name,
        value: finding.series.value,
        threshold: limit,
        labels,
        trend: finding.trend.map(|trend| trend.words()),
    };
    words.fill(&own.message, finding.identity, now)
}

fn subject(rule: &Rule, labels: &BTreeMap<String, String>) -> String {
    let shown = |name: &str| rule.shown == ALL_LABELS || rule.shown.contains(&name);
    let in_order = |name: &&String| rule.shown.iter().position(|s| s == name);
    let mut names: Vec<&String> = labels.keys().filter(|name| shown(name)).collect();
    names.sort_by_key(in_order);
    let values: Vec<&str> = names
        .iter()
        .filter_map(|name| labels.get(*name))
        .map(String::as_str)
        .filter(|v| !v.is_empty())
        .collect();
    if values.is_empty() {
        rule.subject.to_string()
    } else {
        format!("{} {}", rule.subject, values.join(" "))
    }
}

/// A value in the words of its rule.
fn told(rule: &Rule, series: &Series, value: f64) -> String {
    match rule.style {
        Style::Unit => with_unit(series.metric.unit, value),
        Style::Number(unit) => format!("{}{unit}", number(value)),
        Style::State(bad, _) => bad.to_owned(),
        Style::Ahead(..) => span((value * 3600.0) as u64),
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
    if let Style::Ahead(bad, good) = rule.style {
        return match (finding.status, finding.gone) {
            (Status::Resolved, Some(why)) => format!("{subject} {why}; the alert stood for {span}"),
            (Status::Resolved, None) => format!("{subject} {good} (the alert stood for {span})"),
            (Status::Firing | Status::Updated, _) => {
                format!("{subject} {bad} in {value}, if it goes on like this")
            }
        };
    }
    if let Style::State(bad, good) = rule.style {
        return match (finding.status, finding.gone) {
            (Status::Resolved, Some(why)) => format!("{subject} {why}; the alert stood for {span}"),
            (Status::Resolved, None) => format!("{subject} {good} after {span}"),
            (Status::Firing | Status::Updated, _) => format!("{subject} {bad}"),
        };
    }
    let Some(at) = limit else { return format!("{subject} is {value}") };
    let limit = told(rule, finding.series, at);
    let side = match rule.policy.limits.op {
        Op::Above => "over",
        Op::Below => "under",
        Op::AtLeast => "at or over",
        Op::AtMost => "at or under",
        Op::Equal => "which is",
        Op::NotEqual => "not",
    };
    // What fell, and what waited to be told, may be in the margin of its limit.
    let is_near = rule.policy.limits.judge(finding.series.value, at) != Verdict::Beyond;
    let has_fallen = finding.firing.level < finding.firing.worst;
    match (finding.status, finding.gone) {
        (Status::Resolved, Some(why)) => format!("{subject} {why}; the alert stood for {span}"),
        (Status::Resolved, None) => format!("{subject} is back to {value} after {span}"),
        (Status::Firing, _) if is_near => {
            format!("{subject} is {value}, not yet clear of {limit} after {span}")
        }
        (Status::Firing, _) => format!("{subject} is {value}, {side} {limit} for {span}"),
        (Status::Updated, _) => {
            let how = match (is_near, has_fallen) {
                (true, _) => format!("not yet clear of {limit}"),
                (false, true) => format!("still {side} {limit}"),
                (false, false) => format!("now {side} {limit}"),
            };
            format!("{subject} is {value}, {how}; the alert stands for {span}")
        }
    }
}

fn context(finding: &Finding<'_>, held: u64) -> serde_json::Map<String, Value> {
    let mut c = Context::default();
    let level = match finding.firing.level {
        Severity::Critical | Severity::Emergency => "critical",
        Severity::Warn | Severity::Info => "warn",
    };
    c.put(LEVEL, Some(level)).put(HELD_SECS, Some(held));
    c.put_if("last_minutes", finding.recent.map(|r| {
        json!({ "min": r.min, "mean": r.mean, "max": r.max, "change": finding.series.value - r.first, "samples": r.samples })
    }));
    c.put_if(
        "unusual",
        finding
            .unusual
            .map(|(off, usual)| json!({ "zscore": off.zscore, "ema_deviation": off.ema, "usual": usual })),
    );
    c.put_if("analyzer", matches!(finding.rule.style, Style::Ahead(..)).then_some("trend"));
    c.put_if("trend", finding.trend.map(|trend| trend.words()));
    c.put_if("trend_per_hour", finding.trend.map(|trend| trend.per_hour));
    c.put_if("sparkline", finding.sparkline.clone());
    if finding.status != Status::Resolved {
        c.put_if("top_processes", finding.rule.culprits.top(finding.processes, finding.table));
        c.put_if("what_to_do", Some(finding.rule.hint).filter(|hint| !hint.is_empty()));
    }
    let group = finding.series.label("cgroup").map(owner);
    c.put_if("unit", group.as_ref().and_then(|o| o.unit.as_deref()).map(|unit| clean(unit, MAX_LABEL)));
    c.put_if("container", group.and_then(|o| o.container).map(|container| container.short_id()));
    c.done()
}
