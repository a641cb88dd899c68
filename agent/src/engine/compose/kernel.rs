//! Alerts of slow block I/O and kernel-log lines.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Context, Draft, fingerprint};
use crate::alert::{Severity, Status};
use crate::engine::events;
use crate::event::{Event, LogMatch, SlowIo};
use crate::text::{clean, number};

const MAX_NAME: usize = 64;
const MAX_TEXT: usize = 300;

/// Rule name of slow requests.
pub const IO_RULE: &str = "block_io_latency";

/// The alert of a slow block request.
pub fn slow_io(event: &Event, io: &SlowIo, id: String) -> Draft {
    let device = clean(&io.device, MAX_NAME);
    let issuer =
        io.issuer.comm.as_deref().map(|c| format!(", issued by {}", clean(c, MAX_NAME))).unwrap_or_default();
    let failed = if io.error == 0 { String::new() } else { format!(", and failed with error {}", io.error) };
    let latency = number(io.latency_ms);
    let mut c = Context::default();
    c.put("sector", Some(io.sector))
        .put("bytes", Some(io.bytes))
        .put("error", Some(io.error))
        .put("latency_ms", Some(io.latency_ms))
        .put("issuer_pid", io.issuer.pid)
        .put("issuer_comm", io.issuer.comm.as_deref())
        .put_if("issuer_cgroup", io.issuer.cgroup.as_deref());
    Draft {
        rule: IO_RULE.into(),
        noun: "slow block requests",
        phrase: format!("{device} {} {latency} ms", io.op),
        lasts: false,
        severity: Severity::Warn,
        metric: events::IO_LATENCY.name,
        value: io.latency_ms,
        threshold: Some(io.threshold_ms),
        message: format!(
            "Slow disk: a {} of {} bytes on {device} took {latency} ms (limit {} ms){issuer}{failed}",
            io.op,
            io.bytes,
            number(io.threshold_ms)
        ),
        labels: BTreeMap::from([("device".into(), device.clone()), ("op".into(), io.op.into())]),
        status: Status::Firing,
        id,
        fingerprint: fingerprint([IO_RULE, &device, io.op]),
        started: event.at,
        ended: None,
        sources: vec![event.source],
        context: c.done(),
    }
}

/// The alert of a kernel-log line.
pub fn log(event: &Event, found: &LogMatch, id: String) -> Draft {
    let line = clean(&found.line, MAX_TEXT);
    let mut labels = BTreeMap::from([("rule".to_owned(), found.rule.clone())]);
    labels.extend(found.fields.iter().map(|(k, v)| (k.clone(), clean(v, MAX_NAME))));
    let parts = labels.values().map(String::as_str).collect::<Vec<_>>();
    let print = fingerprint(parts);
    let mut c = Context::default();
    c.put("line", Some(line.clone())).put("kernel_time_ns", Some(event.at.mono_ns));
    Draft {
        rule: found.rule.clone(),
        noun: "kernel-log alerts",
        phrase: clean(&found.line, 80),
        lasts: false,
        severity: found.severity,
        metric: events::LOG_EVENTS.name,
        value: 1.0,
        threshold: None,
        message: format!("{}: {line}", found.meaning),
        labels,
        status: Status::Firing,
        id,
        fingerprint: print,
        started: event.at,
        ended: None,
        sources: vec![event.source],
        context: c.done(),
    }
}

/// The alert of several drafts told as one.
pub fn summary(first: &Draft, count: u64, listed: &[(String, u64)], window_secs: u64, id: String) -> Draft {
    const LISTED: usize = 10;
    let mut parts: Vec<String> = listed
        .iter()
        .take(LISTED)
        .map(|(phrase, n)| if *n == 1 { phrase.clone() } else { format!("{phrase} ×{n}") })
        .collect();
    let named: u64 = listed.iter().take(LISTED).map(|(_, n)| n).sum();
    if count > named {
        parts.push(format!("and {} more", count - named));
    }
    let ended = first.status == Status::Resolved;
    let message = if ended {
        format!("{count} {} are over: {}", first.noun, parts.join(", "))
    } else {
        format!("{count} more {} within {window_secs} s: {}", first.noun, parts.join(", "))
    };
    Draft {
        message,
        id,
        value: count as f64,
        threshold: None,
        labels: BTreeMap::new(),
        fingerprint: fingerprint([first.rule.as_str(), "group"]),
        context: serde_json::Map::from_iter([("grouped".to_owned(), Value::from(count))]),
        ..first.clone()
    }
}
