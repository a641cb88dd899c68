//! Alerts of what the analyzers found in the course of a series.

use std::fmt::Write as _;

use serde_json::json;

use super::condition::{labels, print};
use super::{Context, Draft};
use crate::alert::{Severity, Status};
use crate::analyze::leak::Growth;
use crate::analyze::surprise::{Strange, View};
use crate::engine::analysis::{Finding, Plan, Room, Usually};
use crate::engine::series::Series;
use crate::metric::Unit;
use crate::text::{number, span, with_unit};
use crate::time::Now;

/// Rule of a strange course.
pub const ANOMALY: &str = "anomaly";
/// Rule of readings far from the mean of their window.
pub const ZSCORE: &str = "zscore";
/// Rule of readings far from the moving average.
pub const EMA: &str = "ema";
/// Rule of growth that does not come back.
pub const LEAK: &str = "leak";

/// What the kinds of findings differ in.
struct Said {
    rule: &'static str,
    noun: &'static str,
    severity: Severity,
    message: String,
    context: Context,
}

/// Who found it.
pub fn analyzer(finding: &Finding) -> &'static str {
    match finding {
        Finding::Strange(_) => "surprise",
        Finding::Off { from: Usually::Mean, .. } => ZSCORE,
        Finding::Off { from: Usually::Average, .. } => EMA,
        Finding::Leak { .. } => LEAK,
    }
}

/// The alert; `None` where nobody wants it.
pub fn draft(series: &Series, finding: &Finding, plan: &Plan, id: String, now: Now) -> Option<Draft> {
    let labels = labels(series);
    let names: Vec<&str> = labels.values().map(String::as_str).filter(|value| !value.is_empty()).collect();
    let name = [&[series.metric.name], &names[..]].concat().join(" ");
    let Said { rule, noun, severity, message, mut context } = match finding {
        Finding::Strange(strange) => strange_course(series, strange, plan.anomaly?, &name),
        Finding::Off { from, by, usual } => far_off(series, (*from, *by, *usual), plan, &name)?,
        Finding::Leak { growth, sure, room } => leak(series, growth, *sure, *room, plan.leak?),
    };
    context.put("analyzer", Some(analyzer(finding)));
    let fingerprint = print(&format!("{rule} {}", series.metric.name), &labels);
    Some(Draft {
        rule: rule.to_owned(),
        place: String::new(),
        noun: noun.into(),
        phrase: format!("{name} ({})", with_unit(series.metric.unit, series.value)),
        lasts: false,
        severity,
        metric: series.metric.name.into(),
        value: series.value,
        threshold: None,
        message,
        labels,
        status: Status::Firing,
        id,
        fingerprint,
        started: now,
        ended: None,
        sources: Vec::new(),
        runbook_url: None,
        context: context.done(),
    })
}

fn strange_course(series: &Series, strange: &Strange, severity: Severity, name: &str) -> Said {
    let Strange { evidence, view, level, usual } = *strange;
    let how = match view {
        View::High | View::ShortHigh | View::LongHigh => "is unusually high",
        View::Low | View::ShortLow | View::LongLow => "is unusually low",
        View::Jump => "jumped unusually far",
        View::ShortRestless | View::LongRestless => "is unusually restless",
        View::Still => "is unusually still",
    };
    let told = |value| with_unit(series.metric.unit, value);
    let message = format!("{name} {how}: {} lately, usually about {}", told(level), told(usual));
    let mut context = Context::default();
    context.put("evidence", Some(evidence)).put("level", Some(level)).put("usual", Some(usual));
    Said { rule: ANOMALY, noun: "unusual courses", severity, message, context }
}

fn far_off(series: &Series, off: (Usually, f64, Option<f64>), plan: &Plan, name: &str) -> Option<Said> {
    let (from, by, usual) = off;
    let (rule, severity, what, of) = match from {
        Usually::Mean => (ZSCORE, plan.zscore?, "standard deviations", "the mean of its window"),
        Usually::Average => (EMA, plan.ema?, "usual deviations", "its moving average"),
    };
    let side = if by > 0.0 { "above" } else { "below" };
    let value = with_unit(series.metric.unit, series.value);
    let message = format!("{name} is {value}, {} {what} {side} {of}", number(by.abs()));
    let mut context = Context::default();
    context.put("deviations", Some(by)).put_if("usual", usual);
    Some(Said { rule, noun: "unusual readings", severity, message, context })
}

fn leak(series: &Series, growth: &Growth, sure: bool, room: Option<Room>, severity: Severity) -> Said {
    let Growth { per_hour, grown, span_ns, level, r_squared, .. } = *growth;
    let memory = series.metric.unit == Unit::Bytes;
    let told = |value: f64| with_unit(series.metric.unit, value.round());
    let what = if memory { "memory" } else { "open files" };
    let who = who(series);
    let watched = span(span_ns / crate::time::SECOND);
    let hours = room.map(|room| room.left / per_hour);
    let mut message = format!(
        "The {what} of {who} grew by {} in {watched} and did not fall back: {} an hour, now {}",
        told(grown),
        told(per_hour),
        told(level)
    );
    if let (Some(room), Some(hours)) = (room, hours) {
        let until = room.limit.map_or("no memory is left".to_owned(), |limit| {
            format!("its limit of {} is reached", told(limit))
        });
        // Writing to a string cannot fail.
        let _ = write!(message, "; if it goes on, {until} in {}", span((hours * 3600.0) as u64));
    }
    message +=
        if sure { ". Restart it at a good time, and look for what it keeps" } else { ". It may be a leak" };
    let mut context = Context::default();
    context
        .put("per_hour", Some(per_hour))
        .put("grown", Some(grown))
        .put("observed_secs", Some(span_ns / crate::time::SECOND))
        .put("r_squared", Some(r_squared))
        .put_if("hours_left", hours)
        .put_if("limit", room.and_then(|room| room.limit).map(|limit| json!(limit)));
    let severity = if sure { severity } else { Severity::Info };
    Said { rule: LEAK, noun: "leaks", severity, message, context }
}

fn who(series: &Series) -> String {
    let label = |name| series.label(name).map(|value| crate::text::clean(value, 100));
    match (label("comm"), label("pid"), label("name"), label("cgroup")) {
        (Some(comm), Some(pid), ..) => format!("{comm} (pid {pid})"),
        (_, _, Some(name), Some(cgroup)) if name.is_empty() => cgroup,
        (_, _, Some(name), _) => name,
        (_, _, _, cgroup) => cgroup.unwrap_or_else(|| series.metric.name.to_owned()),
    }
}
