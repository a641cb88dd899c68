//! How much processor time reading the kernel's log may take.

use std::time::Duration;

use crate::time::Now;

/// Nanoseconds of processor time for each second: the agent stays below a tenth of a processor with what it does besides. The
/// kernel alone takes more than that to hand out 100,000 records a second one by one.
const SHARE_NS: u64 = 65_000_000;
/// What may be saved up: some four seconds of 100,000 records each are read whole.
const SAVED_NS: u64 = 250_000_000;
/// Longest rest: what is severe is read soon, though much is overwritten before.
const MAX_REST_NS: u64 = 50_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// A token bucket of processor time.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// What was taken and is not given yet.
    owed_ns: u64,
    at_ns: u64,
}

impl Allowance {
    /// Notes what was taken until now; answers how long to rest.
    pub(super) fn take(&mut self, now: Now, used_ns: u64) -> Option<Duration> {
        let passed = now.mono_ns.saturating_sub(self.at_ns);
        self.at_ns = now.mono_ns;
        let given = u64::try_from(u128::from(passed) * u128::from(SHARE_NS) / u128::from(SECOND_NS));
        self.owed_ns = self.owed_ns.saturating_sub(given.unwrap_or(u64::MAX)).saturating_add(used_ns);
        let over = self.owed_ns.checked_sub(SAVED_NS).filter(|&over| over > 0)?;
        let rest = over.saturating_mul(SECOND_NS / SHARE_NS + 1).min(MAX_REST_NS);
        Some(Duration::from_nanos(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { mono_ns: ms * 1_000_000, ..Now::default() }
    }

    /// Reads for as long as it may, each look of the given length; the share of the time that it read.
    fn share(look_ns: u64, pause_ns: u64, secs: u64) -> f64 {
        let (mut allowance, mut now, mut read) = (Allowance::default(), 1, 0);
        let end = secs * SECOND_NS;
        while now < end {
            now += look_ns;
            read += look_ns;
            let rest = allowance.take(Now { mono_ns: now, ..Now::default() }, look_ns);
            now += rest.map_or(pause_ns, |rest| rest.as_nanos() as u64);
        }
        read as f64 / end as f64
    }

    #[test]
    fn a_flood_is_read_for_its_share_of_the_time() {
        for look in [10_000, 300_000, 4_000_000] {
            let share = share(look, 0, 60);
            assert!((0.05..=0.08).contains(&share), "{look}: {share}");
        }
    }

    #[test]
    fn what_is_less_is_never_held_up() {
        // 6 % of the time, and a storm of two seconds after a quiet time.
        assert!((share(600_000, 9_400_000, 60) - 0.06).abs() < 0.001);
        let mut allowance = Allowance::default();
        assert_eq!(allowance.take(at(60_000), 240_000_000), None);
        assert!(allowance.take(at(60_001), 20_000_000).is_some());
        assert_eq!(allowance.take(at(70_000), 200_000_000), None);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_rests_a_bounded_time() {
        let mut allowance = Allowance::default();
        for ms in [1000, 1000, 0, 5] {
            let rest = allowance.take(at(ms), u64::MAX / 2);
            assert_eq!(rest, Some(Duration::from_nanos(MAX_REST_NS)), "{ms}");
        }
    }
}
