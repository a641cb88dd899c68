//! The third witness: the kernel's own count of OOM kills (`oom_kill` of `/proc/vmstat`, since 4.13)
//! against the incidents the other witnesses brought.

use crate::time::{Now, SECOND};

/// How long a difference has to last before it counts: an event may still be on its way.
const GRACE_NS: u64 = 2 * SECOND;

/// Compares two growing totals and tells, once, what the kernel counted and nobody saw.
#[derive(Debug, Default)]
pub struct OomCounter {
    base: Option<Base>,
    doubt: Option<Doubt>,
}

/// Totals that agree.
#[derive(Clone, Copy, Debug)]
struct Base {
    counted: u64,
    seen: u64,
}

/// A difference, since when: counted minus seen.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    since: Now,
    difference: i64,
}

impl OomCounter {
    /// One reading: `total` is the kernel's count, `seen` the incidents so far (each kill once, whoever
    /// saw it; both totals only grow). Gives the kills that are missing for two readings at least
    /// [`GRACE_NS`] apart, each of them once. The first reading, and the first after a counter went
    /// backwards, is the base line.
    pub fn reading(&mut self, at: Now, total: u64, seen: u64) -> Option<u64> {
        let Some(base) = self.base.filter(|base| total >= base.counted && seen >= base.seen) else {
            *self = Self { base: Some(Base { counted: total, seen }), doubt: None };
            return None;
        };
        let difference = ((total - base.counted) as i64).wrapping_sub((seen - base.seen) as i64);
        let before = self.doubt.filter(|doubt| doubt.difference.signum() == difference.signum());
        let Some(before) = before.filter(|_| difference != 0) else {
            self.doubt = (difference != 0).then_some(Doubt { since: at, difference });
            return None;
        };
        if at.since(before.since) < GRACE_NS {
            return None;
        }
        let settled = before.difference.unsigned_abs().min(difference.unsigned_abs());
        let rest = difference.wrapping_sub(difference.signum().wrapping_mul(settled as i64));
        self.doubt = (rest != 0).then_some(Doubt { since: at, difference: rest });
        self.settle(base, difference > 0, settled)
    }

    /// Moves the base so that a settled difference is told once. More seen than counted (an event that
    /// was counted before the base line) must not hide a later loss.
    fn settle(&mut self, base: Base, missing: bool, settled: u64) -> Option<u64> {
        let (counted, seen) = if missing { (settled, 0) } else { (0, settled) };
        self.base = Some(Base {
            counted: base.counted.saturating_add(counted),
            seen: base.seen.saturating_add(seen),
        });
        missing.then_some(settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings 10 s apart: kernel's total, seen, expected answer.
    fn check(readings: &[(u64, u64, Option<u64>)]) {
        let mut counter = OomCounter::default();
        for (i, &(total, seen, expect)) in readings.iter().enumerate() {
            let at = Now::default().plus_secs(i as u64 * 10);
            assert_eq!(counter.reading(at, total, seen), expect, "reading {i} of {readings:?}");
        }
    }

    #[test]
    fn first_reading_is_the_base_line() {
        check(&[(7, 0, None), (7, 0, None), (7, 0, None)]);
    }

    #[test]
    fn what_was_seen_is_not_missing() {
        check(&[(7, 0, None), (8, 1, None), (10, 3, None), (10, 3, None)]);
    }

    #[test]
    fn an_event_in_flight_has_one_reading_of_grace() {
        check(&[(0, 0, None), (1, 0, None), (1, 1, None), (1, 1, None)]);
    }

    #[test]
    fn a_missed_kill_is_told_once() {
        check(&[(0, 0, None), (2, 0, None), (2, 0, Some(2)), (2, 0, None), (3, 1, None), (3, 1, None)]);
    }

    #[test]
    fn only_what_lasted_counts() {
        check(&[(0, 0, None), (1, 0, None), (3, 0, Some(1)), (3, 2, None), (3, 2, None)]);
        check(&[(0, 0, None), (1, 0, None), (3, 0, Some(1)), (3, 0, Some(2)), (3, 0, None)]);
    }

    #[test]
    fn counted_before_the_base_line_and_seen_after_it_hides_nothing() {
        check(&[(5, 0, None), (5, 1, None), (5, 1, None), (6, 1, None), (6, 1, Some(1))]);
    }

    #[test]
    fn seen_before_the_counter_was_read_is_not_forgotten() {
        check(&[(5, 0, None), (5, 1, None), (6, 1, None), (6, 1, None)]);
    }

    #[test]
    fn a_counter_that_went_backwards_starts_again() {
        check(&[(9, 0, None), (1, 0, None), (2, 0, None), (2, 0, Some(1))]);
        check(&[(9, 4, None), (9, 0, None), (9, 0, None)]);
    }

    #[test]
    fn readings_in_quick_succession_do_not_shorten_the_grace() {
        let mut counter = OomCounter::default();
        let at = |ms: u64| Now { mono_ns: ms * 1_000_000, wall_ns: 0 };
        assert_eq!(counter.reading(at(0), 0, 0), None);
        assert_eq!(counter.reading(at(10), 1, 0), None);
        assert_eq!(counter.reading(at(20), 1, 0), None);
        assert_eq!(counter.reading(at(2010), 1, 0), Some(1));
    }

    #[test]
    fn the_largest_totals_do_not_panic() {
        check(&[(0, u64::MAX, None), (u64::MAX, u64::MAX, None), (0, 0, None)]);
    }
}
