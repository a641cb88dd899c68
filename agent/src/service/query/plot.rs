//! A line in a terminal, out of blocks of eighths.

/// Columns of a plot: with the scale beside it less than the 80 of a terminal.
pub(super) const WIDTH: usize = 66;
/// Rows of it.
const HEIGHT: usize = 8;
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Means of the points in each column, none where there are none. `from` is left of the first column, `to` right of the last.
pub(super) fn columns(points: &[(f64, f64)], from: f64, to: f64, width: usize) -> Vec<Option<f64>> {
    let mut sums = vec![(0.0, 0_u32); width];
    for (at, value) in points {
        let share = (at - from) / (to - from);
        if share.is_finite() && (0.0..=1.0).contains(&share) && value.is_finite() {
            let column = ((share * width as f64) as usize).min(width.saturating_sub(1));
            if let Some((sum, count)) = sums.get_mut(column) {
                (*sum, *count) = (*sum + value, *count + 1);
            }
        }
    }
    let mean = |(sum, count): &(f64, u32)| (*count > 0).then(|| sum / f64::from(*count));
    let mut means: Vec<_> = sums.iter().map(mean).collect();
    bridge(&mut means, points, (to - from) / width as f64);
    means
}

/// A series that is read more rarely than there are columns is no row of holes: between two readings at its usual
/// distance the line goes on.
fn bridge(means: &mut [Option<f64>], points: &[(f64, f64)], column_secs: f64) {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let usual = (last.0 - first.0) / (points.len().max(2) - 1) as f64;
    let most = (usual * 1.5 / column_secs) as usize;
    let (mut before, mut gap) = (None, 0);
    for at in 0..means.len() {
        if means[at].is_none() {
            gap += 1;
            continue;
        }
        if gap > 0 && gap <= most && before.is_some() {
            means[at - gap..at].fill(before);
        }
        (before, gap) = (means[at], 0);
    }
}

/// Least and greatest of the columns.
pub(super) fn range(columns: &[Option<f64>]) -> Option<(f64, f64)> {
    let values = || columns.iter().flatten().copied();
    let min = values().reduce(f64::min)?;
    Some((min, values().reduce(f64::max)?))
}

/// Rows of the plot, highest first, without axes.
pub(super) fn rows(columns: &[Option<f64>]) -> Vec<String> {
    let (min, max) = range(columns).unwrap_or_default();
    let level = |value: f64| eighths(value, min, max, HEIGHT * 8);
    let cell = |row: usize, value: Option<f64>| {
        let above = value.map_or(0, level).saturating_sub(row * 8);
        BLOCKS[above.min(8)]
    };
    (0..HEIGHT).rev().map(|row| columns.iter().map(|value| cell(row, *value)).collect()).collect()
}

/// One row that shows the course.
pub(super) fn spark(columns: &[Option<f64>]) -> String {
    let (min, max) = range(columns).unwrap_or_default();
    columns.iter().map(|value| BLOCKS[value.map_or(0, |value| eighths(value, min, max, 8))]).collect()
}

/// Height of a value, one eighth at least; what never changes is in the middle.
fn eighths(value: f64, min: f64, max: f64, most: usize) -> usize {
    let share = (value / 2.0 - min / 2.0) / (max / 2.0 - min / 2.0);
    if max > min { 1 + (share * (most - 1) as f64).round() as usize } else { most / 2 }
}
