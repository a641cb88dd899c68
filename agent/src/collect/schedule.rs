//! When which collector is due. Pure: time is an argument.
//!
//! Each collector keeps to the grid of its pace counted from the start, so that paces that are
//! multiples of each other wake the thread together, and a late pass does not shift the next.
//! Passes missed (a suspended machine, a slow collector) are left out, not made up for.

use std::time::Duration;

use crate::time::{Now, SECOND};

/// The due times of a number of collectors, by their index.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    pace_ns: u64,
    next_ns: u64,
}

/// The fastest pace; what is configured faster runs at this.
const LEAST_PACE_NS: u64 = SECOND / 10;

impl Schedule {
    /// All are due at once at `start`.
    pub fn new(paces: impl IntoIterator<Item = Duration>, start: Now) -> Self {
        let slot = |pace: Duration| Slot {
            pace_ns: u64::try_from(pace.as_nanos()).unwrap_or(u64::MAX).max(LEAST_PACE_NS),
            next_ns: start.mono_ns,
        };
        Self { slots: paces.into_iter().map(slot).collect() }
    }

    /// Whether it is time for a collector.
    pub fn is_due(&self, index: usize, now: Now) -> bool {
        self.slots.get(index).is_some_and(|slot| slot.next_ns <= now.mono_ns)
    }

    /// Indices of all collectors that are due.
    pub fn due(&self, now: Now) -> impl Iterator<Item = usize> {
        (0..self.slots.len()).filter(move |&index| self.is_due(index, now))
    }

    /// A collector that was due at `now` is run: its next time is the first on its grid after `now`.
    pub fn ran(&mut self, index: usize, now: Now) {
        if let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.next_ns <= now.mono_ns) {
            let missed = (now.mono_ns - slot.next_ns) / slot.pace_ns;
            slot.next_ns = slot.next_ns.saturating_add(slot.pace_ns.saturating_mul(missed.saturating_add(1)));
        }
    }

    /// How long nothing is due; `None` if nothing ever is.
    pub fn idle(&self, now: Now) -> Option<Duration> {
        let next = self.slots.iter().map(|slot| slot.next_ns).min()?;
        Some(Duration::from_nanos(next.saturating_sub(now.mono_ns)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Now {
        Now::default().plus_secs(1000 + secs)
    }

    /// Seconds at which each of the collectors runs when the thread wakes at those of `wakes`.
    fn runs(paces: &[u64], wakes: &[u64]) -> Vec<Vec<u64>> {
        let mut schedule = Schedule::new(paces.iter().map(|&pace| Duration::from_secs(pace)), at(0));
        let mut runs = vec![Vec::new(); paces.len()];
        for &wake in wakes {
            let due: Vec<_> = schedule.due(at(wake)).collect();
            for index in due {
                schedule.ran(index, at(wake));
                runs[index].push(wake);
            }
        }
        runs
    }

    #[test]
    fn paces_are_kept() {
        let every_second: Vec<u64> = (0..=60).collect();
        assert_eq!(
            runs(&[10, 30, 60], &every_second),
            [vec![0, 10, 20, 30, 40, 50, 60], vec![0, 30, 60], vec![0, 60]]
        );
    }

    #[test]
    fn lateness_does_not_shift_the_grid() {
        assert_eq!(runs(&[10], &[0, 13, 19, 20, 29, 30]), [vec![0, 13, 20, 30]]);
    }

    #[test]
    fn nothing_is_made_up_for_after_a_suspend() {
        assert_eq!(runs(&[10], &[0, 10, 3605, 3606, 3609, 3610]), [vec![0, 10, 3605, 3610]]);
    }

    #[test]
    fn the_thread_sleeps_until_the_next() {
        let mut schedule = Schedule::new([Duration::from_secs(10), Duration::from_secs(30)], at(0));
        assert_eq!(schedule.idle(at(0)), Some(Duration::ZERO));
        schedule.ran(0, at(0));
        schedule.ran(1, at(0));
        assert_eq!(schedule.idle(at(4)), Some(Duration::from_secs(6)));
        assert_eq!(schedule.idle(at(40)), Some(Duration::ZERO));
        assert_eq!(Schedule::default().idle(at(0)), None);
    }

    #[test]
    fn extremes() {
        let mut schedule = Schedule::new([Duration::ZERO, Duration::MAX], at(0));
        schedule.ran(0, at(0));
        schedule.ran(1, at(0));
        assert_eq!(schedule.idle(at(0)), Some(Duration::from_millis(100)), "no busy loop");
        assert!(!schedule.is_due(1, Now { mono_ns: u64::MAX - 1, wall_ns: 0 }));
        // A clock that goes backwards, and a collector that is not due or does not exist.
        assert!(!schedule.is_due(0, Now::default()));
        schedule.ran(0, Now::default());
        schedule.ran(7, at(0));
        assert!(!schedule.is_due(7, at(0)));
    }
}
