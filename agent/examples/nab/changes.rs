//! The same series, changed so that a detector which knows them by heart would not know them again.
//!
//! Labels go with their rows. A window of which nothing is scored any more (all of it within the probation) is left out, for
//! every detector alike.

use crate::series::Series;

/// Name of a change, and what makes it.
pub(crate) type Change = (&'static str, fn(&Series) -> Series);

/// All of them; the first changes nothing.
pub(crate) const CHANGES: [Change; 9] = [
    ("as they are", Series::clone),
    ("every second row", |series| thinned(series, 0, 2)),
    ("the other rows", |series| thinned(series, 1, 2)),
    ("means of two rows", means),
    ("halves exchanged", exchanged),
    ("back to front", reversed),
    ("upside down", |series| valued(series, |_, value, _| -value)),
    ("times 1000, plus 500 spreads", |series| {
        valued(series, |_, value, spread| 1000.0 * value + 5e5 * spread)
    }),
    ("noise of 5 % of the spread", |series| {
        valued(series, |noise, value, spread| value + 0.05 * spread * noise)
    }),
];

/// What is still scored of it.
fn scored(mut series: Series) -> Series {
    let probation = series.probation();
    series.windows.retain(|(_, last)| *last >= probation);
    series
}

fn thinned(series: &Series, first: usize, step: usize) -> Series {
    let rows: Vec<_> = series.rows.iter().skip(first).step_by(step).copied().collect();
    let row = |old: usize| (old.saturating_sub(first) / step).min(rows.len() - 1);
    let windows = series.windows.iter().map(|(from, to)| (row(*from), row(*to))).collect();
    scored(Series { rows, windows, ..series.clone() })
}

fn means(series: &Series) -> Series {
    let rows: Vec<_> =
        series.rows.chunks_exact(2).map(|two| (two[1].0, f64::midpoint(two[0].1, two[1].1))).collect();
    let row = |old: usize| (old / 2).min(rows.len() - 1);
    let windows = series.windows.iter().map(|(from, to)| (row(*from), row(*to))).collect();
    scored(Series { rows, windows, ..series.clone() })
}

/// The second half, then the first; cut beside a window where the middle is in one.
fn exchanged(series: &Series) -> Series {
    let count = series.rows.len();
    let middle = count / 2;
    let inside = series.windows.iter().find(|(first, last)| (*first..=*last).contains(&middle));
    let cut = inside.map_or(middle, |(_, last)| (last + 1).min(count - 1));
    let step = series.rows[1].0 - series.rows[0].0;
    let (begin, end) = (series.rows[0].0, series.rows[count - 1].0);
    let later = series.rows[cut..].iter().map(|(at, value)| (at - series.rows[cut].0 + begin, *value));
    let behind = begin + end - series.rows[cut].0 + step;
    let earlier = series.rows[..cut].iter().map(|(at, value)| (at - begin + behind, *value));
    let rows = later.chain(earlier).collect();
    let row = |old: usize| if old >= cut { old - cut } else { old + count - cut };
    let mut windows: Vec<_> = series.windows.iter().map(|(first, last)| (row(*first), row(*last))).collect();
    windows.sort_unstable();
    scored(Series { rows, windows, ..series.clone() })
}

fn reversed(series: &Series) -> Series {
    let (begin, end) = (series.rows[0].0, series.rows[series.rows.len() - 1].0);
    let rows = series.rows.iter().rev().map(|(at, value)| (begin + end - at, *value)).collect();
    let row = |old: usize| series.rows.len() - 1 - old;
    let windows = series.windows.iter().rev().map(|(first, last)| (row(*last), row(*first))).collect();
    scored(Series { rows, windows, ..series.clone() })
}

/// Other values: of a number from -1 to 1 (the same at every run), the value, and the standard deviation of all.
fn valued(series: &Series, of: fn(f64, f64, f64) -> f64) -> Series {
    let count = series.rows.len() as f64;
    let mean = series.rows.iter().map(|row| row.1).sum::<f64>() / count;
    let spread = (series.rows.iter().map(|row| (row.1 - mean).powi(2)).sum::<f64>() / count).sqrt();
    let mut random = 7_u64;
    let rows = series.rows.iter().map(|(at, value)| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let noise = (random >> 40) as f64 / f64::from(1 << 23) - 1.0;
        (*at, of(noise, *value, spread))
    });
    Series { rows: rows.collect(), ..series.clone() }
}
