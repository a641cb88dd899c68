//! System calls of a pass, counted by `strace` between marks: this kernel's own counters need not be there.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use crate::Line;

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

/// Lets `strace` count.
pub(crate) fn count() -> Counts {
    let trace = tempfile::NamedTempFile::new().ok().zip(std::env::current_exe().ok());
    let Some((trace, own)) = trace else { return Counts::new() };
    let done = Command::new("strace")
        .args(["-f", "-qq", "-o"])
        .arg(trace.path())
        .arg(own)
        .arg("--count")
        .stdout(Stdio::null())
        .status();
    match done {
        Ok(status) if status.success() => {}
        other => {
            eprintln!("system calls are not counted: strace: {other:?}");
            return Counts::new();
        }
    }
    parse(&std::fs::read_to_string(trace.path()).unwrap_or_default())
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
