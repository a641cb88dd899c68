//! Looking back: what history has of series, for those who ask and those who keep it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use super::series::Series;
use crate::metric::{Kind, Metric};
use crate::sample::SeriesId;
use crate::time::Now;

/// Series looked at in one answer, so that the engine is not held up.
const MOST_SERIES: usize = 64;
/// Points after which no further series is begun in one answer.
const MOST_POINTS: usize = 20_000;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Wire name of a metric; `None`: all.
    pub metric: Option<String>,
    /// Labels a series must have.
    pub labels: BTreeMap<String, String>,
    /// From when on, monotonic nanoseconds; below zero: before the boot.
    pub from_ns: i64,
    /// Until when, this moment left out.
    pub to_ns: i64,
    /// Nanoseconds of wall-clock time that become one point; 0: each sample is one.
    pub step_ns: u64,
    /// [`Tracks::next`] of the answer before; 0 at first.
    pub begin: u32,
}

/// Samples of a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When it begins, monotonic nanoseconds; below zero: before the boot.
    pub at_ns: i64,
    /// Their mean.
    pub mean: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// How many.
    pub count: u32,
}

/// A series and its points, oldest first.
#[derive(Clone, Debug)]
pub struct Track {
    /// Row of the metric table.
    pub metric: &'static Metric,
    /// Label values in the metric's order.
    pub labels: Arc<[Box<str>]>,
    /// Its points.
    pub points: Vec<Point>,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Tracks {
    /// Both clocks, to tell moments by.
    pub now: Now,
    /// Series with points.
    pub tracks: Vec<Track>,
    /// Series that match the question, with points or without.
    pub matching: usize,
    /// There may be more: ask with this as [`Wish::begin`].
    pub next: Option<u32>,
}

impl Tracks {
    /// The wall-clock moment of a point, Unix nanoseconds.
    pub fn wall_ns(&self, at_ns: i64) -> i64 {
        at_ns.saturating_add(self.now.wall_ns).saturating_sub(self.now.mono_ns as i64)
    }
}

impl Engine {
    /// Answers for some series.
    pub fn look_back(&self, now: Now, wish: &Wish) -> Tracks {
        let mut answer = Tracks { now, ..Tracks::default() };
        let mut points = 0;
        for (id, series) in self.table.iter().filter(|(id, series)| id.0 >= wish.begin && wish.wants(series))
        {
            if answer.matching >= MOST_SERIES || points >= MOST_POINTS {
                answer.next = Some(id.0);
                break;
            }
            answer.matching += 1;
            let found = self.points(id, now, wish);
            if !found.is_empty() {
                points += found.len();
                let labels = Arc::clone(&series.labels);
                answer.tracks.push(Track { metric: series.metric, labels, points: found });
            }
        }
        answer
    }

    fn points(&self, id: SeriesId, now: Now, wish: &Wish) -> Vec<Point> {
        let samples = self.store.stretch(id, wish.from_ns, wish.to_ns.saturating_sub(1));
        gather(samples, now, wish.step_ns)
    }
}

impl Wish {
    fn wants(&self, series: &Series) -> bool {
        let name = self.metric.as_deref();
        series.metric.kind == Kind::Gauge
            && name.is_none_or(|name| name == series.metric.name)
            && self.labels.iter().all(|(name, value)| series.label(name) == Some(value.as_str()))
    }
}

/// Points of `step_ns` each, aligned to the wall clock; 0: each sample is one.
pub fn gather(samples: impl Iterator<Item = (i64, f64)>, now: Now, step_ns: u64) -> Vec<Point> {
    let single = |at_ns, value| Point { at_ns, mean: value, min: value, max: value, count: 1 };
    if step_ns == 0 {
        return samples.map(|(at, value)| single(at, value)).collect();
    }
    let step = step_ns.min(i64::MAX as u64) as i64;
    let ahead = now.wall_ns.saturating_sub(now.mono_ns as i64);
    let begin = |at: i64| at.saturating_sub(at.saturating_add(ahead).rem_euclid(step));
    let mut points: Vec<Point> = Vec::new();
    for (at, value) in samples {
        let at_ns = begin(at);
        match points.last_mut().filter(|last| last.at_ns == at_ns) {
            Some(point) => point.add(value),
            None => points.push(single(at_ns, value)),
        }
    }
    points
}

impl Point {
    fn add(&mut self, value: f64) {
        self.count += 1;
        self.mean += (value - self.mean) / f64::from(self.count);
        (self.min, self.max) = (self.min.min(value), self.max.max(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    #[test]
    fn points_are_aligned_to_the_wall_clock() {
        // The wall clock is 30 s past a minute when the monotonic one is at 0.
        let now = Now { mono_ns: 600 * SECOND, wall_ns: (600 + 30) * SECOND as i64 };
        let at = |secs: i64| secs * SECOND as i64;
        let samples = [(-40, 1.0), (-29, 2.0), (0, 4.0), (29, 9.0), (30, 5.0), (31, f64::NAN)];
        let all = gather(samples.iter().map(|(s, v)| (at(*s), *v)), now, 60 * SECOND);
        let told: Vec<_> = all.iter().map(|p| (p.at_ns / SECOND as i64, p.min, p.max, p.count)).collect();
        assert_eq!(told, [(-90, 1.0, 1.0, 1), (-30, 2.0, 9.0, 3), (30, 5.0, 5.0, 2)]);
        assert!((all[1].mean - 5.0).abs() < 1e-12);
        assert_eq!(gather(samples.into_iter(), now, 0).len(), 6);
        assert_eq!(gather(std::iter::empty(), now, 0), []);
        assert_eq!(gather([(i64::MIN, 1.0), (i64::MAX, 2.0)].into_iter(), now, u64::MAX).len(), 2);
    }
}
