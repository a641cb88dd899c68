//! System calls of a pass, counted by `strace` between marks: this kernel's own counters need not be there.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::line::Line;

/// A file that is nowhere; asking for it is a mark in the trace.
const MARK: &str = "/collect_cost-mark/";

/// By name of the line. Empty where there is no `strace`.
pub(crate) type Counts = BTreeMap<String, usize>;

/// Runs `passes` passes of each line, with a mark before and after each of the last ones.
pub(crate) fn mark_passes(lines: &mut [Line], passes: usize) {
    let mark = |what: &str| {
        let _ = std::fs::metadata(format!("{MARK}{what}"));
    };
    for line in lines {
        (1..passes).for_each(|_| line.pass());
        mark(line.name);
        line.pass();
        mark("");
    }
}

/// How long `strace` may take; it was seen to wait for ever once.
const PATIENCE: Duration = Duration::from_mins(1);

/// Lets `strace` count.
pub(crate) fn count() -> Counts {
    let counts = try_count();
    counts.unwrap_or_else(|why| {
        eprintln!("system calls are not counted: {why}");
        Counts::new()
    })
}

fn try_count() -> Result<Counts, Failure> {
    let trace = tempfile::NamedTempFile::new()?;
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(trace.path())
        .arg(std::env::current_exe()?)
        .arg("--count")
        .stdout(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    loop {
        match strace.try_wait()? {
            Some(status) if status.success() => break,
            Some(status) => return Err(format!("strace: {status}").into()),
            None if start.elapsed() < PATIENCE => sleep(Duration::from_millis(20)),
            None => {
                strace.kill()?;
                strace.wait()?;
                return Err(format!("strace took more than {} s", PATIENCE.as_secs()).into());
            }
        }
    }
    Ok(parse(&std::fs::read_to_string(trace.path())?))
}

fn parse(trace: &str) -> Counts {
    let (mut counts, mut current) = (Counts::new(), None);
    for line in trace.lines() {
        if let Some((_, rest)) = line.split_once(MARK) {
            let name = rest.split('"').next().unwrap_or_default();
            current = (!name.is_empty()).then(|| name.to_owned());
            if let Some(name) = &current {
                counts.insert(name.clone(), 0);
            }
        } else if let Some(count) = current.as_ref().and_then(|name| counts.get_mut(name))
            // The end of a call that another thread's interrupted in the trace; ends of threads, signals.
            && !line.contains(" resumed>") && line.contains('(')
        {
            *count += 1;
        }
    }
    counts
}
