//! The alert of a kill by a process that watches the memory. It is the word of that process, and says so.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Context, Draft, fingerprint};
use crate::alert::Severity;
use crate::cgroup::owner;
use crate::engine::events::USER_KILLS;
use crate::engine::groups::Groups;
use crate::event::{Event, Source, UserKill};
use crate::sample::ProcTable;
use crate::text::{clean, kib};
use crate::time::MILLI;

/// Rule name.
pub const RULE: &str = "user_oom_kill";
const MAX_NAME: usize = 64;
const MAX_PATH: usize = 200;
const MAX_REASON: usize = 300;

/// What the engine knows beside the killer's words.
pub struct Known<'a> {
    /// The processes of a moment ago.
    pub processes: Option<&'a ProcTable>,
    /// The memory control groups of a moment ago.
    pub groups: &'a Groups,
    /// This boot.
    pub boot_id: &'a str,
}

impl Known<'_> {
    /// Fills in what the killer did not say.
    fn complete(&self, kill: &UserKill) -> UserKill {
        let mut kill = kill.clone();
        let victim = &mut kill.victim;
        let row = victim.pid.and_then(|pid| self.processes?.find(pid));
        // The number may have been another's by then.
        if let Some((row, cmdline)) = row.filter(|(row, _)| victim.comm.as_deref() == Some(&row.comm)) {
            victim.start_ticks = victim.start_ticks.or(Some(row.start_ticks));
            victim.cmdline = victim.cmdline.take().or_else(|| cmdline.map(str::to_owned));
            victim.cgroup = victim.cgroup.take().or_else(|| row.cgroup.as_deref().map(str::to_owned));
            kill.rss_kb = kill.rss_kb.or(Some(row.rss_bytes / 1024));
        }
        if victim.pid.is_none() && kill.usage_kb.is_none() {
            let group = victim.cgroup.as_deref().and_then(|path| self.groups.look(path));
            kill.usage_kb = group.and_then(|memory| memory.usage_kb);
        }
        kill
    }
}

/// Same for the same kill: of a process by its number and name, of a group by the moment.
pub fn fingerprint_of(event: &Event, kill: &UserKill) -> String {
    let pid = kill.victim.pid.map(|pid| pid.to_string()).unwrap_or_default();
    let comm = kill.victim.comm.as_deref().unwrap_or_default();
    let group = if kill.victim.pid.is_none() { kill.victim.cgroup.as_deref() } else { None };
    let moment = group.map(|_| (event.at.mono_ns / MILLI).to_string()).unwrap_or_default();
    fingerprint([RULE, kill.killer, &pid, comm, group.unwrap_or_default(), &moment])
}

/// The alert of one such kill.
pub fn draft(event: &Event, kill: &UserKill, id: String, fingerprint: String, known: &Known<'_>) -> Draft {
    let kill = &known.complete(kill);
    let whom = whom(kill);
    let why = kill.reason.as_deref().map(|r| format!(": {}", clean(r, MAX_REASON))).unwrap_or_default();
    let owner = kill.victim.cgroup.as_deref().map(owner).unwrap_or_default();
    let mut labels = BTreeMap::from([("killer".to_owned(), kill.killer.to_owned())]);
    labels.extend(kill.victim.comm.as_deref().map(|comm| ("process".to_owned(), clean(comm, MAX_NAME))));
    labels.extend(owner.unit.as_deref().map(|unit| ("unit".to_owned(), clean(unit, MAX_PATH))));
    let container = owner.container.as_ref().map(crate::cgroup::Container::short_id);
    labels.extend(container.map(|id| ("container".to_owned(), id)));
    let said = if event.source == Source::Journal { "killed" } else { "says it killed" };
    let mut c = Context::default();
    c.put("killer", Some(kill.killer))
        .put_if("killer_pid", kill.killer_pid)
        .put_if("victim_pid", kill.victim.pid)
        .put_if("victim_comm", kill.victim.comm.as_deref())
        .put_if("victim_uid", kill.victim.uid)
        .put_if("victim_cmdline", kill.victim.cmdline.as_deref())
        .put_if("victim_rss_kb", kill.rss_kb)
        .put_if("victim_cgroup", kill.victim.cgroup.as_deref())
        .put_if("victims_count", kill.victims_count)
        .put_if("usage_kb", kill.usage_kb)
        .put_if("unit", owner.unit.as_deref())
        .put_if("pod_uid", owner.pod_uid.as_deref())
        .put_if("container_id", owner.container.as_ref().map(|c| c.id.as_str()))
        .put_if("signal", kill.signal)
        .put_if("reason", kill.reason.as_deref())
        .put("trust", Some(trust(event.source)))
        .put(
            "incident",
            Some(json!({
                "kind": "user_kill", "fingerprint": fingerprint, "kernel_time_ns": event.at.mono_ns,
                "boot_id": known.boot_id,
            })),
        );
    Draft {
        rule: RULE.into(),
        place: kill.victim.cgroup.clone().unwrap_or_default(),
        noun: "kills by user-space killers".into(),
        phrase: format!("{whom} by {}", kill.killer),
        severity: Severity::Critical,
        metric: USER_KILLS.name.into(),
        message: format!("Low memory: {} {said} {whom}{why}", kill.killer),
        labels,
        fingerprint,
        context: c.done(),
        ..Draft::of(event, id)
    }
}

/// Who vouches for the line.
const fn trust(source: Source) -> &'static str {
    match source {
        Source::Journal => "told by the killer itself, as journald knows by its unit",
        _ => "told by a process, not by the kernel",
    }
}

fn whom(kill: &UserKill) -> String {
    let size = kill.rss_kb.or(kill.usage_kb).map(|kb| format!(", {}", kib(kb))).unwrap_or_default();
    match (&kill.victim.comm, kill.victim.pid, &kill.victim.cgroup) {
        (Some(comm), Some(pid), _) => format!("{} (pid {pid}{size})", clean(comm, MAX_NAME)),
        (_, _, Some(path)) => {
            let leaf = path.rsplit('/').next().unwrap_or_default();
            let count = kill.victims_count.map(|count| {
                let noun = if count == 1 { "process" } else { "processes" };
                format!(", {count} {noun}")
            });
            let facts = format!("{}{size}", count.unwrap_or_default());
            let facts = facts.strip_prefix(", ").map(|facts| format!(" ({facts})")).unwrap_or_default();
            format!("all of {}{facts}", clean(leaf, MAX_PATH))
        }
        (..) => "an unknown process".into(),
    }
}
