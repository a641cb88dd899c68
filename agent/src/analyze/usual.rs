//! How far a reading is off what its series usually does: in standard deviations of a window (z-score), and in usual
//! deviations from the moving average (EMA).
//!
//! The window is kept as moments of `PARTS` parts, of which the oldest is forgotten at a time: 3/4 to 4/4 of its readings
//! count, none is kept. A reading is judged before it is learned, and the part that is being filled does not judge, so
//! that what is unusual does not hide itself.

/// Parts of the window.
const PARTS: usize = 4;
/// Parts that must be full before anything is said.
const LEAST_PARTS: usize = 2;
/// Readings before the moving average says anything.
const LEAST_READINGS: u32 = 30;
/// Mean absolute deviations in a standard deviation of a normal distribution.
const MEAN_ABSOLUTE: f64 = 1.2533;
/// How much more slowly the usual distance from the moving average is learned than the average.
const SLOWER: f64 = 4.0;
/// Furthest a reading is told to be off: a series that was constant has no spread at all.
const FURTHEST: f64 = 100.0;
/// Share of the mean below which a spread is what arithmetic leaves.
const LEAST_SPREAD: f64 = 1e-9;

#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: f64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let off = value - self.mean;
        self.mean += off / self.count;
        self.squares += off * (value - self.mean);
    }

    /// Of both (Chan, Golub and `LeVeque` 1979).
    fn with(self, other: Self) -> Self {
        let count = self.count + other.count;
        if count == 0.0 {
            return self;
        }
        let off = other.mean - self.mean;
        let mean = self.mean + off * other.count / count;
        let squares = self.squares + other.squares + off * off * self.count * other.count / count;
        Self { count, mean, squares }
    }
}

/// How far off a reading is, in usual deviations; negative: below.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Off {
    /// Standard deviations from the mean of the window; `None` until half of it was seen.
    pub zscore: Option<f64>,
    /// Usual deviations from the moving average; `None` at the beginning.
    pub ema: Option<f64>,
}

/// What one series usually does.
#[derive(Clone, Debug, Default)]
pub struct Usual {
    parts: [Moments; PARTS],
    /// Part that is being filled, and parts that are full.
    filling: u8,
    full: u8,
    /// All full parts.
    window: Moments,
    average: f64,
    /// Mean distance from it.
    distance: f64,
    readings: u32,
    newest: Off,
}

impl Usual {
    /// Takes a reading: `window` readings are the window, `alpha` is the weight of the newest in the moving average.
    /// What is not finite says nothing.
    pub fn step(&mut self, value: f64, window: usize, alpha: f64) -> Off {
        if !value.is_finite() {
            return Off::default();
        }
        self.newest = Off { zscore: self.zscore(value), ema: self.ema(value) };
        self.learn(value, (window / PARTS).max(1), alpha);
        self.newest
    }

    /// How far off the newest reading was.
    pub fn newest(&self) -> Off {
        self.newest
    }

    /// Mean of the window.
    pub fn mean(&self) -> Option<f64> {
        (usize::from(self.full) >= LEAST_PARTS).then_some(self.window.mean)
    }

    fn zscore(&self, value: f64) -> Option<f64> {
        let mean = self.mean()?;
        deviations(value - mean, (self.window.squares / self.window.count).sqrt(), mean)
    }

    fn ema(&self, value: f64) -> Option<f64> {
        let usual = self.distance * MEAN_ABSOLUTE;
        if self.readings < LEAST_READINGS {
            None
        } else {
            deviations(value - self.average, usual, self.average)
        }
    }

    fn learn(&mut self, value: f64, part: usize, alpha: f64) {
        let filling = &mut self.parts[usize::from(self.filling) % PARTS];
        filling.add(value);
        if filling.count >= part as f64 {
            self.next_part();
        }
        let first = self.readings == 0;
        self.readings = self.readings.saturating_add(1);
        let off = if first { 0.0 } else { value - self.average };
        // At the beginning a plain mean, so that the first reading weighs no more than others.
        let share = alpha.max(1.0 / f64::from(self.readings));
        let average = if first { value } else { self.average + share * off };
        // More slowly, so that a change does not become usual while it happens.
        let distance = self.distance
            + (share / SLOWER).max(1.0 / f64::from(self.readings)) * (off.abs() - self.distance);
        // Readings at both ends of what a double can hold.
        let sane = average.is_finite() && distance.is_finite();
        (self.average, self.distance) = if sane { (average, distance) } else { (value, 0.0) };
    }

    fn next_part(&mut self) {
        self.full = (self.full + 1).min(PARTS as u8 - 1);
        self.filling = (self.filling + 1) % PARTS as u8;
        // The oldest one makes room for what comes.
        self.parts[usize::from(self.filling)] = Moments::default();
        self.window = self.parts.iter().fold(Moments::default(), |all, part| all.with(*part));
    }
}

fn deviations(off: f64, usual: f64, level: f64) -> Option<f64> {
    if off == 0.0 {
        return Some(0.0);
    }
    let usual = usual.max(level.abs() * LEAST_SPREAD);
    let deviations = (off / usual).clamp(-FURTHEST, FURTHEST);
    (!deviations.is_nan()).then_some(deviations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(values: impl IntoIterator<Item = f64>) -> Off {
        let mut usual = Usual::default();
        values.into_iter().fold(Off::default(), |_, value| usual.step(value, 360, 0.1))
    }

    /// z-score and EMA deviation of the last reading, within a tenth.
    fn check(values: impl IntoIterator<Item = f64>, expect: (Option<f64>, Option<f64>)) {
        let off = after(values);
        for (got, expect) in [(off.zscore, expect.0), (off.ema, expect.1)] {
            let near = got.zip(expect).is_none_or(|(got, expect)| (got - expect).abs() < 0.1);
            assert!(got.is_some() == expect.is_some() && near, "{off:?} instead of {expect:?}");
        }
    }

    /// 10 and 20 in turn: mean 15, standard deviation 5.
    fn wave(count: usize) -> impl Iterator<Item = f64> {
        (0..count).map(|at| if at % 2 == 0 { 10.0 } else { 20.0 })
    }

    #[test]
    fn off_what_is_usual() {
        check([], (None, None));
        check([5.0], (None, None));
        check(wave(100).chain([30.0]), (None, Some(2.2)));
        check(wave(400).chain([15.0]), (Some(0.0), Some(0.0)));
        check(wave(400).chain([30.0]), (Some(3.0), Some(2.3)));
        check(wave(400).chain([0.0]), (Some(-3.0), Some(-2.3)));
        check([7.0; 400], (Some(0.0), Some(0.0)));
        check([7.0; 400].into_iter().chain([7.1]), (Some(100.0), Some(100.0)));
        check(wave(400).chain([f64::NAN]), (None, None));
    }

    #[test]
    fn a_change_becomes_the_usual_when_the_window_has_passed() {
        let risen = |count| wave(400).chain(wave(count).map(|value| value + 100.0));
        assert!(after(risen(10)).zscore.is_some_and(|z| z > 10.0));
        assert!(after(risen(400)).zscore.is_some_and(|z| z.abs() < 1.5));
    }

    proptest! {
        #[test]
        fn any_series(values in prop::collection::vec(prop_oneof![
            any::<f64>(), Just(1e308), Just(-1e308), Just(0.0), -1e3..1e3_f64,
        ], 0..800)) {
            let mut usual = Usual::default();
            for value in values {
                let off = usual.step(value, 40, 0.1);
                let finite = |off: Option<f64>| off.is_none_or(|off| off.abs() <= FURTHEST);
                prop_assert!(finite(off.zscore) && finite(off.ema));
            }
            // Sane readings bring it back.
            for _ in 0..200 {
                usual.step(5.0, 40, 0.1);
            }
            prop_assert_eq!(usual.step(5.0, 40, 0.1).zscore, Some(0.0));
        }
    }
}
