//! What a pass of each collector costs beside a program that only reads the same files: processor time and system calls, with
//! so many sleeping processes. `cargo xtask bench collect` runs it; as root for the task iterator.
//!
//! `collect_cost [PROCESSES]…` prints a table, `--crowd N` is N sleeping processes, `--count` runs three passes for `strace`.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a tool that measures")]

mod crowd;
mod floor;
mod recording;
mod syscalls;

use std::error::Error;

use rustix::time::{ClockId, clock_gettime};
use sysops_agent::collect::process::{Options, Process};
use sysops_agent::collect::{Collector, enabled};
use sysops_agent::config::Config;
use sysops_agent::ebpf::tasks::TaskIter;
use sysops_agent::host::clock::now;
use sysops_agent::host::live::LiveHost;
use sysops_agent::sample::{Batch, Samples};

use crowd::Crowd;
use floor::Floor;
use recording::Recording;

/// Those that ask no file of the host, but devices, daemons, drivers or sockets of others.
const NOT_FILES: [&str; 6] = ["process", "gpu", "smart", "docker", "redis", "ports"];
/// Passes before anything counts: files are opened, series met.
const WARM_UP: usize = 3;
/// Passes that are measured.
const PASSES: usize = 60;
/// Names of what is no collector of files.
const ITERATOR: &str = "process, iterator";
const PROC: &str = "process, /proc";

type Failure = Box<dyn Error>;

/// A collector and what only reads the same.
struct Line {
    name: &'static str,
    collector: Box<dyn Collector>,
    samples: Samples,
    spare: Option<Batch>,
    host: Recording,
    floor: Floor,
    ns: Vec<u64>,
    floor_ns: Vec<u64>,
}

impl Line {
    fn new(name: &'static str, collector: Box<dyn Collector>) -> Self {
        let host = Recording::new(LiveHost::default());
        Self {
            name,
            collector,
            samples: Samples::new(100_000),
            spare: None,
            host,
            floor: Floor::default(),
            ns: Vec::new(),
            floor_ns: Vec::new(),
        }
    }

    fn pass(&mut self) {
        self.samples.begin(self.name, now(), self.spare.take());
        // What this machine lacks is told by `doctor`.
        let _ = self.collector.collect(&self.host, &mut self.samples);
        self.spare = Some(self.samples.finish());
    }

    /// Notes what a pass reads, and makes the floor of it.
    fn record(&mut self) {
        self.host.start();
        self.pass();
        self.floor = Floor::of(self.host.stop());
    }
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--crowd", count] => crowd::be(count.parse()?),
        ["--count"] => {
            syscalls::mark_passes(&mut lines(), PASS_COUNTED);
            Ok(())
        }
        _ => {
            let sizes: Result<Vec<usize>, _> = args.iter().map(|arg| arg.parse()).collect();
            for size in sizes? {
                table(size)?;
            }
            Ok(())
        }
    }
}

/// The pass whose system calls count; those before open files.
const PASS_COUNTED: usize = 3;

fn lines() -> Vec<Line> {
    let mut config = Config::default();
    config.collector.exclude_interfaces.clear();
    let files = enabled(&config).filter(|entry| !NOT_FILES.contains(&entry.name));
    let mut lines: Vec<Line> = files.map(|entry| Line::new(entry.name, (entry.make)(&config))).collect();
    let options = Options::of(&config);
    match TaskIter::load(&LiveHost::default()) {
        Ok(tasks) => lines.push(Line::new(ITERATOR, Box::new(Process::new(&options, Some(Box::new(tasks)))))),
        Err(refused) => eprintln!("no task iterator: {}; {}", refused.why, refused.remedy),
    }
    lines.push(Line::new(PROC, Box::new(Process::new(&options, None))));
    lines
}

fn table(size: usize) -> Result<(), Failure> {
    let _crowd = Crowd::gather(size)?;
    let calls = syscalls::count();
    let mut lines = lines();
    for line in &mut lines {
        (0..WARM_UP).for_each(|_| line.pass());
        line.record();
    }
    if let Some(line) = lines.iter_mut().find(|line| line.name == ITERATOR) {
        line.floor = Floor::iterator(TaskIter::load(&LiveHost::default()).map_err(|r| r.why)?);
    }
    let mut whole = Floor::merged(lines.iter().filter(|line| is_file(line.name)).map(|line| &line.floor));
    let mut whole_ns = Vec::new();
    for _ in 0..PASSES {
        for line in &mut lines {
            let took = cost(|| line.pass());
            line.ns.push(took);
            let Line { floor, floor_ns, .. } = line;
            floor_ns.push(cost(|| floor.pass()));
        }
        whole_ns.push(cost(|| whole.pass()));
    }
    print(size, crowd::processes(), &mut lines, &mut whole_ns, &calls);
    Ok(())
}

fn is_file(name: &str) -> bool {
    name != ITERATOR && name != PROC
}

fn print(size: usize, all: usize, lines: &mut [Line], whole_ns: &mut [u64], calls: &syscalls::Counts) {
    println!("| {size} sleeping processes, {all} in all | µs a pass | floor µs | ratio | system calls |");
    println!("|---|---|---|---|---|");
    let row = |name: &str, ns: u64, floor: u64, calls: Option<usize>| {
        let (us, floor) = (ns as f64 / 1e3, floor as f64 / 1e3);
        let calls = calls.map_or("?".to_owned(), |calls| calls.to_string());
        println!("| {name} | {us:.1} | {floor:.1} | {:.2} | {calls} |", us / floor);
    };
    let rounds = lines.first().map_or(0, |line| line.ns.len());
    let files = |lines: &[Line]| lines.iter().filter(|line| is_file(line.name)).count();
    let mut sums: Vec<u64> =
        (0..rounds).map(|nth| lines[..files(lines)].iter().map(|line| line.ns[nth]).sum()).collect();
    let sum = lines.iter().filter(|line| is_file(line.name)).filter_map(|line| calls.get(line.name)).sum();
    for line in lines {
        row(line.name, median(&mut line.ns), median(&mut line.floor_ns), calls.get(line.name).copied());
    }
    row("**all host files**", median(&mut sums), median(whole_ns), (!calls.is_empty()).then_some(sum));
    println!();
}

/// Processor time of all threads of this process, nanoseconds.
fn cost(work: impl FnOnce()) -> u64 {
    let time = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    };
    let start = time();
    work();
    time() - start
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
