//! What a pass of each collector costs beside a program that only reads the same: processor time and system calls, with so many
//! sleeping processes. `cargo xtask bench collect` runs it; as root for the task iterator.
//!
//! `collect_cost [PROCESSES]…` prints a table, `--crowd N` is N sleeping processes, `--count` runs three passes for `strace`,
//! `--repeat NAME PASSES` runs one collector, or all `files`, for a profiler.
#![expect(clippy::disallowed_methods, reason = "a tool that measures")]

mod crowd;
mod floor;
mod line;
mod measure;
mod recording;
mod syscalls;
mod table;

use std::error::Error;

use rustix::process::{Signal, set_parent_process_death_signal};
use sysops_agent::collect::enabled;
use sysops_agent::collect::process::{Options, Process};
use sysops_agent::config::Config;
use sysops_agent::ebpf::tasks::TaskIter;
use sysops_agent::host::live::LiveHost;
use sysops_agent::host::tasks::Tasks;

use crowd::Crowd;
use floor::Floor;
use line::{Line, Make};

/// Those that ask no file of the host, but devices, daemons, drivers or sockets of others.
const NOT_FILES: [&str; 6] = ["process", "gpu", "smart", "docker", "redis", "ports"];
/// Passes before anything counts: files are opened, series met.
const WARM_UP: usize = 3;
/// Names of what is no collector of files.
const ITERATOR: &str = "process, iterator";
/// Told of all processes at each look.
const WHOLE_ITERATOR: &str = "process, iterator, all told";
const PROC: &str = "process, /proc";

type Failure = Box<dyn Error>;

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
    let mut lines: Vec<Line> = files
        .map(|entry| {
            let config = config.clone();
            Line::new(entry.name, Box::new(move || (entry.make)(&config)))
        })
        .collect();
    lines.push(Line::new(PROC, processes(&config, None)));
    // As the agent does at this pace: most looks are brief.
    for (name, load) in [(WHOLE_ITERATOR, TaskIter::load as Load), (ITERATOR, TaskIter::load_brief)] {
        match load(&LiveHost::default()) {
            Ok(tasks) => lines.push(Line::new(name, processes(&config, Some(tasks)))),
            Err(refused) => eprintln!("no task iterator: {}; {}", refused.why, refused.remedy),
        }
    }
    lines
}

type Load = fn(&dyn sysops_agent::host::Host) -> Result<TaskIter, sysops_agent::ebpf::tasks::Refused>;

fn processes(config: &Config, tasks: Option<TaskIter>) -> Make {
    let options = Options::of(config);
    Box::new(move || {
        let tasks = tasks.clone().map(|tasks| -> Box<dyn Tasks> { Box::new(tasks) });
        Box::new(Process::new(&options, tasks))
    })
}

fn measure_beside(size: usize) -> Result<(), Failure> {
    let _crowd = Crowd::gather(size)?;
    let calls = syscalls::count();
    let mut lines = lines();
    for line in &mut lines {
        (0..WARM_UP).for_each(|_| line.pass());
        if is_iterator(line.name) {
            line.floor = Floor::iterator(TaskIter::load(&LiveHost::default()).map_err(|r| r.why)?);
        } else {
            line.record();
        }
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

fn is_iterator(name: &str) -> bool {
    name == ITERATOR || name == WHOLE_ITERATOR
}

fn is_file(name: &str) -> bool {
    !is_iterator(name) && name != PROC
}
