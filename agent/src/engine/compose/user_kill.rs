//! The alert of a kill by a process that watches the memory. It is the word of that process, and says so.

use std::collections::BTreeMap;

use super::{Context, Draft, fingerprint};
use crate::alert::Severity;
use crate::cgroup::owner;
use crate::engine::events::USER_KILLS;
use crate::event::{Event, UserKill};
use crate::text::{clean, kib};

/// Rule name.
pub const RULE: &str = "user_oom_kill";
const MAX_NAME: usize = 64;
const MAX_PATH: usize = 200;
const MAX_REASON: usize = 300;

/// The alert of one such kill.
pub fn draft(event: &Event, kill: &UserKill, id: String) -> Draft {
    let whom = whom(kill);
    let why = kill.reason.as_deref().map(|r| format!(": {}", clean(r, MAX_REASON))).unwrap_or_default();
    let owner = kill.victim.cgroup.as_deref().map(owner).unwrap_or_default();
    let mut labels = BTreeMap::from([("killer".to_owned(), kill.killer.to_owned())]);
    labels.extend(kill.victim.comm.as_deref().map(|comm| ("process".to_owned(), clean(comm, MAX_NAME))));
    labels.extend(owner.unit.as_deref().map(|unit| ("unit".to_owned(), clean(unit, MAX_PATH))));
    let container = owner.container.as_ref().map(crate::cgroup::Container::short_id);
    labels.extend(container.map(|id| ("container".to_owned(), id)));
    let pid = kill.victim.pid.map(|pid| pid.to_string()).unwrap_or_default();
    let print = fingerprint([RULE, kill.killer, &pid, kill.victim.cgroup.as_deref().unwrap_or_default()]);
    let mut c = Context::default();
    c.put("killer", Some(kill.killer))
        .put_if("killer_pid", kill.killer_pid)
        .put_if("victim_pid", kill.victim.pid)
        .put_if("victim_comm", kill.victim.comm.as_deref())
        .put_if("victim_uid", kill.victim.uid)
        .put_if("victim_cmdline", kill.victim.cmdline.as_deref())
        .put_if("victim_rss_kb", kill.rss_kb)
        .put_if("victim_cgroup", kill.victim.cgroup.as_deref())
        .put_if("usage_kb", kill.usage_kb)
        .put_if("unit", owner.unit.as_deref())
        .put_if("pod_uid", owner.pod_uid.as_deref())
        .put_if("container_id", owner.container.as_ref().map(|c| c.id.as_str()))
        .put_if("signal", kill.signal)
        .put_if("reason", kill.reason.as_deref())
        .put("trust", Some("told by a process, not by the kernel"));
    Draft {
        rule: RULE.into(),
        place: kill.victim.cgroup.clone().unwrap_or_default(),
        noun: "kills by user-space killers",
        phrase: format!("{whom} by {}", kill.killer),
        severity: Severity::Critical,
        metric: USER_KILLS.name,
        message: format!("Low memory: {} says it killed {whom}{why}", kill.killer),
        labels,
        fingerprint: print,
        context: c.done(),
        ..Draft::of(event, id)
    }
}

fn whom(kill: &UserKill) -> String {
    let size = kill.rss_kb.or(kill.usage_kb).map(|kb| format!(", {}", kib(kb))).unwrap_or_default();
    match (&kill.victim.comm, kill.victim.pid, &kill.victim.cgroup) {
        (Some(comm), Some(pid), _) => format!("{} (pid {pid}{size})", clean(comm, MAX_NAME)),
        (_, _, Some(path)) => {
            let leaf = path.rsplit('/').next().unwrap_or_default();
            let size = size.strip_prefix(", ").map(|size| format!(" ({size})")).unwrap_or_default();
            format!("all of {}{size}", clean(leaf, MAX_PATH))
        }
        (..) => "an unknown process".into(),
    }
}
