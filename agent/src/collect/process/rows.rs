//! One row a process, in the order of process ids, and what it used since the previous pass.

use crate::collect::stat_line::StatLine;
use crate::host::Host;
use crate::host::tasks::{Tasks, letter};
use crate::sample::Comm;
use crate::time::SECOND;

use super::MAX_PROCESSES;

/// Threads that come before the first of their process: process ids have begun anew meanwhile. What further ones used is
/// not counted.
const MAX_EARLY: usize = 65_536;

/// A process.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) pid: u32,
    pub(super) start_ticks: u64,
    pub(super) comm: Comm,
    pub(super) cpu_ns: u64,
    /// Of it, what threads used that have ended; 0 where `/proc` is read.
    pub(super) ended_ns: u64,
    /// Since the previous pass; on the first, since the start.
    pub(super) recent_ns: u64,
    pub(super) rss_pages: u64,
    pub(super) threads: u64,
    pub(super) state: u8,
    /// `None`: to be asked for.
    pub(super) open_files: Option<u64>,
    /// Another number in another control group; 0: not known.
    pub(super) groups: u64,
    /// Patterns that its name matches, a bit each; `None`: to be looked at.
    pub(super) tracked: Option<u64>,
}

impl Row {
    /// Whether it is followed because of its name.
    pub(super) fn is_tracked(&self) -> bool {
        self.tracked.is_some_and(|patterns| patterns != 0)
    }
}

/// All of them, now and in the previous pass.
#[derive(Default)]
pub(super) struct Rows {
    now: Vec<Row>,
    before: Vec<Row>,
    /// Processes and time of threads whose process has not come yet.
    early: Vec<(u32, u64)>,
    /// Processes beyond the limit.
    pub(super) skipped: usize,
}

impl Rows {
    /// In the order of process ids.
    pub(super) fn all(&self) -> &[Row] {
        &self.now
    }

    /// The same, to note something at them.
    pub(super) fn all_mut(&mut self) -> &mut [Row] {
        &mut self.now
    }

    /// Whether this is the first.
    pub(super) fn begin_with(&self, pid: u32) -> bool {
        self.now.first().is_some_and(|row| row.pid == pid)
    }

    /// Begins a pass.
    pub(super) fn begin(&mut self) {
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.clear();
        self.early.clear();
        self.skipped = 0;
    }

    /// A line of `/proc/PID/stat`.
    pub(super) fn add(&mut self, stat: &StatLine<'_>, ticks_per_second: u64) {
        self.now.push(Row {
            pid: stat.pid,
            start_ticks: stat.start_ticks,
            comm: stat.comm.into(),
            cpu_ns: stat.cpu_ticks.saturating_mul(SECOND / ticks_per_second),
            ended_ns: 0,
            recent_ns: 0,
            rss_pages: stat.rss_pages,
            threads: stat.threads,
            state: stat.state,
            open_files: None,
            groups: 0,
            tracked: None,
        });
    }

    /// All that the iterator tells. After an error there are no rows.
    pub(super) fn scan(&mut self, tasks: &mut dyn Tasks, host: &dyn Host) -> std::io::Result<()> {
        self.begin();
        let ns_per_tick = SECOND / host.ticks_per_second();
        let (rows, early, skipped) = (&mut self.now, &mut self.early, &mut self.skipped);
        let result = tasks.scan(&mut |thread, process| {
            let Some(process) = process else {
                match rows.binary_search_by_key(&thread.tgid, |row| row.pid) {
                    Ok(at) => rows[at].cpu_ns += thread.runtime_ns,
                    Err(_) if early.len() < MAX_EARLY => early.push((thread.tgid, thread.runtime_ns)),
                    Err(_) => {}
                }
                return;
            };
            if rows.len() == MAX_PROCESSES {
                *skipped += 1;
                return;
            }
            let comm = process.comm.split(|&byte| byte == 0).next().unwrap_or_default();
            rows.push(Row {
                pid: thread.pid,
                start_ticks: process.start_ns / ns_per_tick,
                comm: comm.into(),
                cpu_ns: thread.runtime_ns.saturating_add(process.ended_ns),
                ended_ns: process.ended_ns,
                recent_ns: 0,
                rss_pages: process.rss_pages,
                threads: process.threads.into(),
                state: letter(thread.state, thread.exit_state),
                open_files: Some(process.open_files.into()),
                groups: process.groups,
                tracked: None,
            });
        });
        match result {
            Ok(()) => self.finish(),
            Err(_) => std::mem::swap(&mut self.now, &mut self.before),
        }
        result
    }

    /// Ends a pass: compares with the one before.
    pub(super) fn finish(&mut self) {
        if !self.now.is_sorted_by_key(|row| row.pid) {
            self.now.sort_unstable_by_key(|row| row.pid);
        }
        self.add_early();
        let mut before = self.before.iter().peekable();
        for row in &mut self.now {
            while before.next_if(|old| old.pid < row.pid).is_some() {}
            let old = before.peek().filter(|old| old.pid == row.pid && old.start_ticks == row.start_ticks);
            let used = old.map_or(0, |old| old.cpu_ns);
            // A thread that ends while the others are counted is missing once (`cputime_adjust` never goes back, either).
            row.cpu_ns = row.cpu_ns.max(used);
            row.recent_ns = row.cpu_ns - used;
            row.tracked = old.filter(|old| old.comm == row.comm).and_then(|old| old.tracked);
        }
    }

    /// Adds what threads used that came before their process. One that ended between the two is among the ended ones by
    /// then: of what these grew by since the previous pass, nothing counts a second time.
    fn add_early(&mut self) {
        self.early.sort_unstable();
        for threads in self.early.chunk_by(|a, b| a.0 == b.0) {
            let Ok(at) = self.now.binary_search_by_key(&threads[0].0, |row| row.pid) else { continue };
            let row = &mut self.now[at];
            let old =
                self.before.binary_search_by_key(&row.pid, |row| row.pid).ok().map(|at| &self.before[at]);
            let before = old.filter(|old| old.start_ticks == row.start_ticks).map_or(0, |old| old.ended_ns);
            let used = threads.iter().fold(0u64, |sum, thread| sum.saturating_add(thread.1));
            row.cpu_ns += used.saturating_sub(row.ended_ns.saturating_sub(before));
        }
        self.early.clear();
    }
}

#[cfg(test)]
mod tests {
    use agent_common::task::{ProcessRecord, ThreadRecord};

    use super::*;
    use crate::host::fixture::FixtureHost;

    /// Threads with their process and time; of first ones besides, what ended threads used.
    struct Told(Vec<(u32, u32, u64, u64)>, bool);

    impl Tasks for Told {
        fn scan(
            &mut self,
            each: &mut dyn FnMut(&ThreadRecord, Option<&ProcessRecord>),
        ) -> std::io::Result<()> {
            for &(pid, tgid, runtime_ns, ended_ns) in &self.0 {
                let thread = ThreadRecord { pid, tgid, runtime_ns, ..ThreadRecord::default() };
                let comm = *b"0123456789abcde\0";
                let process =
                    ProcessRecord { ended_ns, start_ns: 25_000_000, comm, ..ProcessRecord::default() };
                each(&thread, (pid == tgid).then_some(&process));
            }
            if self.1 { Ok(()) } else { Err(std::io::ErrorKind::Other.into()) }
        }
    }

    fn check(rows: &mut Rows, told: Vec<(u32, u32, u64, u64)>, expect: &[(u32, u64, u64)]) {
        rows.scan(&mut Told(told, true), &FixtureHost::default()).unwrap();
        let found: Vec<_> = rows.all().iter().map(|row| (row.pid, row.cpu_ns, row.recent_ns)).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn threads_are_added_up_wherever_they_stand() {
        let rows = &mut Rows::default();
        check(
            rows,
            vec![(3, 9, 5, 0), (4, 4, 10, 1), (5, 4, 100, 0), (9, 9, 7, 0)],
            &[(4, 111, 111), (9, 12, 12)],
        );
        assert_eq!((rows.all()[0].start_ticks, &*rows.all()[0].comm), (2, "0123456789abcde"));
        // A thread ended and is missed; a process came; one went.
        check(rows, vec![(2, 2, 3, 0), (4, 4, 15, 1)], &[(2, 3, 3), (4, 111, 0)]);
        check(rows, vec![(4, 4, 15, 101), (7, 70, 1, 0)], &[(4, 116, 5)]);
        // A thread that came before its process ended before that came: its 50 are among the ended ones.
        check(rows, vec![(3, 4, 50, 0), (4, 4, 15, 151)], &[(4, 166, 50)]);
        check(rows, vec![(3, 4, 7, 0), (4, 4, 15, 151)], &[(4, 173, 7)]);
        check(rows, vec![], &[]);
    }

    #[test]
    fn a_scan_that_fails_leaves_the_previous_pass() {
        let rows = &mut Rows::default();
        check(rows, vec![(4, 4, 10, 0)], &[(4, 10, 10)]);
        rows.scan(&mut Told(vec![(4, 4, 11, 0)], false), &FixtureHost::default()).unwrap_err();
        check(rows, vec![(4, 4, 15, 0)], &[(4, 15, 5)]);
    }
}
