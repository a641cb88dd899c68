//! What is looked at in a series: ten views, each of which is greater the stranger it is.

use crate::time::SECOND;

/// Length of the long window: what is slower than five minutes a reading has fewer readings in it. The short one is a third of it.
const LONG_NS: u64 = 7200 * SECOND;
/// Pace that all numbers of readings are meant for, nanoseconds, and the slowest that changes them, in times of it: an hour.
const PACE_NS: f64 = 300.0 * SECOND as f64;
const SLOWEST: f64 = 12.0;
/// Readings in the long window, at least and at most. Means of fewer are as restless as readings.
const FEWEST: usize = 12;
const LONG: usize = 24;
/// Readings that the usual spread is remembered for.
pub(super) const SPREAD: f64 = 360.0;
/// Share of the usual spread below which one stillness is as good as another.
const STILL: f64 = 1e-3;

/// One way of looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// A high reading.
    High,
    /// A low one.
    Low,
    /// A jump from the reading before.
    Jump,
    /// A high mean of the short window.
    ShortHigh,
    /// A low one.
    ShortLow,
    /// A high mean of the long window.
    LongHigh,
    /// A low one.
    LongLow,
    /// Great spread within the short window.
    ShortRestless,
    /// Great spread within the long window.
    LongRestless,
    /// Little spread within the long window.
    Still,
}

/// All of them, in the order of [`Window::step`].
pub(super) const VIEWS: [View; 10] = [
    View::High,
    View::Low,
    View::Jump,
    View::ShortHigh,
    View::ShortLow,
    View::LongHigh,
    View::LongLow,
    View::ShortRestless,
    View::LongRestless,
    View::Still,
];

/// The newest readings.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Each twice, so that the newest ones always lie side by side.
    last: [f64; 2 * LONG],
    at: usize,
    seen: u32,
    /// Readings of the long window, even; settled by the pace of the first ones, because other windows have other tails.
    long: u8,
    /// Least time that one of the first readings stands for.
    pace_ns: u64,
    mean: f64,
    variance: f64,
}

impl Window {
    pub(super) const fn new() -> Self {
        Self {
            last: [0.0; 2 * LONG],
            at: 0,
            seen: 0,
            long: LONG as u8,
            pace_ns: u64::MAX,
            mean: 0.0,
            variance: 0.0,
        }
    }

    /// Takes a reading, which stands for so much time. `None` until there are as many as the longest window may have.
    pub(super) fn step(&mut self, value: f64, stands_ns: u64) -> Option<[f32; VIEWS.len()]> {
        let before = self.newest();
        (self.last[self.at], self.last[self.at + LONG]) = (value, value);
        self.at = (self.at + 1) % LONG;
        self.seen = self.seen.saturating_add(1);
        let off = value - self.mean;
        let share = 1.0 / f64::from(self.seen).min(SPREAD);
        self.mean += off * share;
        self.variance += (off * (value - self.mean) - self.variance) * share;
        if (self.seen as usize) <= LONG {
            self.pace_ns = self.pace_ns.min(stands_ns);
            self.long = readings_of(self.pace_ns);
        }
        if (self.seen as usize) < LONG {
            return None;
        }
        let (short_mean, short_spread) = self.moments(self.short());
        let (long_mean, long_spread) = self.moments(self.long.into());
        let usual = self.variance.max(0.0).sqrt().max(1e-9 * self.mean.abs()).max(1e-12);
        let still = -(long_spread + STILL * usual).ln();
        let views = [
            value,
            -value,
            (value - before).abs(),
            short_mean,
            -short_mean,
            long_mean,
            -long_mean,
            short_spread,
            long_spread,
            still,
        ];
        Some(views.map(|view| view as f32))
    }

    /// The level that a view is of.
    pub(super) fn level(&self, view: View) -> f64 {
        match view {
            View::High | View::Low | View::Jump => self.newest(),
            View::ShortHigh | View::ShortLow | View::ShortRestless => self.moments(self.short()).0,
            View::LongHigh | View::LongLow | View::LongRestless | View::Still => {
                self.moments(self.long.into()).0
            }
        }
    }

    /// Slow mean of all readings.
    pub(super) fn usual(&self) -> f64 {
        self.mean
    }

    /// How many times as slow as five minutes its readings come, 1 to 12.
    pub(super) fn pace(&self) -> f64 {
        (self.pace_ns as f64 / PACE_NS).clamp(1.0, SLOWEST)
    }

    /// Readings of the short window, even.
    fn short(&self) -> usize {
        usize::from(self.long) / 6 * 2
    }

    fn newest(&self) -> f64 {
        self.last[self.at + LONG - 1]
    }

    /// Mean and standard deviation of the newest readings.
    fn moments(&self, count: usize) -> (f64, f64) {
        let newest = &self.last[self.at + LONG - count..self.at + LONG];
        let mean = sum(newest, |value| value) / count as f64;
        let variance = sum(newest, |value| (value - mean) * (value - mean)) / count as f64;
        (mean, variance.sqrt())
    }
}

/// Readings of the long window where each stands for so much time.
fn readings_of(pace_ns: u64) -> u8 {
    let pairs = LONG_NS.saturating_add(pace_ns) / pace_ns.max(1).saturating_mul(2);
    (pairs.clamp(FEWEST as u64 / 2, LONG as u64 / 2) * 2) as u8
}

/// Added up in two halves of even length, which the processor does side by side.
fn sum(values: &[f64], of: impl Fn(f64) -> f64) -> f64 {
    let (mut even, mut odd) = (0.0, 0.0);
    for pair in values.chunks_exact(2) {
        even += of(pair[0]);
        odd += of(pair[1]);
    }
    even + odd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_as_long_whatever_the_pace_and_never_of_few_readings() {
        for (secs, long) in [(0, 24), (270, 24), (300, 24), (304, 24), (420, 18), (600, 12), (3600, 12)] {
            assert_eq!(readings_of(secs * SECOND), long, "{secs} s");
        }
        assert_eq!(readings_of(u64::MAX), 12);
        let mut window = Window::new();
        // One gap among the first readings says nothing of their pace.
        let newest = (0..30_u32).filter_map(|at| {
            let stands_ns = if at == 5 { 86_400 } else { 600 } * SECOND;
            window.step(f64::from(at), stands_ns)
        });
        let views = newest.last().expect("the window is full");
        assert_eq!((window.short(), window.long), (4, 12));
        // 18 to 29, and 26 to 29.
        assert_eq!((views[5], views[3]), (23.5, 27.5));
    }
}
