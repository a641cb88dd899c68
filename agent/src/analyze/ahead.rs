//! When something that is used up will be used up: hours until no room is left, if it goes on like this.
//!
//! A straight line always ends somewhere. So a rate counts only if it holds over two horizons (the whole window and its
//! last quarter; the slower of both is taken), if nearly each mean is below those before it, if it has used something up
//! worth a word, and if what is left is little. Nothing is told further ahead than `FURTHEST` times what was seen, and
//! beyond four windows only what a whole day has lost. A level that the days before came back from (a log that is rotated, a day's
//! work) is no news: only one below it is.

use super::fit::{Line, steadiness};
use crate::time::SECOND;

/// Told where nothing is used up: a year.
pub const NEVER: f64 = 8760.0;
/// Means of a window, and the least of them that make a rate: an hour of six.
const MEANS: usize = 72;
const LEAST: usize = 12;
/// Means that are one of the slow ones, of which there are as many again: an hour and three days, for a window of six hours.
const SLOW: u8 = 12;
/// Slow means of a day, for a window of six hours.
const DAY: usize = 24;
/// How steadily it must fall ([`steadiness`]).
const STEADY: f64 = 0.6;
/// Least share of the whole that must have been used up.
const EFFECT: f32 = 0.01;
/// What is little: this share of the whole. An hour of builds takes half the memory of a host and gives it back.
const LITTLE: f32 = 0.3;
/// How many times what was seen one looks ahead.
const FURTHEST: f64 = 4.0;
/// Windows beyond which a day must agree.
const NEAR: f64 = 4.0;
/// By how much the hours may rise from one mean to the next, so that they do not jump; and the growth of room that ends all.
const RECOVERY: f64 = 1.25;
const FREED: f32 = 0.05;

/// The newest values, oldest first.
#[derive(Clone, Debug)]
struct Recent {
    values: [f32; MEANS],
    count: u8,
}

impl Recent {
    const fn new() -> Self {
        Self { values: [0.0; MEANS], count: 0 }
    }

    fn push(&mut self, value: f32) {
        if usize::from(self.count) == MEANS {
            self.values.copy_within(1.., 0);
            self.count -= 1;
        }
        self.values[usize::from(self.count)] = value;
        self.count += 1;
    }

    fn all(&self) -> &[f32] {
        &self.values[..usize::from(self.count)]
    }
}

/// One thing that is used up. All it keeps are shares of the whole.
#[derive(Clone, Debug)]
pub struct Ahead {
    fast: Recent,
    slow: Recent,
    since_slow: u8,
    begun_ns: u64,
    sum: f64,
    readings: u32,
    hours: f64,
}

impl Default for Ahead {
    fn default() -> Self {
        Self {
            fast: Recent::new(),
            slow: Recent::new(),
            since_slow: 0,
            begun_ns: 0,
            sum: 0.0,
            readings: 0,
            hours: NEVER,
        }
    }
}

impl Ahead {
    /// Takes a reading: `free` of `size` is left. Returns the hours until nothing is.
    pub fn step(&mut self, at_ns: u64, free: f64, size: f64, window_ns: u64) -> f64 {
        let share = free / size;
        if !share.is_finite() || size <= 0.0 || free < 0.0 {
            return self.hours;
        }
        let mean_ns = (window_ns / MEANS as u64).max(1);
        if self.begun_ns == 0 {
            self.begun_ns = at_ns;
        }
        self.sum += share.min(1.0);
        self.readings += 1;
        let passed = at_ns.saturating_sub(self.begun_ns);
        if passed >= mean_ns {
            let mean = (self.sum / f64::from(self.readings)) as f32;
            (self.begun_ns, self.sum, self.readings) = (at_ns, 0.0, 0);
            if passed > mean_ns.saturating_mul(LEAST as u64) {
                // It was not read for long: what came before is no course any more.
                self.fast.count = 0;
            }
            self.take(mean, mean_ns as f64 / (3600 * SECOND) as f64);
        }
        self.hours
    }

    fn take(&mut self, mean: f32, mean_hours: f64) {
        let before = self.fast.all().last().copied().unwrap_or(mean);
        self.fast.push(mean);
        self.since_slow += 1;
        if self.since_slow >= SLOW {
            self.since_slow = 0;
            self.slow.push(mean);
        }
        let hours = self.judge(mean_hours).unwrap_or(NEVER);
        let freed = mean - before > FREED;
        self.hours = if freed { NEVER } else { hours.min(self.hours * RECOVERY).min(NEVER) };
    }

    fn judge(&self, mean_hours: f64) -> Option<f64> {
        let all = self.fast.all();
        let (first, left) = (*all.first()?, *all.last()?);
        if all.len() < LEAST || first - left < EFFECT || steadiness(all) > -STEADY || !self.is_news(left) {
            return None;
        }
        let newest = &all[all.len() - (all.len() / 4).max(3)..];
        let slowest = Line::through(all).slope.max(Line::through(newest).slope);
        let hours = f64::from(left) * mean_hours / -slowest;
        let seen = all.len() as f64 * mean_hours;
        let too_far = all.len() < MEANS && hours > FURTHEST * seen;
        if slowest >= 0.0 || left > LITTLE || too_far {
            return None;
        }
        if hours > NEAR * MEANS as f64 * mean_hours {
            self.by_day(left, hours, mean_hours)
        } else {
            Some(hours)
        }
    }

    /// Whether there has been less room than in the days before the window.
    fn is_news(&self, left: f32) -> bool {
        let older = self.slow.all();
        let older = &older[..older.len().saturating_sub(MEANS / usize::from(SLOW))];
        older.iter().all(|older| left < *older)
    }

    /// The hours, as the last day would have it.
    fn by_day(&self, left: f32, hours: f64, mean_hours: f64) -> Option<f64> {
        let slow = self.slow.all();
        let lost = slow.get(slow.len().checked_sub(DAY)?)? - left;
        let day_hours = DAY as f64 * f64::from(SLOW) * mean_hours;
        (lost > EFFECT).then(|| hours.max(f64::from(left / lost) * day_hours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = 6 * 3600 * SECOND;

    /// The least hours that are told while so many hours pass, read each minute; `free` of 100 by hour.
    fn least(hours: f64, free: impl Fn(f64) -> f64) -> f64 {
        let mut ahead = Ahead::default();
        let minutes = (hours * 60.0) as u64;
        let told =
            (1..=minutes).map(|at| ahead.step(at * 60 * SECOND, free(at as f64 / 60.0), 100.0, WINDOW));
        told.fold(NEVER, f64::min)
    }

    fn check(hours: f64, free: impl Fn(f64) -> f64, from: f64, to: f64) {
        let least = least(hours, free);
        assert!((from..=to).contains(&least), "{least} is not from {from} to {to}");
    }

    const NOT: (f64, f64) = (NEVER, NEVER);

    #[test]
    fn what_is_used_up_steadily_is_told() {
        check(6.0, |h| 20.0 - h, 13.5, 14.5);
        check(6.0, |h| 26.0 - h, 19.5, 22.0);
        check(2.0, |h| 60.0 - 20.0 * h, 0.5, 1.5);
        check(6.0, |h| 20.0 - 8.0 * h.min(1.0) - h, 1.0, 2.0);
        // Three days ahead, after a day.
        check(40.0, |h| 29.0 - 0.35 * h, 40.0, 60.0);
    }

    #[test]
    fn what_is_not_is_not() {
        check(48.0, |_| 5.0, NOT.0, NOT.1);
        check(48.0, |h| 5.0 + h, NOT.0, NOT.1);
        check(12.0, |h| 90.0 - h, NOT.0, NOT.1);
        check(12.0, |h| 25.0 - 0.05 * h, NOT.0, NOT.1);
        // Two steps.
        check(
            12.0,
            |h| {
                if h < 4.0 {
                    25.0
                } else if h < 8.0 {
                    20.0
                } else {
                    15.0
                }
            },
            NOT.0,
            NOT.1,
        );
        // A log that is rotated each hour, and a copy that was made and deleted.
        check(72.0, |h| 20.0 - 3.0 * h.fract(), NOT.0, NOT.1);
        check(12.0, |h| if (3.0..3.4).contains(&h) { 20.0 - 30.0 * (h - 3.0) } else { 20.0 }, NOT.0, NOT.1);
        // A day's log that is rotated at midnight: at the end of the first day it may look so, but not within three.
        check(96.0, |h| 29.0 - 0.3 * (h % 24.0), 73.0, NEVER);
    }

    #[test]
    fn it_is_over_when_room_is_made_and_nonsense_changes_nothing() {
        let mut ahead = Ahead::default();
        let mut read = |minute: u32, free: f64, size: f64| {
            ahead.step(u64::from(minute + 1) * 60 * SECOND, free, size, WINDOW)
        };
        for minute in 0..360 {
            read(minute, 20.0 - f64::from(minute) / 60.0, 100.0);
            read(minute, f64::NAN, 100.0);
            read(minute, 5.0, 0.0);
            read(minute, -5.0, 100.0);
        }
        assert!(read(360, 14.0, 100.0) < 20.0);
        let after = (361..373).map(|minute| read(minute, 60.0, 100.0)).last();
        assert!(after.is_some_and(|hours| hours >= NEVER), "{after:?}");
    }
}
