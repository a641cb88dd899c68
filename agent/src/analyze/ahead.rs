//! When something that is used up will be used up: hours until no room is left, if it goes on like this.
//!
//! A straight line always ends somewhere, and a build, a copy or a log takes room for hours and gives it back. So what counts is
//! the most room there is in each stretch of four hours, after whatever came and went within it: that has to shrink from one to
//! the next over half a day, no faster at once than in between, and the slower of two rates (of the half day and of its last eight
//! hours) is told. What is left must be little, and less than there was in the days before: a level that it came back from
//! (a log that is rotated, a day's work) is no news. Beyond four windows only what a whole day has lost is told.
//!
//! Two cases do not wait for half a day: a line of four hours without any way back, and, once the habits of half a day
//! are known, a fall of more than twice all they ever took. What is faster still is the matter of the limits on what is used.

use super::fit::{Line, steadiness};
use crate::time::SECOND;

/// Told where nothing is used up: a year.
pub const NEVER: f64 = 8760.0;
/// Means of a window. The comments below tell what things are for one of six hours.
const MEANS: usize = 72;
/// Means that are one of the slow ones, an hour, of which there are as many again: three days.
const SLOW: u8 = 12;
/// Slow ones whose most is looked at together, and three times as many.
const BLOCK: usize = 4;
const HALF_DAY: usize = 3 * BLOCK;
const DAY: usize = 24;
/// How steadily it must fall ([`steadiness`]), how straight, and the means that a fall must last, where half a day was not waited for.
const STRICT: f64 = 0.97;
const STRAIGHT: f64 = 0.99;
const STEADY: f64 = 0.9;
const LEAST: usize = 12;
/// How many times all that was ever taken before a fall must be.
const BEYOND: f32 = 2.0;
/// Least share of the whole that must have been used up.
const EFFECT: f32 = 0.01;
/// Greatest share of it that may have gone from one hour to the next: more is a step.
const STEP: f32 = 0.4;
/// What is little: this share of the whole. An hour of builds takes half the memory of a host and gives it back.
const LITTLE: f32 = 0.3;
/// Means that a line must have, four hours, and what share of them one looks ahead: the log of a day grows as straight, and
/// is rotated.
const LINE: usize = 48;
const AS_LONG: f64 = 0.75;
/// Windows beyond which a day must agree; also how many times what was seen of a sudden fall one looks ahead.
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
    /// The most and the least of each hour.
    most: Recent,
    least: Recent,
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
            most: Recent::new(),
            least: Recent::new(),
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
            let all = self.fast.all();
            let newest = &all[all.len().saturating_sub(usize::from(SLOW))..];
            self.most.push(greatest(newest));
            self.least.push(least(newest));
        }
        let hours = self.judge(mean, mean_hours).unwrap_or(NEVER);
        let freed = mean - before > FREED;
        self.hours = if freed { NEVER } else { hours.min(self.hours * RECOVERY).min(NEVER) };
    }

    fn judge(&self, left: f32, mean_hours: f64) -> Option<f64> {
        if left > LITTLE {
            return None;
        }
        let near = NEAR * MEANS as f64 * mean_hours;
        let hour = f64::from(SLOW) * mean_hours;
        let slow = self.by_half_day(left).map(|hours| hours * hour);
        let slow = match slow {
            Some(hours) if hours > near => self.by_day(left, hours, hour),
            slow => slow,
        };
        let quick = [self.straight(left), self.sudden(left)].into_iter().flatten();
        let quick = quick.map(|means| means * mean_hours).filter(|hours| *hours <= near);
        quick.chain(slow).reduce(f64::min)
    }

    /// The hours, as the most of each stretch of half a day has it.
    fn by_half_day(&self, left: f32) -> Option<f64> {
        let most = self.most.all();
        let most = &most[most.len().checked_sub(HALF_DAY)?..];
        let blocks: Vec<f32> = most.windows(BLOCK).map(greatest).collect();
        let (first, last) = (*blocks.first()?, *blocks.last()?);
        let (fallen, middle) = (first - last, greatest(&most[BLOCK..2 * BLOCK]));
        let steps = blocks.windows(2).map(|pair| pair[0] - pair[1]);
        if fallen < EFFECT || steps.fold(0.0, f32::max) > STEP * fallen || !self.is_news(left, HALF_DAY) {
            return None;
        }
        let slower = (fallen / (2 * BLOCK) as f32).min((middle - last) / BLOCK as f32);
        (slower > 0.0).then(|| f64::from(left / slower))
    }

    /// Means until the end of a line without any way back.
    fn straight(&self, left: f32) -> Option<f64> {
        let fall = self.fall()?;
        if fall.len() < LINE || fall[0] - left < EFFECT || !self.is_news(left, MEANS / usize::from(SLOW)) {
            return None;
        }
        let (line, newest) = (Line::through(fall), Line::through(&fall[fall.len() / 2..]));
        let slower = line.slope.max(newest.slope);
        let is_one = line.r_squared >= STRAIGHT && steadiness(fall) <= -STRICT && slower < 0.0;
        let means = f64::from(left) / -slower;
        (is_one && means <= AS_LONG * fall.len() as f64).then_some(means)
    }

    /// From the last time when there was most.
    fn fall(&self) -> Option<&[f32]> {
        let all = self.fast.all();
        let most = greatest(all);
        all.iter().rposition(|value| *value >= most).map(|top| &all[top..])
    }

    /// Means until the end of a fall that goes beyond all that is known.
    fn sudden(&self, left: f32) -> Option<f64> {
        let known =
            self.most.all().len().checked_sub(MEANS / usize::from(SLOW)).filter(|n| *n >= HALF_DAY)?;
        let habit = greatest(&self.most.all()[..known]) - least(&self.least.all()[..known]);
        let fall = self.fall()?;
        let fallen = fall[0] - left;
        if fall.len() < LEAST || fallen < EFFECT + BEYOND * habit || steadiness(fall) > -STEADY {
            return None;
        }
        let newest = Line::through(&fall[fall.len() / 2..]);
        let slower = Line::through(fall).slope.max(newest.slope);
        let means = f64::from(left) / -slower;
        (slower < 0.0 && means <= NEAR * fall.len() as f64).then_some(means)
    }

    /// Whether there was more room at all times before the last hours.
    fn is_news(&self, left: f32, hours: usize) -> bool {
        let older = self.least.all();
        older[..older.len().saturating_sub(hours)].iter().all(|older| left < *older)
    }

    /// The hours, as the last day would have it.
    fn by_day(&self, left: f32, hours: f64, hour: f64) -> Option<f64> {
        let most = self.most.all();
        let before = &most[most.len().checked_sub(DAY + BLOCK)?..];
        let lost = greatest(&before[..BLOCK]) - greatest(&before[DAY..]);
        (lost > EFFECT).then(|| hours.max(f64::from(left / lost) * DAY as f64 * hour))
    }
}

fn greatest(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

fn least(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::INFINITY, f32::min)
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
        check(6.2, |h| 10.0 - h, 3.5, 4.0);
        check(8.6, |h| if h < 3.0 { 9.0 } else { 12.0 - h }, 3.2, 3.8);
        check(6.2, |h| 26.0 - h, NOT.0, NOT.1);
        check(12.2, |h| 36.0 - h, 23.5, 24.5);
        check(14.0, |h| 30.0 - 8.0 * h.min(1.0) - h, 7.5, 9.0);
        // Three days ahead, after a day.
        check(40.0, |h| 29.0 - 0.35 * h, 40.0, 60.0);
        // Below builds that take room and give it back.
        check(24.0, |h| 28.0 - 0.7 * h - 4.0 * (h * 0.7).fract(), 3.0, 20.0);
        // Suddenly, on a machine whose habits are known.
        check(26.0, |h| if h < 24.0 { 28.0 - h.fract() } else { 28.0 - 8.0 * (h - 24.0) }, 1.0, 3.0);
        check(2.0, |h| 60.0 - 20.0 * h, NOT.0, NOT.1);
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
        // Builds that take two thirds of what is left for hours.
        for hours in [0.5, 1.0, 2.0, 3.0, 5.0] {
            check(72.0, |h| 12.0 - 8.0 * (h / hours * std::f64::consts::PI).sin().powi(2), NOT.0, NOT.1);
        }
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
            read(minute, 10.0 - f64::from(minute) / 60.0, 100.0);
            read(minute, f64::NAN, 100.0);
            read(minute, 5.0, 0.0);
            read(minute, -5.0, 100.0);
        }
        assert!(read(360, 4.0, 100.0) < 5.0);
        let after = (361..373).map(|minute| read(minute, 60.0, 100.0)).last();
        assert!(after.is_some_and(|hours| hours >= NEVER), "{after:?}");
    }
}
