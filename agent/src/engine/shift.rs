//! Moments of an earlier run on today's clocks.

use super::condition::Firing;
use crate::time::Now;

/// From the clocks of a snapshot to those of now.
#[derive(Clone, Copy, Debug)]
pub struct Shift {
    now: Now,
    saved: Now,
    same_boot: bool,
}

impl Shift {
    /// `saved` is when the snapshot was made. Of another boot the wall clock tells how long that was ago.
    pub fn new(saved: Now, same_boot: bool, now: Now) -> Self {
        Self { now, saved, same_boot: same_boot && saved.mono_ns <= now.mono_ns }
    }

    /// Nanoseconds since then.
    fn age(&self, mono_ns: u64) -> u64 {
        let away = u64::try_from(self.now.wall_ns.saturating_sub(self.saved.wall_ns)).unwrap_or(0);
        away.saturating_add(self.saved.mono_ns.saturating_sub(mono_ns))
    }

    /// A moment on today's monotonic clock; 0 if it lies before this boot. One to come keeps its distance.
    pub fn mono(&self, mono_ns: u64) -> u64 {
        if self.same_boot {
            return mono_ns;
        }
        let ahead = mono_ns.saturating_sub(self.saved.mono_ns);
        let base = self.now.mono_ns.saturating_add(ahead);
        base.saturating_sub(self.age(mono_ns))
    }

    /// A moment on both clocks.
    pub fn both(&self, at: Now) -> Now {
        Now { mono_ns: self.mono(at.mono_ns), ..at }
    }

    /// A firing state.
    pub fn firing(&self, firing: Firing) -> Firing {
        if self.same_boot {
            return firing;
        }
        let before = self.age(firing.since_ns).saturating_sub(self.now.mono_ns);
        let before_boot_ns = firing.before_boot_ns.saturating_add(before);
        Firing { since_ns: self.mono(firing.since_ns), before_boot_ns, ..firing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;
    use crate::time::SECOND;

    fn now(mono: u64, wall: i64) -> Now {
        Now { mono_ns: mono * SECOND, wall_ns: wall * SECOND as i64 }
    }

    #[test]
    fn within_a_boot_nothing_moves_and_across_one_the_wall_clock_counts() {
        let check = |same, at: u64, expect: u64, before: u64| {
            // Saved at 1000 s of uptime; now it is 300 s later, 60 s after a boot.
            let now_ = if same { now(1300, 5300) } else { now(60, 5300) };
            let shift = Shift::new(now(1000, 5000), same, now_);
            let level = Severity::Warn;
            let firing = Firing { level, worst: level, since_ns: at * SECOND, before_boot_ns: 0 };
            let moved = shift.firing(firing);
            assert_eq!(
                (moved.since_ns / SECOND, moved.before_boot_ns / SECOND),
                (expect, before),
                "{same} {at}"
            );
            let lived = super::super::compose::lived_secs(moved.started(now_), now_);
            assert_eq!(lived, 1300_u64.saturating_sub(at), "{same} {at}");
        };
        check(true, 900, 900, 0);
        check(false, 900, 0, 340);
        check(false, 1000, 0, 240);
        let shift = Shift::new(now(1000, 5000), false, now(60, 5010));
        assert_eq!(shift.mono(1000 * SECOND), 50 * SECOND);
        assert_eq!(
            shift.mono(1060 * SECOND),
            110 * SECOND,
            "what is to come keeps its distance, less the time away"
        );
    }
}
