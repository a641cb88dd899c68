//! Kills that only a counter saw.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{MAX_PATH, RULE, context};
use crate::alert::{Severity, Status};
use crate::cgroup::owner;
use crate::engine::compose::{Context, Draft, fingerprint};
use crate::engine::events::OOM_KILLS;
use crate::sample::ProcTable;
use crate::text::clean;
use crate::time::Now;

/// The alert of kills that only the kernel's counter told. `groups`: those whose own counters rose too.
pub fn draft_uncounted(
    count: u64,
    id: String,
    now: Now,
    blind: bool,
    groups: &[(Arc<str>, u64)],
    table: Option<&ProcTable>,
) -> Draft {
    let why = if blind {
        "neither eBPF nor the kernel log can be read here"
    } else {
        "neither eBPF nor the kernel log told of it"
    };
    let what = if count == 1 { "1 process".into() } else { format!("{count} processes") };
    let mut context = Context::default();
    context
        .put("kills", Some(count))
        .put("cgroups", Some(context::counted(groups)).filter(|_| !groups.is_empty()))
        .put("largest_processes", table.map(context::largest));
    let mut labels = BTreeMap::from([("scope".to_owned(), "unknown".to_owned())]);
    if let [(path, _)] = groups {
        labels.extend(owner(path).unit.map(|unit| ("unit".to_owned(), clean(&unit, MAX_PATH))));
    }
    for name in ["victim_pid", "victim_comm", "constraint", "oom_memcg"] {
        context.put(name, None::<Value>);
    }
    Draft {
        rule: RULE.into(),
        place: String::new(),
        noun: "OOM kills".into(),
        phrase: format!("{what} unknown"),
        lasts: false,
        severity: Severity::Critical,
        metric: OOM_KILLS.name.into(),
        value: count as f64,
        threshold: None,
        message: format!(
            "OOM kill: the kernel killed {what}{} for lack of memory; which is unknown, because {why} \
             (vmstat oom_kill rose by {count}). See: sysops-agent doctor",
            place(groups)
        ),
        labels,
        status: Status::Firing,
        id,
        fingerprint: fingerprint([RULE, "counter"]),
        started: now,
        ended: None,
        sources: vec![crate::event::Source::Counter],
        runbook_url: None,
        context: context.done(),
    }
}

/// Where, as far as the groups' own counters tell.
fn place(groups: &[(Arc<str>, u64)]) -> String {
    match groups {
        [] => String::new(),
        [(path, _)] => format!(" in cgroup {}", clean(path, MAX_PATH)),
        [(path, _), more @ ..] => format!(" in cgroup {} and {} more", clean(path, MAX_PATH), more.len()),
    }
}
