//! Rate limits, pure. A limit of 0 is off.

mod window;

use super::slots::Slot;
use crate::time::{Now, SECOND};
use std::collections::HashMap;
pub use window::Window;

/// Most messages an hour over all channels.
pub const TOTAL_PER_HOUR: u32 = 100;

/// What the configuration allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages a minute and channel.
    pub per_minute: u32,
    /// Messages an hour and channel.
    pub per_hour: u32,
    /// Messages an hour over all channels.
    pub total_per_hour: u32,
    /// Emergencies pass whatever the limits say, and do not count.
    pub emergency_bypass: bool,
    /// Seconds between two messages on one channel about the same incident that is getting no worse.
    pub min_interval_secs: u64,
}

/// What is urgent is told apart by its rule, as a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class(pub u32);

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_minute: 10,
            per_hour: 60,
            total_per_hour: TOTAL_PER_HOUR,
            emergency_bypass: true,
            min_interval_secs: 300,
        }
    }
}

impl Limits {
    /// No limit at all.
    pub const OFF: Self =
        Self { per_minute: 0, per_hour: 0, total_per_hour: 0, emergency_bypass: true, min_interval_secs: 0 };
}

/// Which limit a message ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// `alerting.rate_limit_per_minute`.
    Minute,
    /// `alerting.max_alerts_per_hour`.
    Hour,
    /// [`TOTAL_PER_HOUR`].
    Total,
}

/// Messages of one channel.
#[derive(Debug)]
pub struct Limiter {
    minute: Bucket,
    hour: Window,
    slot: Slot,
    /// Goes no further than this host: does not count in the total.
    pub local: bool,
}

impl Limiter {
    /// A fresh one of the channel at `slot`; a `local` one does not count in the total.
    pub fn new(limits: &Limits, slot: Slot, local: bool) -> Self {
        Self { minute: Bucket::new(limits.per_minute), hour: Window::new(limits.per_hour), slot, local }
    }

    /// Counts a message, unless a limit forbids it: then nothing is counted. Only an `urgent` one may use what of
    /// the hours is kept free for such.
    pub fn take(&mut self, now: Now, total: &mut Window, urgent: Option<Class>) -> Result<(), Stop> {
        if !self.minute.has(now) {
            return Err(Stop::Minute);
        }
        if !self.hour.has(now, self.slot, urgent) {
            return Err(Stop::Hour);
        }
        if !self.local && !total.has(now, self.slot, urgent) {
            return Err(Stop::Total);
        }
        self.minute.take();
        self.hour.take(now, self.slot, urgent);
        if !self.local {
            total.take(now, self.slot, urgent);
        }
        Ok(())
    }

    /// When an urgent message may go that may not now, nanoseconds of the monotonic clock; later if others are faster.
    pub fn free_at(&self, now: Now, total: &Window, urgent: Option<Class>) -> u64 {
        let total = if self.local { 0 } else { total.free_at(self.slot, urgent) };
        // Never now: what may not go must not be asked again at once.
        self.minute
            .free_at(now)
            .max(self.hour.free_at(self.slot, urgent))
            .max(total)
            .max(now.mono_ns + SECOND)
    }

    /// How many urgent messages of each rule there were within the hour.
    pub fn classes(&self) -> HashMap<Class, usize> {
        let mut all = HashMap::new();
        self.hour.classes().for_each(|class| *all.entry(class).or_default() += 1);
        all
    }

    /// Takes back what was counted at `at`: the message did not get through.
    pub fn give_back(&mut self, at: Now, total: &mut Window) {
        self.minute.give_back();
        self.hour.give_back(at, self.slot);
        if !self.local {
            total.give_back(at, self.slot);
        }
    }
}

/// A token bucket: a burst of a minute's worth, then an even flow.
#[derive(Debug)]
struct Bucket {
    per_minute: u32,
    tokens: f64,
    at: Option<Now>,
}

impl Bucket {
    fn new(per_minute: u32) -> Self {
        Self { per_minute, tokens: f64::from(per_minute), at: None }
    }

    fn has(&mut self, now: Now) -> bool {
        let limit = f64::from(self.per_minute);
        let secs = self.at.map_or(0.0, |at| now.since(at) as f64 / SECOND as f64);
        self.tokens = (self.tokens + secs * limit / 60.0).min(limit);
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
        // A token that is only missing by rounding is one.
        self.per_minute == 0 || self.tokens >= 1.0 - 1e-9
    }

    fn free_at(&self, now: Now) -> u64 {
        let missing = (1.0 - self.tokens).max(0.0);
        let secs = if self.per_minute == 0 { 0.0 } else { missing * 60.0 / f64::from(self.per_minute) };
        now.mono_ns + (secs * SECOND as f64) as u64
    }

    fn take(&mut self) {
        self.tokens = (self.tokens - 1.0).max(0.0);
    }

    fn give_back(&mut self) {
        self.tokens = (self.tokens + 1.0).min(f64::from(self.per_minute));
    }
}

#[cfg(test)]
#[path = "limit_tests.rs"]
mod tests;
