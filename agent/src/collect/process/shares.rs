//! Proportional memory of the largest processes (`/proc/PID/smaps_rollup`, since 4.14): a page that several have mapped counts
//! for each by its part. The kernel walks all page tables for it, 20 ms for a resident GiB in small pages, so it is asked
//! rarely, of few, aside, and the more rarely the longer it took.

use std::io;
use std::time::Duration;

use crate::collect::CollectError;
use crate::host::aside::{Answer, Aside};
use crate::host::parse::{key, lines, number, words};
use crate::host::{Host, clock};
use crate::sample::{ProcRow, ROWS_WITH_PSS};
use crate::time::{MILLI, Now, SECOND};

/// How long an answer is waited for; a later one serves the next pass. A test waits for its own machine, however busy.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 10_000 } else { 5 });
/// A process is asked about again after this time at the soonest, and when its memory has become another.
const AGE_NS: u64 = 300 * SECOND;
/// Of a question's time, so many times are left alone after it: at most 0.005 % of a processor.
const REST: u64 = 20_000;
/// No further process is asked about in one question after this time.
const LONG_NS: u64 = 20 * MILLI;
/// Larger processes are not asked about: one cannot be stopped half-way.
const MAX_RSS: u64 = 16 << 30;
/// The same before 5.10, where a process that maps or unmaps memory waits until the walk is over (`show_smaps_rollup`,
/// `fs/proc/task_mmu.c`, lets it pass from then on).
const MAX_RSS_HELD: u64 = 1 << 30;

/// A process by number and start.
type Key = (u32, u64);

/// Those of the newest table.
pub(super) struct Shares {
    known: Vec<Known>,
    aside: Aside<Told>,
    /// Nothing is asked before, monotonic nanoseconds.
    rest_until_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    key: Key,
    /// Resident memory, and moment, of the question; `None`: it has not been asked.
    asked: Option<(u64, u64)>,
    bytes: Option<u64>,
    refused: bool,
}

/// Answers, and how long all took.
struct Told {
    answers: Vec<(Key, io::Result<u64>)>,
    took_ns: u64,
}

impl Default for Shares {
    fn default() -> Self {
        Self { known: Vec::new(), aside: Aside::new("shares", 1), rest_until_ns: 0 }
    }
}

impl Shares {
    /// Proportional memory of the first rows, as far as it is known.
    ///
    /// # Errors
    /// Without the right to look at any of them.
    pub(super) fn fill(
        &mut self,
        host: &dyn Host,
        now: Now,
        rows: &[ProcRow],
        out: &mut Vec<Option<u64>>,
    ) -> Result<(), CollectError> {
        let head = || rows.iter().take(ROWS_WITH_PSS).take_while(|row| row.rss_bytes > 0);
        self.known.retain(|known| head().any(|row| known.key == (row.pid, row.start_ticks)));
        for row in head() {
            let key = (row.pid, row.start_ticks);
            if !self.known.iter().any(|known| known.key == key) {
                self.known.push(Known { key, asked: None, bytes: None, refused: false });
            }
        }
        if now.mono_ns >= self.rest_until_ns {
            self.ask(host, now, rows);
        }
        let of = |row: &ProcRow| self.known.iter().find(|known| known.key == (row.pid, row.start_ticks));
        out.extend(head().map(|row| of(row)?.bytes));
        // Where others answer, it is not a right of ours that is missing: some systems let nobody look at one process.
        let answers = self.known.iter().any(|known| known.bytes.is_some());
        let refused = self.known.iter().find(|known| known.refused && !answers);
        refused.map_or(Ok(()), |known| Err(needs_right(known.key.0)))
    }

    fn ask(&mut self, host: &dyn Host, now: Now, rows: &[ProcRow]) {
        let limit = if waits_for_walks(host) { MAX_RSS_HELD } else { MAX_RSS };
        let is_due = |row: &&ProcRow| {
            let known = self.known.iter().find(|known| known.key == (row.pid, row.start_ticks));
            known.is_some_and(|known| known.is_due(row, now))
                && row.rss_bytes <= limit
                // Somebody may hold what the walk wants.
                && !matches!(row.state, b'D' | b'Z' | b'X')
        };
        let head = || rows.iter().take(ROWS_WITH_PSS);
        let due: Vec<Key> = head().filter(is_due).map(|row| (row.pid, row.start_ticks)).collect();
        if due.is_empty() {
            return;
        }
        let shared = host.shared();
        let work = move || look(&*shared, due);
        // It may be the late answer to another question.
        let Answer::Done(told) = self.aside.ask("all", now, PATIENCE, work) else { return };
        self.rest_until_ns = now.mono_ns.saturating_add(told.took_ns.saturating_mul(REST));
        for (key, answer) in told.answers {
            let Some(known) = self.known.iter_mut().find(|known| known.key == key) else { continue };
            let rss = head().find(|row| (row.pid, row.start_ticks) == key).map_or(0, |row| row.rss_bytes);
            known.asked = Some((rss, now.mono_ns));
            known.refused = matches!(&answer, Err(error) if error.kind() == io::ErrorKind::PermissionDenied);
            known.bytes = answer.ok();
        }
    }
}

impl Known {
    fn is_due(&self, row: &ProcRow, now: Now) -> bool {
        self.asked.is_none_or(|(rss, at_ns)| {
            let is_other = row.rss_bytes.abs_diff(rss) > rss / 4 && self.bytes.is_some();
            is_other || now.mono_ns.saturating_sub(at_ns) >= AGE_NS
        })
    }
}

fn look(host: &dyn Host, due: Vec<Key>) -> Told {
    let begin = clock::now();
    let mut answers = Vec::with_capacity(due.len());
    let mut text = Vec::new();
    for key in due {
        let read = host.read(&path(key.0), &mut text);
        answers.push((key, read.and_then(|()| pss(&text).ok_or_else(|| io::ErrorKind::InvalidData.into()))));
        if clock::now().since(begin) > LONG_NS {
            break;
        }
    }
    Told { answers, took_ns: clock::now().since(begin) }
}

fn path(pid: u32) -> String {
    format!("/proc/{pid}/smaps_rollup")
}

/// `Pss:             1060460 kB`
fn pss(text: &[u8]) -> Option<u64> {
    let line = lines(text).find(|line| key(line).0 == b"Pss:")?;
    words(key(line).1).next().and_then(number)?.checked_mul(1024)
}

fn needs_right(pid: u32) -> CollectError {
    CollectError::Denied { path: path(pid), needs: "CAP_SYS_PTRACE" }
}

fn waits_for_walks(host: &dyn Host) -> bool {
    let release = host.uname().release;
    let mut numbers = release.split(['.', '-']).map_while(|word| word.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (5, 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    #[test]
    fn only_one_line_counts() {
        let text = "Rss:  900 kB\nPss:   500 kB\nPss_Dirty:  1 kB\n";
        for (text, expect) in [
            (text, Some(512_000)),
            ("", None),
            ("Pss:\n", None),
            ("Pss: -1 kB\n", None),
            ("Pss: 18446744073709551615 kB\n", None),
            ("SwapPss: 3 kB\n", None),
        ] {
            assert_eq!(pss(text.as_bytes()), expect, "{text}");
        }
    }

    /// Looks at second `secs`; rows are number, start, state and resident bytes.
    fn look(
        shares: &mut Shares,
        host: &FixtureHost,
        secs: u64,
        rows: &[(u32, u64, u8, u64)],
    ) -> Vec<Option<u64>> {
        let row = |&(pid, start_ticks, state, rss_bytes)| ProcRow {
            pid,
            start_ticks,
            rss_bytes,
            state,
            ..ProcRow::default()
        };
        let rows: Vec<ProcRow> = rows.iter().map(row).collect();
        let mut out = Vec::new();
        // How long the machine took is not judged.
        shares.rest_until_ns = 0;
        let result = shares.fill(host, Now { mono_ns: secs * SECOND, wall_ns: 0 }, &rows, &mut out);
        let all = |of: fn(&Known) -> bool| shares.known.iter().any(of);
        assert_eq!(result.is_err(), all(|k| k.refused) && !all(|k| k.bytes.is_some()), "{result:?}");
        out
    }

    #[test]
    fn few_are_asked_and_rarely() {
        let host = FixtureHost::parse("//- uname h 6.1.0 x86_64\n//- denied /proc/9/smaps_rollup\n").unwrap();
        let set = |pid: u32, kb: u32| host.set(&path(pid), format!("Rss: 1 kB\nPss: {kb} kB\n"));
        (1..=7).for_each(|pid| set(pid, pid));
        let mut shares = Shares::default();
        let rows = [
            (3, 1, b'S', 100),
            (1, 1, b'D', 90),
            (9, 1, b'S', 80),
            (2, 1, b'S', MAX_RSS + 1),
            (8, 1, b'R', 70),
            (4, 1, b'S', 60),
        ];
        let first = [Some(3072), None, None, None, None];
        assert_eq!(
            look(&mut shares, &host, 1, &rows),
            first,
            "asleep in the kernel, refused, too large, gone, too many"
        );
        set(3, 30);
        assert_eq!(look(&mut shares, &host, 31, &rows), first, "known");
        assert_eq!(
            look(&mut shares, &host, 61, &[(3, 1, b'S', 126), (0, 0, b'I', 0)]),
            [Some(30_720)],
            "it has grown"
        );
        set(3, 31);
        assert_eq!(look(&mut shares, &host, 360, &[(3, 1, b'S', 126)]), [Some(30_720)]);
        assert_eq!(look(&mut shares, &host, 361, &[(3, 1, b'S', 126)]), [Some(31_744)], "after five minutes");
        assert_eq!(
            look(&mut shares, &host, 391, &[(3, 2, b'S', 126)]),
            [Some(31_744)],
            "another process, asked anew"
        );
    }

    #[test]
    fn a_question_is_followed_by_a_rest() {
        let host =
            FixtureHost::parse("//- uname h 6.1.0 x86_64\n//- /proc/3/smaps_rollup\nPss: 3 kB\n").unwrap();
        let mut shares = Shares { rest_until_ns: 5 * SECOND, ..Shares::default() };
        let row = ProcRow { pid: 3, rss_bytes: 1, ..ProcRow::default() };
        let mut at = |secs: u64| {
            let mut out = Vec::new();
            shares
                .fill(&host, Now { mono_ns: secs * SECOND, wall_ns: 0 }, std::slice::from_ref(&row), &mut out)
                .unwrap();
            (out, shares.rest_until_ns)
        };
        assert_eq!(at(4), (vec![None], 5 * SECOND));
        let (out, rest) = at(6);
        assert!(out == [Some(3072)] && rest > 6 * SECOND, "{rest}");
    }

    #[test]
    fn old_kernels_hold_up_who_maps() {
        for (release, expect) in [
            ("5.10.0-8-amd64", false),
            ("5.9.16", true),
            ("4.18.0-553.el8", true),
            ("6.18", false),
            ("x", true),
        ] {
            let host = FixtureHost::parse(&format!("//- uname h {release} x86_64\n")).unwrap();
            assert_eq!(waits_for_walks(&host), expect, "{release}");
        }
    }
}
