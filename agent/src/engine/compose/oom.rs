//! The OOM alert: which process the kernel killed, why, where it lived, and who else was eating the memory.

mod context;
mod fill;
mod uncounted;

use std::collections::BTreeMap;

use super::{Draft, Identity, fingerprint};
use crate::alert::{Severity, Status};
use crate::cgroup::{Owner, owner};
use crate::engine::events::OOM_KILLS;
use crate::engine::incident::Report;
use crate::event::{Constraint, Oom, Task};
use crate::sample::ProcTable;
use crate::text::{clean, kib};
pub use fill::{fill_from_groups, fill_from_table, find_group};
pub use uncounted::draft_uncounted;

/// Rule name of OOM kills.
pub const RULE: &str = "oom_kill";
/// Longest process name or path in a sentence, characters.
const MAX_NAME: usize = 64;
const MAX_PATH: usize = 200;

/// The alert of one kill.
pub fn draft(
    report: &Report,
    oom: &Oom,
    id: String,
    table: Option<&ProcTable>,
    identity: &Identity,
) -> Draft {
    let incident = &report.incident;
    let owner = oom.victim.cgroup.as_deref().map(owner).unwrap_or_default();
    let comm = name(&oom.victim);
    let labels = labels(oom, &owner, &comm);
    let group = oom.victim.cgroup.as_deref().or(oom.oom_memcg.as_deref()).unwrap_or("");
    Draft {
        rule: RULE.into(),
        place: grouped_by(oom),
        noun: "OOM kills".into(),
        phrase: format!(
            "{comm}{}{}",
            more(oom),
            place(&owner).map(|p| format!(" in {p}")).unwrap_or_default()
        ),
        lasts: false,
        severity: Severity::Critical,
        metric: OOM_KILLS.name.into(),
        value: 1.0,
        threshold: None,
        message: sentence(oom, &owner),
        labels,
        status: if report.update { Status::Updated } else { Status::Firing },
        id,
        fingerprint: fingerprint([RULE, &comm, group]),
        started: incident.at,
        ended: None,
        sources: incident.sources.clone(),
        runbook_url: None,
        context: context::context(oom, &owner, table, incident.at, identity),
    }
}

/// Kills for lack of memory in one place are grouped: the control group that ran out of it, or the machine.
fn grouped_by(oom: &Oom) -> String {
    match &oom.constraint {
        Some(Constraint::Memcg) | None => {
            oom.oom_memcg.as_ref().or(oom.victim.cgroup.as_ref()).cloned().unwrap_or_default()
        }
        Some(_) => "host".into(),
    }
}

fn name(task: &Task) -> String {
    match task.comm.as_deref() {
        None => "unknown process".into(),
        Some("") => "a process without a name".into(),
        Some(comm) => clean(comm, MAX_NAME),
    }
}

fn labels(oom: &Oom, owner: &Owner, comm: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        ("process".to_owned(), comm.to_owned()),
        ("scope".to_owned(), scope(oom.constraint.as_ref()).to_owned()),
    ]);
    if let Some(unit) = &owner.unit {
        labels.insert("unit".into(), clean(unit, MAX_PATH));
    }
    if let Some(container) = &owner.container {
        labels.insert("container".into(), container.short_id());
        labels.insert("runtime".into(), container.runtime.to_owned());
    }
    if let Some(pod) = &owner.pod_uid {
        labels.insert("pod_uid".into(), pod.clone());
    }
    labels
}

fn scope(constraint: Option<&Constraint>) -> &str {
    match constraint {
        None => "unknown",
        Some(Constraint::None) => "global",
        Some(Constraint::Cpuset) => "cpuset",
        Some(Constraint::MemoryPolicy) => "mempolicy",
        Some(Constraint::Memcg) => "memcg",
        Some(Constraint::Other(_)) => "other",
    }
}

/// `java (pid 4711, uid 1000, 3.2 GiB resident) was killed: container ab12… reached its limit of 4.0 GiB; triggered by …`
fn sentence(oom: &Oom, owner: &Owner) -> String {
    let mut facts = vec![oom.victim.pid.map_or("pid unknown".into(), |p| format!("pid {p}"))];
    facts.extend(oom.victim.uid.map(|u| format!("uid {u}")));
    facts.push(oom.rss_kb().map_or("size unknown".into(), |kb| format!("{} resident", kib(kb))));
    facts.extend(oom.oom_score_adj.filter(|adj| *adj != 0).map(|adj| format!("oom_score_adj {adj}")));
    let at = place(owner).map(|p| format!(" in {p}")).unwrap_or_default();
    let fate = if oom.victims() > 1 { "were killed together" } else { "was killed" };
    format!(
        "OOM kill: {} ({}){}{at} {fate}: {}{}",
        name(&oom.victim),
        facts.join(", "),
        more(oom),
        reason(oom),
        trigger(oom)
    )
}

/// The others of a group that died together.
fn more(oom: &Oom) -> String {
    match oom.victims() - 1 {
        0 => String::new(),
        1 => " and 1 more process".into(),
        more => format!(" and {more} more processes"),
    }
}

pub(super) fn place(owner: &Owner) -> Option<String> {
    match (&owner.container, &owner.unit) {
        (Some(container), _) => Some(format!("container {} ({})", container.short_id(), container.runtime)),
        (None, Some(unit)) => Some(clean(unit, MAX_PATH)),
        (None, None) => None,
    }
}

fn reason(oom: &Oom) -> String {
    let limit = oom.limit_kb.filter(|_| oom.figures_belong()).map_or("unknown size".into(), kib);
    let group = oom.oom_memcg.as_deref().map(|g| clean(g, MAX_PATH));
    match (&oom.constraint, group) {
        (Some(Constraint::None), _) => {
            let size = oom.host.and_then(|host| host.total_kb).map(|kb| format!(" ({} in all)", kib(kb)));
            format!("the machine ran out of memory{}", size.unwrap_or_default())
        }
        (Some(Constraint::Cpuset), _) => "the memory nodes of its cpuset ran out of memory".into(),
        (Some(Constraint::MemoryPolicy), _) => {
            "the memory nodes of its memory policy ran out of memory".into()
        }
        (Some(Constraint::Memcg), Some(group)) if oom.memcg_guessed => {
            format!("a memory cgroup reached its limit, by the figures {group} ({limit})")
        }
        (Some(Constraint::Memcg), Some(group)) => format!("cgroup {group} reached its limit of {limit}"),
        (Some(Constraint::Memcg), None) => {
            "its memory cgroup, or one around it, reached its limit; which one is unknown".into()
        }
        (Some(Constraint::Other(word)), _) => {
            format!("the kernel gives {} as the reason", clean(word, MAX_NAME))
        }
        (None, Some(group)) => format!("whether cgroup {group} or the machine ran out is unknown"),
        (None, None) if oom.victim.cgroup.as_deref().is_some_and(|own| own.len() > 1) => {
            "whether its cgroup, one around it or the machine ran out is unknown".into()
        }
        (None, None) => "what ran out of memory is unknown".into(),
    }
}

fn trigger(oom: &Oom) -> String {
    match (oom.trigger.pid, &oom.trigger.comm) {
        _ if oom.triggered_itself() => "; its own allocation triggered it".into(),
        (Some(pid), Some(_)) => format!("; triggered by {} (pid {pid})", name(&oom.trigger)),
        (Some(pid), None) => format!("; triggered by pid {pid}"),
        (None, Some(_)) => format!("; triggered by {}", name(&oom.trigger)),
        (None, None) => "; trigger unknown".into(),
    }
}

/// The kernel's own word for a constraint.
pub fn constraint_text(constraint: &Constraint) -> &str {
    match constraint {
        Constraint::None => "CONSTRAINT_NONE",
        Constraint::Cpuset => "CONSTRAINT_CPUSET",
        Constraint::MemoryPolicy => "CONSTRAINT_MEMORY_POLICY",
        Constraint::Memcg => "CONSTRAINT_MEMCG",
        Constraint::Other(word) => word,
    }
}
