//! What this program does as a child of itself.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Gid, Resource, Rlimit, Uid, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, CpuSet, configure_capability_in_ambient_set, sched_setaffinity,
    set_capabilities, set_keep_capabilities, set_name, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use crate::plan::CAPABILITIES;
use crate::{machine, sys};

/// Somebody without rights: `nobody`.
pub const NOBODY: u32 = 65534;

/// Plays the role named by the first argument.
pub fn play(args: &[String]) -> Result<(), String> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["eat", name, group, mib] => eat(name, group, mib.parse().map_err(|e| format!("{mib}: {e}"))?),
        ["eat-on", cpu, group, mib] => {
            stay(number(cpu)? as usize)?;
            eat("pinned", group, number(mib)? as usize)
        }
        ["hold", node, mib] => hold(number(node)?, number(mib)? as usize),
        ["burn", cpu] => burn(number(cpu)? as usize),
        ["work", group, file] => work(group, file),
        ["write", name, file] => write(name, file),
        ["systemd"] => crate::init::serve(),
        ["press", name, mib] => press(name, mib.parse().map_err(|e| format!("{mib}: {e}"))?),
        ["poison"] => sys::poison().map_err(|e| format!("madvise: {e}")),
        ["capable", program, args @ ..] => capable(program, args),
        _ => Err("no such role".into()),
    }
}

/// Joins a control group (`-`: none), takes memory and keeps it.
fn eat(name: &str, group: &str, mib: usize) -> Result<(), String> {
    rename(name)?;
    if group != "-" {
        fs::write(group, "0").map_err(|e| format!("{group}: {e}"))?;
    }
    let mut kept = Vec::with_capacity(mib);
    for _ in 0..mib {
        // Not zeroes: the allocator would get them from the kernel without touching a page.
        kept.push(vec![1_u8; 1 << 20]);
    }
    loop {
        sleep(Duration::from_mins(1));
    }
}

/// Takes memory, and reads more from files than there is room for: both at once are memory pressure.
fn press(name: &str, mib: usize) -> Result<(), String> {
    const FILE: &str = "/var/tmp/pressed";
    rename(name)?;
    fs::write(FILE, vec![7_u8; 8 << 20]).map_err(|e| format!("{FILE}: {e}"))?;
    let mut kept = Vec::new();
    loop {
        if kept.len() < mib {
            kept.push(vec![1_u8; 1 << 20]);
        }
        fs::read(FILE).map_err(|e| format!("{FILE}: {e}"))?;
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|e| format!("{text}: {e}"))
}

/// Takes memory of one NUMA node and keeps it.
fn hold(node: u64, mib: usize) -> Result<(), String> {
    sys::bind_memory(node).map_err(|e| format!("memory of node {node}: {e}"))?;
    let _kept = vec![1_u8; mib << 20];
    loop {
        sleep(Duration::from_mins(1));
    }
}

/// Keeps one CPU busy.
fn burn(cpu: usize) -> Result<(), String> {
    stay(cpu)?;
    loop {
        std::hint::spin_loop();
    }
}

/// Runs on this CPU only.
fn stay(cpu: usize) -> Result<(), String> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).map_err(|e| format!("CPU {cpu}: {e}"))
}

/// Joins a control group and keeps a CPU and a disk busy.
fn work(group: &str, file: &str) -> Result<(), String> {
    fs::write(group, "0").map_err(|e| format!("{group}: {e}"))?;
    loop {
        machine::direct_read(file, 0).map_err(|e| format!("{file}: {e}"))?;
        let begin = std::time::Instant::now();
        while begin.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
    }
}

/// Writes to a file, for who wants to see a writer hang.
fn write(name: &str, file: &str) -> Result<(), String> {
    rename(name)?;
    let mut file = OpenOptions::new().create(true).append(true).open(file).map_err(|e| e.to_string())?;
    file.write_all(&[7; 4096]).map_err(|e| e.to_string())
}

fn rename(name: &str) -> Result<(), String> {
    let name = CString::new(name).map_err(|e| e.to_string())?;
    set_name(&name).map_err(|e| format!("no new name: {e}"))
}

/// Becomes `program` as nobody with the four capabilities, as systemd's `AmbientCapabilities=` does.
fn capable(program: &str, args: &[&str]) -> Result<(), String> {
    drop_rights().map_err(|e| format!("rights cannot be changed: {e}"))?;
    let error = Command::new(program).args(args).exec();
    Err(format!("{program}: {error}"))
}

fn drop_rights() -> rustix::io::Result<()> {
    // Kernels before 5.11 charge BPF maps to it; the unit says LimitMEMLOCK=infinity.
    setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })?;
    set_keep_capabilities(true)?;
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    let caps = CapabilitySet::from_bits_retain(CAPABILITIES);
    set_capabilities(None, CapabilitySets { effective: caps, permitted: caps, inheritable: caps })?;
    for cap in caps.iter() {
        configure_capability_in_ambient_set(cap, true)?;
    }
    Ok(())
}
