//! Sockets, NUMA nodes and CPUs of a machine that `guest::large` on the host's side has made:
//!
//! | node | CPUs | socket | memory |
//! |---|---|---|---|
//! | 0 | 0, 1 | 0 | 384 MiB |
//! | 1 | 2, 3 | 1 | none |
//! | 2 | none | – | 256 MiB |

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::own;
use crate::lab::{Lab, Seen, Verdict};
use crate::readings::{Pass, Readings};

const MIB: f64 = 1_048_576.0;
/// What a process takes of node 2, MiB, and how much of it must show there, or not elsewhere.
const HELD: usize = 64;
const MOST: f64 = 56.0 * MIB;

/// Who belongs where; a busy CPU shows on its socket and node, memory on the node it was taken from.
pub(super) fn nodes(lab: &mut Lab) -> Verdict {
    let inventory = own::inventory("")?;
    let cpu = &inventory["cpu"];
    for (name, expect) in [
        ("sockets", json!(2)),
        ("cores_per_socket", json!(2)),
        ("threads_per_core", json!(1)),
        ("total_threads", json!(4)),
    ] {
        if cpu[name] != expect {
            return Err(format!("cpu.{name} of the inventory is {}, expected {expect}: {cpu}", cpu[name]));
        }
    }
    let readings = Readings::start("cpu,memory,numa")?;
    let idle = readings.next()?;
    let given = [
        ("cpu_socket_cpus_count{0}", Some(2.0)),
        ("cpu_socket_cpus_count{1}", Some(2.0)),
        ("cpu_numa_cpus_count{0}", Some(2.0)),
        ("cpu_numa_cpus_count{1}", Some(2.0)),
        ("cpu_numa_cpus_count{2}", None),
        ("memory_numa_total_bytes{1}", Some(0.0)),
        ("memory_numa_used_percent{1}", None),
    ];
    for (name, expect) in given {
        if idle.get(name) != expect {
            return Err(format!("{name} is {:?}, expected {expect:?}", idle.get(name)));
        }
    }
    // The kernel keeps some for itself, most of it on node 0.
    for (name, most) in [("memory_numa_total_bytes{0}", 384.0), ("memory_numa_total_bytes{2}", 256.0)] {
        let total = value(&idle, name)? / MIB;
        if !(most * 0.7..=most).contains(&total) {
            return Err(format!("{name} is {total} MiB of {most}"));
        }
    }
    busy(lab, &readings)?;
    held(lab, &readings, &idle)?;
    readings.end()?;
    Ok(Seen::default())
}

fn busy(lab: &Lab, readings: &Readings) -> Result<(), String> {
    let burner = lab.kin(&["burn", "2"])?;
    let core = |pass: &Pass, cpu| pass.get(&format!("cpu_core_usage_percent{{{cpu}}}"));
    readings.until("CPU 2 and what it belongs to", |pass| {
        let (Some(two), Some(three)) = (core(pass, 2), core(pass, 3)) else { return false };
        let near = |name| pass.get(name).is_some_and(|found| (found - f64::midpoint(two, three)).abs() < 5.0);
        two > 90.0 && near("cpu_socket_usage_percent{1}") && near("cpu_numa_usage_percent{1}")
    })?;
    drop(burner);
    Ok(())
}

fn held(lab: &Lab, readings: &Readings, idle: &Pass) -> Result<(), String> {
    let grown = |pass: &Pass, name| Some(pass.get(name)? - idle.get(name)?);
    let holder = lab.kin(&["hold", "2", &HELD.to_string()])?;
    let full = readings.until("memory taken of node 2", |pass| {
        let more = |name| grown(pass, name).is_some_and(|grown| grown > MOST);
        more("memory_numa_used_bytes{2}") && more("memory_numa_anon_bytes{2}")
    })?;
    if grown(&full, "memory_numa_anon_bytes{0}").is_none_or(|grown| grown > MOST / 2.0) {
        return Err(format!("node 0 fills as well: {full:?}"));
    }
    let (percent, total) =
        (value(&full, "memory_numa_used_percent{2}")?, value(&full, "memory_numa_total_bytes{2}")?);
    let used = value(&full, "memory_numa_used_bytes{2}")?;
    if (percent - 100.0 * used / total).abs() > 0.01 {
        return Err(format!("{used} of {total} bytes are not {percent} %"));
    }
    drop(holder);
    readings.until("node 2 without its holder", |pass| {
        grown(pass, "memory_numa_anon_bytes{2}").is_some_and(|grown| grown < MOST / 2.0)
    })?;
    Ok(())
}

fn value(pass: &Pass, name: &str) -> Result<f64, String> {
    pass.get(name).ok_or_else(|| format!("there is no {name}"))
}

/// Until the agent must see again what happens on a CPU that came back: it looks every 10 s.
const TAKEN_UP: Duration = Duration::from_secs(13);

/// A CPU goes offline: it has no readings, its socket and node go on with the other one. It comes back, and what
/// happens on it is seen as before.
pub(super) fn offline(lab: &mut Lab) -> Verdict {
    let readings = Readings::start("cpu,load")?;
    readings.until("four CPUs", |pass| pass.is("cpu_online_count", 4.0))?;
    set_online(3, false)?;
    let counts = |pass: &Pass, all: f64, of_two: f64| {
        pass.is("cpu_online_count", all)
            && pass.is("cpu_socket_cpus_count{1}", of_two)
            && pass.is("cpu_numa_cpus_count{1}", of_two)
            && pass.is("cpu_socket_cpus_count{0}", 2.0)
    };
    let gone = |pass: &Pass| {
        ["cpu_core_usage_percent{3}", "cpu_core_all_seconds_total{3}", "cpu_seconds_total{3,idle}"]
            .iter()
            .all(|name| pass.lacks(name))
    };
    readings.until("three CPUs", |pass| counts(pass, 3.0, 1.0) && gone(pass))?;
    // Times of its socket grow with the CPU that is left, not with that one's old ones.
    let one = readings.next()?;
    let two = readings.next()?;
    let name = "cpu_socket_all_seconds_total{1}";
    let (grown, passed) = (value(&two, name)? - value(&one, name)?, two.at - one.at);
    if grown < 0.0 || grown > 1.5 * passed + 0.5 {
        return Err(format!("{name} grew by {grown} s in {passed} s with one CPU"));
    }
    set_online(3, true)?;
    let since = Instant::now();
    let back = |pass: &Pass| counts(pass, 4.0, 2.0) && !pass.lacks("cpu_core_usage_percent{3}");
    readings.until("four CPUs again", back)?;
    let busy = lab.kin(&["burn", "3"])?;
    readings.until("CPU 3 at work", |pass| {
        pass.get("cpu_core_usage_percent{3}").is_some_and(|percent| percent > 90.0)
    })?;
    drop(busy);
    readings.end()?;
    sleep(TAKEN_UP.saturating_sub(since.elapsed()));
    super::oom::on_cpu(lab, 3)
}

fn set_online(cpu: u32, online: bool) -> Result<(), String> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/online");
    fs::write(&path, if online { "1" } else { "0" }).map_err(|e| format!("{path}: {e}"))
}
