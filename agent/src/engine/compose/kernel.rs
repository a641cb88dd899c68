//! Alerts of hung tasks and kernel-log lines.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Context, Draft, Identity, fingerprint};
use crate::alert::{Severity, Status};
use crate::cgroup::owner;
use crate::engine::events;
use crate::engine::incident::Report;
use crate::event::{Event, Hang, LogMatch};
use crate::text::clean;

const MAX_NAME: usize = 64;
const MAX_TEXT: usize = 300;

/// Rule name of hung tasks.
pub const HANG_RULE: &str = "hung_task";

/// The alert of a hung task.
pub fn hang(report: &Report, hang: &Hang, id: String, identity: &Identity) -> Draft {
    let incident = &report.incident;
    let owner = hang.task.cgroup.as_deref().map(owner).unwrap_or_default();
    let comm = hang.task.comm.as_deref().map_or_else(|| "unknown task".into(), |c| clean(c, MAX_NAME));
    let pid = hang.task.pid.unwrap_or_default();
    let blocked = hang
        .blocked_secs
        .map_or("for longer than the kernel's limit".into(), |s| format!("for more than {s} s"));
    let wait =
        hang.wchan.as_deref().map(|w| format!(", waiting in {}", clean(w, MAX_NAME))).unwrap_or_default();
    let mut labels = BTreeMap::from([("process".to_owned(), comm.clone())]);
    labels.extend(owner.unit.as_ref().map(|u| ("unit".to_owned(), clean(u, MAX_TEXT))));
    labels.extend(owner.container.as_ref().map(|c| ("container".to_owned(), c.short_id().to_owned())));
    let mut c = Context::default();
    c.put("task_pid", hang.task.pid)
        .put("task_comm", hang.task.comm.as_deref())
        .put("task_cmdline", hang.task.cmdline.as_deref())
        .put("task_cgroup", hang.task.cgroup.as_deref())
        .put("blocked_secs", hang.blocked_secs)
        .put("wait_channel", hang.wchan.as_deref())
        .put("kernel_stack", (!hang.stack.is_empty()).then(|| json!(hang.stack)))
        .put(
            "incident",
            Some(json!({
                "kind": "hang", "pid": hang.task.pid, "comm": hang.task.comm,
                "kernel_time_ns": incident.at.mono_ns, "boot_id": identity.boot_id,
            })),
        );
    Draft {
        rule: HANG_RULE.into(),
        noun: "hung tasks",
        phrase: format!("{comm} ({pid})"),
        lasts: false,
        severity: Severity::Warn,
        metric: events::HUNG_TASKS.name,
        value: 1.0,
        threshold: hang.blocked_secs.map(|s| s as f64),
        message: format!("Hung task: {comm} (pid {pid}) has been blocked in the kernel {blocked}{wait}"),
        labels,
        status: if report.update { Status::Updated } else { Status::Firing },
        id,
        fingerprint: fingerprint([HANG_RULE, &comm, &pid.to_string()]),
        started: incident.at,
        ended: None,
        sources: incident.sources.clone(),
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
