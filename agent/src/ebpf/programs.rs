//! What the kernel says about the running programs: how often it had to leave one out, and what they cost.
//!
//! The kernel does not run a program where it would interrupt another: classic tracepoint programs leave each
//! other out on the same processor (`bpf_prog_active` in `trace_call_bpf`, `kernel/trace/bpf_trace.c`), a BTF one
//! only itself (`prog->active` in `__bpf_trace_run`, same file). What it left out it counts with the program:
//! since 5.12 there is a place for it, since 6.7 classic programs use it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::ebpf::{io_metrics as m, sys};
use crate::sample::Samples;
use crate::time::SECOND;

/// Counters the kernel keeps with a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Events that it did not see, since another program or itself ran on that processor; `None` where the
    /// kernel has no such counter (before 5.12).
    pub misses: Option<u64>,
    /// Runs while `kernel.bpf_stats_enabled` was on.
    pub runs: u64,
    /// Their time, nanoseconds.
    pub run_ns: u64,
}

/// Asks the kernel about a program.
///
/// # Errors
/// The kernel's, which `BPF_OBJ_GET_INFO_BY_FD` gives.
pub fn counted(program: BorrowedFd<'_>) -> io::Result<Counted> {
    let (info, counts_misses) = sys::program_info(program)?;
    let misses = counts_misses.then_some(info.recursion_misses);
    Ok(Counted { misses, runs: info.run_cnt, run_ns: info.run_time_ns })
}

/// The programs that run.
#[derive(Debug, Default)]
pub(super) struct Programs(Vec<Program>);

/// One, and what was counted of it at the newest look.
#[derive(Debug)]
struct Program {
    name: &'static str,
    fd: OwnedFd,
    counted: Counted,
}

impl Programs {
    /// These, by name.
    pub(super) fn new(programs: Vec<(&'static str, OwnedFd)>) -> Self {
        let of = |(name, fd)| Program { name, fd, counted: Counted::default() };
        Self(programs.into_iter().map(of).collect())
    }

    /// Asks the kernel about each: one system call a program.
    pub(super) fn ask(&mut self) -> io::Result<()> {
        for program in &mut self.0 {
            program.counted = counted(program.fd.as_fd())?;
        }
        Ok(())
    }

    /// Puts out what the kernel said of each.
    pub(super) fn put(&self, out: &mut Samples) {
        for program in &self.0 {
            put(program.name, program.counted, out);
        }
    }
}

fn put(name: &str, Counted { misses, runs, run_ns }: Counted, out: &mut Samples) {
    if let Some(misses) = misses {
        out.put(&m::EBPF_MISSES, &[name], misses as f64);
    }
    // 0 unless somebody switched the kernel's measuring on.
    if runs > 0 {
        out.put(&m::EBPF_RUNS, &[name], runs as f64);
        out.put(&m::EBPF_RUN_TIME, &[name], run_ns as f64 / SECOND as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Now;

    fn told(counted: Counted) -> Vec<(&'static str, f64)> {
        let mut samples = Samples::new(10);
        samples.begin("ebpf", Now::default(), None);
        put("oom", counted, &mut samples);
        let batch = samples.finish();
        batch.defs.iter().zip(&batch.samples).map(|(def, (_, value))| (def.metric.name, *value)).collect()
    }

    #[test]
    fn what_the_kernel_counts_is_told() {
        let all =
            [("ebpf_recursion_misses_total", 3.0), ("ebpf_runs_total", 7.0), ("ebpf_run_seconds_total", 2.5)];
        assert_eq!(told(Counted { misses: Some(3), runs: 7, run_ns: 2_500_000_000 }), all);
        assert_eq!(
            told(Counted { misses: None, runs: 0, run_ns: 0 }),
            [],
            "an old kernel that measures nothing"
        );
    }
}
