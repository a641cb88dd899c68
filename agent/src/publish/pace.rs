//! When a host speaks: a fleet that was started at one moment does not send at one moment. Pure.

use std::time::Duration;

use crate::time::SECOND;

/// A number that is the same for one text always and everywhere: FNV-1a, 64 bits.
pub fn hash(text: &str) -> u64 {
    let step = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let sum = text.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    // FNV leaves the high bits of short texts alike, and remainders need the low ones.
    sum ^ sum >> 32
}

/// From `wall_ns` to the next moment of this host in a grid of `interval`: the wall clock, moved by the host's own hash.
/// Never less than a quarter of the interval: a clock that is slewed does not make it speak twice.
pub fn until_next(host: u64, interval: Duration, wall_ns: i64) -> Duration {
    let step = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
    let phase = (wall_ns as u64).wrapping_add(host % step) % step;
    let rest = step - phase;
    Duration::from_nanos(if rest < step / 4 { rest.saturating_add(step) } else { rest })
}

/// Longest time from the start to the first message.
const FIRST: Duration = Duration::from_secs(10);

/// From the start to a first message that is worth sending at once: up to ten seconds, or an interval where that is less.
pub fn first(host: u64, interval: Duration) -> Duration {
    let longest = interval.min(FIRST).as_nanos() as u64;
    // Other bits than those that decide on the grid.
    Duration::from_nanos(host.rotate_left(23) % longest.max(SECOND / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_host_keeps_its_place_in_the_grid() {
        let host = hash("a");
        let at = 1_771_777_800 * SECOND as i64;
        let first = until_next(host, MINUTE, at);
        let next = at + first.as_nanos() as i64;
        assert_eq!(until_next(host, MINUTE, next), MINUTE);
        assert_eq!(until_next(host, MINUTE, next + 20 * SECOND as i64), Duration::from_secs(40));
        // Woken a moment early on the wall clock: not twice.
        assert_eq!(until_next(host, MINUTE, next - 1_000_000), MINUTE + Duration::from_millis(1));
        assert!(until_next(host, MINUTE, -5) > Duration::from_secs(14), "before 1970");
        assert!(until_next(u64::MAX, Duration::ZERO, i64::MAX) > Duration::ZERO);
        assert!(until_next(u64::MAX, Duration::MAX, i64::MAX) > Duration::ZERO);
    }

    #[test]
    fn a_fleet_is_spread_evenly() {
        let check = |wait: &dyn Fn(u64) -> Duration, slots: usize, slot: Duration| {
            let mut count = vec![0; slots];
            for n in 0..10_000 {
                let wait = wait(hash(&format!("5f0c8a3e-0000-4000-8000-{n:012x}")));
                count[(wait.as_nanos() / slot.as_nanos()) as usize % slots] += 1;
            }
            let mean = 10_000 / slots as u64;
            let (least, most) = (*count.iter().min().unwrap(), *count.iter().max().unwrap());
            assert!(least > mean * 7 / 10 && most < mean * 13 / 10, "{least} to {most} of {mean}");
        };
        check(&|host| until_next(host, MINUTE, 0), 20, Duration::from_secs(3));
        check(&|host| first(host, MINUTE), 10, Duration::from_secs(1));
        assert!(first(7, Duration::from_millis(50)) < Duration::from_millis(50));
        assert!(first(7, Duration::ZERO) < Duration::from_secs(1));
    }
}
