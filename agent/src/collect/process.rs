//! `/proc/PID/stat` of all processes: how many in which state, who takes CPU and memory.

mod cmdlines;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;

use self::cmdlines::Cmdlines;
use super::kept::failure;
use super::stat_line::StatLine;
use super::{CollectError, Collector};
use crate::cgroup::path_of;
use crate::host::{Host, read_text};
use crate::metric::metrics;
use crate::sample::{MAX_PROC_ROWS, ProcRow, ProcTable, ROWS_WITH_CGROUP, Samples};
use crate::text::clean;
use crate::time::{Now, SECOND};

metrics! {
    COUNT: Gauge Count "processes_count" [] "Processes.", "/proc/[pid]";
    STATES: Gauge Count "processes_state_count" ["state"] "Processes in a state.", "/proc/[pid]/stat state";
    THREADS: Gauge Count "processes_threads_count" [] "Threads of all processes.", "/proc/[pid]/stat num_threads";
    SKIPPED: Gauge Count "processes_skipped_count" []
        "Processes that were not read because there are more than 65536.", "/proc/[pid]";
    CPU: Counter Seconds "process_cpu_seconds_total" ["pid", "comm"]
        "CPU time of a process; of those that take most CPU or memory (collector.track_top_n).", "/proc/[pid]/stat utime, stime";
    RSS: Gauge Bytes "process_resident_memory_bytes" ["pid", "comm"]
        "Resident memory of a process; of those that take most CPU or memory (collector.track_top_n).", "/proc/[pid]/stat rss";
}

/// What is read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Processes with most CPU, and with most memory, that have series of their own.
    pub top_n: usize,
}

/// Processes read at most in a pass: some 0.3 s. Further ones are counted only.
const MAX_PROCESSES: usize = 65_536;
/// Characters of a name in a label; the kernel keeps 15 bytes, of its own threads up to 63.
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

/// Reads all of `/proc/PID/stat`.
pub struct Process {
    options: Options,
    path: String,
    buf: Vec<u8>,
    pids: Vec<u32>,
    rows: Vec<Row>,
    /// Names of `rows`, one after the other.
    names: Vec<u8>,
    order: Vec<u32>,
    /// CPU ticks at the previous pass, by pid and start.
    before: HashMap<(u32, u64), u64>,
    previous: Option<Now>,
    cmdlines: Cmdlines,
}

struct Row {
    pid: u32,
    start_ticks: u64,
    comm: Range<usize>,
    cpu_ticks: u64,
    /// Since the previous pass; on the first, since the start.
    recent_ticks: u64,
    rss_pages: u64,
    state: u8,
}

impl Process {
    /// Reads nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            path: String::new(),
            buf: Vec::new(),
            pids: Vec::new(),
            rows: Vec::new(),
            names: Vec::new(),
            order: Vec::new(),
            before: HashMap::new(),
            previous: None,
            cmdlines: Cmdlines::default(),
        }
    }

    /// Fills `pids`; how many were left out.
    fn list(&mut self, host: &dyn Host) -> Result<usize, CollectError> {
        self.pids.clear();
        let mut skipped = 0;
        let pids = &mut self.pids;
        let each = &mut |name: &str| match name.parse() {
            Ok(pid) if pids.len() < MAX_PROCESSES => pids.push(pid),
            Ok(_) => skipped += 1,
            Err(_) => {}
        };
        host.list("/proc", each).map_err(|error| failure("/proc", &error))?;
        Ok(skipped)
    }

    /// Fills `rows`; threads in all, and the first error. A process that vanished meanwhile is none.
    fn read(&mut self, host: &dyn Host) -> (u64, Result<(), CollectError>) {
        self.rows.clear();
        self.names.clear();
        let mut threads = 0u64;
        let mut result = Ok(());
        for &pid in &self.pids {
            self.path.clear();
            // Writing to a string does not fail.
            let _ = write!(self.path, "/proc/{pid}/stat");
            if let Err(error) = host.read(&self.path, &mut self.buf) {
                if !vanished(&error) && result.is_ok() {
                    result = Err(refused(&self.path, &error));
                }
                continue;
            }
            let Some(stat) = StatLine::parse(&self.buf) else {
                if !self.buf.is_empty() && result.is_ok() {
                    let why = "it has fewer than 24 fields".to_owned();
                    result = Err(CollectError::Parse { path: self.path.clone(), why });
                }
                continue;
            };
            threads = threads.saturating_add(stat.threads);
            let from = self.names.len();
            self.names.extend_from_slice(stat.comm);
            let before = self.before.get(&(pid, stat.start_ticks)).copied().unwrap_or(0);
            self.rows.push(Row {
                pid,
                start_ticks: stat.start_ticks,
                comm: from..self.names.len(),
                cpu_ticks: stat.cpu_ticks,
                recent_ticks: stat.cpu_ticks.saturating_sub(before),
                rss_pages: stat.rss_pages,
                state: stat.state,
            });
        }
        (threads, result)
    }

    /// Puts out the processes with most CPU and those with most memory.
    fn put_top(&mut self, host: &dyn Host, out: &mut Samples) {
        let Self { rows, names, order, .. } = self;
        let top = self.options.top_n.min(rows.len());
        order.clear();
        order.extend(0..rows.len() as u32);
        let row = |at: u32| &rows[at as usize];
        // Equal ones in the order of pids, so that the choice does not waver.
        order.sort_unstable_by_key(|&at| (Reverse(row(at).recent_ticks), row(at).pid));
        let (_, rest) = order.split_at_mut(top);
        rest.sort_unstable_by_key(|&at| (Reverse(row(at).rss_pages), row(at).pid));
        // Of the rest, those that belong to the largest of all.
        let mut sizes: Vec<u64> = rows.iter().map(|row| row.rss_pages).collect();
        sizes.sort_unstable_by_key(|&size| Reverse(size));
        let least = sizes.get(top.saturating_sub(1)).copied().unwrap_or(0);
        let large = rest.iter().take(top).take_while(|&&at| row(at).rss_pages >= least.max(1)).count();
        let mut pid = String::new();
        for row in order[..top + large].iter().map(|&at| row(at)) {
            pid.clear();
            let _ = write!(pid, "{}", row.pid);
            let comm = clean(&String::from_utf8_lossy(&names[row.comm.clone()]), MAX_COMM);
            out.put(&CPU, &[&pid, &comm], row.cpu_ticks as f64 / host.ticks_per_second() as f64);
            out.put(&RSS, &[&pid, &comm], row.rss_pages.saturating_mul(host.page_size()) as f64);
        }
    }

    fn table(&mut self, host: &dyn Host, now: Now) -> ProcTable {
        let elapsed = self.previous.map_or(0, |previous| now.since(previous));
        let ticks = elapsed as f64 / SECOND as f64 * host.ticks_per_second() as f64;
        self.rows.sort_unstable_by_key(|row| (Reverse(row.rss_pages), row.pid));
        let rows = self.rows.iter().take(MAX_PROC_ROWS).map(|row| ProcRow {
            pid: row.pid,
            start_ticks: row.start_ticks,
            comm: String::from_utf8_lossy(&self.names[row.comm.clone()]).into(),
            rss_bytes: row.rss_pages.saturating_mul(host.page_size()),
            cpu_percent: if ticks > 0.0 { (100.0 * row.recent_ticks as f64 / ticks) as f32 } else { 0.0 },
            state: row.state,
            cgroup: None,
        });
        let mut table = ProcTable { rows: rows.collect(), total: self.rows.len(), cmdlines: Vec::new() };
        for row in table.rows.iter_mut().take(ROWS_WITH_CGROUP).filter(|row| row.rss_bytes > 0) {
            row.cgroup = cgroup(host, row.pid);
        }
        table.cmdlines = self.cmdlines.look(host, now, &table.rows);
        table
    }

    fn remember(&mut self, now: Now) {
        self.before.clear();
        self.before.extend(self.rows.iter().map(|row| ((row.pid, row.start_ticks), row.cpu_ticks)));
        self.previous = Some(now);
    }
}

impl Collector for Process {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let skipped = self.list(host)?;
        let (threads, result) = self.read(host);
        out.put(&COUNT, &[], (self.rows.len() + skipped) as f64);
        out.put(&SKIPPED, &[], skipped as f64);
        out.put(&THREADS, &[], threads as f64);
        put_states(&self.rows, out);
        self.put_top(host, out);
        out.put_processes(self.table(host, out.at()));
        self.remember(out.at());
        match result {
            // Without right to see others, `hidepid` shows the agent's own processes only.
            Ok(()) if !self.rows.iter().any(|row| row.pid == 1) => {
                Err(CollectError::Denied { path: "/proc/1".to_owned(), needs: NEEDS })
            }
            result => result,
        }
    }
}

fn cgroup(host: &dyn Host, pid: u32) -> Option<Box<str>> {
    let text = read_text(host, &format!("/proc/{pid}/cgroup")).ok()?;
    path_of(&text).map(Into::into)
}

const NEEDS: &str = "/proc mounted without hidepid, or the group of its gid= option";

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

/// The process ended between listing and reading: `ENOENT` before the file was opened, `ESRCH` after.
fn vanished(error: &std::io::Error) -> bool {
    let gone = rustix::io::Errno::SRCH.raw_os_error();
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(gone)
}

fn refused(path: &str, error: &std::io::Error) -> CollectError {
    match failure(path, error) {
        CollectError::Denied { path, .. } => CollectError::Denied { path, needs: NEEDS },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;
    use crate::sample::ROWS_WITH_CMDLINE;

    fn stat(pid: u32, comm: &str, state: char, ticks: u64, start: u64, rss: i64) -> String {
        format!(
            "{pid} ({comm}) {state} 1 1 1 0 -1 0 9 0 0 0 {ticks} 0 0 0 20 0 2 0 {start} 4096 {rss} 18 1\n"
        )
    }

    fn bench(top_n: usize, processes: &[String]) -> Bench {
        let bench = Bench::new("", Process::new(Options { top_n }));
        bench.host.set("/proc/uptime", "1 1");
        for line in processes {
            set(&bench, line);
        }
        bench
    }

    fn set(bench: &Bench, line: &str) {
        let pid = line.split(' ').next().unwrap();
        bench.host.set(&format!("/proc/{pid}/stat"), line);
    }

    #[test]
    fn processes_are_counted() {
        let mut bench = bench(
            0,
            &[
                stat(1, "init", 'S', 0, 1, 10),
                stat(2, "kthreadd", 'I', 0, 1, 0),
                stat(7, "dd", 'D', 0, 5, 1),
                stat(8, "gone", 'Z', 0, 5, 0),
                stat(9, "gdb", 't', 0, 5, 0),
                stat(10, "new", '?', 0, 5, 0),
            ],
        );
        bench.pass().unwrap();
        bench.expect(&[
            ("processes_count", 6.0),
            ("processes_threads_count", 12.0),
            ("processes_skipped_count", 0.0),
            ("processes_state_count{sleeping}", 1.0),
            ("processes_state_count{uninterruptible}", 1.0),
            ("processes_state_count{zombie}", 1.0),
            ("processes_state_count{stopped}", 1.0),
            ("processes_state_count{idle}", 1.0),
            ("processes_state_count{other}", 1.0),
            ("processes_state_count{running}", 0.0),
        ]);
        assert!(!bench.readings.keys().any(|name| name.starts_with("process_")), "top 0");
    }

    #[test]
    fn the_largest_have_series() {
        let mut bench = bench(
            1,
            &[
                stat(1, "init", 'S', 900, 1, 10),
                stat(5, "fat (x)", 'S', 1, 1, 100),
                stat(6, "busy\n", 'R', 100, 1, 20),
                stat(7, "neither", 'S', 10, 1, 30),
            ],
        );
        bench.pass().unwrap();
        bench.expect(&[
            ("process_cpu_seconds_total{1,init}", 9.0),
            ("process_resident_memory_bytes{5,fat (x)}", 409_600.0),
        ]);
        assert!(!bench.has("process_cpu_seconds_total{6,busy?}"));
        set(&bench, &stat(6, "busy\n", 'R', 600, 1, 20));
        bench.pass().unwrap();
        bench.expect(&[
            ("process_cpu_seconds_total{6,busy?}", 6.0),
            ("process_resident_memory_bytes{6,busy?}", 81_920.0),
            ("process_resident_memory_bytes{5,fat (x)}", 409_600.0),
        ]);
        assert!(
            !bench.has("process_cpu_seconds_total{1,init}")
                && !bench.has("process_cpu_seconds_total{7,neither}")
        );
    }

    #[test]
    fn the_table_has_use_since_the_previous_pass() {
        let mut bench = bench(5, &[stat(1, "init", 'S', 900, 1, 10), stat(5, "java", 'S', 100, 7, 100)]);
        bench.pass().unwrap();
        let table = bench.processes.take().unwrap();
        assert_eq!(
            table.rows.iter().map(|row| (row.pid, row.cpu_percent)).collect::<Vec<_>>(),
            [(5, 0.0), (1, 0.0)]
        );
        // Ten seconds later: half a core; a pid used again; a process that ended and a new one.
        set(&bench, &stat(5, "java", 'R', 600, 7, 100));
        set(&bench, &stat(1, "init", 'S', 300, 999, 10));
        set(&bench, &stat(6, "new", 'R', 1000, 1500, 5));
        bench.pass().unwrap();
        let table = bench.processes.take().unwrap();
        let rows: Vec<_> = table.rows.iter().map(|row| (row.pid, &*row.comm, row.cpu_percent)).collect();
        assert_eq!(rows, [(5, "java", 50.0), (1, "init", 30.0), (6, "new", 100.0)]);
        assert_eq!((table.total, table.rows[0].rss_bytes, table.rows[0].start_ticks), (3, 409_600, 7));
    }

    #[test]
    fn the_largest_know_their_group() {
        let many: Vec<_> = (1..=20).map(|pid| stat(pid, "x", 'S', 0, 1, i64::from(pid))).collect();
        let mut bench = bench(2, &many);
        for pid in 2..=20 {
            bench.host.set(&format!("/proc/{pid}/cgroup"), format!("4:memory:/g/{pid}\n0::/u\n"));
        }
        bench.host.set("/proc/19/cgroup", "nonsense");
        bench.pass().unwrap();
        let table = bench.processes.take().unwrap();
        let groups: Vec<_> = table.rows.iter().filter_map(|row| row.cgroup.as_deref()).collect();
        assert_eq!(groups, ["/g/20", "/g/18", "/g/17", "/g/16", "/g/15", "/g/14", "/g/13"]);
    }

    #[test]
    fn the_largest_know_their_command_line() {
        let many: Vec<_> = (1..=80).map(|pid| stat(pid, "x", 'S', 0, 1, i64::from(pid))).collect();
        let mut bench = bench(2, &many);
        bench.host.set("/proc/80/cmdline", "java\0-jar\0a b\0");
        bench.host.set("/proc/79/cmdline", "");
        bench.host.set("/proc/2/cmdline", "small");
        bench.host.set("/proc/70/cmdline", "x".repeat(9000));
        let look = |bench: &mut Bench, pid: u32| {
            bench.pass().unwrap();
            let table = bench.processes.take().unwrap();
            assert_eq!(table.cmdlines.len(), ROWS_WITH_CMDLINE);
            table.find(pid).and_then(|(_, line)| line.map(str::to_owned))
        };
        assert_eq!(look(&mut bench, 80).as_deref(), Some("java -jar a b"));
        assert_eq!((look(&mut bench, 79), look(&mut bench, 2), look(&mut bench, 1000)), (None, None, None));
        assert_eq!(look(&mut bench, 70).map(|line| line.len()), Some(512));
        bench.host.set("/proc/80/cmdline", "not read again");
        assert_eq!(look(&mut bench, 80).as_deref(), Some("java -jar a b"));
        set(&bench, &stat(80, "y", 'S', 0, 1, 80));
        assert_eq!(look(&mut bench, 80).as_deref(), Some("not read again"), "exec");
        bench.host.set("/proc/80/cmdline", "another");
        set(&bench, &stat(80, "y", 'D', 0, 2, 80));
        assert_eq!(look(&mut bench, 80), None, "another process, and its memory may be locked");
        set(&bench, &stat(80, "y", 'S', 0, 2, 80));
        assert_eq!(look(&mut bench, 80).as_deref(), Some("another"));
    }

    #[test]
    fn vanished_and_broken_processes() {
        let mut bench = bench(5, &[stat(1, "init", 'S', 0, 1, 10)]);
        bench.host.apply("//- /proc/7/cmdline\n//- error /proc/8/stat 3\n//- /proc/9/stat\n").unwrap();
        bench.pass().unwrap();
        bench.expect(&[("processes_count", 1.0)]);
        bench.host.set("/proc/10/stat", "10 (cut) S 1 2");
        assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })));
        bench.expect(&[("processes_count", 1.0)]);
        bench.host.remove("/proc/10");
        bench.host.apply("//- denied /proc/11/stat").unwrap();
        assert!(matches!(bench.pass(), Err(CollectError::Denied { needs: NEEDS, .. })));
    }

    #[test]
    fn hidden_processes_are_said() {
        let mut bench = bench(5, &[stat(70, "agent", 'S', 0, 1, 10)]);
        let error = bench.pass().unwrap_err();
        assert!(matches!(&error, CollectError::Denied { path, .. } if path == "/proc/1"), "{error}");
        bench.expect(&[("processes_count", 1.0)]);
        let mut nothing = Bench::new("", Process::new(Options { top_n: 1 }));
        assert!(matches!(nothing.pass(), Err(CollectError::Absent { .. })));
    }

    #[test]
    fn the_table_is_bounded() {
        let many: Vec<_> =
            (1..=MAX_PROC_ROWS as u32 + 5).map(|pid| stat(pid, "x", 'S', 0, 1, i64::from(pid))).collect();
        let mut bench = bench(2, &many);
        bench.pass().unwrap();
        let table = bench.processes.take().unwrap();
        assert_eq!((table.rows.len(), table.total), (MAX_PROC_ROWS, MAX_PROC_ROWS + 5));
        assert_eq!(table.rows.last().unwrap().pid, 6, "those with least memory are left out");
    }
}
