//! Known detectors, written from what was published of them, as a measure for how much a change of the series costs any detector.

use std::collections::VecDeque;

use crate::series::Series;

/// Name, and what it gives each row: greater is stranger.
pub(crate) type Known = (&'static str, fn(&Series) -> Vec<f64>);

/// All of them, with the benchmark's own windows.
pub(crate) const KNOWN: [Known; 2] = [("Windowed Gaussian", gaussian), ("Relative Entropy", entropy)];

/// Rows at which the score is at least the threshold.
pub(crate) fn told(scores: &[f64], threshold: f64) -> Vec<usize> {
    (0..scores.len()).filter(|row| scores[*row] >= threshold).collect()
}

/// How improbable a row is for a normal distribution of the last 6400 rows, which move on by 100 at a time (the windowed
/// Gaussian of the benchmark: Lavin and Ahmad 2015).
fn gaussian(series: &Series) -> Vec<f64> {
    const WINDOW: usize = 6400;
    const STEP: usize = 100;
    let mut window: VecDeque<f64> = VecDeque::new();
    let (mut waiting, mut moments) = (Vec::new(), (0.0, 1.0));
    let mut scores = Vec::new();
    for (_, value) in &series.rows {
        let (mean, spread) = moments;
        // The more deviations the less probable, and a threshold needs only the order.
        scores.push(if window.is_empty() { 0.0 } else { (value - mean).abs() / spread });
        if window.len() < WINDOW {
            window.push_back(*value);
            moments = moments_of(&window);
            continue;
        }
        waiting.push(*value);
        if waiting.len() == STEP {
            window.drain(..STEP);
            window.extend(waiting.drain(..));
            moments = moments_of(&window);
        }
    }
    scores
}

fn moments_of(values: &VecDeque<f64>) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, if variance > 0.0 { variance.sqrt() } else { 1e-6 })
}

/// How far the histogram of the last 52 rows is from any seen before (Wang, Viswanathan, Choudur, Talwar, Satterfield and Schwan
/// 2011). It is told the least and the greatest value of the series beforehand, as in the benchmark.
fn entropy(series: &Series) -> Vec<f64> {
    const BINS: usize = 5;
    const WINDOW: usize = 52;
    /// Chi-squared with four degrees of freedom, 1 %.
    const LIMIT: f64 = 13.2767;
    let values = || series.rows.iter().map(|row| row.1);
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    // As the benchmark has them: the least value has a bin of its own, and the uppermost bin is twice as wide.
    let bin = |value: f64| (((value - least) / (most - least) * BINS as f64).ceil() as usize).min(BINS - 1);
    let mut scores = vec![0.0; WINDOW - 1];
    let mut known: Vec<([f64; BINS], usize)> = Vec::new();
    for window in series.rows.windows(WINDOW) {
        let mut shares = [0.0; BINS];
        for (_, value) in window {
            shares[bin(*value)] += 1.0 / WINDOW as f64;
        }
        let apart = |other: &[f64; BINS]| -> f64 {
            let terms = shares.iter().zip(other).filter(|(share, _)| **share > 0.0);
            2.0 * WINDOW as f64 * terms.map(|(share, other)| share * (share / other).ln()).sum::<f64>()
        };
        let distances = known.iter().map(|(other, _)| apart(other)).enumerate();
        let nearest = distances.filter(|(_, apart)| *apart < LIMIT).min_by(|a, b| a.1.total_cmp(&b.1));
        let is_new = if let Some((nth, _)) = nearest {
            known[nth].1 += 1;
            known[nth].1 <= 1
        } else {
            known.push((shares, 1));
            known.len() > 1
        };
        scores.push(f64::from(u8::from(is_new)));
    }
    scores.truncate(series.rows.len());
    scores
}
