//! The only place that reads clocks.

use crate::time::Now;
use rustix::time::{ClockId, clock_gettime};

/// Both clocks now.
#[expect(clippy::disallowed_methods, reason = "the one place that reads clocks")]
pub fn now() -> Now {
    let mono = clock_gettime(ClockId::Monotonic);
    let wall = clock_gettime(ClockId::Realtime);
    Now {
        mono_ns: mono.tv_sec as u64 * 1_000_000_000 + mono.tv_nsec as u64,
        wall_ns: wall.tv_sec * 1_000_000_000 + wall.tv_nsec,
    }
}
