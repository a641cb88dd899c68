//! Collector of block latency: reads the histogram map, which the kernel fills.

use std::collections::HashMap;
use std::sync::Arc;

use agent_common::hist::{HistKey, HistValue};
use agent_common::limits::{HIST_BUCKETS, MAX_HIST_ENTRIES};
use agent_common::{IoOp, Stat};
use aya::maps::{HashMap as BpfHashMap, Map, MapData, MapError};

use super::devices::{self, Devices};
use super::percentile::{Buckets, between, summarize};
use super::stats::Stats;
use crate::collect::{CollectError, Collector};
use crate::host::Host;
use crate::metric::{Kind, Metric, Unit};
use crate::sample::Samples;
use crate::time::{MILLI, SECOND};

const DEVICE_OP: &[&str] = &["device", "op"];
const HISTOGRAM: &str = "eBPF histogram of block:block_rq_issue to block:block_rq_complete";

const fn latency(name: &'static str, prometheus: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        prometheus,
        kind: Kind::Gauge,
        unit: Unit::Milliseconds,
        labels: DEVICE_OP,
        help,
        source: HISTOGRAM,
    }
}

const fn total(name: &'static str, unit: Unit, help: &'static str) -> Metric {
    Metric { name, prometheus: name, kind: Kind::Counter, unit, labels: DEVICE_OP, help, source: HISTOGRAM }
}

/// Median latency of the interval.
pub const P50: Metric = latency(
    "block_io_latency_p50_ms",
    "block_io_latency_p50_seconds",
    "Half of the requests of the interval were faster, from issue to completion.",
);
/// 90th percentile.
pub const P90: Metric = latency(
    "block_io_latency_p90_ms",
    "block_io_latency_p90_seconds",
    "Nine of ten requests of the interval were faster.",
);
/// 99th percentile.
pub const P99: Metric = latency(
    "block_io_latency_p99_ms",
    "block_io_latency_p99_seconds",
    "99 of 100 requests of the interval were faster.",
);
/// Longest.
pub const MAX: Metric = latency(
    "block_io_latency_max_ms",
    "block_io_latency_max_seconds",
    "Longest latency of the interval (at most 6.25 % too high).",
);
/// Requests.
pub const REQUESTS: Metric =
    total("block_io_requests_total", Unit::Count, "Requests completed since the agent started.");
/// Time of requests.
pub const TIME: Metric = total(
    "block_io_latency_seconds_total",
    Unit::Seconds,
    "Latencies of all requests since the agent started, added up.",
);
/// Failed requests.
pub const ERRORS: Metric =
    total("block_io_errors_total", Unit::Count, "Requests that completed with an error.");
/// Records and requests the programs could not deliver.
pub const EBPF_DROPS: Metric = Metric {
    name: "ebpf_drops_total",
    prometheus: "ebpf_drops_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["reason"],
    help: "Records or requests that eBPF programs saw but could not deliver or match, by reason.",
    source: "counters kept by the eBPF programs",
};
/// Memory of the maps.
pub const EBPF_MAP_BYTES: Metric = Metric {
    name: "ebpf_map_bytes",
    prometheus: "ebpf_map_bytes",
    kind: Kind::Gauge,
    unit: Unit::Bytes,
    labels: &[],
    help: "Memory of the BPF maps and of the buffers for records; not part of the resident memory of the agent.",
    source: "/proc/self/fdinfo memlock, and the size of the buffers",
};

/// What this collector puts out.
pub const METRICS: &[&Metric] =
    &[&P50, &P90, &P99, &MAX, &REQUESTS, &TIME, &ERRORS, &EBPF_DROPS, &EBPF_MAP_BYTES];

/// The histogram map; keys and values as plain words, which aya moves as they are.
pub(super) struct HistMap(BpfHashMap<MapData, [u32; 3], [u64; VALUE_WORDS]>);

const VALUE_WORDS: usize = size_of::<HistValue>() / 8;

impl HistMap {
    pub(super) fn new(map: MapData) -> Result<Self, MapError> {
        BpfHashMap::try_from(Map::HashMap(map)).map(Self)
    }

    fn for_each(&self, mut each: impl FnMut(HistKey, &HistValue)) -> Result<(), MapError> {
        // Entries are only added; the limit is that of the map.
        for key in self.0.keys().take(MAX_HIST_ENTRIES as usize) {
            let key = key?;
            each(bytemuck::cast(key), bytemuck::cast_ref(&self.0.get(&key, 0)?));
        }
        Ok(())
    }
}

/// One device and operation, its shards added up.
struct Series {
    buckets: Box<Buckets>,
    before: Box<Buckets>,
    count: u64,
    sum_ns: u64,
    errors: u64,
    max_ns: u64,
    max_before_ns: u64,
}

impl Series {
    fn new() -> Self {
        let zero = || Box::new([0; HIST_BUCKETS]);
        Self { buckets: zero(), before: zero(), count: 0, sum_ns: 0, errors: 0, max_ns: 0, max_before_ns: 0 }
    }

    /// Makes room for a new reading.
    fn begin(&mut self) {
        std::mem::swap(&mut self.buckets, &mut self.before);
        self.buckets.fill(0);
        self.max_before_ns = self.max_ns;
        (self.count, self.sum_ns, self.errors, self.max_ns) = (0, 0, 0, 0);
    }

    fn add(&mut self, shard: &HistValue) {
        for (sum, n) in self.buckets.iter_mut().zip(&shard.buckets) {
            *sum = sum.wrapping_add(*n);
        }
        self.count += shard.count;
        self.sum_ns += shard.sum_ns;
        self.errors += shard.errors;
        self.max_ns = self.max_ns.max(shard.max_ns);
    }

    fn put(&self, device: &str, op: &str, out: &mut Samples) {
        let labels = &[device, op];
        out.put(&REQUESTS, labels, self.count as f64);
        out.put(&TIME, labels, self.sum_ns as f64 / SECOND as f64);
        out.put(&ERRORS, labels, self.errors as f64);
        let interval = between(&self.before, &self.buckets);
        let Some(latency) = summarize(&interval, self.max_ns, self.max_ns > self.max_before_ns) else {
            return;
        };
        for (metric, ns) in
            [(&P50, latency.p50_ns), (&P90, latency.p90_ns), (&P99, latency.p99_ns), (&MAX, latency.max_ns)]
        {
            out.put(metric, labels, ns as f64 / MILLI as f64);
        }
    }
}

/// Whether a device is left out.
pub type Skip = Box<dyn Fn(&str) -> bool + Send>;

/// The collector.
pub struct EbpfCollector {
    histograms: Option<HistMap>,
    stats: Arc<Stats>,
    bytes: u64,
    series: HashMap<(u32, u32), Series>,
    devices: Devices,
    skip: Skip,
}

impl EbpfCollector {
    pub(super) fn new(histograms: Option<HistMap>, stats: Arc<Stats>, bytes: u64, skip: Skip) -> Self {
        Self { histograms, stats, bytes, series: HashMap::new(), devices: Devices::default(), skip }
    }

    fn read_histograms(&mut self) -> Result<(), MapError> {
        let Some(histograms) = &self.histograms else { return Ok(()) };
        self.series.values_mut().for_each(Series::begin);
        histograms.for_each(|key, value| {
            self.series.entry((key.dev, key.op)).or_insert_with(Series::new).add(value);
        })
    }

    fn put_histograms(&mut self, host: &dyn Host, out: &mut Samples) {
        self.devices.begin();
        for (&(dev, op), series) in &self.series {
            let op = IoOp::from_number(op).name();
            match self.devices.name(host, dev) {
                Some(device) if (self.skip)(device) => {}
                Some(device) => series.put(device, op, out),
                None => series.put(&devices::number(dev), op, out),
            }
        }
    }
}

impl Collector for EbpfCollector {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let failed = |map: &str| {
            let path = format!("BPF map {map}");
            move |error: MapError| CollectError::Read { path, error: error.to_string() }
        };
        out.put(&EBPF_MAP_BYTES, &[], self.bytes as f64);
        let counts = self.stats.read().map_err(failed("STATS"))?;
        for (stat, count) in Stat::ALL.into_iter().zip(counts) {
            out.put(&EBPF_DROPS, &[stat.name()], count as f64);
        }
        self.read_histograms().map_err(failed("HIST"))?;
        self.put_histograms(host, out);
        Ok(())
    }
}

#[cfg(test)]
#[path = "hist_tests.rs"]
mod tests;
