//! The straight line through values at equal distances, how well they follow it, and how steadily they move.

/// A line by least squares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    /// Growth from one value to the next.
    pub slope: f64,
    /// Share of the variance that the line explains, 0 to 1.
    pub r_squared: f64,
}

impl Line {
    /// Through at least three values. Constant ones have the slope 0 and an R² of 0: there is nothing to explain.
    pub fn through(values: &[f32]) -> Self {
        let n = values.len() as f64;
        if values.len() < 3 {
            return Self::default();
        }
        let y = values.iter().copied().map(f64::from).sum::<f64>() / n;
        let x = (n - 1.0) / 2.0;
        let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
        for (at, value) in values.iter().enumerate() {
            let (dx, dy) = (at as f64 - x, f64::from(*value) - y);
            (xx, xy, yy) = (xx + dx * dx, xy + dx * dy, yy + dy * dy);
        }
        let r_squared = if yy > 0.0 { (xy * xy / (xx * yy)).clamp(0.0, 1.0) } else { 0.0 };
        Self { slope: xy / xx, r_squared }
    }
}

/// Pairs of values that rise less those that fall, as a share of all pairs (Mann 1945, Kendall's τ): 1 where each value is above
/// all before it, -1 where each is below.
pub fn steadiness(values: &[f32]) -> f64 {
    let mut balance = 0_i64;
    for (at, later) in values.iter().enumerate() {
        for earlier in &values[..at] {
            balance += i64::from(later > earlier) - i64::from(later < earlier);
        }
    }
    let pairs = values.len() * values.len().saturating_sub(1) / 2;
    if pairs == 0 { 0.0 } else { balance as f64 / pairs as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_steadiness() {
        fn check(values: &[f32], slope: f64, r_squared: f64, steady: f64) {
            let line = Line::through(values);
            let off = [line.slope - slope, line.r_squared - r_squared, steadiness(values) - steady];
            assert!(off.iter().all(|off| off.abs() < 0.01), "{values:?}: {line:?} {off:?}");
        }
        check(&[], 0.0, 0.0, 0.0);
        check(&[1.0], 0.0, 0.0, 0.0);
        check(&[1.0, 2.0, 3.0, 4.0], 1.0, 1.0, 1.0);
        check(&[8.0, 6.0, 4.0, 2.0], -2.0, 1.0, -1.0);
        check(&[5.0, 5.0, 5.0], 0.0, 0.0, 0.0);
        check(&[0.0, 0.0, 1.0, 1.0], 0.4, 0.8, 0.67);
        check(&[0.0, 9.0, 0.0, 9.0, 0.0], 0.0, 0.0, 0.0);
    }
}
