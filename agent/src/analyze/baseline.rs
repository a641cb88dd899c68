//! What a value usually is: a slow mean of its logarithm that outliers hardly move.
//!
//! Logarithms, since latencies spread over decades: a reading of ten times the usual weighs as much as one
//! of a tenth. After the first [`LEARN`] readings, of which it is the plain mean, a reading moves it by at
//! most a factor of two to the power of 1 / [`MEMORY`]: at 10 s, an incident of an hour raises it by at most
//! 42 %, and a lasting change is the new usual after some hours.

/// Readings before anything is said of the usual: ten minutes at 10 s.
pub const LEARN: u32 = 60;
/// Readings it remembers: two hours at 10 s.
pub const MEMORY: u32 = 720;
/// Furthest a reading counts from the usual: a factor of two.
const FAR: f64 = std::f64::consts::LN_2;

/// The usual value of one series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Baseline {
    log: f64,
    readings: u32,
}

impl Baseline {
    /// Takes a reading. What is not above zero says nothing.
    pub fn learn(&mut self, value: f64) {
        if !value.is_finite() || value <= 0.0 {
            return;
        }
        let off = value.ln() - self.log;
        let off = if self.readings < LEARN { off } else { off.clamp(-FAR, FAR) };
        self.readings = (self.readings + 1).min(MEMORY);
        self.log += off / f64::from(self.readings);
    }

    /// The usual value; `None` until enough was seen.
    pub fn usual(&self) -> Option<f64> {
        (self.readings >= LEARN).then(|| self.log.exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(readings: &[(f64, u32)]) -> Baseline {
        let mut baseline = Baseline::default();
        for &(value, times) in readings {
            (0..times).for_each(|_| baseline.learn(value));
        }
        baseline
    }

    /// The usual after so many readings of each value, within 2 %; `None`: not known yet.
    fn check(readings: &[(f64, u32)], expect: Option<f64>) {
        let got = after(readings).usual();
        let near = got.zip(expect).is_none_or(|(got, expect)| (got / expect - 1.0).abs() < 0.02);
        assert!(got.is_some() == expect.is_some() && near, "{readings:?}: {got:?} instead of {expect:?}");
    }

    #[test]
    fn it_is_learned_first() {
        check(&[], None);
        check(&[(5.0, LEARN - 1)], None);
        check(&[(5.0, LEARN)], Some(5.0));
        check(&[(4.0, LEARN / 2), (9.0, LEARN / 2)], Some(6.0));
        check(&[(500.0, 1), (5.0, LEARN - 1)], Some(5.0 * 100f64.powf(1.0 / 60.0)));
    }

    #[test]
    fn an_incident_of_an_hour_hardly_moves_it() {
        let usual = after(&[(2.0, 2000), (900.0, 360)]).usual().expect("learned");
        assert!((2.0..2.0 * 1.42).contains(&usual), "{usual}");
        check(&[(2.0, 2000), (900.0, 360), (2.0, 4000)], Some(2.0));
    }

    #[test]
    fn a_lasting_change_becomes_the_usual() {
        check(&[(2.0, 2000), (20.0, 8000)], Some(20.0));
        check(&[(20.0, 2000), (2.0, 8000)], Some(2.0));
    }

    #[test]
    fn nonsense_changes_nothing() {
        for nonsense in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(after(&[(5.0, 100), (nonsense, 50)]), after(&[(5.0, 100)]), "{nonsense}");
        }
        let smallest = after(&[(f64::MIN_POSITIVE, 1000), (f64::MAX, 1000)]).usual();
        assert!(smallest.is_some_and(f64::is_finite), "{smallest:?}");
    }
}
