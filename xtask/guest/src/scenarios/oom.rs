//! Processes killed for lack of memory.

use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::Value;

use crate::inbox::Alert;
use crate::lab::{Found, Lab, Verdict};
use crate::machine::Group;

const RULE: &str = "oom_kill";
const PROBE: &str = "ebpf.oom";
/// Limit of the groups, and more than it.
const LIMIT: (&str, u64) = ("32M", 32 << 10);
const MORE: usize = 200;
/// Until a child is in its group, on an emulated machine.
const JOIN: Duration = Duration::from_secs(10);

/// A service with a limit of its own.
pub(super) fn unit(lab: &mut Lab) -> Verdict {
    let group = "/system.slice/web.service";
    let found = in_group(lab, group, "webserver")?;
    found.label("unit", "web.service")?;
    Ok(found.seen_now())
}

/// A container as Docker with the systemd driver makes it.
pub(super) fn docker(lab: &mut Lab) -> Verdict {
    let id = "0123456789abcdef".repeat(4);
    let found = in_group(lab, &format!("/system.slice/docker-{id}.scope"), "java")?;
    found.label("container", &id[..12])?.label("runtime", "docker")?.says("container_id", id.as_str())?;
    Ok(found.seen_now())
}

/// A container of a pod as kubelet with the systemd driver makes it.
pub(super) fn pod(lab: &mut Lab) -> Verdict {
    let id = "fedcba9876543210".repeat(4);
    let uid = "1b0ab3f4-27f5-4bd6-8d9b-0a1d6a3e4f55";
    let path = format!(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice/cri-containerd-{id}.scope",
        uid.replace('-', "_")
    );
    let found = in_group(lab, &path, "node exporter")?;
    found.label("container", &id[..12])?.label("pod_uid", uid)?;
    Ok(found.seen_now())
}

/// A kill on a CPU of choice.
pub(super) fn on_cpu(lab: &mut Lab, cpu: u32) -> Verdict {
    let path = "/system.slice/pinned.service";
    let group = Group::new(path, LIMIT.0).map_err(|e| format!("{path}: {e}"))?;
    let eater =
        lab.kin(&["eat-on", &cpu.to_string(), &group.procs().display().to_string(), &MORE.to_string()])?;
    let pid = eater.pid();
    eater.end()?;
    let found = lab.one(RULE, PROBE, true, |a| a.context.get("victim_pid") == Some(&pid.into()))?;
    Ok(found.ok_or("neither eBPF nor the kernel log works")?.seen_now())
}

fn in_group(lab: &mut Lab, path: &str, name: &str) -> Result<Found, String> {
    let group = Group::new(path, LIMIT.0).map_err(|e| format!("{path}: {e}"))?;
    let eater = lab.eater(name, Some(&group), MORE)?;
    let pid = eater.pid();
    eater.end()?;
    let found = lab.one(RULE, PROBE, true, |a| a.context.get("victim_pid") == Some(&pid.into()))?;
    let found = found.ok_or("neither eBPF nor the kernel log works")?;
    found
        .says("victim_comm", name)?
        .says("constraint", "CONSTRAINT_MEMCG")?
        .says("oom_memcg", path)?
        .says("limit_kb", LIMIT.1)?;
    Ok(found)
}

/// Three processes that die together.
pub(super) fn group(lab: &mut Lab) -> Verdict {
    let path = "/system.slice/batch.service";
    let group = Group::new(path, LIMIT.0).map_err(|e| format!("{path}: {e}"))?;
    group.set("memory.oom.group", "1").map_err(|e| format!("memory.oom.group: {e}"))?;
    let others = [lab.eater("batch-a", Some(&group), 2)?, lab.eater("batch-b", Some(&group), 2)?];
    others.iter().try_for_each(|other| joined(&group, other.pid()))?;
    let eater = lab.eater("batch-main", Some(&group), MORE)?;
    let pids = [others[0].pid(), others[1].pid(), eater.pid()];
    eater.end()?;
    for other in others {
        other.end()?;
    }
    let is_it = |a: &Alert| pids.iter().any(|pid| a.context.get("victim_pid") == Some(&(*pid).into()));
    let first = lab.first(RULE, PROBE, true, is_it)?.ok_or("neither eBPF nor the kernel log works")?;
    // Who dies later is named by an update.
    let names_all = |a: &Alert| pids.iter().all(|pid| names(a, *pid));
    let found = lab.whole(first, names_all).map_err(|e| format!("not all of {pids:?} are named: {e}"))?;
    found.says("victims_count", pids.len())?.says("oom_memcg", path)?.label("unit", "batch.service")?;
    Ok(found.seen_now())
}

/// Waits until a child is in its group: one that comes too late does not die with the others.
fn joined(group: &Group, pid: u32) -> Result<(), String> {
    let begin = Instant::now();
    while begin.elapsed() < JOIN {
        let members = fs::read_to_string(group.procs()).unwrap_or_default();
        if members.lines().any(|line| line == pid.to_string()) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Err(format!("{pid} did not join its group within {} s", JOIN.as_secs()))
}

/// Whether the alert names this victim among those that died together.
fn names(alert: &Alert, pid: u32) -> bool {
    let victims = alert.context.get("victims").and_then(Value::as_array);
    victims.is_some_and(|all| all.iter().any(|victim| victim.get("pid") == Some(&pid.into())))
}

/// A process larger than the machine.
pub(super) fn global(lab: &mut Lab) -> Verdict {
    let eater = lab.eater("hog", None, 4000)?;
    let pid = eater.pid();
    eater.end()?;
    let found = lab.one(RULE, PROBE, true, |a| a.context.get("victim_pid") == Some(&pid.into()))?;
    let found = found.ok_or("neither eBPF nor the kernel log works")?;
    found.says("victim_comm", "hog")?.says("constraint", "CONSTRAINT_NONE")?.label("scope", "global")?;
    Ok(found.seen_now())
}
