//! Where a series is going, and what its last minutes looked like.

use crate::text::number;

/// Readings without which nothing is said.
const LEAST: usize = 3;
/// Change in an hour, as a share of the mean, below which a value is steady.
const STEADY_SHARE: f64 = 0.01;
/// Characters of a sparkline.
pub const SPARK_WIDTH: usize = 30;
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The straight line through the last readings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Growth in an hour, in the metric's unit.
    pub per_hour: f64,
    /// Mean of the readings.
    mean: f64,
}

impl Trend {
    /// By least squares; `points` are seconds and values.
    pub fn of(points: impl Iterator<Item = (f64, f64)> + Clone) -> Option<Self> {
        let count = points.clone().count();
        if count < LEAST {
            return None;
        }
        let n = count as f64;
        let (mut x, mut y) = (0.0, 0.0);
        for (secs, value) in points.clone() {
            (x, y) = (x + secs / n, y + value / n);
        }
        let (mut xx, mut xy) = (0.0, 0.0);
        for (secs, value) in points {
            xx += (secs - x) * (secs - x);
            xy += (secs - x) * (value - y);
        }
        let per_hour = xy / xx * 3600.0;
        per_hour.is_finite().then_some(Self { per_hour, mean: y })
    }

    /// `rising 12 per hour`, `steady`.
    pub fn words(&self) -> String {
        let change = self.per_hour.abs();
        if change <= self.mean.abs() * STEADY_SHARE {
            return "steady".to_owned();
        }
        let way = if self.per_hour > 0.0 { "rising" } else { "falling" };
        format!("{way} {} per hour", number(change))
    }
}

/// The values as blocks between the least and the greatest of them; several share a block where there are many.
pub fn sparkline(values: &[f64]) -> Option<String> {
    if values.len() < LEAST {
        return None;
    }
    let share = values.len().div_ceil(SPARK_WIDTH);
    let means: Vec<f64> = values.chunks(share).map(|c| c.iter().sum::<f64>() / c.len() as f64).collect();
    let least = means.iter().copied().fold(f64::INFINITY, f64::min);
    let most = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let height = |value: f64| {
        let share = (value - least) / (most - least);
        let at = if share.is_finite() { (share * 7.0).round().clamp(0.0, 7.0) as usize } else { 0 };
        BLOCKS[at]
    };
    Some(means.into_iter().map(height).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trends_in_words() {
        fn check(values: &[f64], expect: Option<&str>) {
            let points = values.iter().enumerate().map(|(i, v)| (i as f64 * 10.0, *v));
            assert_eq!(Trend::of(points).map(|t| t.words()).as_deref(), expect, "{values:?}");
        }
        check(&[], None);
        check(&[1.0, 2.0], None);
        check(&[1.0, 2.0, 3.0], Some("rising 360 per hour"));
        check(&[90.0, 80.0, 85.0, 75.0], Some("falling 1440 per hour"));
        check(&[50.0, 50.0, 50.0], Some("steady"));
        check(&[0.0, 0.0, 0.0], Some("steady"));
        check(&[f64::MAX, -f64::MAX, f64::MAX, f64::INFINITY], None);
        assert_eq!(Trend::of([(1.0, 1.0); 5].into_iter()), None, "all at one moment");
    }

    #[test]
    fn sparklines_are_short() {
        let check = |values: &[f64], expect: Option<&str>| {
            assert_eq!(sparkline(values).as_deref(), expect, "{values:?}");
        };
        check(&[1.0, 2.0], None);
        check(&[0.0, 50.0, 100.0], Some("▁▅█"));
        check(&[7.0, 7.0, 7.0], Some("▁▁▁"));
        let long: Vec<f64> = (0..1000).map(f64::from).collect();
        let line = sparkline(&long).expect("a line");
        assert!(
            line.chars().count() <= SPARK_WIDTH && line.starts_with('▁') && line.ends_with('█'),
            "{line}"
        );
    }
}
