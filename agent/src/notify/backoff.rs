//! How long to wait before the next try. Pure: randomness and time are arguments.

use crate::time::Now;
use std::time::Duration;

/// Longest wait that a server's `Retry-After` gets: more would be as good as refusing.
pub const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Waits of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first failure; it doubles with every further one.
    pub first: Duration,
    /// Longest wait while failures are still `quick`, and wait after that.
    pub slow: Duration,
    /// Number of doubling waits before only `slow` is used.
    pub quick: u32,
}

impl Default for Backoff {
    /// 1 s, 2 s, 4 s … 32 s, then a minute: a server that is back is noticed within a minute, and a thousand
    /// hosts ask a dead one less than twenty times a second.
    fn default() -> Self {
        Self { first: Duration::from_secs(1), slow: Duration::from_mins(1), quick: 6 }
    }
}

impl Backoff {
    /// Wait after `failures` in a row (1 is the first); `random` is from 0 to 1 and takes up to half of it off,
    /// so that a fleet does not come back in step.
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1);
        let full = if doublings >= self.quick {
            self.slow
        } else {
            self.first.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(self.slow)
        };
        full.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }
}

/// The value of a `Retry-After` header: seconds or an HTTP date; at most [`MAX_RETRY_AFTER`], a date in the past
/// is no wait.
pub fn retry_after(value: &str, now: Now) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // A number too long for u64 is still "very long".
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)).min(MAX_RETRY_AFTER));
    }
    let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    let wait = at.as_second().saturating_sub(now.wall_ns.div_euclid(1_000_000_000));
    Some(Duration::from_secs(wait.max(0) as u64).min(MAX_RETRY_AFTER))
}

/// Numbers for [`Backoff::delay`]: splitmix64, enough to keep hosts apart.
#[derive(Clone, Copy, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// From 0 to 1.
    pub fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_then_stay() {
        let backoff = Backoff::default();
        let secs = |n| backoff.delay(n, 0.0).as_secs();
        assert_eq!([0, 1, 2, 3, 6, 7, 8, u32::MAX].map(secs), [1, 1, 2, 4, 32, 60, 60, 60]);
        let three = Backoff { quick: 3, ..backoff };
        assert_eq!(three.delay(3, 0.0).as_secs(), 4);
        assert_eq!(three.delay(4, 0.0).as_secs(), 60);
        let none = Backoff { quick: 0, ..backoff };
        assert_eq!(none.delay(1, 0.0).as_secs(), 60);
        let many = Backoff { quick: u32::MAX, ..backoff };
        assert_eq!(many.delay(100, 0.0).as_secs(), 60);
    }

    #[test]
    fn jitter_takes_at_most_half() {
        let mut dice = Dice(7);
        let mut seen = [false; 10];
        for _ in 0..1000 {
            let random = dice.roll();
            seen[(random * 10.0) as usize] = true;
            let wait = Backoff::default().delay(7, random);
            assert!((30.0..=60.0).contains(&wait.as_secs_f64()), "{wait:?}");
        }
        assert_eq!(seen, [true; 10], "the dice roll everywhere");
        assert_eq!(Backoff::default().delay(1, f64::NAN.max(9.0)).as_millis(), 500);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // 1994-11-06 08:49:37 UTC
        let now = Now { mono_ns: 0, wall_ns: 784_111_777 * 1_000_000_000 };
        for (value, expect) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("3601", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 07:49:37 GMT", Some(0)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(3600)),
            ("", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(retry_after(value, now), expect.map(Duration::from_secs), "{value:?}");
        }
    }
}
