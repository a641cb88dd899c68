//! All processes: how many in which state, who takes CPU and memory. From the task iterator where it runs, else from
//! `/proc/PID/stat`.

mod cgroups;
mod cmdlines;
mod files;
mod io;
mod rows;
mod shares;
mod sleepers;
pub mod tracked;

use std::cmp::Reverse;
use std::fmt::Write;
use std::time::Duration;

use self::cgroups::Cgroups;
use self::cmdlines::Cmdlines;
use self::files::StatFiles;
use self::io::Io;
use self::rows::{Row, Rows};
use self::shares::Shares;
use self::sleepers::Sleepers;
use self::tracked::Tracked;
use super::kept::{Kept, failure};
use super::{CollectError, Collector};
use crate::config::Config;
use crate::host::Host;
use crate::host::parse::{decimal, words};
use crate::host::tasks::Tasks;
use crate::metric::metrics;
use crate::sample::{MAX_PROC_ROWS, ProcRow, ProcTable, ROWS_IN_ORDER, Samples};
use crate::text::clean_into;
use crate::time::{Now, SECOND};

metrics! {
    COUNT: Gauge Count "processes_count" [] "Processes.", "/proc/[pid]";
    STATES: Gauge Count "processes_state_count" ["state"] "Processes in a state.", "/proc/[pid]/stat state";
    OLDEST_SLEEPER: Gauge Seconds "processes_uninterruptible_oldest_seconds" []
        "For how long the thread has slept that is in uninterruptible sleep for longest, counted from the pass that first found it there; 0 where none is. Without the task iterator of the first thread of each process.",
        "iter/task; /proc/[pid]/status voluntary_ctxt_switches, nonvoluntary_ctxt_switches";
    THREADS: Gauge Count "processes_threads_count" [] "Threads of all processes.", "/proc/[pid]/stat num_threads";
    SKIPPED: Gauge Count "processes_skipped_count" []
        "Processes that were not read because there are more than 65536.", "/proc/[pid]";
    CPU: Counter Seconds "process_cpu_seconds_total" ["pid", "comm"]
        "CPU time of a process; of those that take most CPU or memory (collector.track_top_n) or are followed (track_patterns).", "/proc/[pid]/stat utime, stime";
    RSS: Gauge Bytes "process_resident_memory_bytes" ["pid", "comm"]
        "Resident memory of a process; of the same.", "/proc/[pid]/stat rss";
    PSS: Gauge Bytes "process_proportional_memory_bytes" ["pid", "comm"]
        "Memory of a process in which shared pages count by their part; of the five largest, up to some minutes old.",
        "/proc/[pid]/smaps_rollup Pss";
    FDS: Gauge Count "process_open_fds_count" ["pid", "comm"]
        "Open files of a process; of the same.", "/proc/[pid]/fd";
}

/// What is read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Processes with most CPU, and with most memory, that have series of their own.
    pub top_n: usize,
    /// Regular expressions: processes whose names match are followed.
    pub patterns: Vec<String>,
}

impl Options {
    /// As configured.
    pub fn of(config: &Config) -> Self {
        let section = &config.collector;
        Self { top_n: section.track_top_n, patterns: section.track_patterns.clone() }
    }
}

/// Processes read at most in a pass: some 0.3 s by way of `/proc`. Further ones are counted only.
const MAX_PROCESSES: usize = 65_536;
/// How long a process that has not run is taken to be as it was, where processes are looked at more often.
pub const WHOLE: Duration = Duration::from_secs(10);
/// A task iterator that failed so often in a row is given up; a machine may be short of memory once.
const MAX_FAILURES: u32 = 5;
/// Characters of a name in a label.
const MAX_COMM: usize = 64;

/// State letters (`fs/proc/array.c`) and names; the last stands for all others.
const STATE_NAMES: [(&[u8], &str); 8] = [
    (b"R", "running"),
    (b"S", "sleeping"),
    (b"D", "uninterruptible"),
    (b"Z", "zombie"),
    (b"Tt", "stopped"),
    (b"I", "idle"),
    (b"Xx", "dead"),
    (b"", "other"),
];

/// Reads all processes.
pub struct Process {
    top_n: usize,
    tracked: Tracked,
    uptime: Kept,
    tasks: Option<Box<dyn Tasks>>,
    /// Of `tasks`, one after the other.
    failures: u32,
    files: StatFiles,
    rows: Rows,
    /// Places in `rows`.
    order: Vec<u32>,
    shown: Vec<u32>,
    text: [String; 3],
    previous: Option<Now>,
    sleepers: Sleepers,
    cgroups: Cgroups,
    cmdlines: Cmdlines,
    shares: Shares,
    io: Io,
    /// Places in `rows` of those that use most CPU, and are asked what they read and write.
    busy: Vec<u32>,
}

impl Process {
    /// Reads nothing yet. Without `tasks`, `/proc` is read.
    pub fn new(options: &Options, tasks: Option<Box<dyn Tasks>>) -> Self {
        Self {
            top_n: options.top_n,
            tracked: Tracked::new(&options.patterns),
            uptime: Kept::new("/proc/uptime"),
            tasks,
            failures: 0,
            files: StatFiles::default(),
            rows: Rows::default(),
            order: Vec::new(),
            shown: Vec::new(),
            text: Default::default(),
            previous: None,
            sleepers: Sleepers::default(),
            cgroups: Cgroups::default(),
            cmdlines: Cmdlines::default(),
            shares: Shares::default(),
            io: Io::default(),
            busy: Vec::new(),
        }
    }

    /// Fills `rows`. A process that vanished meanwhile is no error.
    fn read(&mut self, host: &dyn Host, now: Now) -> Result<(), CollectError> {
        if let Some(tasks) = &mut self.tasks {
            match self.rows.scan(tasks.as_mut(), host, now) {
                // Some kernels keep process 1 from BPF (seen on a hosted machine): it is asked for then.
                Ok(()) => {
                    self.failures = 0;
                    let whole = self.rows.begin_with(1);
                    return if whole { Ok(()) } else { self.files.read_one(1, host, &mut self.rows) };
                }
                Err(error) => {
                    self.failures += 1;
                    if self.failures == MAX_FAILURES {
                        tracing::warn!(
                            "the task iterator failed {MAX_FAILURES} times: {error}; processes are read from /proc from now on"
                        );
                        self.tasks = None;
                    }
                }
            }
        }
        self.files.read_all(host, &mut self.rows)
    }

    /// Chooses the processes with most CPU, and those with most memory.
    fn choose(&mut self) {
        let Self { rows, order, shown, busy, .. } = self;
        let rows = rows.all();
        let (top, row) = (self.top_n, |at: u32| &rows[at as usize]);
        shown.clear();
        order.clear();
        order.extend(0..rows.len() as u32);
        // Equal ones in the order of pids, so that the choice does not waver.
        let cpu = |at: u32| (Reverse(row(at).recent_ns), row(at).pid);
        let both = top.max(io::MAX_BUSY);
        first(order, both, |&at| cpu(at));
        busy.clear();
        busy.extend(order.iter().take(both).copied().filter(|&at| row(at).recent_ns > 0));
        first(busy, io::MAX_BUSY, |&at| cpu(at));
        let both = both.min(order.len());
        first(&mut order[..both], top, |&at| cpu(at));
        shown.extend_from_slice(&order[..top.min(order.len())]);
        // All that the table has room for, and at its head those in order.
        first(order, MAX_PROC_ROWS, |&at| (Reverse(row(at).rss_pages), row(at).pid));
        order.truncate(MAX_PROC_ROWS);
        first(order, ROWS_IN_ORDER.max(top), |&at| (Reverse(row(at).rss_pages), row(at).pid));
        let ordered = ROWS_IN_ORDER.max(top).min(order.len());
        order[..ordered].sort_unstable_by_key(|&at| (Reverse(row(at).rss_pages), row(at).pid));
        let by_cpu = shown.len();
        for &at in order.iter().take(top).filter(|&&at| row(at).rss_pages > 0) {
            if !shown[..by_cpu].contains(&at) {
                shown.push(at);
            }
        }
    }

    /// Puts out what is followed because of its name.
    fn put_tracked(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        if self.tracked.is_empty() {
            return Ok(());
        }
        self.tracked.mark(self.rows.all_mut());
        self.tracked.choose(self.rows.all(), &mut self.shown);
        let uptime = self.uptime.read(host).map(|text| words(text.trim_ascii()).next().and_then(decimal));
        self.tracked.put(self.rows.all(), host, uptime.as_ref().ok().copied().flatten(), out);
        uptime.map(drop)
    }

    /// Puts out the chosen processes.
    fn put_shown(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let [pid, comm, path] = &mut self.text;
        let mut result = Ok(());
        for row in self.shown.iter().filter_map(|&at| self.rows.all().get(at as usize)) {
            pid.clear();
            // Writing to a string does not fail.
            let _ = write!(pid, "{}", row.pid);
            clean_into(&row.comm, MAX_COMM, comm);
            let labels = [pid.as_str(), comm.as_str()];
            out.put(&CPU, &labels, row.cpu_ns as f64 / SECOND as f64);
            out.put(&RSS, &labels, row.rss_pages.saturating_mul(host.page_size()) as f64);
            match row.open_files.map_or_else(|| open_files(host, row.pid, path), Ok) {
                Ok(count) => out.put(&FDS, &labels, count as f64),
                Err(error) if files::vanished(&error) => {}
                Err(error) => result = result.and(Err(fds_refused(path, &error))),
            }
        }
        result
    }

    /// Puts out what is known of the largest.
    fn put_shares(&mut self, table: &ProcTable, out: &mut Samples) {
        let [pid, comm, _] = &mut self.text;
        for (row, pss) in table.rows.iter().zip(&table.pss).take(self.top_n) {
            pid.clear();
            // Writing to a string does not fail.
            let _ = write!(pid, "{}", row.pid);
            clean_into(&row.comm, MAX_COMM, comm);
            pss.inspect(|&bytes| out.put(&PSS, &[pid, comm], bytes as f64));
        }
    }

    fn fill_io(&mut self, host: &dyn Host, now: Now, table: &mut ProcTable) {
        let rows = self.rows.all();
        let busy = self.busy.iter().filter_map(|&at| rows.get(at as usize));
        let asleep = rows.iter().filter(|row| row.state == b'D');
        self.io.fill(host, now, busy, asleep, &mut table.io);
    }

    fn table(&mut self, host: &dyn Host, now: Now, mut table: ProcTable) -> ProcTable {
        let elapsed = self.previous.replace(now).map_or(0, |previous| now.since(previous));
        let rows = self.rows.all();
        let percent =
            |row: &Row| if elapsed > 0 { 100.0 * row.recent_ns as f64 / elapsed as f64 } else { 0.0 };
        let ordered = self.order.iter().filter_map(|&at| rows.get(at as usize));
        table.rows.extend(ordered.map(|row| ProcRow {
            pid: row.pid,
            start_ticks: row.start_ticks,
            comm: row.comm,
            rss_bytes: row.rss_pages.saturating_mul(host.page_size()),
            cpu_percent: percent(row) as f32,
            state: row.state,
            cgroup: None,
        }));
        table.total = rows.len();
        let groups = self.order.iter().filter_map(|&at| Some(rows.get(at as usize)?.groups));
        self.cgroups.fill(host, now, &mut table.rows, groups);
        self.cmdlines.fill(host, now, &table.rows, &mut table.cmdlines);
        table
    }
}

/// Brings the first `count` to the front, in no order among themselves.
fn first<T, K: Ord>(all: &mut [T], count: usize, key: impl Fn(&T) -> K) {
    if (1..all.len()).contains(&count) {
        all.select_nth_unstable_by_key(count - 1, key);
    }
}

impl Collector for Process {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let mut result = self.read(host, out.at());
        if self.rows.all().is_empty() && result.is_err() {
            return result;
        }
        self.choose();
        let rows = self.rows.all();
        out.put(&COUNT, &[], (rows.len() + self.rows.skipped) as f64);
        out.put(&SKIPPED, &[], self.rows.skipped as f64);
        out.put(&THREADS, &[], rows.iter().map(|row| row.threads as f64).sum());
        put_states(rows, out);
        out.put(&OLDEST_SLEEPER, &[], self.sleepers.look(&self.rows, host, out.at()));
        result = result.and(self.put_tracked(host, out));
        result = result.and(self.put_shown(host, out));
        let table = out.empty_table();
        let mut table = self.table(host, out.at(), table);
        result = result.and(self.shares.fill(host, out.at(), &table.rows, &mut table.pss));
        self.put_shares(&table, out);
        self.fill_io(host, out.at(), &mut table);
        out.put_processes(table);
        // Without right to see others, `hidepid` shows the agent's own processes only.
        if !self.rows.begin_with(1) {
            result = result.and(Err(CollectError::Denied { path: "/proc/1".to_owned(), needs: NEEDS }));
        }
        result
    }
}

const NEEDS: &str = "CAP_SYS_PTRACE, or the group of the gid= option of /proc, or /proc without hidepid";

fn put_states(rows: &[Row], out: &mut Samples) {
    let mut counts = [0u32; STATE_NAMES.len()];
    for row in rows {
        let known = STATE_NAMES.iter().position(|(letters, _)| letters.contains(&row.state));
        counts[known.unwrap_or(STATE_NAMES.len() - 1)] += 1;
    }
    for ((_, name), count) in STATE_NAMES.iter().zip(counts) {
        out.put(&STATES, &[name], f64::from(count));
    }
}

fn open_files(host: &dyn Host, pid: u32, path: &mut String) -> std::io::Result<u64> {
    path.clear();
    let _ = write!(path, "/proc/{pid}/fd");
    host.count_fds(path)
}

fn fds_refused(path: &str, error: &std::io::Error) -> CollectError {
    match failure(path, error) {
        CollectError::Denied { path, .. } => CollectError::Denied { path, needs: "CAP_SYS_PTRACE" },
        other => other,
    }
}

#[cfg(test)]
mod tests;
