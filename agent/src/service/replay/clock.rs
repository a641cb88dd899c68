//! The times of a file as both clocks of the engine, and times as people write them.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::time::{Now, SECOND};

/// Where the monotonic clock begins: the engine takes 0 for "never".
const START_NS: u64 = 1000 * SECOND;
/// Unix seconds of the year 2200; what is later is no time but a mistake.
const LATEST_SECS: f64 = 7.258e9;
/// Monotonic time goes no further: durations are differences of signed numbers.
const FAR_NS: u64 = i64::MAX as u64 / 2;
/// A gap of this many usual steps, and this long, is told.
const GAP_STEPS: u64 = 100;
const GAP_NS: u64 = 86_400 * SECOND;

/// Wall-clock times of a file; durations are made from them.
#[derive(Debug, Default)]
pub(super) struct Clock {
    last: Option<Now>,
    /// The usual pause between two moments.
    step_ns: u64,
}

/// What a moment is beside the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leap {
    /// Later, as it should be.
    On,
    /// The same.
    Same,
    /// Earlier, by so many seconds.
    Back(u64),
    /// Much later, by so many seconds.
    Ahead(u64),
}

impl Clock {
    /// The moment with this wall-clock time. One that is not later than the one before is a clock that was set: for
    /// durations the usual step passed. `same`: one of the same time is the same moment.
    pub(super) fn at(&mut self, wall_ns: i64, same: bool) -> (Now, Leap) {
        let Some(last) = self.last else {
            let now = Now { mono_ns: START_NS, wall_ns };
            self.last = Some(now);
            return (now, Leap::On);
        };
        let ahead = wall_ns.saturating_sub(last.wall_ns);
        if ahead == 0 && same {
            return (last, Leap::Same);
        }
        let (passed, leap) = match u64::try_from(ahead) {
            Ok(0) => (self.step_ns.max(1), Leap::Same),
            Err(_) => (self.step_ns.max(1), Leap::Back(ahead.unsigned_abs() / SECOND)),
            Ok(ahead) => {
                let far = ahead >= GAP_NS && self.step_ns > 0 && ahead / self.step_ns >= GAP_STEPS;
                if !far {
                    self.step_ns = ahead;
                }
                (ahead, if far { Leap::Ahead(ahead / SECOND) } else { Leap::On })
            }
        };
        let now = Now { mono_ns: last.mono_ns.saturating_add(passed).min(FAR_NS), wall_ns };
        self.last = Some(now);
        (now, leap)
    }
}

/// A moment of both clocks, no earlier than `last` and within what the engine can count.
pub(super) fn sane(last: Now, mono_ns: u64, wall_ns: i64) -> Now {
    Now { mono_ns: mono_ns.clamp(last.mono_ns.max(1), FAR_NS), wall_ns: wall_ns.max(0) }
}

/// Unix nanoseconds of `text`: RFC 3339, `YYYY-MM-DD HH:MM:SS` (UTC) or Unix seconds. From 1970 to 2199.
pub(super) fn time(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(secs) = text.parse::<f64>() {
        return seconds(secs);
    }
    let zoned = || text.parse::<Timestamp>().ok();
    let plain = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
    let at = zoned().or_else(plain)?;
    nanoseconds(i64::try_from(at.as_nanosecond()).ok()?)
}

/// Unix nanoseconds of Unix seconds.
pub(super) fn seconds(secs: f64) -> Option<i64> {
    // Whole seconds and what is behind the point, each exactly.
    (0.0..LATEST_SECS)
        .contains(&secs)
        .then(|| secs.trunc() as i64 * SECOND as i64 + (secs.fract() * 1e9).round() as i64)
}

/// The same number, if it is a time.
pub(super) fn nanoseconds(wall_ns: i64) -> Option<i64> {
    (0..(LATEST_SECS * 1e9) as i64).contains(&wall_ns).then_some(wall_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        const S: i64 = SECOND as i64;
        let check = |text, expect: Option<i64>| assert_eq!(time(text), expect, "{text}");
        check("2014-04-01 00:05:00", Some(1_396_310_700 * S));
        check("2014-04-01T00:05:00Z", Some(1_396_310_700 * S));
        check("2014-04-01T02:05:00.5+02:00", Some(1_396_310_700 * S + S / 2));
        check("1396310700", Some(1_396_310_700 * S));
        check("1396310700.25", Some(1_396_310_700 * S + S / 4));
        for bad in [
            "",
            "now",
            "-1",
            "NaN",
            "inf",
            "1e300",
            "99999999999",
            "2014-13-01 00:00:00",
            "9999-01-01 00:00:00",
        ] {
            check(bad, None);
        }
    }

    /// Seconds of wall-clock times; steps of the monotonic clock in seconds.
    fn check(walls: &[i64], expect: &[u64]) {
        let mut clock = Clock::default();
        let monos: Vec<u64> =
            walls.iter().map(|wall| clock.at(wall * SECOND as i64, false).0.mono_ns).collect();
        let steps: Vec<u64> = monos.windows(2).map(|pair| (pair[1] - pair[0]) / SECOND).collect();
        assert_eq!(steps, expect, "{walls:?}");
    }

    #[test]
    fn durations_never_go_back() {
        check(&[100, 110, 120], &[10, 10]);
        check(&[100, 110, 50, 60], &[10, 10, 10]);
        check(&[100, 110, 110, 120], &[10, 10, 10]);
        check(&[100, 110, 9_000_000, 9_000_010, 110], &[10, 8_999_890, 10, 10]);
    }
}
