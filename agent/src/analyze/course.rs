//! The course of a series as `surprise` sees it: in means of five minutes.
//!
//! Readings of a busy host every ten seconds jump by nature, and a minute of a build is no news. Series of five minutes
//! and more are taken as they come.

use super::surprise::{Detector, Strange};
use crate::time::SECOND;

/// What readings are averaged over. A little less than five minutes, so that a reading that comes a moment early is not
/// averaged with the next.
pub const MEAN_NS: u64 = 270 * SECOND;

/// One series.
#[derive(Clone, Debug, Default)]
pub struct Course {
    detector: Detector,
    sum: f64,
    count: u32,
    covered_ns: u64,
}

impl Course {
    /// Takes a reading, which stands for the `step_ns` before it; what the mean it completes shows, if that is strange.
    pub fn step(&mut self, step_ns: u64, value: f64) -> Option<Strange> {
        if !value.is_finite() {
            return None;
        }
        self.sum += value;
        self.count += 1;
        self.covered_ns = self.covered_ns.saturating_add(step_ns);
        if self.covered_ns < MEAN_NS {
            return None;
        }
        let (mean, covered_ns) = (self.sum / f64::from(self.count), self.covered_ns);
        (self.sum, self.count, self.covered_ns) = (0.0, 0, 0);
        self.detector.step(mean, covered_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A spike of so many seconds in a restless series read at this pace is told within an hour, or never.
    fn check(pace_secs: u64, spike_secs: u64, expect: bool) {
        let mut course = Course::default();
        let (begin, all) = (40 * 3600, 48 * 3600);
        let mut told = Vec::new();
        let mut random = 7_u64;
        for at in (0..all).step_by(pace_secs as usize) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (random >> 40) as f64 / f64::from(1 << 24);
            let spike = if (begin..begin + spike_secs).contains(&at) { 60.0 } else { 0.0 };
            let step = if at == 0 { 0 } else { pace_secs * SECOND };
            if course.step(step, 20.0 + 10.0 * noise + spike).is_some() {
                told.push(at);
            }
        }
        let found = told.iter().any(|at| (begin..begin + 3600).contains(at));
        assert_eq!(found, expect, "{pace_secs} {spike_secs}: {told:?}");
        assert!(told.iter().filter(|at| **at < begin).count() <= 1, "{told:?}");
    }

    #[test]
    fn what_lasts_is_told_and_what_passes_is_not() {
        check(10, 900, true);
        check(1, 900, true);
        check(300, 900, true);
        check(3600, 3600, false);
        check(10, 10, false);
    }

    #[test]
    fn nonsense_changes_nothing() {
        let mut course = Course::default();
        for value in [f64::NAN, f64::INFINITY, 1e308, -1e308, 0.0] {
            (0..500)
                .for_each(|_| assert!(course.step(u64::MAX, value).is_none_or(|s| s.evidence.is_finite())));
        }
        assert!((0..500).filter_map(|_| course.step(300 * SECOND, 5.0)).all(|s| s.evidence.is_finite()));
        assert!(course.detector.step(5.0, MEAN_NS).is_none());
    }
}
