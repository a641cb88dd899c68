//! What we read beside what others read at the same moment, while there is load. As root: `cargo xtask compare`, which
//! also writes docs/COMPARISON.md.
#![expect(clippy::disallowed_methods, reason = "starts other readers, writes the page")]

#[path = "../bench/mod.rs"]
mod bench;
mod gpu;
#[path = "../lab/mod.rs"]
mod lab;
mod load;
mod machine;
mod node;
mod rates;
mod rows;
mod tools;

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bench::Bench;
use load::Load;
use node::Exporter;
use rows::{Readings, Rows, Theirs};
use sysops_agent::config::Config;
use sysops_agent::host::clock;
use sysops_agent::host::live::LiveHost;
use sysops_agent::sample::ProcTable;

/// Looks of one reader at most: those whose values were between ours are not asked again.
const LOOKS: u32 = 25;
/// Windows of two seconds at most.
const WINDOWS: u32 = 5;
/// Programs, and whether all of them are here.
const PROGRAMS: [&str; 10] =
    ["free", "df", "vmstat", "ss", "ps", "uptime", "nproc", "iostat", "sar", node::PROGRAM];

/// Everything, nothing left out.
fn config() -> Config {
    let mut config = Config::default();
    config.collector.exclude_devices.clear();
    // Which node_exporter shows by default.
    config.collector.exclude_fstypes.retain(|fstype| fstype != "tmpfs");
    config.collector.exclude_interfaces.clear();
    config.collector.cpu_interval_secs = 1;
    config.collector.memory_interval_secs = 1;
    config.collector.disk_interval_secs = 1;
    config.collector.disk_io_interval_secs = 1;
    config.collector.network_interval_secs = 1;
    config.collector.process_interval_secs = 1;
    config.collector.fd_interval_secs = 1;
    config.collector.gpu_interval_secs = 1;
    config
}

fn bench() -> Bench {
    Bench::at(Arc::new(LiveHost::default()), &config(), clock::now())
}

/// All collectors once.
fn snapshot() -> (Readings, ProcTable) {
    let mut bench = bench();
    bench.pass_live();
    (bench.readings(), bench.processes)
}

/// Asks one reader between two of our readings, again while it is off.
fn compare(rows: &mut Rows, mut read: impl FnMut() -> Vec<Theirs>) {
    for _ in 0..LOOKS {
        let (before, _) = snapshot();
        let theirs = read();
        let (after, _) = snapshot();
        let asked: Vec<&'static str> = theirs.iter().map(|theirs| theirs.tool).collect();
        rows.take(&before, theirs, &after);
        if asked.iter().all(|tool| rows.wrong(tool).is_empty()) {
            return;
        }
    }
}

/// Memory of a process that is none of the largest is no reading, but a row of the table of processes.
fn compare_processes(rows: &mut Rows, pids: &[u32]) {
    for _ in 0..LOOKS {
        let (mut before, processes) = snapshot();
        before.extend(tools::rss(&processes));
        let mut theirs = tools::ps();
        theirs.extend(tools::ps_memory(pids));
        let (mut after, processes) = snapshot();
        after.extend(tools::rss(&processes));
        rows.take(&before, theirs, &after);
        if rows.wrong("ps").is_empty() {
            return;
        }
    }
}

/// Rates of the same two seconds.
fn compare_rates(rows: &mut Rows, disk: &str) {
    for _ in 0..WINDOWS {
        let mut bench = bench();
        bench.pass_live();
        let theirs = rates::read(disk);
        bench.pass_live();
        let ours = bench.readings();
        rows.take(&ours, theirs, &ours);
        if ["vmstat", "iostat", "sar"].iter().all(|tool| rows.wrong(tool).is_empty()) {
            return;
        }
    }
}

fn missing() -> Vec<&'static str> {
    let lacks = |program: &&str| {
        let mut command = Command::new(program);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().and_then(|mut child| child.wait()).is_err()
    };
    PROGRAMS.into_iter().filter(lacks).collect()
}

#[test]
#[ignore = "live: starts node_exporter, writes to a loop device"]
fn other_readers_see_the_same() {
    let _alone = lab::alone();
    if !lab::ready() {
        return;
    }
    let missing = missing();
    if !missing.is_empty() {
        return lab::skip(&format!(
            "{missing:?} missing: apt-get install procps iproute2 sysstat {}",
            node::PROGRAM
        ));
    }
    let begin = Instant::now();
    let load = Load::start().expect("load");
    let exporter = Exporter::start();
    let mut rows = Rows::default();
    compare(&mut rows, tools::free);
    compare(&mut rows, tools::df);
    compare(&mut rows, tools::vmstat);
    let pids = [std::process::id(), exporter.pid()];
    compare(&mut rows, || tools::ss(&pids));
    compare(&mut rows, tools::uptime);
    compare(&mut rows, || exporter.read());
    compare_processes(&mut rows, &pids);
    compare_rates(&mut rows, load.disk());
    machine::compare(&mut rows);
    if gpu::is_here() {
        gpu::compare(&mut rows);
    }
    drop((load, exporter));
    let page = rows.table(40);
    println!("{page}\n{} values in {:?}", rows.len(), begin.elapsed());
    let wrong: Vec<String> = rows.tools().iter().flat_map(|tool| rows.wrong(tool)).collect();
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    // A reader that says nothing, or a parser that understands nothing, agrees with everybody.
    for (tool, least) in [
        ("free", 7),
        ("df", 7),
        ("vmstat -s", 17),
        ("ss", 13),
        ("uptime", 4),
        ("nproc", 1),
        ("ps", 8),
        ("vmstat", 9),
    ] {
        assert!(rows.of(tool) >= least, "{tool}: {}", rows.of(tool));
    }
    assert!(rows.of("iostat") >= 7 && rows.of("sar") >= 4 && rows.of("lscpu") >= 5);
    assert!(!gpu::is_here() || rows.of("nvidia-smi") >= 6, "{}", rows.of("nvidia-smi"));
    assert!(rows.of("node_exporter") >= 200, "{}", rows.of("node_exporter"));
    assert!(begin.elapsed() < Duration::from_mins(5));
    if let Some(path) = std::env::var_os("COMPARISON_PAGE") {
        std::fs::write(path, machine::page(&page)).expect("the page is written");
    }
}
