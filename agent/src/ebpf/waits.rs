//! How long threads waited for memory or a processor: reads the histograms the kernel fills.

use agent_common::hist::HistValue;
use agent_common::limits::HIST_BUCKETS;
use aya::maps::{Array, Map, MapData, MapError};

use super::percentile::{Buckets, accumulate, between, summarize};
use crate::collect::{CollectError, Collector};
use crate::host::Host;
use crate::metric::metrics;
use crate::sample::Samples;
use crate::sample::histogram::{Counts, Histogram};
use crate::time::SECOND;

metrics! {
    P50: Gauge Milliseconds "kernel_wait_p50_ms" as "kernel_wait_p50_seconds" ["kind"]
        "Half of the waits of the interval were shorter.", "eBPF histogram";
    P99: Gauge Milliseconds "kernel_wait_p99_ms" as "kernel_wait_p99_seconds" ["kind"]
        "99 of 100 waits of the interval were shorter.", "eBPF histogram";
    MAX: Gauge Milliseconds "kernel_wait_max_ms" as "kernel_wait_max_seconds" ["kind"]
        "Longest wait of the interval (at most 6.25 % too high).", "eBPF histogram";
    WAITS: Counter Count "kernel_waits_total" ["kind"]
        "Waits since the agent started: `direct_reclaim` and `cgroup_reclaim` (a thread frees memory itself), \
         `compaction` (it moves pages together), `run_queue` (it waits for a processor).", "eBPF";
    TIME: Counter Seconds "kernel_wait_seconds_total" ["kind"]
        "Waits of all threads since the agent started, added up.", "eBPF";
    DURATION: Histogram Seconds "kernel_wait_duration_seconds" ["kind"]
        "Waits by their length, since the agent started.", "eBPF";
    SHARE: Gauge Percent "kernel_wait_percent" ["kind"]
        "Time of the interval that threads waited, added up over threads: 200 is two threads all the time.", "eBPF";
}

const VALUE_WORDS: usize = size_of::<HistValue>() / 8;

/// Histograms of one kind, a shard each.
pub(super) struct WaitMap(Array<MapData, [u64; VALUE_WORDS]>);

impl WaitMap {
    pub(super) fn new(map: MapData) -> Result<Self, MapError> {
        Array::try_from(Map::Array(map)).map(Self)
    }
}

/// One kind, its shards added up.
struct Series {
    kind: &'static str,
    before: Box<Buckets>,
    buckets: Box<Buckets>,
    count: u64,
    sum_ns: u64,
    max_ns: u64,
    /// When the previous reading was made, and what it had.
    previous: Option<(u64, u64, u64)>,
    /// Waits since the start, more coarsely.
    since: Counts,
}

impl Series {
    fn new(kind: &'static str) -> Self {
        let zero = || Box::new([0; HIST_BUCKETS]);
        let (before, buckets, since) = (zero(), zero(), Counts::default());
        Self { kind, before, buckets, count: 0, sum_ns: 0, max_ns: 0, previous: None, since }
    }

    /// Makes room for a new reading.
    fn begin(&mut self) {
        std::mem::swap(&mut self.buckets, &mut self.before);
        self.buckets.fill(0);
        (self.count, self.sum_ns, self.max_ns) = (0, 0, 0);
    }

    fn add(&mut self, shard: &HistValue) {
        for (sum, n) in self.buckets.iter_mut().zip(&shard.buckets) {
            *sum = sum.wrapping_add(*n);
        }
        self.count += shard.count;
        self.sum_ns += shard.sum_ns;
        self.max_ns = self.max_ns.max(shard.max_ns);
    }

    fn put(&mut self, out: &mut Samples) {
        let labels = &[self.kind];
        out.put(&WAITS, labels, self.count as f64);
        let sum_secs = self.sum_ns as f64 / SECOND as f64;
        out.put(&TIME, labels, sum_secs);
        let now = out.at().mono_ns;
        let (at, sum_ns, longest) =
            self.previous.replace((now, self.sum_ns, self.max_ns)).unwrap_or_default();
        if at > 0 && now > at {
            let share = self.sum_ns.saturating_sub(sum_ns) as f64 / (now - at) as f64;
            out.put(&SHARE, labels, share * 100.0);
        }
        let interval = between(&self.before, &self.buckets);
        accumulate(&interval, &mut self.since);
        let labels_of = [self.kind.into()].into();
        out.put_histogram(Histogram { metric: &DURATION, labels: labels_of, counts: self.since, sum_secs });
        let Some(wait) = summarize(&interval, self.max_ns, self.max_ns > longest) else { return };
        for (metric, ms) in [(&P50, wait.p50_ms), (&P99, wait.p99_ms), (&MAX, wait.max_ms)] {
            out.put(metric, labels, ms);
        }
    }
}

/// The collector.
pub struct WaitCollector {
    kinds: Vec<(WaitMap, Series)>,
}

impl WaitCollector {
    pub(super) fn new(maps: Vec<(&'static str, WaitMap)>) -> Self {
        Self { kinds: maps.into_iter().map(|(kind, map)| (map, Series::new(kind))).collect() }
    }
}

impl Collector for WaitCollector {
    fn collect(&mut self, _: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        for (map, series) in &mut self.kinds {
            series.begin();
            for shard in map.0.iter() {
                let shard = shard.map_err(|error| CollectError::Read {
                    path: format!("BPF map of {}", series.kind),
                    error: error.to_string(),
                })?;
                series.add(bytemuck::cast_ref(&shard));
            }
            series.put(out);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::Batch;
    use crate::time::MILLI;
    use crate::time::Now;
    use agent_common::hist::bucket_of;
    use bytemuck::Zeroable;
    use std::collections::HashMap;

    fn shard(waits_ms: &[u64]) -> HistValue {
        let mut value = HistValue::zeroed();
        for &ms in waits_ms {
            let ns = ms * MILLI;
            value.buckets[bucket_of(ns)] += 1;
            value.count += 1;
            value.sum_ns += ns;
            value.max_ns = value.max_ns.max(ns);
        }
        value
    }

    #[test]
    fn intervals_stand_alone() {
        let (mut series, mut samples) = (Series::new("direct_reclaim"), Samples::new(100));
        let mut names: HashMap<_, &str> = HashMap::new();
        let mut pass = |second: u64, shards: &[HistValue]| -> HashMap<String, f64> {
            samples.begin("ebpf_waits", Now { mono_ns: second * SECOND, wall_ns: 0 }, None);
            series.begin();
            for shard in shards {
                series.add(shard);
            }
            series.put(&mut samples);
            let Batch { defs, samples, histograms, .. } = samples.finish();
            assert_eq!(histograms[0].metric.name, "kernel_wait_duration_seconds");
            assert!(histograms[0].counts.iter().sum::<u64>() >= 2);
            names.extend(defs.iter().map(|def| (def.id, def.metric.name)));
            samples.iter().map(|(id, value)| (names[id].to_owned(), *value)).collect()
        };
        let first = pass(10, &[shard(&[100]), shard(&[300])]);
        assert!((first["kernel_waits_total"] - 2.0).abs() < 1e-9);
        assert!((first["kernel_wait_seconds_total"] - 0.4).abs() < 1e-9);
        assert!((first["kernel_wait_max_ms"] - 300.0).abs() < 1e-9);
        assert!(!first.contains_key("kernel_wait_percent"), "no interval yet");
        let second = pass(20, &[shard(&[100, 1000]), shard(&[300])]);
        assert!((second["kernel_wait_percent"] - 10.0).abs() < 1e-9);
        assert!((second["kernel_wait_p50_ms"] / 1000.0 - 1.0).abs() < 0.0625);
        assert!((second["kernel_wait_p99_ms"] / 1000.0 - 1.0).abs() < 0.0625);
        let idle = pass(30, &[shard(&[100, 1000]), shard(&[300])]);
        assert!(idle["kernel_wait_percent"].abs() < 1e-9);
        assert!(!idle.contains_key("kernel_wait_p99_ms"), "no waits, no percentile");
    }
}
