//! Marks of OOM victims against the kernel's count of kills.
//!
//! `__oom_kill_process` (`mm/oom_kill.c`) counts a kill before it marks the victim; a task that is exiting anyway is
//! marked and not counted. So when more marks were seen than kills were counted, one of them was without a kill.
//! Doubt works for the kill: with several marks unread at once, or a kill counted twice, none is surplus.

use crate::host::parse::number;
use crate::host::{Host, HostFile};
use crate::time::{Now, SECOND};

/// Between the count and the mark of one kill, at most: marks so early may have been counted before the start.
const BEGINNING_NS: u64 = SECOND;

pub(super) struct Marks {
    since: Now,
    /// `oom_kill` at the start; `None`: not counted, so nothing is compared (before 4.13).
    base: Option<u64>,
    seen: u64,
    file: Option<Box<dyn HostFile>>,
    buf: Vec<u8>,
}

impl Marks {
    pub(super) fn new(host: &dyn Host, now: Now) -> Self {
        Self::over(host.open("/proc/vmstat").ok(), now)
    }

    fn over(file: Option<Box<dyn HostFile>>, now: Now) -> Self {
        let mut marks = Self { since: now, base: None, seen: 0, file, buf: Vec::new() };
        marks.base = marks.counted();
        marks
    }

    /// Takes a mark of that moment; whether it is one more than kills were counted.
    pub(super) fn is_surplus(&mut self, at: Now) -> bool {
        let Some(base) = self.base.filter(|_| at.mono_ns >= self.since.mono_ns + BEGINNING_NS) else {
            return false;
        };
        let Some(kills) = self.counted().and_then(|now| now.checked_sub(base)) else { return false };
        let surplus = self.seen >= kills;
        self.seen += u64::from(!surplus);
        surplus
    }

    fn counted(&mut self) -> Option<u64> {
        self.file.as_mut()?.read(&mut self.buf).ok()?;
        let mut lines = self.buf.split(|&byte| byte == b'\n');
        number(lines.find_map(|line| line.strip_prefix(b"oom_kill "))?.trim_ascii())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    /// Kills counted; `u64::MAX`: the kernel does not count.
    struct Vmstat(Arc<AtomicU64>);

    impl HostFile for Vmstat {
        fn read(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
            let kills = self.0.load(Relaxed);
            *buf = b"pgfault 9\n".to_vec();
            if kills != u64::MAX {
                buf.extend_from_slice(format!("oom_kill {kills}\nnuma_hit 1\n").as_bytes());
            }
            Ok(())
        }
    }

    fn at(secs: u64) -> Now {
        Now::default().plus_secs(secs)
    }

    /// Marks, as second and kills counted by then; expects which of them are surplus.
    fn check(base: u64, marks: &[(u64, u64)], expect: &[bool]) {
        let kills = Arc::new(AtomicU64::new(base));
        let mut all = Marks::over(Some(Box::new(Vmstat(Arc::clone(&kills)))), at(100));
        let got: Vec<bool> = marks
            .iter()
            .map(|(sec, counted)| {
                kills.store(*counted, Relaxed);
                all.is_surplus(at(*sec))
            })
            .collect();
        assert_eq!(got, expect, "{base} {marks:?}");
    }

    #[test]
    fn a_mark_that_no_count_precedes_is_surplus() {
        check(5, &[(110, 6), (111, 7)], &[false, false]);
        check(5, &[(110, 5), (111, 6), (112, 6), (113, 7)], &[true, false, true, false]);
        check(0, &[(110, 0), (110, 0), (110, 1)], &[true, true, false]);
    }

    #[test]
    fn in_doubt_it_is_a_kill() {
        // Two at once, a group whose first victim is counted twice, before the start, a counter that went back.
        check(5, &[(110, 7), (110, 7), (111, 7)], &[false, false, true]);
        check(5, &[(110, 8), (110, 8), (111, 8), (112, 8)], &[false, false, false, true]);
        check(5, &[(99, 5), (100, 5), (101, 5)], &[false, false, true]);
        check(5, &[(110, 4), (111, 6)], &[false, false]);
        check(u64::MAX, &[(110, u64::MAX), (111, u64::MAX)], &[false, false]);
        assert!(!Marks::over(None, at(0)).is_surplus(at(10)), "no such file");
    }
}
