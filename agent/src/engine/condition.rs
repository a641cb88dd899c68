//! The life of one condition: pending, firing, updated, resolved. Pure; one per rule and series.

use serde::{Deserialize, Serialize};

use super::patience::{ALONE_SECS, SECS};
use super::shift::Shift;
use crate::alert::Severity;
use crate::analyze::threshold::{Limits, Verdict};
use crate::time::{Now, SECOND};

/// What a condition is held to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// Limits of the two levels.
    pub limits: Limits,
    /// How long a value must stay beyond a limit, seconds. A reading stands for the interval
    /// before it: 30 s are three readings at 10 s.
    pub for_secs: u64,
}

/// What speaks for and against a value beyond its limit being one that somebody has to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Others show it too. They have to for [`SECS`] until it is more than an information.
    pub confirmed: bool,
    /// What it comes of.
    pub cause: Cause,
    /// The value is an average of the past, and what it is an average of is no longer beyond the limit.
    pub is_echo: bool,
}

/// What use beyond a limit comes of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Work that ends by itself, it seems: it takes [`ALONE_SECS`].
    Work,
    /// Processes that have been there for [`SECS`], so what they did before counts, once several looks agree.
    Lasting,
    /// Something else, or nobody knows: what came before it may have been work.
    Other,
}

impl Cause {
    /// How many times a look at it counts towards [`SECS`] of harm; for work, against it.
    const fn weight(self) -> u64 {
        match self {
            Self::Work | Self::Lasting => 6,
            Self::Other => 1,
        }
    }
}

/// What changed with a reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Began, at this level.
    Fired(Severity),
    /// Rose or fell to this level.
    Moved(Severity),
    /// Ended.
    Resolved,
}

/// Level of a firing condition and when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// Current level.
    pub level: Severity,
    /// Worst level so far.
    pub worst: Severity,
    /// When the value went over the limit, monotonic nanoseconds.
    pub since_ns: u64,
    /// How long before this boot that was, nanoseconds; then `since_ns` is 0.
    #[serde(default)]
    pub before_boot_ns: u64,
}

impl Firing {
    /// When it began.
    pub fn started(&self, now: Now) -> Now {
        let since = now.at_mono(self.since_ns);
        Now { wall_ns: since.wall_ns.saturating_sub_unsigned(self.before_boot_ns), ..since }
    }
}

/// State of one condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    warn_since: Option<u64>,
    critical_since: Option<u64>,
    firing: Option<Firing>,
    last_ns: u64,
    /// Since when all show it, where that is asked for.
    #[serde(default)]
    sure_since: Option<u64>,
    /// How much of it was no work, nanoseconds by [`Cause::weight`], [`SECS`] at most: that many are a harm.
    #[serde(default)]
    harm_ns: u64,
}

impl Condition {
    /// Takes a reading of `value` at `at_ns`. With `learn`, levels are kept but nothing fires.
    pub fn observe(&mut self, policy: &Policy, at_ns: u64, value: f64, learn: bool) -> Option<Change> {
        self.observe_with(policy, (at_ns, value), None, learn)
    }

    /// The same of a value that may be beyond its limit by right: with `doubt` it is an information until others have shown
    /// it for long enough.
    pub fn observe_with(
        &mut self,
        policy: &Policy,
        (at_ns, value): (u64, f64),
        doubt: Option<Doubt>,
        learn: bool,
    ) -> Option<Change> {
        let step = if self.last_ns == 0 { 0 } else { at_ns.saturating_sub(self.last_ns) };
        self.last_ns = at_ns;
        let begun = at_ns.saturating_sub(step);
        let over_warn = hold(&mut self.warn_since, policy, policy.limits.warn, value, begun);
        let over_critical = hold(&mut self.critical_since, policy, policy.limits.critical, value, begun);
        self.be_sure((begun, step), doubt);
        if learn && self.firing.is_none() {
            return None;
        }
        let held = |since: Option<u64>| since.is_some_and(|s| at_ns - s >= policy.for_secs * SECOND);
        // What begins or rises says "over": on a reading that is, not on one in the margin.
        let was = self.firing.map(|firing| firing.level);
        let critical = held(self.critical_since) && (over_critical || was >= Some(Severity::Critical));
        let warn = held(self.warn_since) && (over_warn || was.is_some());
        let level = match (critical, warn) {
            (true, _) => Some(Severity::Critical),
            (false, true) => Some(Severity::Warn),
            (false, false) => None,
        };
        self.go_to(level.map(|level| self.tempered(level, at_ns, doubt)), at_ns)
    }

    fn be_sure(&mut self, (begun, step): (u64, u64), doubt: Option<Doubt>) {
        let all = self.earliest().is_some() && doubt.is_none_or(|doubt| doubt.confirmed);
        self.sure_since = self.sure_since.or(Some(begun)).filter(|_| all);
        let cause = doubt.map_or(Cause::Other, |doubt| doubt.cause);
        let weighed = step.saturating_mul(cause.weight());
        self.harm_ns = match (all, cause) {
            (false, _) => 0,
            (true, Cause::Work) => self.harm_ns.saturating_sub(weighed),
            (true, _) => self.harm_ns.saturating_add(weighed).min(SECS * SECOND),
        };
    }

    fn tempered(&self, level: Severity, at_ns: u64, doubt: Option<Doubt>) -> Severity {
        // Once it was told as bad it stays so until it is over.
        let told = self.firing.is_some_and(|firing| firing.level > Severity::Info);
        let since = |secs: u64| self.sure_since.is_some_and(|s| at_ns.saturating_sub(s) >= secs * SECOND);
        let lasted = since(ALONE_SECS) || since(SECS) && self.harm_ns >= SECS * SECOND;
        let stands = doubt.is_none_or(|doubt| lasted && !doubt.is_echo);
        if told || stands { level } else { Severity::Info }
    }

    fn go_to(&mut self, level: Option<Severity>, at_ns: u64) -> Option<Change> {
        match (self.firing, level) {
            (None, Some(level)) => {
                let since_ns = self.earliest().unwrap_or(at_ns);
                self.firing = Some(Firing { level, worst: level, since_ns, before_boot_ns: 0 });
                Some(Change::Fired(level))
            }
            (Some(_), None) if self.earliest().is_none() => {
                self.firing = None;
                Some(Change::Resolved)
            }
            (Some(firing), Some(level)) if firing.level != level => {
                let worst = firing.worst.max(level);
                self.firing = Some(Firing { level, worst, ..firing });
                Some(Change::Moved(level))
            }
            (_, _) => None,
        }
    }

    fn earliest(&self) -> Option<u64> {
        match (self.warn_since, self.critical_since) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Ends the condition because its series is gone.
    pub fn abandon(&mut self) -> Option<Change> {
        let was = self.firing.take();
        *self = Self::default();
        was.map(|_| Change::Resolved)
    }

    /// The firing state, if it fires.
    pub fn firing(&self) -> Option<Firing> {
        self.firing
    }

    /// Over a limit, but not yet for long enough.
    pub fn pending(&self) -> bool {
        self.firing.is_none() && self.earliest().is_some()
    }

    /// The level it is on its way to, and since when, monotonic nanoseconds.
    pub fn on_its_way(&self) -> Option<(Severity, u64)> {
        let level = if self.critical_since.is_some() { Severity::Critical } else { Severity::Warn };
        self.earliest().filter(|_| self.pending()).map(|since| (level, since))
    }

    /// The condition as an earlier run of the agent left it, with its moments on today's clock. What nobody was told
    /// of is only on its way.
    #[must_use]
    pub fn resumed(mut self, told: bool, shift: &Shift) -> Self {
        self.last_ns = 0;
        self.warn_since = self.warn_since.map(|ns| shift.mono(ns));
        self.critical_since = self.critical_since.map(|ns| shift.mono(ns));
        self.sure_since = self.sure_since.map(|ns| shift.mono(ns));
        self.firing = self.firing.filter(|_| told).map(|firing| shift.firing(firing));
        self
    }

    /// One that fires since `firing` says so.
    pub fn firing_since(firing: Firing) -> Self {
        let since = Some(firing.since_ns);
        let critical_since = since.filter(|_| firing.level >= Severity::Critical);
        Self { warn_since: since, critical_since, firing: Some(firing), ..Self::default() }
    }

    /// When the last reading was taken, monotonic nanoseconds.
    pub fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

/// Whether the value is beyond the limit.
fn hold(since: &mut Option<u64>, policy: &Policy, limit: Option<f64>, value: f64, begun: u64) -> bool {
    // The limit may have been taken away while it was exceeded.
    let Some(limit) = limit else {
        *since = None;
        return false;
    };
    let verdict = policy.limits.judge(value, limit);
    match verdict {
        Verdict::Beyond => *since = since.or(Some(begun)),
        Verdict::Between => {}
        Verdict::Clear => *since = None,
    }
    verdict == Verdict::Beyond
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::threshold::Op;
    use proptest::prelude::*;

    const POLICY: Policy = Policy {
        limits: Limits { op: Op::Above, warn: Some(80.0), critical: Some(95.0), clear: None, whole: false },
        for_secs: 30,
    };

    /// Readings 10 s apart; expects the changes as a script: `F` fired, `M` moved, `R` resolved, `.` nothing.
    fn check(values: &[f64], expect: &str) {
        let mut condition = Condition::default();
        let script: String = values
            .iter()
            .enumerate()
            .map(|(i, v)| match condition.observe(&POLICY, (i as u64 + 1) * 10 * SECOND, *v, false) {
                None => '.',
                Some(Change::Fired(Severity::Warn)) => 'w',
                Some(Change::Fired(_)) => 'c',
                Some(Change::Moved(Severity::Warn)) => 'd',
                Some(Change::Moved(_)) => 'u',
                Some(Change::Resolved) => 'R',
            })
            .collect();
        assert_eq!(script, expect, "{values:?}");
    }

    #[test]
    fn three_readings_make_thirty_seconds() {
        check(&[10.0, 85.0, 85.0, 85.0, 85.0], "...w.");
        check(&[10.0, 85.0, 85.0, 70.0, 85.0, 85.0, 85.0], "......w");
        check(&[10.0, 97.0, 97.0, 97.0], "...c");
        // In the margin it is not over the limit, and not well either.
        check(&[10.0, 85.0, 85.0, 79.0, 79.0, 81.0, 79.0], ".....w.");
        check(&[10.0, 97.0, 97.0, 94.0, 97.0, 94.0, 90.2, 85.0], "...wu.d.");
    }

    #[test]
    fn the_first_reading_ever_stands_for_no_interval() {
        check(&[85.0, 85.0, 85.0, 85.0], "...w");
    }

    #[test]
    fn levels_rise_fall_and_clear_with_hysteresis() {
        check(&[1.0, 85.0, 85.0, 85.0, 97.0, 97.0, 97.0], "...w..u");
        check(&[1.0, 97.0, 97.0, 97.0, 92.0, 89.0, 78.0, 75.0], "...c.d.R");
        check(&[1.0, 85.0, 85.0, 85.0, 79.0, 85.0, 79.0, 60.0], "...w...R");
    }

    #[test]
    fn learning_keeps_levels_but_is_silent() {
        let mut c = Condition::default();
        for i in 1..9 {
            assert_eq!(c.observe(&POLICY, i * 10 * SECOND, 90.0, true), None);
        }
        assert!(c.pending());
        assert_eq!(c.observe(&POLICY, 90 * SECOND, 90.0, false), Some(Change::Fired(Severity::Warn)));
    }

    #[test]
    fn a_series_that_disappears_ends_its_condition() {
        let mut c = Condition::default();
        assert_eq!(c.abandon(), None);
        for i in 1..5 {
            c.observe(&POLICY, i * 10 * SECOND, 90.0, false);
        }
        assert_eq!(c.abandon(), Some(Change::Resolved));
        assert_eq!(c, Condition::default());
    }

    #[test]
    fn neither_work_nor_its_end_is_harm() {
        /// Minutes of each doubt, one reading each; the minute in which it is told as bad.
        fn bad(stretches: &[(u64, Doubt)]) -> Option<u64> {
            let mut condition = Condition::default();
            let all = stretches.iter().flat_map(|(minutes, doubt)| (0..*minutes).map(|_| *doubt));
            all.zip(1..).find_map(|(doubt, minute)| {
                condition.observe_with(&POLICY, (minute * 60 * SECOND, 99.0), Some(doubt), false);
                condition.firing().filter(|firing| firing.level > Severity::Info).map(|_| minute)
            })
        }
        let harm = Doubt { confirmed: true, cause: Cause::Other, is_echo: false };
        let (work, echo) = (Doubt { cause: Cause::Work, ..harm }, Doubt { is_echo: true, ..harm });
        let lasting = Doubt { cause: Cause::Lasting, ..harm };
        let calm = Doubt { confirmed: false, ..harm };
        assert_eq!(bad(&[(60, harm)]), Some(31));
        assert_eq!(bad(&[(20, harm), (1, calm), (60, harm)]), Some(51));
        assert_eq!(bad(&[(300, work)]), Some(241));
        // What comes after it is counted from there.
        assert_eq!(bad(&[(120, work), (60, harm)]), Some(150));
        // Unless it was there all the while; one odd look is none.
        assert_eq!(bad(&[(29, work), (60, lasting)]), Some(34));
        assert_eq!(bad(&[(60, lasting)]), Some(31));
        assert_eq!(bad(&[(100, work), (4, lasting), (100, work)]), None);
        assert_eq!(bad(&[(18, lasting), (1, work), (18, lasting)]), Some(31));
        // An echo is not told, and hides nothing that follows it.
        assert_eq!(bad(&[(25, harm), (60, echo)]), None);
        assert_eq!(bad(&[(25, harm), (10, echo), (1, harm)]), Some(36));
    }

    proptest! {
        #[test]
        fn never_two_firings_without_an_end(values in prop::collection::vec((0.0f64..120.0, 0u64..40), 0..200)) {
            let mut condition = Condition::default();
            let (mut at, mut firing) = (1u64, false);
            for (value, step) in values {
                at += step * SECOND;
                match condition.observe(&POLICY, at, value, false) {
                    Some(Change::Fired(_)) => { prop_assert!(!firing); firing = true; }
                    Some(Change::Resolved) => { prop_assert!(firing); firing = false; }
                    Some(Change::Moved(_)) => prop_assert!(firing),
                    None => {}
                }
                prop_assert_eq!(condition.firing().is_some(), firing);
                if let Some(f) = condition.firing() { prop_assert!(f.since_ns <= at && f.worst >= f.level); }
            }
        }
    }
}
