//! What a pass of each collector costs beside a program that only reads the same: processor time and system calls, with so many
//! sleeping processes. `cargo xtask bench collect` runs it; as root for the task iterator.
//!
//! `collect_cost [PROCESSES]…` prints a table, `--crowd N` is N sleeping processes, `--count` runs three passes for `strace`,
//! `--repeat NAME PASSES` runs one collector, or all `files`, for a profiler.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a tool that measures")]

mod crowd;
mod floor;
mod measure;
mod recording;
mod syscalls;
mod table;

use std::error::Error;

use rustix::process::{Signal, set_parent_process_death_signal};
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
}

impl Line {
    fn new(name: &'static str, collector: Box<dyn Collector>) -> Self {
        let host = Recording::new(LiveHost::default());
        Self { name, collector, samples: Samples::new(100_000), spare: None, host, floor: Floor::default() }
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
            // Whoever counts may be stopped.
            set_parent_process_death_signal(Some(Signal::KILL))?;
            syscalls::mark_passes(&mut lines(), PASS_COUNTED);
            Ok(())
        }
        ["--repeat", name, passes] => {
            repeat(name, passes.parse()?);
            Ok(())
        }
        _ => {
            let sizes: Result<Vec<usize>, _> = args.iter().map(|arg| arg.parse()).collect();
            for size in sizes? {
                measure_beside(size)?;
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

fn measure_beside(size: usize) -> Result<(), Failure> {
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
    let whole = Floor::merged(lines.iter().filter(|line| is_file(line.name)).map(|line| &line.floor));
    let rows = measure::all(&mut lines, whole);
    table::print(size, crowd::processes(), &rows, &calls);
    Ok(())
}

/// For a profiler.
fn repeat(name: &str, passes: usize) {
    let mut lines = lines();
    let chosen = |line: &&mut Line| line.name == name || (name == "files" && is_file(line.name));
    let mut chosen: Vec<&mut Line> = lines.iter_mut().filter(chosen).collect();
    for _ in 0..passes {
        for line in &mut chosen {
            line.pass();
        }
    }
}

fn is_file(name: &str) -> bool {
    name != ITERATOR && name != PROC
}
