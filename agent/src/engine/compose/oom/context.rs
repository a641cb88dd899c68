//! Everything known of a kill, typed.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{MAX_NAME, constraint_text};
use crate::cgroup::{Owner, owner};
use crate::engine::compose::culprits::by_memory;
use crate::engine::compose::{Context, Identity};
use crate::event::{Constraint, HostMemory, Oom};
use crate::sample::ProcTable;
use crate::text::clean;
use crate::time::Now;

/// Largest processes listed.
const LARGEST: usize = 5;
/// Victims of one kill listed.
const VICTIMS: usize = 32;
/// Pids of further victims kept, so that a later run of the agent knows them again.
const KNOWN_AGAIN: usize = 64;

pub(super) fn context(
    oom: &Oom,
    owner: &Owner,
    table: Option<&ProcTable>,
    at: Now,
    identity: &Identity,
) -> Map<String, Value> {
    let mut c = Context::default();
    victim(&mut c, oom, owner);
    cause(&mut c, oom);
    if oom.constraint != Some(Constraint::None) {
        group(&mut c, oom);
    }
    machine(&mut c, oom.host.unwrap_or_default());
    c.put("killer", Some("kernel"));
    c.put("largest_processes", table.map(largest));
    c.put("incident", Some(incident_key(oom, at, identity)));
    c.done()
}

fn victim(c: &mut Context, oom: &Oom, owner: &Owner) {
    let v = &oom.victim;
    c.put("victim_pid", v.pid)
        .put_if("victim_tgid", oom.victim_tgid)
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
        .put("oom_score_adj", oom.oom_score_adj);
    owned(c, "", owner);
    if oom.victims() > 1 {
        c.put("victims_count", Some(oom.victims())).put("victims", Some(victims(oom)));
    }
    c.put_if("killed_group", oom.group.as_ref().and_then(|group| group.path.as_deref()));
}

fn cause(c: &mut Context, oom: &Oom) {
    c.put("trigger_pid", oom.trigger.pid)
        .put_if("trigger_tid", oom.trigger_tid)
        .put("trigger_comm", oom.trigger.comm.as_deref())
        .put_if("trigger_cmdline", oom.trigger.cmdline.as_deref().filter(|_| !oom.triggered_itself()))
        .put_if("trigger_uid", oom.trigger.uid)
        .put_if("trigger_cgroup", oom.trigger.cgroup.as_deref())
        .put("constraint", oom.constraint.as_ref().map(|c| constraint_text(c).to_owned()))
        .put_if("gfp_mask", oom.gfp_mask.as_deref())
        .put_if("order", oom.order);
}

fn group(c: &mut Context, oom: &Oom) {
    c.put("oom_memcg", oom.oom_memcg.as_deref())
        .put_if("oom_memcg_guessed", oom.memcg_guessed.then_some(true))
        .put_if("figures_of", oom.figures_of.as_deref().filter(|_| !oom.figures_belong()))
        .put("limit_kb", oom.limit_kb)
        .put("usage_kb", oom.usage_kb)
        .put_if("failcnt", oom.failcnt)
        .put_if("figures_age_secs", oom.figures_age_secs);
    let events: Map<String, Value> =
        oom.events.known().map(|(name, n)| (name.to_owned(), n.into())).collect();
    c.put_if("memory_events", Some(events).filter(|events| !events.is_empty()));
    if let Some(path) = &oom.oom_memcg {
        owned(c, "oom_", &owner(path));
    }
}

fn owned(c: &mut Context, prefix: &str, owner: &Owner) {
    let mut put = |name: &str, value: Option<&str>| {
        c.put_if(&format!("{prefix}{name}"), value);
    };
    put("unit", owner.unit.as_deref());
    put("slice", owner.slice.as_deref());
    put("pod_uid", owner.pod_uid.as_deref());
    put("container_id", owner.container.as_ref().map(|c| c.id.as_str()));
    put("container_runtime", owner.container.as_ref().map(|c| c.runtime));
}

fn machine(c: &mut Context, host: HostMemory) {
    let HostMemory { total_kb, available_kb, swap_total_kb, swap_used_kb, some_avg10, full_avg10 } = host;
    c.put_if("mem_total_kb", total_kb)
        .put_if("mem_available_kb", available_kb)
        .put_if("swap_total_kb", swap_total_kb)
        .put_if("swap_used_kb", swap_used_kb)
        .put_if("memory_pressure_some_avg10_percent", some_avg10)
        .put_if("memory_pressure_full_avg10_percent", full_avg10);
}

fn victims(oom: &Oom) -> Value {
    let first = (&oom.victim, oom.rss_kb());
    let others = oom.others.iter().map(|v| (&v.task, v.rss_kb));
    let row = |(task, rss_kb): (&crate::event::Task, Option<u64>)| json!({ "pid": task.pid, "comm": task.comm, "rss_kb": rss_kb });
    std::iter::once(first).chain(others).take(VICTIMS).map(row).collect()
}

/// The processes that hold most memory, and where they live.
pub(super) fn largest(table: &ProcTable) -> Value {
    table.largest().take(LARGEST).map(by_memory).collect()
}

/// Groups whose own counters rose, and by how much.
pub(super) fn counted(groups: &[(Arc<str>, u64)]) -> Value {
    let row = |(path, kills): &(Arc<str>, u64)| {
        let mut out = json!({ "cgroup": &**path, "kills": kills });
        if let (Some(place), Value::Object(out)) = (super::place(&owner(path)), &mut out) {
            out.insert("in".into(), clean(&place, MAX_NAME).into());
        }
        out
    };
    groups.iter().take(LARGEST).map(row).collect()
}

/// What a later run of the agent needs to know this kill again.
fn incident_key(oom: &Oom, at: Now, identity: &Identity) -> Value {
    let mut key = json!({
        "kind": "oom", "pid": oom.victim.pid, "comm": oom.victim.comm, "kernel_time_ns": at.mono_ns,
        "boot_id": identity.boot_id,
    });
    let others: Value = oom.others.iter().filter_map(|v| v.task.pid).take(KNOWN_AGAIN).collect();
    if let Value::Object(key) = &mut key
        && !oom.others.is_empty()
    {
        key.insert("others".into(), others);
    }
    key
}
