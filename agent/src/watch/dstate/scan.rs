//! Finding tasks in uninterruptible sleep, at a bounded cost: all threads where the kernel hands them out, else all
//! processes, and of their other threads so many at a look, going on where the last look ended.

use crate::host::parse::{decimal, words};
use crate::host::tasks::{Tasks, ThreadRecord, letter};
use crate::host::{Host, read_text};
use crate::time::SECOND;
use crate::watch::enrich::Stat;

/// Processes read at a look, some 0.3 s; further ones are not looked at.
const MAX_PROCESSES: usize = 65_536;
/// Other threads of processes read at a look: some 40 ms.
const MAX_THREADS: usize = 4096;

/// How the one-minute load average follows: every five seconds it keeps 1884 parts of 2048 (`EXP_1`,
/// `include/linux/sched/loadavg.h`).
const KEPT: f64 = 1884.0 / 2048.0;
/// The kernel prints two digits, and its counts are a little behind.
const SLACK: f64 = 0.02;

/// Where the last look ended.
#[derive(Default)]
pub(super) struct Scan {
    tasks: Option<Box<dyn Tasks>>,
    /// The iterator failed at the last look, and that was said.
    failing: bool,
    pids: Vec<u32>,
    threaded: Vec<u32>,
    tids: Vec<u32>,
    cursor: (u32, u32),
}

/// Whether a task can have slept uninterruptibly for `span_ns`: each raises the load average.
pub(super) fn may_sleep(host: &dyn Host, span_ns: u64) -> bool {
    let Ok(text) = read_text(host, "/proc/loadavg") else { return true };
    let Some(load) = words(text.as_bytes()).next().and_then(decimal) else { return true };
    let updates = i32::try_from(span_ns / (5 * SECOND + SECOND / 100)).unwrap_or(i32::MAX);
    load >= 1.0 - KEPT.powi(updates) - SLACK
}

impl Scan {
    pub(super) fn new(tasks: Option<Box<dyn Tasks>>) -> Self {
        Self { tasks, ..Self::default() }
    }

    /// Calls `found` with every task found asleep so; some twice.
    pub(super) fn find(&mut self, host: &dyn Host, found: &mut dyn FnMut(u32)) {
        if let Some(tasks) = &mut self.tasks {
            let asleep = &mut |thread: &ThreadRecord, _: Option<&_>| {
                if letter(thread.state, thread.exit_state) == b'D' {
                    found(thread.pid);
                }
            };
            match tasks.scan(asleep) {
                Ok(()) => {
                    self.failing = false;
                    return;
                }
                // A machine may be short of memory once: it is asked again at the next look.
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(
                            "the task iterator failed: {error}; tasks are looked for in /proc instead"
                        );
                    }
                }
            }
        }
        list(host, "/proc", &mut self.pids);
        self.pids.truncate(MAX_PROCESSES);
        self.pids.sort_unstable();
        self.threaded.clear();
        for &pid in &self.pids {
            let Some(stat) = Stat::read(host, pid) else { continue };
            if stat.state == b'D' {
                found(pid);
            }
            if stat.threads > 1 {
                self.threaded.push(pid);
            }
        }
        self.threads(host, found);
    }

    /// From the cursor on, around, until the budget is used up or everything was seen.
    fn threads(&mut self, host: &dyn Host, found: &mut dyn FnMut(u32)) {
        let (mut left, begin) = (MAX_THREADS, self.cursor);
        let first = self.threaded.partition_point(|&pid| pid < begin.0);
        for at in 0..self.threaded.len() {
            let pid = self.threaded[(first + at) % self.threaded.len()];
            list(host, &format!("/proc/{pid}/task"), &mut self.tids);
            self.tids.sort_unstable();
            let after = if pid == begin.0 { begin.1 } else { 0 };
            for &tid in self.tids.iter().filter(|&&tid| tid > after && tid != pid) {
                if left == 0 {
                    return;
                }
                left -= 1;
                self.cursor = (pid, tid);
                if Stat::read_thread(host, pid, tid).is_some_and(|stat| stat.state == b'D') {
                    found(tid);
                }
            }
        }
        self.cursor = (0, 0);
    }
}

/// Fills `numbers` with the names of a directory that are numbers.
fn list(host: &dyn Host, path: &str, numbers: &mut Vec<u32>) {
    numbers.clear();
    // A process that is gone has no threads.
    let _ = host.list(path, &mut |name| numbers.extend(name.parse::<u32>()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;
    use crate::host::tasks::ProcessRecord;

    fn check(load: &str, secs: u64, expect: bool) {
        let host = FixtureHost::default();
        host.set("/proc/loadavg", load);
        assert_eq!(may_sleep(&host, secs * SECOND), expect, "{load} {secs} s");
    }

    #[test]
    fn the_load_average_tells_whether_looking_is_worth_it() {
        for (load, secs, expect) in [
            ("0.00 0.00 0.00 1/99 7", 15, false),
            ("0.14 0.00 0.00 1/99 7", 15, true),
            ("0.13 0.00 0.00 1/99 7", 15, false),
            ("0.30 0.00 0.00 1/99 7", 30, false),
            ("0.34 0.00 0.00 1/99 7", 30, true),
            ("3000.21 1.00 1.00 1/99 7", 30, true),
            ("0.00 0.00 0.00 1/99 7", 2, true),
            ("0.00 0.00 0.00 1/99 7", u64::MAX / SECOND, false),
            ("nonsense", 30, true),
            ("", 30, true),
        ] {
            check(load, secs, expect);
        }
        assert!(may_sleep(&FixtureHost::default(), 30 * SECOND), "a host that does not tell");
    }

    fn line(pid: u32, state: char, threads: usize) -> String {
        format!("{pid} (x) {state} 1 1 1 0 -1 0 9 0 0 0 1 0 0 0 20 0 {threads} 0 5 4096 1 18 1\n")
    }

    fn found(scan: &mut Scan, host: &FixtureHost) -> Vec<u32> {
        let mut pids = Vec::new();
        scan.find(host, &mut |pid| pids.push(pid));
        pids
    }

    #[test]
    fn threads_are_found_where_the_process_itself_runs() {
        let host = FixtureHost::default();
        for (path, pid, state, threads) in [
            ("1", 1, 'S', 1),
            ("5", 5, 'D', 1),
            ("7", 7, 'R', 3),
            ("7/task/7", 7, 'R', 3),
            ("7/task/8", 8, 'D', 3),
        ] {
            host.set(&format!("/proc/{path}/stat"), line(pid, state, threads));
        }
        host.set("/proc/7/task/9/stat", "9 (cut");
        host.set("/proc/self/stat", line(3, 'D', 1));
        assert_eq!(found(&mut Scan::default(), &host), [5, 8]);
        assert_eq!(found(&mut Scan::default(), &FixtureHost::default()), [0; 0]);
    }

    /// States of tasks; the first look fails where it is so.
    struct Told(Vec<(u32, u32)>, bool);

    impl Tasks for Told {
        fn scan(
            &mut self,
            each: &mut dyn FnMut(&ThreadRecord, Option<&ProcessRecord>),
        ) -> std::io::Result<()> {
            for &(pid, state) in &self.0 {
                each(&ThreadRecord { pid, tgid: 7, state, ..ThreadRecord::default() }, None);
            }
            if std::mem::take(&mut self.1) { Err(std::io::ErrorKind::Other.into()) } else { Ok(()) }
        }
    }

    #[test]
    fn the_kernel_is_asked_first() {
        let host = FixtureHost::default();
        host.set("/proc/5/stat", line(5, 'D', 1));
        let told = vec![(7, 1), (8, 2), (9, 0x402), (10, 0x102)];
        assert_eq!(found(&mut Scan::new(Some(Box::new(Told(told.clone(), false)))), &host), [8, 10]);
        let mut broken = Scan::new(Some(Box::new(Told(told, true))));
        // What it told before it failed, then /proc.
        assert_eq!(found(&mut broken, &host), [8, 10, 5]);
        assert_eq!(found(&mut broken, &host), [8, 10], "it is asked again");
    }

    #[test]
    fn many_threads_are_looked_at_in_turn() {
        let host = FixtureHost::default();
        let threads = |pid: u32, count: u32| {
            host.set(&format!("/proc/{pid}/stat"), line(pid, 'S', count as usize));
            for tid in pid..pid + count {
                let state = if tid == pid { 'S' } else { 'D' };
                host.set(&format!("/proc/{pid}/task/{tid}/stat"), line(tid, state, count as usize));
            }
        };
        threads(10, MAX_THREADS as u32 - 5);
        threads(100_000, 100);
        let mut scan = Scan::default();
        let first = found(&mut scan, &host);
        assert_eq!((first.len(), first.last()), (MAX_THREADS, Some(&100_006)));
        let second = found(&mut scan, &host);
        assert_eq!((second.first(), second.len()), (Some(&100_007), MAX_THREADS));
        let mut all: Vec<_> = first.into_iter().chain(second).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), MAX_THREADS - 5 - 1 + 99);
    }
}
