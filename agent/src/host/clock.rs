//! The only place that reads clocks.

use std::sync::OnceLock;

use crate::time::{Now, SECOND};
use rustix::time::{ClockId, clock_gettime};

/// Both clocks now. The monotonic one is the host's, by which the kernel stamps its log and eBPF its records.
#[expect(clippy::disallowed_methods, reason = "the one place that reads clocks")]
pub fn now() -> Now {
    let mono = clock_gettime(ClockId::Monotonic);
    let wall = clock_gettime(ClockId::Realtime);
    let mono_ns = mono.tv_sec as u64 * 1_000_000_000 + mono.tv_nsec as u64;
    Now {
        mono_ns: mono_ns.saturating_add_signed(offsets().mono_ns.saturating_neg()),
        wall_ns: wall.tv_sec * 1_000_000_000 + wall.tv_nsec,
    }
}

/// Processor time that the calling thread has taken, nanoseconds.
#[expect(clippy::disallowed_methods, reason = "the one place that reads clocks")]
pub fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

/// What the agent's time namespace adds to the host's clocks, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// To `CLOCK_MONOTONIC`.
    pub mono_ns: i64,
    /// To `CLOCK_BOOTTIME`, which `/proc` tells the starts of processes by.
    pub boot_ns: i64,
}

impl Offsets {
    /// Reads lines `NAME SECONDS NANOSECONDS` of `/proc/PID/timens_offsets`.
    fn parse(text: &str) -> Self {
        let offset = |name: &str| {
            let mut words = text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace();
            let mut number = || words.next()?.parse::<i64>().ok();
            let (secs, ns) = (number()?, number()?);
            secs.checked_mul(SECOND as i64)?.checked_add(ns)
        };
        Self { mono_ns: offset("monotonic").unwrap_or(0), boot_ns: offset("boottime").unwrap_or(0) }
    }
}

/// The offsets of this process, read once: a namespace's do not change once somebody lives in it.
#[expect(clippy::disallowed_methods, reason = "of the process, not of the machine")]
pub fn offsets() -> Offsets {
    static OFFSETS: OnceLock<Offsets> = OnceLock::new();
    *OFFSETS.get_or_init(|| {
        let link = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).ok();
        // The file tells of the namespace that children will live in.
        let own = link("time").is_some() && link("time") == link("time_for_children");
        let text = std::fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
        if own { Offsets::parse(&text) } else { Offsets::default() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_of_a_time_namespace() {
        let check = |text: &str, mono_ns: i64, boot_ns: i64| {
            assert_eq!(Offsets::parse(text), Offsets { mono_ns, boot_ns }, "{text:?}");
        };
        check("monotonic           0         0\nboottime            0         0\n", 0, 0);
        check("monotonic  2 500000000\nboottime  -3 1\n", 2_500_000_000, -2_999_999_999);
        check("boottime 7 0\n", 0, 7_000_000_000);
        for bad in ["", "monotonic", "monotonic 1", "monotonic x 0", "monotonic 9223372036854775807 0"] {
            check(bad, 0, 0);
        }
    }
}
