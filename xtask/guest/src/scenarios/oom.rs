//! Processes killed for lack of memory.

use crate::lab::{Found, Lab, Verdict};
use crate::machine::Group;

const RULE: &str = "oom_kill";
const PROBE: &str = "ebpf.oom";
/// Limit of the groups, and more than it.
const LIMIT: (&str, u64) = ("32M", 32 << 10);
const MORE: usize = 200;

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
    let eater = lab.eater("batch-main", Some(&group), MORE)?;
    let pids = [others[0].pid(), others[1].pid(), eater.pid()];
    eater.end()?;
    for other in others {
        other.end()?;
    }
    let is_it =
        |a: &crate::inbox::Alert| pids.iter().any(|pid| a.context.get("victim_pid") == Some(&(*pid).into()));
    let found = lab.one(RULE, PROBE, true, is_it)?.ok_or("neither eBPF nor the kernel log works")?;
    found.says("oom_memcg", path)?.label("unit", "batch.service")?;
    Ok(found.seen_now())
}

/// A process larger than the machine.
pub(super) fn global(lab: &mut Lab) -> Verdict {
    let eater = lab.eater("hog", None, 4000)?;
    let pid = eater.pid();
    eater.end()?;
    let found = lab.one(RULE, PROBE, true, |a| a.context.get("victim_pid") == Some(&pid.into()))?;
    let found = found.ok_or("neither eBPF nor the kernel log works")?;
    // A victim that gets no memory from the reserves either says so too; a rule of the kernel log names it.
    lab.also(|a| a.rule == "page_allocation_failure");
    found.says("victim_comm", "hog")?.says("constraint", "CONSTRAINT_NONE")?.label("scope", "global")?;
    Ok(found.seen_now())
}
