//! The OOM alert: which process the kernel killed, why, where it lived, and who else was eating the memory.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Context, Draft, Identity, fingerprint};
use crate::alert::{Severity, Status};
use crate::cgroup::{Owner, owner};
use crate::engine::events::OOM_KILLS;
use crate::engine::incident::Report;
use crate::event::{Constraint, Oom, Task};
use crate::sample::ProcTable;
use crate::text::{clean, kib};
use crate::time::Now;

/// Rule name of OOM kills.
pub const RULE: &str = "oom_kill";
/// Largest processes listed.
const LARGEST: usize = 5;
/// Longest process name or path in a sentence, characters.
const MAX_NAME: usize = 64;
const MAX_PATH: usize = 200;

/// Fills what the incident lacks from the newest process table.
pub fn fill_from_table(oom: &mut Oom, table: &ProcTable) {
    for task in [&mut oom.victim, &mut oom.trigger] {
        let Some(row) = task.pid.and_then(|pid| table.rows.iter().find(|r| r.pid == pid)) else { continue };
        let same = task.comm.as_deref().is_none_or(|comm| comm == &*row.comm)
            && task.start_ticks.is_none_or(|start| start == row.start_ticks);
        if same {
            task.comm.get_or_insert_with(|| row.comm.to_string());
            task.start_ticks.get_or_insert(row.start_ticks);
        }
    }
    if oom.rss_kb().is_none()
        && let Some(row) = table.rows.iter().find(|r| Some(r.pid) == oom.victim.pid)
        && oom.victim.comm.as_deref() == Some(&*row.comm)
        && oom.victim.start_ticks.is_none_or(|start| start == row.start_ticks)
    {
        oom.table_rss_kb = Some(row.rss_bytes / 1024);
    }
}

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
        noun: "OOM kills",
        phrase: format!("{comm}{}", place(&owner).map(|p| format!(" in {p}")).unwrap_or_default()),
        lasts: false,
        severity: Severity::Critical,
        metric: OOM_KILLS.name,
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
        context: context(oom, &owner, table, incident.at, identity),
    }
}

fn name(task: &Task) -> String {
    task.comm.as_deref().map_or_else(|| "unknown process".into(), |c| clean(c, MAX_NAME))
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
    format!(
        "OOM kill: {} ({}){at} was killed: {}{}",
        name(&oom.victim),
        facts.join(", "),
        reason(oom),
        trigger(oom)
    )
}

fn place(owner: &Owner) -> Option<String> {
    match (&owner.container, &owner.unit) {
        (Some(container), _) => Some(format!("container {} ({})", container.short_id(), container.runtime)),
        (None, Some(unit)) => Some(clean(unit, MAX_PATH)),
        (None, None) => None,
    }
}

fn reason(oom: &Oom) -> String {
    let limit = oom.limit_kb.map_or("unknown size".into(), kib);
    let group = oom.oom_memcg.as_deref().or(oom.victim.cgroup.as_deref()).map(|g| clean(g, MAX_PATH));
    match (&oom.constraint, group) {
        (Some(Constraint::None), _) => "the machine ran out of memory".into(),
        (Some(Constraint::Cpuset), _) => "the memory nodes of its cpuset ran out of memory".into(),
        (Some(Constraint::MemoryPolicy), _) => {
            "the memory nodes of its memory policy ran out of memory".into()
        }
        (Some(Constraint::Memcg), Some(group)) => format!("cgroup {group} reached its limit of {limit}"),
        (Some(Constraint::Memcg), None) => format!("its memory cgroup reached its limit of {limit}"),
        (Some(Constraint::Other(word)), _) => {
            format!("the kernel gives {} as the reason", clean(word, MAX_NAME))
        }
        (None, Some(group)) => format!("whether cgroup {group} or the machine ran out is unknown"),
        (None, None) => "what ran out of memory is unknown".into(),
    }
}

fn trigger(oom: &Oom) -> String {
    match (oom.trigger.pid, &oom.trigger.comm) {
        (Some(pid), _) if Some(pid) == oom.victim.pid => "; its own allocation triggered it".into(),
        (Some(pid), Some(_)) => format!("; triggered by {} (pid {pid})", name(&oom.trigger)),
        (Some(pid), None) => format!("; triggered by pid {pid}"),
        (None, Some(_)) => format!("; triggered by {}", name(&oom.trigger)),
        (None, None) => "; trigger unknown".into(),
    }
}

fn context(
    oom: &Oom,
    owner: &Owner,
    table: Option<&ProcTable>,
    at: Now,
    identity: &Identity,
) -> Map<String, Value> {
    let mut c = Context::default();
    let v = &oom.victim;
    c.put("victim_pid", v.pid)
        .put("victim_comm", v.comm.as_deref())
        .put("victim_cmdline", v.cmdline.as_deref())
        .put("victim_uid", v.uid)
        .put("victim_cgroup", v.cgroup.as_deref())
        .put("victim_rss_kb", oom.rss_kb())
        .put("anon_rss_kb", oom.anon_rss_kb)
        .put("file_rss_kb", oom.file_rss_kb)
        .put("shmem_rss_kb", oom.shmem_rss_kb)
        .put("total_vm_kb", oom.total_vm_kb)
        .put("pgtables_kb", oom.pgtables_kb)
        .put("oom_score_adj", oom.oom_score_adj)
        .put("trigger_pid", oom.trigger.pid)
        .put("trigger_comm", oom.trigger.comm.as_deref())
        .put_if("trigger_cgroup", oom.trigger.cgroup.as_deref())
        .put("constraint", oom.constraint.as_ref().map(|c| constraint_text(c).to_owned()))
        .put_if("gfp_mask", oom.gfp_mask.as_deref())
        .put_if("order", oom.order)
        .put_if("unit", owner.unit.as_deref())
        .put_if("pod_uid", owner.pod_uid.as_deref())
        .put_if("container_id", owner.container.as_ref().map(|c| c.id.as_str()));
    if oom.constraint != Some(Constraint::None) {
        c.put("oom_memcg", oom.oom_memcg.as_deref())
            .put("limit_kb", oom.limit_kb)
            .put("usage_kb", oom.usage_kb);
        c.put_if("failcnt", oom.failcnt);
    }
    c.put("largest_processes", table.map(largest));
    c.put("incident", Some(incident_key(oom, at, identity)));
    c.done()
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

fn largest(table: &ProcTable) -> Value {
    let row =
        |r: &crate::sample::ProcRow| json!({ "pid": r.pid, "comm": &*r.comm, "rss_kb": r.rss_bytes / 1024 });
    table.rows.iter().take(LARGEST).map(row).collect()
}

/// What a later run of the agent needs to know this kill again.
fn incident_key(oom: &Oom, at: Now, identity: &Identity) -> Value {
    json!({ "kind": "oom", "pid": oom.victim.pid, "comm": oom.victim.comm, "kernel_time_ns": at.mono_ns, "boot_id": identity.boot_id })
}

/// The alert of kills that only the kernel's counter told.
pub fn draft_uncounted(count: u64, id: String, now: Now, blind: bool, table: Option<&ProcTable>) -> Draft {
    let why = if blind {
        "neither eBPF nor the kernel log can be read here"
    } else {
        "neither eBPF nor the kernel log told of it"
    };
    let what = if count == 1 { "1 process".into() } else { format!("{count} processes") };
    let mut context = Context::default();
    context.put("kills", Some(count)).put("largest_processes", table.map(largest));
    for name in ["victim_pid", "victim_comm", "constraint", "oom_memcg"] {
        context.put(name, None::<Value>);
    }
    Draft {
        rule: RULE.into(),
        noun: "OOM kills",
        phrase: format!("{what} unknown"),
        lasts: false,
        severity: Severity::Critical,
        metric: OOM_KILLS.name,
        value: count as f64,
        threshold: None,
        message: format!(
            "OOM kill: the kernel killed {what} for lack of memory; which is unknown, because {why} \
             (vmstat oom_kill rose by {count}). See: sysops-agent doctor"
        ),
        labels: BTreeMap::from([("scope".into(), "unknown".into())]),
        status: Status::Firing,
        id,
        fingerprint: fingerprint([RULE, "counter"]),
        started: now,
        ended: None,
        sources: vec![crate::event::Source::Counter],
        context: context.done(),
    }
}
