//! A control group as it is known.

use crate::cgroup::memory::Memory;
use crate::collect::units::Label;
use crate::host::HostDir;
use crate::time::SECOND;

/// Span that the mean of a group's CPU time is taken over.
const MEAN_NS: u64 = 60 * SECOND;

/// A directory of the hierarchy.
#[derive(Default)]
pub(in crate::collect) struct Place {
    pub(super) open: Option<Box<dyn HostDir>>,
    /// Directories in it; `None` where only a list tells, or where it has to be listed once more.
    pub(super) below: Option<u64>,
    /// Directories in it for which there was no room.
    pub(super) left_out: usize,
    /// The listing that saw it last.
    pub(super) seen: u64,
    /// Newest figures of memory, where it has any.
    pub(in crate::collect) memory: Option<Memory>,
    /// What it is, if it may have series.
    pub(in crate::collect) label: Option<Label>,
    pub(in crate::collect) rate: Rate,
    /// It has series.
    pub(super) shown: bool,
}

impl Place {
    /// Memory that is used, as a share of its own limit.
    pub(super) fn percent_of_limit(&self) -> Option<u64> {
        let memory = self.memory?;
        let limit = memory.limit_kb.filter(|limit| *limit > 0)?;
        Some(memory.usage_kb?.saturating_mul(100) / limit)
    }
}

/// How much CPU time a group uses.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::collect) struct Rate {
    /// Newest count, and when it was read.
    newest: Option<(f64, u64)>,
    mean: f64,
}

impl Rate {
    /// Of a group that was not there a minute ago: what it used, it used since.
    pub(super) fn of_new(now_ns: u64) -> Self {
        Self { newest: Some((0.0, now_ns.saturating_sub(MEAN_NS))), mean: 0.0 }
    }

    /// Takes a count, seconds.
    pub(in crate::collect) fn note(&mut self, seconds: f64, now_ns: u64) {
        if let Some((before, at_ns)) = self.newest {
            let passed = now_ns.saturating_sub(at_ns);
            if seconds < before {
                // Another group by its name.
                self.mean = 0.0;
            } else if passed > 0 {
                let cores = (seconds - before) / (passed as f64 / SECOND as f64);
                self.mean += (cores - self.mean) * (passed as f64 / MEAN_NS as f64).min(1.0);
            }
        }
        self.newest = Some((seconds, now_ns));
    }

    /// Cores it keeps busy, the mean of about a minute.
    pub(super) const fn cores(self) -> f64 {
        self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_mean_and_begins_anew_with_the_count() {
        let mut rate = Rate::default();
        rate.note(100.0, 0);
        assert!(rate.cores() == 0.0, "nothing is known of when it was used");
        rate.note(130.0, 60 * SECOND);
        assert!((rate.cores() - 0.5).abs() < 1e-9);
        rate.note(131.0, 61 * SECOND);
        assert!(rate.cores() > 0.5 && rate.cores() < 0.51, "a second changes little");
        rate.note(132.0, 61 * SECOND);
        rate.note(1.0, 62 * SECOND);
        assert!(rate.cores() == 0.0);
        let mut new = Rate::of_new(90 * SECOND);
        new.note(6.0, 90 * SECOND);
        assert!((new.cores() - 0.1).abs() < 1e-9);
    }
}
