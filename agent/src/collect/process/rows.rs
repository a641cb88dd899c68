//! One row a process, in the order of process ids, and what it used since the previous pass.

use std::time::Duration;

use crate::collect::stat_line::StatLine;
use crate::host::Host;
use crate::host::tasks::{ProcessRecord, Tasks, ThreadRecord, letter};
use crate::sample::Comm;
use crate::time::{Now, SECOND};

use super::sleepers::MAX_SLEEPERS;
use super::{MAX_PROCESSES, WHOLE};

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

/// A thread in uninterruptible sleep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asleep {
    pub(super) tid: u32,
    /// How often it has left a processor.
    pub(super) switches: u64,
}

/// Rows of the previous pass, looked for in their order.
struct Before<'r> {
    rows: &'r [Row],
    next: usize,
}

impl<'r> Before<'r> {
    fn find(&mut self, pid: u32) -> Option<&'r Row> {
        let behind = &self.rows[self.next.min(self.rows.len())..];
        let at = match behind.iter().position(|row| row.pid >= pid) {
            Some(ahead) if self.next == 0 || behind[0].pid <= pid => self.next + ahead,
            // Process ids have begun anew.
            _ => self.rows.partition_point(|row| row.pid < pid),
        };
        self.next = at;
        self.rows.get(at).filter(|row| row.pid == pid)
    }
}

/// All of them, now and in the previous pass.
#[derive(Default)]
pub(super) struct Rows {
    now: Vec<Row>,
    before: Vec<Row>,
    /// Processes and time of threads whose process has not come yet.
    early: Vec<(u32, u64)>,
    /// Threads that the iterator found in uninterruptible sleep; `None` where it is not used.
    pub(super) asleep: Option<Vec<Asleep>>,
    /// When all was told last, monotonic nanoseconds; `None`: all is to be told.
    whole_ns: Option<u64>,
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
        if let Some(asleep) = &mut self.asleep {
            asleep.clear();
        }
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

    /// All that the iterator tells. After an error there are no rows. For some seconds a process that has not run is taken to be
    /// as it was: its memory may have been taken from it meanwhile, or somebody may have moved it to another control group.
    pub(super) fn scan(&mut self, tasks: &mut dyn Tasks, host: &dyn Host, now: Now) -> std::io::Result<()> {
        self.begin();
        let ns_per_tick = SECOND / host.ticks_per_second();
        let brief = self
            .whole_ns
            .is_some_and(|whole| Duration::from_nanos(now.mono_ns.saturating_sub(whole)) < WHOLE);
        let (rows, early, skipped) = (&mut self.now, &mut self.early, &mut self.skipped);
        let asleep = self.asleep.get_or_insert_default();
        let mut before = Before { rows: &self.before, next: 0 };
        let mut unknown = false;
        let each = &mut |thread: &ThreadRecord, process: Option<&ProcessRecord>| {
            if letter(thread.state, thread.exit_state) == b'D' && asleep.len() < MAX_SLEEPERS {
                asleep.push(Asleep { tid: thread.pid, switches: thread.switches });
            }
            if process.is_none() && thread.pid == thread.tgid {
                match before.find(thread.pid) {
                    Some(old) if rows.len() < MAX_PROCESSES => {
                        rows.push(Row { state: letter(thread.state, thread.exit_state), ..old.clone() });
                    }
                    Some(_) => *skipped += 1,
                    None => unknown = true,
                }
                return;
            }
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
        };
        let result = if brief { tasks.scan_brief(each) } else { tasks.scan(each) };
        if !brief {
            self.whole_ns = Some(now.mono_ns);
        }
        match result {
            Ok(()) => self.finish(),
            Err(_) => std::mem::swap(&mut self.now, &mut self.before),
        }
        if unknown || result.is_err() {
            self.whole_ns = None;
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
        rows.scan(&mut Told(told, true), &FixtureHost::default(), Now::default()).unwrap();
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
        let failing = &mut Told(vec![(4, 4, 11, 0)], false);
        rows.scan(failing, &FixtureHost::default(), Now::default()).unwrap_err();
        check(rows, vec![(4, 4, 15, 0)], &[(4, 15, 5)]);
    }

    /// The same, but in brief what is known of these is left out.
    struct Brief(Told, Vec<u32>);

    impl Tasks for Brief {
        fn scan(
            &mut self,
            each: &mut dyn FnMut(&ThreadRecord, Option<&ProcessRecord>),
        ) -> std::io::Result<()> {
            self.0.scan(each)
        }

        fn scan_brief(
            &mut self,
            each: &mut dyn FnMut(&ThreadRecord, Option<&ProcessRecord>),
        ) -> std::io::Result<()> {
            let Self(told, idle) = self;
            told.scan(&mut |thread, process| each(thread, process.filter(|_| !idle.contains(&thread.pid))))
        }
    }

    #[test]
    fn who_has_not_run_is_as_before_for_a_while() {
        let rows = &mut Rows::default();
        let mut look = |secs, told: &[(u32, u32, u64, u64)], idle: &[u32]| {
            let now = Now { mono_ns: secs * SECOND, wall_ns: 0 };
            let result =
                rows.scan(&mut Brief(Told(told.to_vec(), true), idle.to_vec()), &FixtureHost::default(), now);
            result.unwrap();
            let found = rows.all().iter().map(|row| (row.pid, row.cpu_ns, row.recent_ns));
            found.collect::<Vec<_>>()
        };
        let first = [(3, 3, 10, 0), (5, 5, 20, 0), (6, 5, 7, 0), (9, 9, 30, 0)];
        // Nothing is known before: all is told, whatever the iterator would leave out.
        assert_eq!(look(1, &first, &[3, 5, 9]), [(3, 10, 10), (5, 27, 27), (9, 30, 30)]);
        let mut told = first;
        told[1].2 = 25;
        assert_eq!(look(2, &told, &[3, 9]), [(3, 10, 0), (5, 32, 5), (9, 30, 0)]);
        // Processes come and go, ids begin anew; times that nobody is told of are not looked at.
        let other = [(9, 9, 99, 0), (2, 2, 4, 0), (3, 3, 99, 0), (4, 4, 1, 0)];
        assert_eq!(look(3, &other, &[3, 9]), [(2, 4, 4), (3, 10, 0), (4, 1, 1), (9, 30, 0)]);
        // One that nobody knows is missed once, and then all are told.
        assert_eq!(look(4, &other, &[3, 9, 4, 7]), [(2, 4, 0), (3, 10, 0), (4, 1, 0), (9, 30, 0)]);
        let another = [(3, 3, 50, 0), (7, 7, 5, 0)];
        assert_eq!(look(5, &another, &[3, 7]), [(3, 10, 0)]);
        assert_eq!(look(6, &another, &[3, 7]), [(3, 50, 40), (7, 5, 5)]);
        assert_eq!(look(15, &[(3, 3, 60, 0)], &[3]), [(3, 50, 0)]);
        assert_eq!(look(16, &[(3, 3, 60, 0)], &[3]), [(3, 60, 10)]);
    }
}
