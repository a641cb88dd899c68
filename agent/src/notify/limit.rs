//! Rate limits, pure. A limit of 0 is off.

use crate::time::{Now, SECOND};
use std::collections::{HashMap, VecDeque};

/// Most messages an hour over all channels.
pub const TOTAL_PER_HOUR: u32 = 100;
/// Of the messages an hour, one in so many is kept free for what is critical or worse ...
const RESERVE: usize = 5;
/// ... and of these, one rule gets one in so many: a storm of one leaves room for the others.
const SHARE: usize = 4;
/// A larger hourly limit is cut to this: each message of the hour takes 16 bytes.
const MAX_PER_HOUR: u32 = 10_000;
const HOUR: u64 = 3600 * SECOND;

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
    /// Goes no further than this host: does not count in the total.
    pub local: bool,
}

impl Limiter {
    /// A fresh one; a `local` one does not count in the total.
    pub fn new(limits: &Limits, local: bool) -> Self {
        Self { minute: Bucket::new(limits.per_minute), hour: Window::new(limits.per_hour), local }
    }

    /// Counts a message, unless a limit forbids it: then nothing is counted. Only an `urgent` one may use what of
    /// the hours is kept free for such.
    pub fn take(&mut self, now: Now, total: &mut Window, urgent: Option<Class>) -> Result<(), Stop> {
        if !self.minute.has(now) {
            return Err(Stop::Minute);
        }
        if !self.hour.has(now, urgent) {
            return Err(Stop::Hour);
        }
        if !self.local && !total.has(now, urgent) {
            return Err(Stop::Total);
        }
        self.minute.take();
        self.hour.take(now, urgent);
        if !self.local {
            total.take(now, urgent);
        }
        Ok(())
    }

    /// When an urgent message may go that may not now, nanoseconds of the monotonic clock; later if others are faster.
    pub fn free_at(&self, now: Now, total: &Window, urgent: Option<Class>) -> u64 {
        let total = if self.local { 0 } else { total.free_at(urgent) };
        // Never now: what may not go must not be asked again at once.
        self.minute.free_at(now).max(self.hour.free_at(urgent)).max(total).max(now.mono_ns + SECOND)
    }

    /// How many urgent messages of each rule there were within the hour.
    pub fn classes(&self) -> HashMap<Class, usize> {
        let mut all = HashMap::new();
        self.hour
            .taken
            .iter()
            .filter_map(|taken| taken.class)
            .for_each(|class| *all.entry(class).or_default() += 1);
        all
    }

    /// Takes back what was counted at `at`: the message did not get through.
    pub fn give_back(&mut self, at: Now, total: &mut Window) {
        self.minute.give_back();
        self.hour.give_back(at);
        if !self.local {
            total.give_back(at);
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

/// A sliding hour: never more than `limit` within any 3,600 s.
#[derive(Debug)]
pub struct Window {
    limit: u32,
    taken: VecDeque<Taken>,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    at: u64,
    class: Option<Class>,
    /// It used what is kept free.
    reserved: bool,
}

impl Window {
    /// A fresh one.
    pub fn new(limit: u32) -> Self {
        Self { limit: limit.min(MAX_PER_HOUR), taken: VecDeque::new() }
    }

    /// What anybody may use.
    fn open(&self) -> usize {
        let limit = self.limit as usize;
        limit - limit / RESERVE
    }

    /// What one rule may use of the rest.
    fn share(&self) -> usize {
        (self.limit as usize / RESERVE).div_ceil(SHARE)
    }

    fn has(&mut self, now: Now, urgent: Option<Class>) -> bool {
        while self.taken.front().is_some_and(|taken| now.mono_ns.saturating_sub(taken.at) >= HOUR) {
            self.taken.pop_front();
        }
        if self.limit == 0 || self.taken.len() < self.open() {
            return true;
        }
        let room = self.taken.len() < self.limit as usize;
        room && urgent.is_some_and(|class| self.reserved_by(class).count() < self.share())
    }

    fn reserved_by(&self, class: Class) -> impl DoubleEndedIterator<Item = &Taken> {
        self.taken.iter().filter(move |taken| taken.reserved && taken.class == Some(class))
    }

    /// When there is room for one; 0 is now.
    fn free_at(&self, urgent: Option<Class>) -> u64 {
        if self.limit == 0 {
            return 0;
        }
        let gone = |taken: Option<&Taken>| taken.map_or(0, |taken| taken.at.saturating_add(HOUR));
        let below = |most: usize| gone(self.taken.len().checked_sub(most).and_then(|at| self.taken.get(at)));
        let open = below(self.open());
        let Some(class) = urgent else { return open };
        let own = gone(self.reserved_by(class).rev().nth(self.share().saturating_sub(1)));
        open.min(below(self.limit as usize).max(own))
    }

    fn take(&mut self, now: Now, class: Option<Class>) {
        if self.limit > 0 {
            let reserved = self.taken.len() >= self.open();
            self.taken.push_back(Taken { at: now.mono_ns, class, reserved });
        }
    }

    fn give_back(&mut self, at: Now) {
        if let Some(index) = self.taken.iter().rposition(|taken| taken.at == at.mono_ns) {
            self.taken.remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Another rule each time.
    #[expect(clippy::unnecessary_wraps, reason = "as the limiter takes it")]
    fn class() -> Option<Class> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Some(Class(NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    fn at(secs: u64) -> Now {
        Now::default().plus_secs(secs)
    }

    /// How many of `tries` pass, one each `step` seconds.
    fn passed(limits: Limits, step: u64, tries: u64) -> u64 {
        let (mut limiter, mut total) = (Limiter::new(&limits, false), Window::new(limits.total_per_hour));
        (0..tries).filter(|n| limiter.take(at(n * step), &mut total, class()).is_ok()).count() as u64
    }

    #[test]
    fn each_limit_holds_alone() {
        let off = Limits::OFF;
        for (limits, step, tries, expect) in [
            (off, 0, 5000, 5000),
            (Limits { per_minute: 10, ..off }, 0, 50, 10),
            (Limits { per_minute: 10, ..off }, 6, 50, 50),
            (Limits { per_minute: 1, ..off }, 59, 3, 2),
            (Limits { per_hour: 60, ..off }, 0, 100, 60),
            (Limits { per_hour: 60, ..off }, 60, 200, 200),
            (Limits { per_hour: 60, ..off }, 36, 200, 120),
            (Limits { total_per_hour: 100, ..off }, 1, 3600, 100),
            (Limits::default(), 0, 100, 10),
            (Limits::default(), 6, 100, 60),
        ] {
            assert_eq!(passed(limits, step, tries), expect, "{limits:?} {step} {tries}");
        }
    }

    #[test]
    fn a_storm_of_one_rule_leaves_room_for_others() {
        let limits = Limits { total_per_hour: 100, ..Limits::OFF };
        let (mut limiter, mut total) = (Limiter::new(&limits, false), Window::new(100));
        let mut passed = |class: Option<u32>, tries: u64, from: u64| {
            let tries = (0..tries).map(|n| limiter.take(at(from + n), &mut total, class.map(Class)));
            let passed = tries.flatten().count();
            let free = limiter.free_at(at(from), &total, class.map(Class));
            (passed, free / SECOND)
        };
        assert_eq!(passed(Some(1), 1000, 0), (85, 3605));
        assert_eq!(passed(None, 10, 1000).0, 0);
        assert_eq!(passed(Some(2), 10, 1000).0, 5);
        assert_eq!(passed(Some(3), 10, 1100).0, 5);
        assert_eq!(passed(Some(1), 10, 1200).0, 0);
        assert_eq!(passed(Some(4), 10, 1200).0, 5);
        assert_eq!(passed(Some(5), 10, 1200), (0, 3600), "the hour is full");
        // An hour after the storm there is room for all.
        assert_eq!(passed(None, 10, 3700).0, 10);
    }

    #[test]
    fn the_stop_names_the_limit_and_counts_nothing() {
        let limits = Limits { per_minute: 2, per_hour: 3, total_per_hour: 4, ..Limits::OFF };
        let (mut a, mut b, mut total) =
            (Limiter::new(&limits, false), Limiter::new(&limits, false), Window::new(4));
        assert_eq!([0; 3].map(|_| a.take(at(0), &mut total, class())), [Ok(()), Ok(()), Err(Stop::Minute)]);
        assert_eq!([0; 2].map(|_| b.take(at(0), &mut total, class())), [Ok(()), Ok(())]);
        assert_eq!(a.take(at(60), &mut total, class()), Err(Stop::Total));
        a.give_back(at(0), &mut total);
        assert_eq!(a.take(at(60), &mut total, class()), Ok(()));
        assert_eq!(a.take(at(3599), &mut total, class()), Err(Stop::Total));
        assert_eq!(a.take(at(3600), &mut total, class()), Ok(()));
    }

    #[test]
    fn the_hourly_limit_of_a_channel_is_named() {
        let limits = Limits { per_hour: 1, ..Limits::OFF };
        let (mut limiter, mut total) = (Limiter::new(&limits, false), Window::new(0));
        assert_eq!(limiter.take(at(0), &mut total, class()), Ok(()));
        assert_eq!(limiter.take(at(3599), &mut total, class()), Err(Stop::Hour));
        assert_eq!(limiter.take(at(3600), &mut total, class()), Ok(()));
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more(
            limit in 1_u32..20, minute in 1_u32..10, steps in prop::collection::vec(0_u64..300, 1..300)
        ) {
            let limits = Limits { per_minute: minute, per_hour: limit, ..Limits::OFF };
            let (mut limiter, mut total) = (Limiter::new(&limits, false), Window::new(0));
            let (mut now, mut sent) = (0, Vec::new());
            for step in steps {
                now += step;
                if limiter.take(at(now), &mut total, class()).is_ok() {
                    sent.push(now);
                }
            }
            for (i, start) in sent.iter().enumerate() {
                let within = |span: u64| sent[i..].iter().filter(|t| **t < start + span).count();
                prop_assert!(within(3600) <= limit as usize);
                // A bucket lets through its content and what flows in.
                prop_assert!(within(60) <= 2 * minute as usize);
            }
        }

        #[test]
        fn giving_back_leaves_no_trace(times in prop::collection::vec(0_u64..4000, 0..50)) {
            let limits = Limits { per_minute: 3, per_hour: 5, total_per_hour: 7, ..Limits::OFF };
            let (mut limiter, mut total) = (Limiter::new(&limits, false), Window::new(7));
            let mut times = times;
            times.sort_unstable();
            for secs in times {
                if limiter.take(at(secs), &mut total, class()).is_ok() {
                    limiter.give_back(at(secs), &mut total);
                }
            }
            prop_assert!(total.taken.is_empty() && limiter.hour.taken.is_empty());
        }
    }
}
