//! Growth that does not come back: memory or open files that a process or a group takes and keeps.
//!
//! ```text
//! readings ─► least of each slot ─► as many slots as there is room for; when it is full, two become one
//!      └────► rises that were given back: a slot is at least as long as the longest of them
//! slots ─► straight line, R² ─► each eighth grows ─► it does not slow down ─► growth
//! ```
//!
//! A garbage collector, a cache, a working day: all rise for a while, and a straight line through a saw-tooth's rise is
//! perfect. So the line goes through troughs: the least value of slots that are longer than any rise that was given back. What has
//! never been given back is believed only when it was seen long enough, which is the caller's to judge.

use super::fit::Line;

/// Slots at most, and at least for a judgement.
const SLOTS: usize = 64;
const LEAST: usize = 8;
/// Slots of the shortest observation that is judged.
const FIRST: u64 = 60;
/// Parts that are compared, with few slots and with many, and the share of the steps between them that must be at least
/// [`STEP`] of the mean step.
const PARTS: usize = 8;
const MANY_PARTS: usize = 16;
const RISING: f64 = 0.75;
const STEP: f64 = 0.25;
/// What the last quarter must grow by, of the mean: a program that warms up slows down.
const LASTING: f64 = 0.5;
/// Share of a rise that must be given back for it to count as a tooth.
const GIVEN_BACK: f64 = 0.5;

/// Growth that was kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// Growth in an hour.
    pub per_hour: f64,
    /// Growth in all, by the line.
    pub grown: f64,
    /// For how long it was watched, nanoseconds.
    pub span_ns: u64,
    /// Newest trough.
    pub level: f64,
    /// How straight it is.
    pub r_squared: f64,
    /// Rate of the last quarter, as a share of that of the first.
    pub lately: f64,
}

/// One thing that may leak.
#[derive(Clone, Debug)]
pub struct Leak {
    slots: [f32; SLOTS],
    count: u8,
    /// Least length of a slot, and that of the present ones; 0 before the second reading.
    shortest_ns: u64,
    slot_ns: u64,
    /// When the first slot and the present one began.
    first_ns: u64,
    begun_ns: u64,
    low: f32,
    /// Where the present rise began, and how far it got.
    trough: (u64, f64),
    peak: f64,
    longest_ns: u64,
}

impl Leak {
    /// Nothing read yet; at least `shortest_ns` are watched.
    pub fn new(shortest_ns: u64) -> Self {
        Self {
            slots: [0.0; SLOTS],
            count: 0,
            shortest_ns: shortest_ns / FIRST,
            slot_ns: 0,
            first_ns: 0,
            begun_ns: 0,
            low: f32::INFINITY,
            trough: (0, f64::INFINITY),
            peak: f64::NEG_INFINITY,
            longest_ns: 0,
        }
    }

    /// Takes a reading. Falls of less than `noise` are none. Returns the growth, when a slot was completed and there is any
    /// that lasts and is so straight.
    pub fn step(&mut self, at_ns: u64, value: f64, noise: f64, least_r_squared: f64) -> Option<Growth> {
        if !value.is_finite() || value < 0.0 {
            return None;
        }
        if self.first_ns == 0 {
            (self.first_ns, self.begun_ns) = (at_ns, at_ns);
        } else if self.slot_ns == 0 {
            // A slot that is shorter than the time between two readings would be as long as that, and half of two merged ones.
            self.slot_ns = self.shortest_ns.max(at_ns.saturating_sub(self.first_ns)).max(1);
        }
        self.follow(at_ns, value, noise);
        self.low = self.low.min(value as f32);
        let since = at_ns.saturating_sub(self.begun_ns);
        if self.slot_ns == 0 || since < self.slot_ns {
            return None;
        }
        self.slots[usize::from(self.count)] = self.low;
        self.count += 1;
        // Equally long ones, whatever the moments of readings; but a gap is none of them.
        self.begun_ns =
            if since / 2 < self.slot_ns { self.begun_ns.saturating_add(self.slot_ns) } else { at_ns };
        self.low = f32::INFINITY;
        while usize::from(self.count) == SLOTS || self.slot_ns < self.longest_ns {
            self.merge();
        }
        self.judge(at_ns.saturating_sub(self.first_ns), least_r_squared)
    }

    /// Rises, and how long those took that were given back.
    fn follow(&mut self, at_ns: u64, value: f64, noise: f64) {
        if value <= self.trough.1 {
            self.trough = (at_ns, value);
            self.peak = value;
        }
        self.peak = self.peak.max(value);
        let given_back = self.peak - value;
        if given_back > noise && given_back >= GIVEN_BACK * (self.peak - self.trough.1) {
            self.longest_ns = self.longest_ns.max(at_ns.saturating_sub(self.trough.0));
            self.trough = (at_ns, value);
            self.peak = value;
        }
    }

    /// Two slots become one. An odd one becomes part of the one that begins.
    fn merge(&mut self) {
        let count = usize::from(self.count);
        for at in 0..count / 2 {
            self.slots[at] = self.slots[2 * at].min(self.slots[2 * at + 1]);
        }
        if count % 2 == 1 {
            self.low = self.low.min(self.slots[count - 1]);
            self.begun_ns = self.begun_ns.saturating_sub(self.slot_ns);
        }
        self.count = (count / 2) as u8;
        self.slot_ns = self.slot_ns.saturating_mul(2);
    }

    /// Growth of all that was seen, else of the newer half: a start that took memory is long ago one day.
    fn judge(&self, span_ns: u64, least_r_squared: f64) -> Option<Growth> {
        let slots = &self.slots[..usize::from(self.count)];
        let straight = |growth: &Growth| growth.r_squared >= least_r_squared;
        let newer = || growth(&slots[slots.len() / 2..], span_ns / 2);
        growth(slots, span_ns).filter(straight).or_else(|| newer().filter(straight))
    }
}

fn growth(slots: &[f32], span_ns: u64) -> Option<Growth> {
    if slots.len() < LEAST {
        return None;
    }
    let line = Line::through(slots);
    let grown = line.slope * (slots.len() - 1) as f64;
    if grown <= 0.0 || !grows_all_along(slots, grown) {
        return None;
    }
    let quarter = (slots.len() / 4).max(3);
    let (begin, end) =
        (Line::through(&slots[..quarter]).slope, Line::through(&slots[slots.len() - quarter..]).slope);
    if end < LASTING * line.slope {
        return None;
    }
    let slot_hours = span_ns as f64 / slots.len() as f64 / 3.6e12;
    let level = f64::from(slots[slots.len() - 1]);
    let (per_hour, r_squared) = (line.slope / slot_hours, line.r_squared);
    let lately = if begin > 0.0 { end / begin } else { f64::INFINITY };
    Some(Growth { per_hour, grown, span_ns, level, r_squared, lately })
}

/// Whether nearly each part of the observation is above the one before by its share of the growth: some big steps are no leak.
fn grows_all_along(slots: &[f32], grown: f64) -> bool {
    let parts = if slots.len() >= 2 * MANY_PARTS { MANY_PARTS } else { PARTS };
    let part = |nth: usize| {
        let part = &slots[nth * slots.len() / parts..(nth + 1) * slots.len() / parts];
        part.iter().copied().map(f64::from).sum::<f64>() / part.len() as f64
    };
    let least = grown / parts as f64 * STEP;
    let steps = (1..parts).map(|nth| part(nth) - part(nth - 1));
    steps.filter(|step| *step >= least).count() as f64 >= RISING * (parts - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    const HOUR: u64 = 3600 * SECOND;

    /// Growth an hour that is seen at last, read each 10 s for so many hours; `value` by hour.
    fn seen(hours: u64, value: impl Fn(f64) -> f64) -> Option<f64> {
        let mut leak = Leak::new(HOUR);
        let mut newest = None;
        for at in 1..hours * 360 {
            let growth = leak.step(at * 10 * SECOND, value(at as f64 / 360.0), 1.0, 0.8);
            newest = growth.filter(|growth| growth.span_ns >= HOUR && growth.r_squared >= 0.8).or(newest);
        }
        newest.map(|growth| growth.per_hour)
    }

    fn check(hours: u64, value: impl Fn(f64) -> f64, expect: Option<f64>) {
        let seen = seen(hours, value);
        let near = seen.zip(expect).is_none_or(|(seen, expect)| (seen / expect - 1.0).abs() < 0.15);
        assert!(seen.is_some() == expect.is_some() && near, "{seen:?} instead of {expect:?}");
    }

    #[test]
    fn growth_that_is_kept_is_seen() {
        check(2, |h| 100.0 + 10.0 * h, Some(10.0));
        check(48, |h| 100.0 + 10.0 * h, Some(10.0));
        check(48, |h| 100.0 + 10.0 * h + 50.0 * (h * 3.0).fract(), Some(10.0));
        check(30, |h| 100.0 + 10.0 * h + 3.0 * (h * 977.0).sin(), Some(10.0));
    }

    #[test]
    fn rare_readings_tell_the_same() {
        // Readings of 1 s against slots of 60 ms, and of 5 min, more or less, against slots of a minute.
        for (shortest, every_ms, jitter_ms) in [(3_600, 1_000, 0), (3_600_000, 300_000, 20_000)] {
            let mut leak = Leak::new(shortest * 1_000_000);
            let at = |nth: u64| (nth * every_ms + nth * 7919 % (jitter_ms + 1)) * 1_000_000;
            let mut judged = 0;
            for nth in 1..500_u64 {
                let hours = at(nth) as f64 / 3.6e12;
                let seen = leak.step(at(nth), 100.0 + 10.0 * hours, 0.0, 0.8).map(|growth| growth.per_hour);
                assert!(seen.is_none_or(|rate| (rate / 10.0 - 1.0).abs() < 0.15), "{nth}: {seen:?}");
                judged += u64::from(seen.is_some());
            }
            assert!(judged > 100, "{judged}");
        }
    }

    #[test]
    fn growth_that_is_given_back_is_not() {
        check(48, |_| 100.0, None);
        check(48, |h| 1000.0 - 10.0 * h, None);
        check(48, |h| 100.0 + 50.0 * (h * 3.0).fract(), None);
        check(48, |h| 100.0 + 50.0 * (h * 60.0).fract(), None);
        check(48, |h| 100.0 + 100.0 * (h / 16.0).floor(), None);
        check(48, |h| 100.0 + 100.0 * (1.0 - (-h * 6.0).exp()), None);
        check(1, |h| 100.0 + 10.0 * h, None);
    }

    #[test]
    fn nonsense_changes_nothing() {
        let mut leak = Leak::new(HOUR);
        for at in 1..2000_u64 {
            for value in [f64::NAN, f64::INFINITY, -5.0] {
                assert_eq!(leak.step(at * 10 * SECOND, value, 1.0, 0.8), None);
            }
        }
        for (at, value) in [(u64::MAX, 1e308), (0, 5.0), (7, 0.0), (u64::MAX, 1e-308)] {
            leak.step(at, value, 1.0, 0.8);
        }
    }
}
