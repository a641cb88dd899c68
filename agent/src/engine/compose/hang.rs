//! Alerts of hung tasks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Context, Draft, Identity, fingerprint};
use crate::alert::Status;
use crate::cgroup::owner;
use crate::engine::events;
use crate::engine::hangs::{Listed, Report, Snapshot};
use crate::event::{Hang, Lock};
use crate::text::{clean, span};
use crate::time::{Now, SECOND};

const MAX_NAME: usize = 64;
const MAX_TEXT: usize = 300;
/// Units and containers in the sentence; [`Snapshot::groups`] are in the context.
const NAMED_GROUPS: usize = 3;

/// Rule name of hung tasks.
pub const RULE: &str = "hung_task";

/// The alert of a hang.
pub fn draft(report: &Report, id: String, identity: &Identity) -> Draft {
    let incident = &report.incident;
    let hang = &incident.first;
    let owner = hang.task.cgroup.as_deref().map(owner).unwrap_or_default();
    let comm = comm(hang);
    let pid = hang.task.pid.unwrap_or_default();
    let mut labels = BTreeMap::from([("process".to_owned(), comm.clone())]);
    labels.extend(owner.unit.as_ref().map(|u| ("unit".to_owned(), clean(u, MAX_TEXT))));
    labels.extend(owner.container.as_ref().map(|c| ("container".to_owned(), c.short_id())));
    labels.extend(hang.place.device.as_ref().map(|d| ("device".to_owned(), clean(d, MAX_NAME))));
    labels.extend(hang.place.mount.as_ref().map(|m| ("mount".to_owned(), clean(m, MAX_TEXT))));
    Draft {
        rule: RULE.into(),
        place: hang.place.mount.as_ref().or(hang.place.device.as_ref()).cloned().unwrap_or_default(),
        noun: "hangs".into(),
        phrase: phrase(incident),
        lasts: false,
        severity: crate::alert::Severity::Warn,
        metric: events::HUNG_TASKS.name.into(),
        value: incident.total as f64,
        threshold: None,
        message: message(report),
        labels,
        status: report.status,
        fingerprint: fingerprint([RULE, &comm, &pid.to_string()]),
        started: incident.since,
        ended: incident.ended,
        sources: incident.sources.clone(),
        runbook_url: None,
        context: context(incident, &id, identity),
        id,
    }
}

fn comm(hang: &Hang) -> String {
    hang.task.comm.as_deref().map_or_else(|| "unknown task".into(), |c| clean(c, MAX_NAME))
}

/// `dd (pid 7) and 199 more`.
fn who(incident: &Snapshot) -> String {
    let first = format!("{} (pid {})", comm(&incident.first), incident.first.task.pid.unwrap_or_default());
    match incident.total {
        0 | 1 => first,
        total => format!("{first} and {} more{}", total - 1, homes(incident)),
    }
}

/// ` (a.service 1, b.service 2)`: whom it concerns.
fn homes(incident: &Snapshot) -> String {
    let named = incident.groups.iter().take(NAMED_GROUPS);
    let mut parts: Vec<_> = named.map(|(name, tasks)| format!("{} {tasks}", clean(name, MAX_NAME))).collect();
    let others: u64 = incident.groups.iter().skip(NAMED_GROUPS).map(|(_, tasks)| tasks).sum();
    let others = others + incident.in_other_groups;
    parts.extend((others > 0).then(|| format!("elsewhere {others}")));
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

/// `dd (pid 7) cleared after 6 s`.
fn phrase(incident: &Snapshot) -> String {
    let after = |ended: Now| format!(" cleared after {}", span(ended.since(incident.since) / SECOND));
    who(incident) + &incident.ended.map(after).unwrap_or_default()
}

fn message(report: &Report) -> String {
    let Report { incident, status, .. } = report;
    let hang = &incident.first;
    let (who, wait) = (who(incident), wait(hang));
    let many = incident.total > 1;
    if let Some(ended) = incident.ended {
        let after = span(ended.since(incident.since) / SECOND);
        let verb = if many { "go on" } else { "goes on" };
        let waited = wait.replacen(", waiting", ", having waited", 1);
        if incident.was_lost {
            return format!(
                "Hang no longer followed after {after}: whether {who} {verb} cannot be seen{waited}"
            );
        }
        let how = if incident.was_over { "within" } else { "after" };
        return format!("Hang cleared {how} {after}: {who} {verb}{waited}");
    }
    let is_over = incident.was_over && *status == Status::Firing;
    let have = match (is_over, many) {
        (true, true) => "were",
        (true, false) => "was",
        (false, true) => "have been",
        (false, false) => "has been",
    };
    let blocked = match (hang.blocked_secs, status) {
        (_, Status::Updated) => format!("for {}", span(incident.now.since(incident.since) / SECOND)),
        (Some(secs), _) => format!("for more than {secs} s"),
        (None, _) => "for longer than the kernel's limit".into(),
    };
    let subject = if many { format!("{} hung tasks", incident.total) } else { "Hung task".into() };
    let subject = subject + if is_over { ", over by now" } else { "" };
    format!("{subject}: {who} {have} blocked in the kernel {blocked}{wait}")
}

/// `, waiting in rpc_wait_bit_killable (NFS: /mnt (nas:/export)) for a mutex likely owned by b (pid 2)`.
fn wait(hang: &Hang) -> String {
    let place = hang.place.words().map(|words| format!(" ({})", clean(&words, MAX_TEXT)));
    let function = hang.wchan.as_deref().map(|w| format!(" in {}", clean(w, MAX_NAME)));
    let lock = hang.lock.as_ref().and_then(blocker).map(|lock| format!(" for {lock}"));
    if function.is_none() && place.is_none() && lock.is_none() {
        return String::new();
    }
    format!(
        ", waiting{}{}{}",
        function.unwrap_or_default(),
        place.unwrap_or_default(),
        lock.unwrap_or_default()
    )
}

fn blocker(lock: &Lock) -> Option<String> {
    let owner = lock.owner.as_ref()?;
    Some(format!(
        "a {} likely owned by {} (pid {})",
        lock.kind.name(),
        clean(&owner.comm, MAX_NAME),
        owner.pid
    ))
}

fn context(incident: &Snapshot, id: &str, identity: &Identity) -> serde_json::Map<String, Value> {
    let hang = &incident.first;
    let owner = hang.task.cgroup.as_deref().map(owner).unwrap_or_default();
    let lines = |lines: &[String]| (!lines.is_empty()).then(|| json!(lines));
    let lock = hang.lock.as_ref();
    let lock_owner = lock.and_then(|lock| lock.owner.as_ref());
    let tasks: Vec<Value> = incident.tasks.iter().map(task).collect();
    let groups: serde_json::Map<String, Value> =
        incident.groups.iter().map(|(name, tasks)| (name.clone(), json!(tasks))).collect();
    let mut c = Context::default();
    c.put("task_pid", hang.task.pid)
        .put("task_comm", hang.task.comm.as_deref())
        .put_if("task_tgid", hang.tgid)
        .put("task_uid", hang.task.uid)
        .put("task_cgroup", hang.task.cgroup.as_deref())
        .put_if("unit", owner.unit.as_deref())
        .put_if("container", owner.container.as_ref().map(|c| c.id.as_str()))
        .put_if("pod_uid", owner.pod_uid.as_deref())
        .put("blocked_secs", hang.blocked_secs)
        .put_if("io_wait", hang.io_wait.then_some(true))
        .put("wait_channel", hang.wchan.as_deref())
        .put("layer", hang.place.layer)
        .put("device", hang.place.device.as_deref())
        .put("mount", hang.place.mount.as_deref())
        .put("kernel_stack", lines(&hang.stack))
        .put_if("lock", lock.map(|lock| lock.kind.name()))
        .put_if("lock_wanted_as", lock.and_then(|lock| lock.wanted_as).map(crate::event::Side::name))
        .put_if("lock_owner_pid", lock_owner.map(|owner| owner.pid))
        .put_if("lock_owner_comm", lock_owner.map(|owner| owner.comm.as_str()))
        .put_if("lock_held_as", lock_owner.and_then(|owner| owner.held_as).map(crate::event::Side::name))
        .put_if("held_locks", lines(&hang.held_locks))
        .put("tasks_count", Some(incident.total))
        .put("tasks_released", Some(incident.released))
        .put("tasks_same_wait", Some(incident.same_wait))
        .put_if("tasks_same_lock", (incident.same_lock > 0).then_some(incident.same_lock))
        .put("tasks", Some(Value::from(tasks)))
        .put_if("tasks_by_group", (!groups.is_empty()).then_some(Value::from(groups)))
        .put_if("tasks_in_other_groups", (incident.in_other_groups > 0).then_some(incident.in_other_groups))
        .put(
            "incident",
            Some(json!({
                "kind": "hang", "id": id, "pid": hang.task.pid, "comm": hang.task.comm,
                "start_ticks": hang.task.start_ticks, "kernel_time_ns": incident.at.mono_ns, "since_ns": incident.since.mono_ns,
                "boot_id": identity.boot_id,
            })),
        );
    c.done()
}

fn task(task: &Listed) -> Value {
    let owner = task.cgroup.as_deref().map(owner).unwrap_or_default();
    json!({
        "pid": task.id.pid, "start_ticks": task.id.start_ticks, "comm": task.comm, "cgroup": task.cgroup,
        "unit": owner.unit, "container": owner.container.map(|c| c.id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{LockKind, LockOwner, Place, Source, Task};

    fn check(change: impl FnOnce(&mut Snapshot), status: Status, expect: &str) {
        let now = Now { mono_ns: 1000 * SECOND, wall_ns: 0 };
        let task = Task { pid: Some(7), comm: Some("dd".into()), ..Task::default() };
        let mut incident = Snapshot {
            number: 1,
            id: None,
            at: now,
            since: now.at_mono(970 * SECOND),
            first: Hang { task, blocked_secs: Some(30), ..Hang::default() },
            sources: vec![Source::Watch],
            total: 1,
            released: 0,
            same_wait: 1,
            same_lock: 0,
            tasks: vec![],
            groups: vec![],
            in_other_groups: 0,
            was_over: false,
            was_lost: false,
            ended: None,
            now,
        };
        change(&mut incident);
        assert_eq!(message(&Report { incident, status, fresh: 1 }), expect);
    }

    #[test]
    fn sentences() {
        check(
            |_| {},
            Status::Firing,
            "Hung task: dd (pid 7) has been blocked in the kernel for more than 30 s",
        );
        check(
            |i| {
                i.total = 200;
                i.first.wchan = Some("percpu_rwsem_wait".into());
                i.first.place = Place {
                    layer: Some("frozen filesystem"),
                    device: Some("loop1".into()),
                    mount: Some("/mnt".into()),
                };
            },
            Status::Updated,
            "200 hung tasks: dd (pid 7) and 199 more have been blocked in the kernel for 30 s, \
             waiting in percpu_rwsem_wait (frozen filesystem: /mnt (loop1))",
        );
        check(
            |i| {
                (i.first.task.comm, i.first.blocked_secs) = (Some("x\x1b[2J\n@everyone".into()), None);
                let owner = LockOwner { pid: 2, comm: "b\n".into(), held_as: None };
                i.first.lock = Some(Lock { kind: LockKind::KMutex, wanted_as: None, owner: Some(owner) });
                i.first.place.mount = Some("/a\nb".into());
            },
            Status::Firing,
            "Hung task: x?[2J?@everyone (pid 7) has been blocked in the kernel for longer than the kernel's limit, \
             waiting (/a?b) for a mutex likely owned by b? (pid 2)",
        );
        check(
            |i| {
                i.ended = Some(i.now);
                i.first.wchan = Some("f".into());
            },
            Status::Resolved,
            "Hang cleared after 30 s: dd (pid 7) goes on, having waited in f",
        );
        check(
            |i| {
                i.total = 9;
                i.groups =
                    ["a.service", "b\n@x.service", "c.service", "d.service"].map(|g| (g.into(), 2)).to_vec();
                i.in_other_groups = 1;
            },
            Status::Firing,
            "9 hung tasks: dd (pid 7) and 8 more (a.service 2, b?@x.service 2, c.service 2, elsewhere 3) \
             have been blocked in the kernel for more than 30 s",
        );
    }

    #[test]
    fn what_was_over_before_it_was_told_is_not_told_as_standing() {
        check(
            |i| i.was_over = true,
            Status::Firing,
            "Hung task, over by now: dd (pid 7) was blocked in the kernel for more than 30 s",
        );
        let ended = |i: &mut Snapshot| i.ended = Some(i.now);
        check(
            |i| {
                ended(i);
                i.was_over = true;
            },
            Status::Resolved,
            "Hang cleared within 30 s: dd (pid 7) goes on",
        );
        check(
            |i| {
                ended(i);
                i.was_lost = true;
            },
            Status::Resolved,
            "Hang no longer followed after 30 s: whether dd (pid 7) goes on cannot be seen",
        );
    }
}
