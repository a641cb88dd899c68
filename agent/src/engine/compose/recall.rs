//! The way back: what a stored alert says about incidents that must not be told again.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Draft;
use crate::alert::{Alert, Severity, Status};
use crate::engine::hangs::{LISTED, Listed};
use crate::engine::incident::Body;
use crate::event::{Hang, IoError, MAX_VICTIMS, Oom, Place, Task, TaskId, Victim};
use crate::time::Now;

/// Incidents of this boot that `alert` told, alone or as part of a summary.
pub fn incidents(alert: &Alert, boot_id: &str, now: Now) -> Vec<(Now, Body)> {
    let one = alert.context.get("incident").into_iter();
    let many = alert.context.get("incidents").and_then(Value::as_array).into_iter().flatten();
    one.chain(many).filter_map(|value| incident(value, boot_id, now)).collect()
}

fn incident(value: &Value, boot_id: &str, now: Now) -> Option<(Now, Body)> {
    if boot_id.is_empty() || value.get("boot_id")?.as_str()? != boot_id {
        return None;
    }
    let at = now.at_mono(value.get("kernel_time_ns")?.as_u64()?);
    let body = match value.get("kind")?.as_str()? {
        "oom" => Body::Oom(Box::new(oom(value)?)),
        "io_error" => Body::IoError(Box::new(IoError {
            device: value.get("device")?.as_str()?.to_owned(),
            sector: value.get("sector")?.as_u64()?,
            ..IoError::default()
        })),
        _ => return None,
    };
    Some((at, body))
}

/// Kills by processes in this boot that `alert` told, alone or as part of a summary: when, and their fingerprints.
pub fn user_kills(alert: &Alert, boot_id: &str, now: Now) -> Vec<(Now, String)> {
    let one = alert.context.get("incident").into_iter();
    let many = alert.context.get("incidents").and_then(Value::as_array).into_iter().flatten();
    let kill = |value: &Value| {
        let of_boot = !boot_id.is_empty() && value.get("boot_id")?.as_str()? == boot_id;
        (of_boot && value.get("kind")?.as_str()? == "user_kill").then_some(())?;
        Some((now.at_mono(value.get("kernel_time_ns")?.as_u64()?), text(value, "fingerprint")?))
    };
    one.chain(many).filter_map(kill).collect()
}

fn oom(value: &Value) -> Option<Oom> {
    let victim = Task {
        pid: Some(u32::try_from(value.get("pid")?.as_u64()?).ok()?),
        comm: value.get("comm").and_then(Value::as_str).map(str::to_owned),
        ..Task::default()
    };
    let others = value.get("others").and_then(Value::as_array).into_iter().flatten();
    let others = others.filter_map(Value::as_u64).filter_map(|pid| u32::try_from(pid).ok());
    let other = |pid| Victim { task: Task { pid: Some(pid), ..Task::default() }, rss_kb: None };
    let others = others.take(MAX_VICTIMS).map(other).collect();
    Some(Oom { victim, others, count: 1, ..Oom::default() })
}

/// A hang of this boot that an alert told.
#[derive(Debug)]
pub struct ToldHang {
    /// Id of the incident.
    pub id: String,
    /// The kernel's time of the first report.
    pub at: Now,
    /// When its first task was last seen to run, monotonic nanoseconds.
    pub since_ns: u64,
    /// The first task.
    pub hang: Hang,
    /// The tasks that the alert lists.
    pub tasks: Vec<Listed>,
    /// Tasks in all.
    pub total: u64,
    /// Whether it was told to be over.
    pub over: bool,
}

/// Hangs of this boot that `alert` told, alone or as part of a summary.
pub fn hangs(alert: &Alert, boot_id: &str, now: Now) -> Vec<ToldHang> {
    let one = alert.context.get("incident").into_iter().map(|value| (value, true));
    let many = alert.context.get("incidents").and_then(Value::as_array).into_iter().flatten();
    let all = one.chain(many.map(|value| (value, false)));
    all.filter_map(|(value, alone)| hang(alert, value, alone, boot_id, now)).collect()
}

fn hang(alert: &Alert, value: &Value, alone: bool, boot_id: &str, now: Now) -> Option<ToldHang> {
    if boot_id.is_empty()
        || value.get("boot_id")?.as_str()? != boot_id
        || value.get("kind")?.as_str()? != "hang"
    {
        return None;
    }
    let first = (task_id(value)?, text(value, "comm").unwrap_or_default());
    let listed = alert.context.get("tasks").and_then(Value::as_array).filter(|_| alone);
    let mut tasks: Vec<_> = listed.into_iter().flatten().filter_map(listed_task).take(LISTED).collect();
    if tasks.is_empty() {
        tasks.push(Listed { id: first.0, comm: Some(first.1.clone()), cgroup: None });
    }
    let task = Task {
        pid: Some(first.0.pid),
        comm: Some(first.1),
        start_ticks: first.0.start_ticks,
        ..Task::default()
    };
    let of =
        |name: &str| alert.context.get(name).and_then(Value::as_str).filter(|_| alone).map(str::to_owned);
    let place = Place { layer: None, device: of("device"), mount: of("mount") };
    let total = alert.context.get("tasks_count").and_then(Value::as_u64).filter(|_| alone);
    Some(ToldHang {
        id: text(value, "id")?,
        at: now.at_mono(value.get("kernel_time_ns")?.as_u64()?),
        since_ns: value.get("since_ns")?.as_u64()?,
        hang: Hang { task, wchan: of("wait_channel"), place, ..Hang::default() },
        total: total.unwrap_or(tasks.len() as u64),
        tasks,
        over: alert.status == Status::Resolved || value.get("over").is_some_and(|over| over == true),
    })
}

fn listed_task(value: &Value) -> Option<Listed> {
    Some(Listed { id: task_id(value)?, comm: text(value, "comm"), cgroup: text(value, "cgroup") })
}

fn task_id(value: &Value) -> Option<TaskId> {
    let pid = u32::try_from(value.get("pid")?.as_u64()?).ok()?;
    Some(TaskId { pid, start_ticks: value.get("start_ticks").and_then(Value::as_u64) })
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name).and_then(Value::as_str).map(str::to_owned)
}

/// The level of a condition that `alert` tells of, without what raised it; `None`: it does not say.
pub fn level(alert: &Alert) -> Option<Severity> {
    let level = alert.context.get("level")?.as_str()?;
    Severity::ALL.into_iter().find(|severity| severity.name() == level)
}

/// Whether `alert` tells of a condition: of what stands until it is told to be over.
pub fn lasts(alert: &Alert) -> bool {
    alert.rule == super::io::P99 || alert.context.get("level").is_some_and(Value::is_string)
}

/// What stands, as `alert` tells it.
pub fn standing(alert: &Alert, own: &BTreeMap<String, String>, now: Now) -> Option<Draft> {
    let wall_ns = |text: &str| i64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok();
    let started_ns = wall_ns(&alert.started_at)?;
    let ago = u64::try_from(now.wall_ns.saturating_sub(started_ns)).unwrap_or(0);
    let mut labels = alert.labels.clone();
    labels.retain(|name, value| own.get(name) != Some(value));
    Some(Draft {
        rule: alert.rule.clone(),
        place: String::new(),
        noun: "alerts".into(),
        phrase: alert.rule.clone(),
        lasts: true,
        severity: alert.severity,
        metric: alert.metric.clone().into(),
        value: alert.value,
        threshold: alert.threshold,
        message: alert.message.clone(),
        labels,
        status: alert.status,
        id: alert.id.clone(),
        fingerprint: alert.fingerprint.clone(),
        started: Now { mono_ns: now.mono_ns.saturating_sub(ago), wall_ns: started_ns },
        ended: None,
        sources: Vec::new(),
        runbook_url: alert.runbook_url.clone(),
        context: serde_json::Map::new(),
    })
}

/// When `alert` was made, on today's monotonic clock; `None` for anything but the begin of an incident.
pub fn told_ns(alert: &Alert, now: Now) -> Option<u64> {
    if alert.status != Status::Firing {
        return None;
    }
    let made: jiff::Timestamp = alert.timestamp.parse().ok()?;
    let ago = now.wall_ns.checked_sub(i64::try_from(made.as_nanosecond()).ok()?)?;
    now.mono_ns.checked_sub(u64::try_from(ago).ok()?)
}
