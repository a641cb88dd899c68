//! What was counted since the start.

use std::collections::BTreeMap;
use std::fmt;

use crate::text::clean;

/// Counters of what happened, for status and health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events by counter name and label.
    pub events: BTreeMap<(&'static str, String), u64>,
    /// Events that sources lost, by part and reason.
    pub lost: BTreeMap<(&'static str, &'static str), u64>,
    /// Events of before the agent's first start.
    pub historic: u64,
    /// Batches taken.
    pub batches: u64,
}

impl fmt::Display for Tally {
    /// `kernel_oom_kills_total 3, block_io_slow_total{sda} 7, lost{block_io kernel_rate_limit} 12`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let events = self.events.iter().map(|((name, label), n)| match label.as_str() {
            "" => format!("{name} {n}"),
            label => format!("{name}{{{}}} {n}", clean(label, 64)),
        });
        let lost = self.lost.iter().map(|((part, reason), n)| format!("lost{{{part} {reason}}} {n}"));
        let all: Vec<String> = events.chain(lost).collect();
        f.write_str(if all.is_empty() { "no event" } else { "" })?;
        f.write_str(&all.join(", "))
    }
}

/// Events counted by label; further labels are counted together.
const MAX_LABELS: usize = 512;

impl Tally {
    /// Counts events of one label.
    pub(super) fn count(&mut self, metric: &'static str, label: &str, by: u64) {
        let key = (metric, label.to_owned());
        let known = self.events.len() < MAX_LABELS || self.events.contains_key(&key);
        let total = self.events.entry(if known { key } else { (metric, "other".to_owned()) }).or_default();
        *total = total.saturating_add(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_one_line() {
        let mut tally = Tally::default();
        assert_eq!(tally.to_string(), "no event");
        tally.events.insert(("kernel_oom_kills_total", String::new()), 3);
        tally.events.insert(("block_io_slow_total", "sda\n".into()), 7);
        tally.lost.insert(("block_io", "kernel_rate_limit"), 12);
        let expect =
            "block_io_slow_total{sda?} 7, kernel_oom_kills_total 3, lost{block_io kernel_rate_limit} 12";
        assert_eq!(tally.to_string(), expect);
    }
}
