//! Histograms of latencies on their way from a collector to the endpoints: how many were how long since the agent's start.

use std::sync::Arc;

use crate::metric::Metric;
use crate::time::SECOND;

/// Finite bounds: one an octave, from 16.384 µs to 34 s. The kernel counts finer; this is what is scraped.
pub const BOUNDS: usize = 22;
/// The first bound is 2 to this power, nanoseconds.
const FIRST: u32 = 14;

/// Requests by the bound they lie below, and last those above all bounds.
pub type Counts = [u64; BOUNDS + 1];

/// One histogram.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Row of the metric table.
    pub metric: &'static Metric,
    /// Label values in the metric's order; hostile text.
    pub labels: Arc<[Box<str>]>,
    /// Since the agent's start.
    pub counts: Counts,
    /// All of them added up, seconds.
    pub sum_secs: f64,
}

/// A finite bound, seconds.
pub fn bound_secs(index: usize) -> f64 {
    (1_u64 << (FIRST + index as u32)) as f64 / SECOND as f64
}

/// The place in [`Counts`] of what takes less than `end_ns` nanoseconds.
pub const fn place(end_ns: u64) -> usize {
    let octave = match end_ns.checked_next_power_of_two() {
        Some(power) => power.ilog2(),
        None => u64::BITS,
    };
    let place = octave.saturating_sub(FIRST) as usize;
    if place < BOUNDS { place } else { BOUNDS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_below_their_bounds() {
        let check = |end_ns, expect| assert_eq!(place(end_ns), expect, "{end_ns}");
        check(0, 0);
        check(1024, 0);
        check(1 << 14, 0);
        check((1 << 14) + 1, 1);
        check(1 << 20, 6);
        check(1 << 35, BOUNDS - 1);
        check((1 << 35) + 1, BOUNDS);
        check(u64::MAX, BOUNDS);
        assert!((bound_secs(0) - 0.000_016_384).abs() < 1e-12);
        assert!((bound_secs(BOUNDS - 1) - 34.359_738_368).abs() < 1e-9);
    }
}
