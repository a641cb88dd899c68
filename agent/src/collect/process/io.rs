//! Who reads from disks and writes to them (`/proc/PID/io`): asked of the few that may, those that use most processor time and
//! those asleep in the kernel. What is written counts when a page becomes dirty, so it is its writer's and not that of the worker
//! that brings it to the disk.

use std::io;
use std::time::Duration;

use super::rows::Row;
use crate::host::Host;
use crate::host::aside::{Answer, Aside};
use crate::host::parse::{key, lines, number};
use crate::sample::{IoRow, MAX_IO_ROWS};
use crate::time::{Now, SECOND};

/// How long all are waited for; answers that come later count in the next pass. A test waits for its own machine, however busy.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 10_000 } else { 20 });
/// Pace, where processes are looked at more often.
const PACE_NS: u64 = 10 * SECOND;
/// Processes asked about at once: of those that use most processor time, and of those asleep in the kernel.
pub(super) const MAX_BUSY: usize = 20;
pub(super) const MAX_ASLEEP: usize = 12;
/// Bytes a second that are worth telling.
const LEAST: f64 = 65_536.0;

/// A process by number and start.
type Key = (u32, u64);

/// What is known of those that were asked about.
pub(super) struct Io {
    known: Vec<Known>,
    aside: Aside<Vec<Count>>,
    asked: Option<Now>,
}

/// Bytes since a process began.
#[derive(Clone, Copy, Debug)]
struct Count {
    key: Key,
    read: u64,
    written: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    count: Count,
    at: Now,
    /// Bytes a second between the two newest answers; `None` before the second.
    rates: Option<[f64; 2]>,
}

impl Default for Io {
    fn default() -> Self {
        // A process that hangs in `execve` holds whoever asks (`do_io_accounting`, `fs/proc/base.c`): such a one is among those
        // asleep, who have a thread of their own.
        Self { known: Vec::new(), aside: Aside::new("io", 2), asked: None }
    }
}

impl Io {
    /// Fills `out` with those that move most, the first one most.
    pub(super) fn fill<'r>(
        &mut self,
        host: &dyn Host,
        now: Now,
        busy: impl Iterator<Item = &'r Row>,
        asleep: impl Iterator<Item = &'r Row>,
        out: &mut Vec<IoRow>,
    ) {
        if self.asked.is_none_or(|asked| now.since(asked) >= PACE_NS) {
            self.asked = Some(now);
            // A worker of the kernel has no memory, and its work is others'.
            let key = |row: &Row| (row.rss_pages > 0).then_some((row.pid, row.start_ticks));
            let asleep: Vec<Key> = asleep.filter_map(key).take(MAX_ASLEEP).collect();
            let busy = busy.filter(|row| row.state != b'D').filter_map(key).take(MAX_BUSY);
            let counts = [self.ask(host, now, "busy", busy.collect()), self.ask(host, now, "asleep", asleep)];
            self.learn(counts.concat(), now);
        }
        out.extend(self.known.iter().filter_map(Known::row));
        out.sort_by(|a, b| b.sum().total_cmp(&a.sum()));
        out.truncate(MAX_IO_ROWS);
    }

    fn ask(&mut self, host: &dyn Host, now: Now, name: &str, keys: Vec<Key>) -> Vec<Count> {
        if keys.is_empty() {
            return Vec::new();
        }
        let host = host.shared();
        let work = move || keys.iter().filter_map(|&key| look(&*host, key).ok().flatten()).collect();
        match self.aside.ask(name, now, PATIENCE, work) {
            Answer::Done(counts) => counts,
            Answer::Stuck { .. } | Answer::NotAsked => Vec::new(),
        }
    }

    fn learn(&mut self, counts: Vec<Count>, now: Now) {
        let known = |count: Count| {
            let old = self.known.iter().find(|old| old.count.key == count.key);
            let secs = |old: &Known| now.since(old.at) as f64 / SECOND as f64;
            let rates = old.filter(|old| secs(old) > 0.0).map(|old| {
                let rate = |new: u64, before: u64| new.saturating_sub(before) as f64 / secs(old);
                [rate(count.read, old.count.read), rate(count.written, old.count.written)]
            });
            Known { count, at: now, rates }
        };
        self.known = counts.into_iter().map(known).collect();
    }
}

impl Known {
    fn row(&self) -> Option<IoRow> {
        let [read, written] = self.rates?;
        let Count { key: (pid, start_ticks), .. } = self.count;
        let row = IoRow { pid, start_ticks, read_per_second: read, written_per_second: written };
        (row.sum() >= LEAST).then_some(row)
    }
}

/// `None`: it is no table of these counters.
fn look(host: &dyn Host, key: Key) -> io::Result<Option<Count>> {
    let mut text = Vec::new();
    host.read(&format!("/proc/{}/io", key.0), &mut text)?;
    Ok(count(key, &text))
}

/// `read_bytes: 4096`, of which `write_bytes` less `cancelled_write_bytes` came to a disk.
fn count(key: Key, text: &[u8]) -> Option<Count> {
    let value = |name: &[u8]| {
        let line = lines(text).map(self::key).find(|(known, _)| *known == name)?;
        number(line.1.trim_ascii())
    };
    let cancelled = value(b"cancelled_write_bytes:").unwrap_or(0);
    let written = value(b"write_bytes:")?.saturating_sub(cancelled);
    Some(Count { key, read: value(b"read_bytes:")?, written })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;
    use crate::sample::Comm;

    fn row(pid: u32, state: u8) -> Row {
        Row {
            pid,
            start_ticks: 7,
            comm: Comm::default(),
            cpu_ns: 0,
            ended_ns: 0,
            recent_ns: 0,
            rss_pages: 1,
            threads: 1,
            state,
            open_files: None,
            groups: 0,
            tracked: None,
        }
    }

    fn set(host: &FixtureHost, pid: u32, read: u64, written: u64) {
        let text =
            format!("rchar: 9\nread_bytes: {read}\nwrite_bytes: {}\ncancelled_write_bytes: 4\n", written + 4);
        host.set(&format!("/proc/{pid}/io"), text);
    }

    /// Looks at second `secs`; who is told, with megabytes read and written a second.
    fn look(io: &mut Io, host: &FixtureHost, secs: u64, rows: &[Row]) -> Vec<(u32, f64, f64)> {
        let asleep = || rows.iter().filter(|row| row.state == b'D');
        let mut out = Vec::new();
        io.fill(host, Now::default().plus_secs(secs), rows.iter(), asleep(), &mut out);
        out.iter().map(|row| (row.pid, row.read_per_second / 1e6, row.written_per_second / 1e6)).collect()
    }

    #[test]
    fn who_moves_most_comes_first() {
        let host = FixtureHost::parse("//- denied /proc/6/io\n//- /proc/7/io\nnonsense\n").unwrap();
        let rows = [row(3, b'R'), row(4, b'D'), row(5, b'S'), row(6, b'S'), row(7, b'S'), row(8, b'S')];
        (3..=5).for_each(|pid| set(&host, pid, 1_000_000, 0));
        let mut io = Io::default();
        assert_eq!(look(&mut io, &host, 10, &rows), [], "one reading is no rate");
        set(&host, 3, 21_000_000, 10_000_000);
        set(&host, 4, 1_000_000, 50_000_000);
        set(&host, 5, 1_000_100, 0);
        assert_eq!(look(&mut io, &host, 15, &rows), [], "ten seconds are not over");
        let both = [(4, 0.0, 5.0), (3, 2.0, 1.0)];
        assert_eq!(look(&mut io, &host, 20, &rows), both, "what moves little is not told");
        assert_eq!(look(&mut io, &host, 25, &rows), both);
        set(&host, 3, 0, 0);
        assert_eq!(look(&mut io, &host, 30, &rows), [], "no rate is negative");
        let mut other = row(4, b'D');
        other.start_ticks = 8;
        set(&host, 4, 1_000_000, 990_000_000);
        assert_eq!(look(&mut io, &host, 40, &[other]), [], "another process of that number");
    }

    #[test]
    fn who_hangs_holds_up_nobody_else() {
        let host = FixtureHost::default();
        let rows = [row(3, b'R'), row(4, b'D')];
        let mut io = Io::default();
        set(&host, 3, 0, 0);
        look(&mut io, &host, 10, &rows[..1]);
        host.apply("//- hang /proc/4/io").unwrap();
        io.aside.ask("asleep", Now::default(), Duration::ZERO, {
            let host = host.shared();
            move || look_all(&*host)
        });
        set(&host, 3, 10_000_000, 0);
        assert_eq!(look(&mut io, &host, 20, &rows), [(3, 1.0, 0.0)]);
        host.release();
    }

    fn look_all(host: &dyn Host) -> Vec<Count> {
        super::look(host, (4, 7)).ok().flatten().into_iter().collect()
    }

    #[test]
    fn bad_counters_are_none() {
        for (text, expect) in [
            ("read_bytes: 1\nwrite_bytes: 5\n", Some((1, 5))),
            ("read_bytes: 1\nwrite_bytes: 5\ncancelled_write_bytes: 9\n", Some((1, 0))),
            ("read_bytes: 1\n", None),
            ("read_bytes: -1\nwrite_bytes: 5\n", None),
            ("read_bytes: x\nwrite_bytes: 5\n", None),
            ("", None),
        ] {
            let found = count((1, 1), text.as_bytes()).map(|count| (count.read, count.written));
            assert_eq!(found, expect, "{text}");
        }
    }
}
