//! Alerts of block devices: one slow request, many slow ones, one that failed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Context, Draft, Identity, fingerprint};
use crate::alert::{Severity, Status};
use crate::cgroup::owner;
use crate::engine::disk::Finding;
use crate::engine::events;
use crate::engine::incident::Report;
use crate::event::{Event, IoError, SlowIo, Task};
use crate::sample::{DiskScene, DiskWindow, Issuer, IssuerGroup, Latency};
use crate::text::{clean, number, span};
use crate::time::{Now, SECOND};

const MAX_NAME: usize = 64;
const MAX_TEXT: usize = 300;

/// Rule name of slow requests.
pub const SLOW_RULE: &str = "block_io_latency";
/// Rule and metric of slow devices.
pub const P99: &str = "block_io_latency_p99_ms";
/// Rule of failed requests; the kernel log may have told a closer one.
pub const ERROR_RULE: &str = "io_error";

/// The alert of one slow request.
pub fn slow_request(event: &Event, io: &SlowIo, id: String) -> Draft {
    let device = clean(&io.device, MAX_NAME);
    let issuer =
        io.issuer.comm.as_deref().map(|c| format!(", issued by {}", clean(c, MAX_NAME))).unwrap_or_default();
    let failed = if io.error == 0 { String::new() } else { format!(", and failed: {}", errno(io.error)) };
    let waited = io.queue_ms.map(|ms| format!(" after {} ms in the queue", number(ms))).unwrap_or_default();
    let latency = number(io.latency_ms);
    let mut c = Context::default();
    c.put("sector", Some(io.sector))
        .put("bytes", Some(io.bytes))
        .put("error", Some(io.error))
        .put("latency_ms", Some(io.latency_ms))
        .put_if("queue_ms", io.queue_ms)
        .put_if("model", io.model.as_deref())
        .put_if("in_flight", io.in_flight.map(in_flight))
        .put("issuer_pid", io.issuer.pid)
        .put("issuer_comm", io.issuer.comm.as_deref())
        .put_if("issuer_cgroup", io.issuer.cgroup.as_deref());
    Draft {
        rule: SLOW_RULE.into(),
        place: device.clone(),
        noun: "slow block requests".into(),
        phrase: format!("{device} {} {latency} ms", io.op),
        severity: Severity::Warn,
        metric: events::IO_LATENCY.name.into(),
        value: io.latency_ms,
        threshold: Some(io.threshold_ms),
        message: format!(
            "Slow disk: a {} of {} bytes on {} took {latency} ms (limit {} ms){waited}{issuer}{failed}",
            io.op,
            io.bytes,
            named(&io.device, io.model.as_deref()),
            number(io.threshold_ms)
        ),
        labels: labels(&io.device, Some(io.op)),
        fingerprint: fingerprint([SLOW_RULE, &device, io.op]),
        context: c.done(),
        ..Draft::of(event, id)
    }
}

/// The alert of a slow device.
pub fn slow_disk(finding: &Finding<'_>, id: String, now: Now) -> Draft {
    let Finding { window, scene, severity, status, limit_ms, usual_ms, started } = *finding;
    let device = clean(&window.device, MAX_NAME);
    let p99 = window.latency.map(|l| l.p99_ms);
    let shown = p99.map_or("quiet".into(), |ms| format!("{} ms", number(ms)));
    Draft {
        rule: P99.into(),
        place: String::new(),
        noun: "slow-disk alerts".into(),
        phrase: format!("{} of {device} ({shown})", plural(window.op)),
        lasts: true,
        severity,
        metric: P99.into(),
        value: p99.unwrap_or_default(),
        threshold: limit_ms,
        message: slow_disk_sentence(finding, now),
        labels: labels(&window.device, Some(window.op)),
        status,
        id,
        fingerprint: fingerprint([P99, &device, window.op]),
        started,
        ended: (status == Status::Resolved).then_some(now),
        sources: vec![crate::event::Source::Ebpf],
        runbook_url: None,
        context: slow_disk_context(window, scene, usual_ms, now.since(started) / SECOND),
    }
}

fn slow_disk_sentence(finding: &Finding<'_>, now: Now) -> String {
    let Finding { window, scene, status, limit_ms, usual_ms, started, .. } = *finding;
    let model = scene.and_then(|s| s.model.as_deref());
    let what = format!("{} on {}", plural(window.op), named(&window.device, model));
    let held = span(now.since(started) / SECOND);
    let Some(latency) = window.latency else {
        return format!(
            "Slow disk: {what} are no longer judged, there are too few; the alert stood for {held}"
        );
    };
    let p99 = number(latency.p99_ms);
    if status == Status::Resolved {
        return format!("Disk is fast again: 99 of 100 {what} take at most {p99} ms after {held}");
    }
    let over = match (limit_ms, usual_ms) {
        (Some(limit), _) => format!("over {} ms", number(limit)),
        (None, Some(usual)) => {
            format!("{} times the usual {} ms,", number((latency.p99_ms / usual).round()), number(usual))
        }
        (None, None) => "over its limit".into(),
    };
    let mut parts =
        vec![format!("Slow disk: the slowest 1 % of {what} took {p99} ms or more, {over} for {held}")];
    let in_flight = scene.and_then(|s| s.in_flight);
    parts.extend(in_flight.map(|(reads, writes)| format!("{} in flight", reads + writes)));
    parts.extend((window.errors > 0).then(|| format!("{} errors", window.errors)));
    parts.extend(scene.and_then(|s| {
        let top = s.issuers.first()?;
        Some(format!("most requests by {}: {} of {}", who(&top.task), top.requests, s.requests))
    }));
    parts.extend(scene.and_then(|s| {
        let top = s.groups.iter().find(|group| group.path != "/")?;
        Some(format!("most from {}: {} of {}", home(&top.path), top.requests, s.requests))
    }));
    parts.join("; ")
}

fn slow_disk_context(
    window: &DiskWindow,
    scene: Option<&DiskScene>,
    usual_ms: Option<f64>,
    held_secs: u64,
) -> serde_json::Map<String, Value> {
    let mut c = Context::default();
    c.put("held_secs", Some(held_secs))
        .put("errors", Some(window.errors))
        .put("device_time", window.latency.map(latency))
        .put_if("queue_time", window.queue.map(latency))
        .put_if("usual_p99_ms", usual_ms);
    if let Some(scene) = scene {
        c.put("model", scene.model.as_deref().map(|m| clean(m, MAX_NAME)))
            .put("in_flight", scene.in_flight.map(in_flight));
        let issuers: Vec<Value> = scene.issuers.iter().map(issuer).collect();
        if !issuers.is_empty() {
            c.put("issuers", Some(issuers)).put("issuers_secs", Some(scene.issuers_secs));
        }
        let groups: Vec<Value> = scene.groups.iter().map(group).collect();
        c.put_if("issuer_groups", (!groups.is_empty()).then_some(groups));
    }
    c.done()
}

fn latency(l: Latency) -> Value {
    json!({
        "requests": l.requests, "p50_ms": l.p50_ms, "p90_ms": l.p90_ms, "p99_ms": l.p99_ms,
        "p999_ms": l.p999_ms, "max_ms": l.max_ms,
    })
}

fn in_flight((reads, writes): (u64, u64)) -> Value {
    json!({ "reads": reads, "writes": writes })
}

fn issuer(issuer: &Issuer) -> Value {
    let Issuer { task, requests, bytes } = issuer;
    let owner = task.cgroup.as_deref().map(owner).unwrap_or_default();
    json!({
        "pid": task.pid, "comm": task.comm, "requests": requests, "bytes": bytes, "cgroup": task.cgroup,
        "unit": owner.unit, "container": owner.container.map(|c| c.id), "pod": owner.pod_uid,
    })
}

fn group(group: &IssuerGroup) -> Value {
    let IssuerGroup { path, requests, bytes } = group;
    let owner = owner(path);
    json!({
        "cgroup": path, "requests": requests, "bytes": bytes, "unit": owner.unit,
        "container": owner.container.map(|c| c.id), "pod": owner.pod_uid,
    })
}

/// Container or unit of a group, else its path.
fn home(path: &str) -> String {
    let owner = owner(path);
    let named = owner.container.map(|c| c.short_id()).or(owner.unit);
    clean(named.as_deref().unwrap_or(path), MAX_NAME)
}

/// `postgres (pid 4711, postgresql.service)`
fn who(task: &Task) -> String {
    let comm = task.comm.as_deref().map_or_else(|| "an unknown process".into(), |c| clean(c, MAX_NAME));
    let owner = task.cgroup.as_deref().map(owner).unwrap_or_default();
    let home = owner.container.map(|c| c.short_id()).or(owner.unit);
    let home = home.map(|name| format!(", {}", clean(&name, MAX_NAME))).unwrap_or_default();
    task.pid.map_or_else(|| comm.clone(), |pid| format!("{comm} (pid {pid}{home})"))
}

/// The alert of a failed request.
pub fn error(report: &Report, io: &IoError, id: String, identity: &Identity) -> Draft {
    let incident = &report.incident;
    let device = clean(&io.device, MAX_NAME);
    let (rule, severity, meaning) = judged(io);
    let what = io.op.map_or("a request", article);
    let line = io.log.as_ref().map(|l| clean(&l.line, MAX_TEXT));
    let why = io.error.map(errno).or_else(|| line.clone()).unwrap_or_else(|| "unknown".into());
    let mut c = Context::default();
    c.put("sector", Some(io.sector))
        .put("op", io.op)
        .put("bytes", io.bytes)
        .put("error", io.error)
        .put_if("model", io.model.as_deref().map(|m| clean(m, MAX_NAME)))
        .put_if("line", line)
        .put(
            "incident",
            Some(json!({
                "kind": "io_error", "device": io.device, "sector": io.sector,
                "kernel_time_ns": incident.at.mono_ns, "boot_id": identity.boot_id,
            })),
        );
    let mut labels = labels(&io.device, io.op);
    labels.insert("rule".into(), rule.into());
    Draft {
        rule: rule.into(),
        place: device.clone(),
        noun: "disk errors".into(),
        phrase: format!("{device} sector {}", io.sector),
        lasts: false,
        severity,
        metric: events::IO_ERRORS.name.into(),
        value: 1.0,
        threshold: None,
        message: format!(
            "Disk error: {what} at sector {} of {} failed: {meaning} ({why})",
            io.sector,
            named(&io.device, io.model.as_deref())
        ),
        labels,
        status: if report.update { Status::Updated } else { Status::Firing },
        id,
        fingerprint: fingerprint([rule, &device]),
        started: incident.at,
        ended: None,
        sources: incident.sources.clone(),
        runbook_url: None,
        context: c.done(),
    }
}

/// Rule, severity and meaning: as the kernel log's rule says, else by the sort of drive.
fn judged(io: &IoError) -> (&str, Severity, &str) {
    match &io.log {
        Some(log) => (&log.rule, log.severity, &log.meaning),
        None if io.op == Some("discard") => {
            ("discard_refused", Severity::Info, "a disk may refuse to give back blocks")
        }
        None if io.device.starts_with("sr") || io.device.starts_with("fd") => {
            ("removable_io_error", Severity::Info, "often there is no medium in the drive")
        }
        None if io.device.starts_with("nvme") => {
            ("nvme_error", Severity::Critical, "an NVMe drive could not read or write")
        }
        None => (ERROR_RULE, Severity::Critical, "a disk could not read or write"),
    }
}

fn labels(device: &str, op: Option<&str>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([("device".to_owned(), clean(device, MAX_NAME))]);
    labels.extend(op.map(|op| ("op".to_owned(), op.to_owned())));
    labels
}

/// `sda (Samsung SSD 860)`
fn named(device: &str, model: Option<&str>) -> String {
    let device = clean(device, MAX_NAME);
    model.map_or_else(|| device.clone(), |m| format!("{device} ({})", clean(m.trim(), MAX_NAME)))
}

fn article(op: &str) -> &'static str {
    match op {
        "read" => "a read",
        "write" => "a write",
        "flush" => "a flush",
        "discard" => "a discard",
        _ => "a request",
    }
}

fn plural(op: &str) -> &'static str {
    match op {
        "read" => "reads",
        "write" => "writes",
        "flush" => "flushes",
        "discard" => "discards",
        _ => "other requests",
    }
}

/// What the block layer means by an errno (`blk_errors`, `block/blk-core.c`).
fn errno(error: i32) -> String {
    let meaning = match error {
        -5 => "I/O error",
        -11 => "would have to wait",
        -12 => "the kernel lacks memory",
        -16 => "device busy",
        -19 => "device offline",
        -28 => "no space left on the device",
        -52 => "reservation conflict",
        -61 => "medium error",
        -67 => "lost connection to the device",
        -84 => "wrong checksum",
        -95 => "not supported",
        -110 => "timeout",
        -121 => "the device refused",
        _ => return format!("error {error}"),
    };
    format!("{meaning} ({error})")
}

#[cfg(test)]
#[path = "io_tests.rs"]
mod tests;
