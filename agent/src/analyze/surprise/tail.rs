//! The upper tail of what one view shows: how rare a value like this is.
//!
//! The greatest values are kept, and above the least of them the tail is taken for a generalized Pareto distribution ("peaks
//! over threshold": Balkema and de Haan 1974, Pickands 1975), fitted by probability-weighted moments (Hosking and Wallis 1987).
//! A view with a heavy tail is thereby given more room than one without: no limit is a number of sigmas.

/// Values kept, at most. When there are more, the lower half goes and the threshold rises.
const PEAKS: usize = 96;
/// Fewer say nothing.
const LEAST: usize = 5;
/// Readings after which the older half of the peaks is forgotten, so that a view is judged by its last weeks: 8 to 16 h at
/// 10 s, 2 to 4 weeks at 5 minutes.
const MEMORY: u32 = 4000;
/// Peaks after which the fit is made anew: it changes slowly, and costs more than all else.
const REFIT: u8 = 8;
/// Heaviest tail that is believed: here the fourth moment ends. Few peaks often look heavier than they are, and then nothing is rare.
const MAX_SHAPE: f64 = 0.25;
/// A tail without width (all peaks are equal) is surprised by so much at most, as by anything.
pub(super) const MOST: f64 = 12.0;

/// The greatest values of one view.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    /// In the order they came, and how many of them there are.
    peaks: [f32; PEAKS],
    count: u8,
    threshold: f32,
    readings: u32,
    shape: f32,
    scale: f32,
    /// Peaks since the fit; `None`: there is none.
    since_fit: Option<u8>,
}

impl Tail {
    pub(super) const fn new() -> Self {
        Self {
            peaks: [0.0; PEAKS],
            count: 0,
            threshold: f32::NEG_INFINITY,
            readings: 0,
            shape: 0.0,
            scale: 0.0,
            since_fit: None,
        }
    }

    /// How surprising the value is: minus the decimal logarithm of the share of readings that are above it, 0 to [`MOST`].
    /// Then it is learned.
    pub(super) fn step(&mut self, value: f32) -> f64 {
        self.readings += 1;
        if self.readings >= MEMORY {
            self.forget();
        }
        if value <= self.threshold || !value.is_finite() {
            return 0.0;
        }
        let surprise = self.surprise(value);
        self.learn(value);
        surprise
    }

    fn peaks(&self) -> &[f32] {
        &self.peaks[..usize::from(self.count)]
    }

    fn surprise(&mut self, value: f32) -> f64 {
        if self.peaks().len() < LEAST {
            return 0.0;
        }
        if self.since_fit.is_none_or(|peaks| peaks >= REFIT) {
            self.fit();
        }
        let beyond = f64::from(value) - self.least();
        let (shape, scale) = (f64::from(self.shape), f64::from(self.scale));
        let above = (f64::from(self.readings) / f64::from(self.count)).log10();
        if scale <= 0.0 {
            return MOST;
        }
        let tail = if shape < 1e-3 {
            beyond / scale / std::f64::consts::LN_10
        } else {
            (1.0 + shape * beyond / scale).log10() / shape
        };
        (above + tail).clamp(0.0, MOST)
    }

    /// What excesses are counted from. Before there is a threshold, the least value.
    fn least(&self) -> f64 {
        if self.threshold.is_finite() {
            return f64::from(self.threshold);
        }
        f64::from(self.peaks().iter().copied().fold(f32::INFINITY, f32::min))
    }

    fn fit(&mut self) {
        let least = self.least();
        let mut sorted = [0_f32; PEAKS];
        let sorted = &mut sorted[..usize::from(self.count)];
        sorted.copy_from_slice(self.peaks());
        sorted.sort_unstable_by(f32::total_cmp);
        let count = sorted.len() as f64;
        let (mut mean, mut weighted) = (0.0, 0.0);
        for (at, peak) in sorted.iter().enumerate() {
            let excess = (f64::from(*peak) - least).max(0.0);
            mean += excess / count;
            weighted += excess * (count - 1.0 - at as f64) / (count - 1.0) / count;
        }
        let width = mean - 2.0 * weighted;
        let shape = if width > 0.0 { 2.0 - mean / width } else { 0.0 };
        let believed = shape.clamp(0.0, MAX_SHAPE);
        self.shape = believed as f32;
        // The mean of what is believed is that of the excesses.
        self.scale = (mean * (1.0 - believed)) as f32;
        self.since_fit = Some(0);
    }

    fn learn(&mut self, value: f32) {
        self.peaks[usize::from(self.count)] = value;
        self.count += 1;
        self.since_fit = self.since_fit.map(|peaks| peaks.saturating_add(1));
        if usize::from(self.count) < PEAKS {
            return;
        }
        let mut sorted = self.peaks;
        let (_, middle, _) = sorted.select_nth_unstable_by(PEAKS / 2, f32::total_cmp);
        self.threshold = *middle;
        let mut kept = 0;
        for at in 0..PEAKS {
            if self.peaks[at] > self.threshold {
                self.peaks[kept] = self.peaks[at];
                kept += 1;
            }
        }
        self.count = kept as u8;
        self.since_fit = None;
    }

    fn forget(&mut self) {
        let half = usize::from(self.count) / 2;
        self.peaks.copy_within(half..usize::from(self.count), 0);
        self.count -= half as u8;
        self.readings /= 2;
        self.since_fit = None;
    }
}
