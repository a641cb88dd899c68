//! Time as an argument. Only [`crate::host::clock`] reads clocks.

use serde::{Deserialize, Serialize};

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Now {
    /// `CLOCK_MONOTONIC`, nanoseconds: for durations; the clock of eBPF timestamps.
    pub mono_ns: u64,
    /// Unix time, nanoseconds: for people and the wire.
    pub wall_ns: i64,
}

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub const MILLI: u64 = 1_000_000;

impl Now {
    /// Nanoseconds since `earlier` on the monotonic clock; 0 if that lies in the future.
    pub fn since(self, earlier: Self) -> u64 {
        self.mono_ns.saturating_sub(earlier.mono_ns)
    }

    /// The wall-clock moment at which the monotonic clock showed `mono_ns`.
    #[must_use]
    pub fn at_mono(self, mono_ns: u64) -> Self {
        let delta = (mono_ns as i64).saturating_sub(self.mono_ns as i64);
        Self { mono_ns, wall_ns: self.wall_ns.saturating_add(delta) }
    }

    /// This moment moved `secs` seconds on.
    #[must_use]
    pub fn plus_secs(self, secs: u64) -> Self {
        let delta = secs.saturating_mul(SECOND);
        Self {
            mono_ns: self.mono_ns.saturating_add(delta),
            wall_ns: self.wall_ns.saturating_add(delta as i64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_no_clock_shows_do_no_harm() {
        let now = Now { mono_ns: 5 * SECOND, wall_ns: 7 * SECOND as i64 };
        assert_eq!(now.at_mono(2 * SECOND).wall_ns, 4 * SECOND as i64);
        for mono_ns in [0, 1 << 63, u64::MAX] {
            assert_eq!(now.at_mono(mono_ns).mono_ns, mono_ns);
        }
    }
}
