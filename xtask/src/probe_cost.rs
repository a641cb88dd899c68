//! `cargo xtask probe-cost`: what each eBPF probe costs an event on this machine, into docs/KERNELS.md.

use std::fs;

use crate::sh;
use crate::vm::page;

/// The part of the page that this makes.
const PART: &str = "probe cost";

/// Measures as root and writes the table.
pub fn run() -> Result<(), String> {
    let mut command = sh::cargo(&["run", "--quiet", "--package", "sysops-agent", "--example", "probe_cost"]);
    let table = sh::output(&mut command)?;
    if table.lines().count() < 3 {
        return Err("no probe runs here: it takes root and Linux 5.8".into());
    }
    println!("{table}");
    page::write(PART, &format!("{}\n\n{table}", machine()))
}

/// Processor and kernel.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let kernel = read("/proc/sys/kernel/osrelease");
    let cpus = info.lines().filter(|line| line.starts_with("processor")).count();
    let model = model.map_or("an unknown processor", |(_, name)| name);
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "Measured on {cpus} threads of {model}, Linux {}, at a load of {load}: medians of 5 rounds.",
        kernel.trim()
    )
}
