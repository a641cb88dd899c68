//! Processes whose names the user wants followed (`collector.track_patterns`): each pattern's as a whole, and the
//! largest of them one by one, however small they are beside others.

use std::cmp::Reverse;

use regex::Regex;

use super::rows::Row;
use crate::config::MAX_PATTERNS;
use crate::host::Host;
use crate::metric::metrics;
use crate::sample::Samples;
use crate::time::SECOND;

metrics! {
    COUNT: Gauge Count "tracked_processes_count" ["pattern"]
        "Processes whose name matches a pattern of collector.track_patterns; 0 where none runs.", "/proc/[pid]/stat comm";
    THREADS: Gauge Count "tracked_processes_threads_count" ["pattern"] "Their threads.", "/proc/[pid]/stat num_threads";
    CPU: Counter Seconds "tracked_processes_cpu_seconds_total" ["pattern"]
        "CPU time they used since the agent started, and before it those that ran then.", "/proc/[pid]/stat utime, stime";
    RSS: Gauge Bytes "tracked_processes_resident_memory_bytes" ["pattern"]
        "Their resident memory; what they share counts for each.", "/proc/[pid]/stat rss";
    OLDEST: Gauge Seconds "tracked_processes_oldest_seconds" ["pattern"]
        "Age of the one that runs longest; it falls when that one was restarted.", "/proc/[pid]/stat starttime";
}

/// Processes that have series of their own because of a pattern.
const MAX_SHOWN: usize = 64;

/// The patterns, and what is summed up.
#[derive(Default)]
pub(super) struct Tracked {
    patterns: Vec<Pattern>,
    chosen: Vec<u32>,
}

struct Pattern {
    regex: Regex,
    cpu_ns: u64,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    count: u64,
    threads: u64,
    rss_pages: u64,
    first_start_ticks: Option<u64>,
}

impl Tracked {
    /// Those that are regular expressions, a bit each in [`Row::tracked`]; the configuration has refused all others.
    pub(super) fn new(patterns: &[String]) -> Self {
        let patterns = patterns.iter().take(MAX_PATTERNS).filter_map(|text| Regex::new(text).ok());
        Self { patterns: patterns.map(|regex| Pattern { regex, cpu_ns: 0 }).collect(), chosen: Vec::new() }
    }

    /// Finds out whose names match. A process that has kept its name has kept its patterns.
    pub(super) fn mark(&self, rows: &mut [Row]) {
        for row in rows.iter_mut().filter(|row| row.tracked.is_none()) {
            let bit = |(at, pattern): (usize, &Pattern)| u64::from(pattern.regex.is_match(&row.comm)) << at;
            row.tracked = Some(self.patterns.iter().enumerate().map(bit).sum());
        }
    }

    /// Adds the largest of them to those that have series of their own.
    pub(super) fn choose(&mut self, rows: &[Row], shown: &mut Vec<u32>) {
        let row = |at: u32| &rows[at as usize];
        self.chosen.clear();
        self.chosen.extend((0..rows.len() as u32).filter(|&at| row(at).is_tracked()));
        self.chosen.sort_unstable_by_key(|&at| (Reverse(row(at).rss_pages), row(at).pid));
        let before = shown.len();
        for &at in self.chosen.iter().take(MAX_SHOWN) {
            if !shown[..before].contains(&at) {
                shown.push(at);
            }
        }
    }

    /// Puts out a pattern at a time.
    pub(super) fn put(&mut self, rows: &[Row], host: &dyn Host, uptime: Option<f64>, out: &mut Samples) {
        for (at, pattern) in self.patterns.iter_mut().enumerate() {
            let mut sum = Sum::default();
            for row in rows.iter().filter(|row| row.tracked.is_some_and(|bits| bits >> at & 1 == 1)) {
                sum.add(row);
                pattern.cpu_ns = pattern.cpu_ns.saturating_add(row.recent_ns);
            }
            let labels = [pattern.regex.as_str()];
            out.put(&COUNT, &labels, sum.count as f64);
            out.put(&THREADS, &labels, sum.threads as f64);
            out.put(&CPU, &labels, pattern.cpu_ns as f64 / SECOND as f64);
            out.put(&RSS, &labels, sum.rss_pages.saturating_mul(host.page_size()) as f64);
            if let (Some(uptime), Some(start)) = (uptime, sum.first_start_ticks) {
                out.put(&OLDEST, &labels, (uptime - start as f64 / host.ticks_per_second() as f64).max(0.0));
            }
        }
    }

    /// Whether there is anything to do.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

impl Sum {
    fn add(&mut self, row: &Row) {
        self.count += 1;
        self.threads = self.threads.saturating_add(row.threads);
        self.rss_pages = self.rss_pages.saturating_add(row.rss_pages);
        let first = self.first_start_ticks.map_or(row.start_ticks, |first| first.min(row.start_ticks));
        self.first_start_ticks = Some(first);
    }
}
