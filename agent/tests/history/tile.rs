//! A short recording, made as long as is wished.

use super::recording::{Recorded, Recording};

/// A step of the recording, when its end is followed by its beginning.
const STEP: u64 = 10_000_000_000;

/// A recorded series without end.
pub(crate) struct Tile {
    times: Vec<u64>,
    values: Vec<f64>,
    length: u64,
    growth: f64,
}

impl Tile {
    /// Of a series of the recording.
    pub(crate) fn new(series: &Recorded, recording: &Recording) -> Self {
        let times = recording.times[series.times].clone();
        let values = series.values.clone();
        let length = times[times.len() - 1] - times[0] + STEP;
        // A counter goes on where it was.
        let growth = if series.counter { values[values.len() - 1] - values[0] } else { 0.0 };
        Self { times, values, length, growth }
    }

    /// Its sample of that number: when, in nanoseconds, and the value.
    pub(crate) fn sample(&self, nth: usize) -> (u64, f64) {
        let (round, at) = (nth / self.times.len(), nth % self.times.len());
        (self.times[at] + round as u64 * self.length, self.values[at] + round as f64 * self.growth)
    }
}
