//! For how long processes have been in uninterruptible sleep. The kernel keeps no such time: it is counted from the first pass
//! that found one asleep, for as long as its first thread has not been on a processor meanwhile.

use std::collections::HashMap;
use std::fmt::Write;

use super::rows::Row;
use crate::host::Host;
use crate::time::{Now, SECOND};

/// Sleepers looked at in a pass; those with the lowest process ids.
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
    start_ticks: u64,
    switches: u64,
    since: Now,
}

impl Sleepers {
    /// Looks at those in uninterruptible sleep. How long the longest one has taken, seconds; 0 where there is none.
    pub(super) fn look(&mut self, rows: &[Row], host: &dyn Host, now: Now) -> f64 {
        std::mem::swap(&mut self.known, &mut self.before);
        self.known.clear();
        for row in rows.iter().filter(|row| row.state == b'D').take(MAX_SLEEPERS) {
            // Gone meanwhile.
            let Some(switches) = self.switches(row.pid, host) else { continue };
            let fresh = Sleep { start_ticks: row.start_ticks, switches, since: now };
            let same = |old: &&Sleep| old.start_ticks == row.start_ticks && old.switches == switches;
            let sleep = self.before.get(&row.pid).filter(same).copied().unwrap_or(fresh);
            self.known.insert(row.pid, sleep);
        }
        let longest = self.known.values().map(|sleep| now.since(sleep.since)).max();
        longest.unwrap_or(0) as f64 / SECOND as f64
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
    use crate::collect::process::{Options, Process};
    use crate::collect::testing::Bench;

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
