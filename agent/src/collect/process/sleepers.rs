//! For how long threads have been in uninterruptible sleep. The kernel keeps no such time: it is counted from the first pass
//! that found one asleep, for as long as it has not been on a processor meanwhile. The task iterator tells all threads; where
//! `/proc` is read, the first one of each process is looked at.

use std::collections::HashMap;
use std::fmt::Write;

use super::rows::Rows;
use crate::host::Host;
use crate::time::{Now, SECOND};

/// Sleepers looked at in a pass; those with the lowest numbers.
pub(super) const MAX_SLEEPERS: usize = 256;

/// Those of the newest pass.
#[derive(Default)]
pub(super) struct Sleepers {
    known: HashMap<u32, Sleep>,
    before: HashMap<u32, Sleep>,
    path: String,
    status: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Sleep {
    /// Of a process; 0 where a thread is known by its switches alone.
    start_ticks: u64,
    switches: u64,
    since: Now,
}

impl Sleepers {
    /// Looks at those in uninterruptible sleep. How long the longest one has taken, seconds; 0 where there is none.
    pub(super) fn look(&mut self, rows: &Rows, host: &dyn Host, now: Now) -> f64 {
        std::mem::swap(&mut self.known, &mut self.before);
        self.known.clear();
        if let Some(asleep) = &rows.asleep {
            for thread in asleep {
                self.note(thread.tid, 0, thread.switches, now);
            }
        } else {
            for row in rows.all().iter().filter(|row| row.state == b'D').take(MAX_SLEEPERS) {
                // Gone meanwhile.
                let Some(switches) = self.switches(row.pid, host) else { continue };
                self.note(row.pid, row.start_ticks, switches, now);
            }
        }
        let longest = self.known.values().map(|sleep| now.since(sleep.since)).max();
        longest.unwrap_or(0) as f64 / SECOND as f64
    }

    fn note(&mut self, tid: u32, start_ticks: u64, switches: u64, now: Now) {
        let fresh = Sleep { start_ticks, switches, since: now };
        let same = |old: &&Sleep| old.start_ticks == start_ticks && old.switches == switches;
        let sleep = self.before.get(&tid).filter(same).copied().unwrap_or(fresh);
        self.known.insert(tid, sleep);
    }

    /// How often its first thread has left a processor.
    fn switches(&mut self, pid: u32, host: &dyn Host) -> Option<u64> {
        self.path.clear();
        // Writing to a string does not fail.
        let _ = write!(self.path, "/proc/{pid}/status");
        host.read(&self.path, &mut self.status).ok()?;
        // A name comes first, its line breaks escaped.
        let lines = self.status.split(|&byte| byte == b'\n');
        let of = |line: &[u8]| -> Option<u64> {
            let rest = line.strip_prefix(b"voluntary_ctxt_switches:");
            let rest = rest.or_else(|| line.strip_prefix(b"nonvoluntary_ctxt_switches:"))?;
            std::str::from_utf8(rest).ok()?.trim().parse().ok()
        };
        lines.filter_map(of).reduce(u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use agent_common::task::{ProcessRecord, ThreadRecord};

    use crate::collect::process::{Options, Process};
    use crate::collect::testing::Bench;
    use crate::host::tasks::Tasks;

    /// A process in a state, that began at a tick and left a processor so often.
    fn set(bench: &Bench, pid: u32, state: char, start: u64, switches: Option<u64>) {
        let line = format!("{pid} (dd) {state} 1 1 1 0 -1 0 9 0 0 0 0 0 0 0 20 0 2 0 {start} 4096 1 18 1\n");
        bench.host.set(&format!("/proc/{pid}/stat"), line);
        if let Some(switches) = switches {
            let status =
                format!("Name:\tdd\nvoluntary_ctxt_switches:\t{switches}\nnonvoluntary_ctxt_switches:\t1\n");
            bench.host.set(&format!("/proc/{pid}/status"), status);
        }
    }

    /// Threads of process 9: number, state, switches.
    struct Told(Arc<Mutex<Vec<(u32, u32, u64)>>>);

    impl Tasks for Told {
        fn scan(
            &mut self,
            each: &mut dyn FnMut(&ThreadRecord, Option<&ProcessRecord>),
        ) -> std::io::Result<()> {
            for &(pid, state, switches) in &*self.0.lock().unwrap() {
                let thread = ThreadRecord { pid, tgid: 9, state, switches, ..ThreadRecord::default() };
                each(&thread, (pid == 9).then(ProcessRecord::default).as_ref());
            }
            Ok(())
        }
    }

    #[test]
    fn any_thread_counts_where_all_are_told() {
        const SLEEPS: u32 = 2;
        let told = Arc::new(Mutex::new(vec![(9, 1, 0), (10, 1, 0), (11, SLEEPS, 5)]));
        let tasks = Told(Arc::clone(&told));
        let mut bench = Bench::new("", Process::new(&Options::default(), Some(Box::new(tasks))));
        let mut check = |threads: &[(u32, u32, u64)], expect: f64| {
            *told.lock().unwrap() = threads.to_vec();
            // Process 1 is not there.
            bench.pass().unwrap_err();
            bench.expect(&[("processes_uninterruptible_oldest_seconds", expect)]);
        };
        check(&[(9, 1, 0), (10, 1, 0), (11, SLEEPS, 5)], 0.0);
        check(&[(9, SLEEPS, 2), (10, 1, 0), (11, SLEEPS, 5)], 10.0);
        check(&[(9, SLEEPS, 2), (10, 1, 0), (11, SLEEPS, 6)], 10.0);
        check(&[(9, 1, 0), (10, 1, 0), (11, SLEEPS, 6)], 10.0);
        check(&[(9, 1, 0)], 0.0);
        // A brief wait of idle kernel threads (`TASK_IDLE`) is none.
        check(&[(9, 1, 0), (11, SLEEPS | 0x400, 6)], 0.0);
    }

    #[test]
    fn the_longest_sleep_is_told() {
        let mut bench = Bench::new("", Process::new(&Options::default(), None));
        let mut check = |processes: &[(u32, char, u64, Option<u64>)], expect: f64| {
            for &(pid, state, start, switches) in processes {
                set(&bench, pid, state, start, switches);
            }
            bench.pass().unwrap();
            bench.expect(&[("processes_uninterruptible_oldest_seconds", expect)]);
        };
        check(&[(1, 'S', 1, None)], 0.0);
        // One that is found asleep has slept for nothing yet.
        check(&[(7, 'D', 5, Some(3)), (8, 'D', 5, Some(9))], 0.0);
        check(&[], 10.0);
        // It was on a processor meanwhile; the other one was not.
        check(&[(7, 'D', 5, Some(4))], 20.0);
        check(&[(8, 'S', 5, Some(10))], 10.0);
        // Another process by the same number.
        check(&[(7, 'D', 6, Some(4))], 0.0);
        check(&[(8, 'D', 5, Some(10))], 10.0);
        // What cannot be read is left out.
        check(&[(7, 'D', 6, None), (9, 'D', 6, None)], 20.0);
        check(&[(7, 'S', 6, None), (8, 'S', 5, None)], 0.0);
    }
}
