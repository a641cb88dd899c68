//! What the agent says of a unit, beside what the kernel's own files say.

use std::fs;

use crate::lab::{Lab, Seen, Verdict};
use crate::machine::{CGROUPS, Group};
use crate::readings::{Pass, Readings};

const UNIT: &str = "/system.slice/batch.service";
const KIND: &str = "/system.slice/batch.service,unit,batch.service";
/// The disk its worker reads.
const DISK: &str = "/dev/vda";
/// Share of a CPU it may use.
const QUOTA: (&str, f64) = ("30000 100000", 30.0);
const MIB: f64 = 1_048_576.0;

/// A unit with limits of CPU time and memory, whose processes keep a CPU and a disk busy and hold memory.
pub(super) fn unit(lab: &mut Lab) -> Verdict {
    let fail = |e| format!("{UNIT}: {e}");
    let group = Group::new(UNIT, "64M").map_err(fail)?;
    for above in ["", "/system.slice"] {
        let path = format!("{CGROUPS}{above}/cgroup.subtree_control");
        fs::write(&path, "+cpu +io +memory +pids").map_err(|e| format!("{path}: {e}"))?;
    }
    group.set("cpu.max", QUOTA.0).map_err(fail)?;
    let readings = Readings::start("cgroup,pressure")?;
    let eater = lab.eater("keeper", Some(&group), 24)?;
    let procs = group.procs().display().to_string();
    let workers = [lab.kin(&["work", &procs, DISK])?, lab.kin(&["work", &procs, DISK])?];
    let get = |pass: &Pass, name: &str, more: &str| pass.get(&format!("{name}{{{KIND}{more}}}"));
    let busy = readings.until("the unit at its limit of CPU time", |pass| {
        get(pass, "cgroup_cpu_percent", "").is_some_and(|cpu| (5.0..QUOTA.1 * 1.2).contains(&cpu))
            && get(pass, "cgroup_cpu_throttled_percent", "").is_some_and(|throttled| throttled > 10.0)
            && get(pass, "cgroup_pressure_some_percent", ",cpu").is_some_and(|some| some > 10.0)
            && get(pass, "cgroup_pressure_some_seconds_total", ",io").is_some_and(|some| some > 0.0)
            && get(pass, "cgroup_memory_bytes", "").is_some_and(|bytes| bytes > 20.0 * MIB)
    })?;
    if get(&busy, "cgroup_memory_limit_bytes", "") != Some(64.0 * MIB) {
        return Err(format!("its limit of 64 MiB is {:?}", get(&busy, "cgroup_memory_limit_bytes", "")));
    }
    // Between two looks at the kernel's file the agent's figure lies between the two.
    for (name, more, file, key, unit) in [
        ("cgroup_cpu_seconds_total", "", "cpu.stat", "usage_usec ", 1e-6),
        ("cgroup_cpu_throttled_seconds_total", "", "cpu.stat", "throttled_usec ", 1e-6),
        ("cgroup_pressure_some_seconds_total", ",cpu", "cpu.pressure", "some ", 1e-6),
        ("cgroup_pressure_full_seconds_total", ",io", "io.pressure", "full ", 1e-6),
        ("cgroup_pressure_some_seconds_total", ",memory", "memory.pressure", "some ", 1e-6),
    ] {
        let before = kernel(file, key)? * unit;
        let pass = readings.next()?;
        let told = get(&pass, name, more).ok_or_else(|| format!("there is no {name}{more}"))?;
        let after = kernel(file, key)? * unit;
        if !(before - 1e-6..=after + 1e-6).contains(&told) {
            return Err(format!("{name}{more} is {told}, the kernel says {before} to {after}"));
        }
    }
    drop((eater, workers));
    readings.end()?;
    Ok(Seen::default())
}

/// A number of a control group's file: behind a key, or behind `total=` in the line of the key.
fn kernel(file: &str, key: &str) -> Result<f64, String> {
    let path = format!("{CGROUPS}{UNIT}/{file}");
    let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number =
        line.and_then(|line| line.rsplit_once("total=").map_or(line, |(_, n)| n).trim().parse().ok());
    number.ok_or_else(|| format!("{path} has no {key}: {text}"))
}
