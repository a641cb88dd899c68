//! Collector of block latency: reads the histogram map, which the kernel fills.

use std::collections::HashMap;
use std::sync::Arc;

use agent_common::hist::{HistKey, HistValue, Stage};
use agent_common::limits::{HIST_BUCKETS, MAX_HIST_ENTRIES};
use agent_common::{IoOp, Stat};
use aya::maps::{HashMap as BpfHashMap, Map, MapData, MapError};

use super::devices::{self, Devices};
use super::io_metrics as m;
use super::issuers::Issuers;
use super::percentile::{Buckets, accumulate, between, summarize};
use super::programs::Programs;
use super::stats::{Counts, Stats};
use crate::collect::{CollectError, Collector};
use crate::host::{Host, block};
use crate::metric::Metric;
use crate::sample::histogram::{Counts as Since, Histogram};
use crate::sample::{DiskScene, DiskWindow, Latency, Samples};
use crate::time::SECOND;

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

/// One histogram, its shards added up.
struct Series {
    buckets: Box<Buckets>,
    before: Box<Buckets>,
    count: u64,
    sum_ns: u64,
    errors: u64,
    errors_before: u64,
    max_ns: u64,
    max_before_ns: u64,
    /// Requests since the start, more coarsely.
    since: Since,
}

/// Metrics of one histogram: requests, time; percentiles of the interval up to the longest; itself.
struct Outputs([&'static Metric; 2], [&'static Metric; 5], &'static Metric);

static DEVICE: Outputs =
    Outputs([&m::REQUESTS, &m::TIME], [&m::P50, &m::P90, &m::P99, &m::P999, &m::MAX], &m::DURATION);
static QUEUE: Outputs = Outputs(
    [&m::QUEUED, &m::QUEUE_TIME],
    [&m::QUEUE_P50, &m::QUEUE_P90, &m::QUEUE_P99, &m::QUEUE_P999, &m::QUEUE_MAX],
    &m::QUEUE_DURATION,
);

impl Series {
    fn new() -> Self {
        let zero = || Box::new([0; HIST_BUCKETS]);
        Self {
            buckets: zero(),
            before: zero(),
            count: 0,
            sum_ns: 0,
            errors: 0,
            errors_before: 0,
            max_ns: 0,
            max_before_ns: 0,
            since: Since::default(),
        }
    }

    /// Makes room for a new reading.
    fn begin(&mut self) {
        std::mem::swap(&mut self.buckets, &mut self.before);
        self.buckets.fill(0);
        (self.max_before_ns, self.errors_before) = (self.max_ns, self.errors);
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

    /// The interval; `None` without requests.
    fn interval(&mut self) -> Option<Latency> {
        let interval = between(&self.before, &self.buckets);
        accumulate(&interval, &mut self.since);
        summarize(&interval, self.max_ns, self.max_ns > self.max_before_ns)
    }

    fn put(&self, labels: &[&str], interval: Option<Latency>, outputs: &Outputs, out: &mut Samples) {
        let Outputs([count, time], percentiles, histogram) = outputs;
        let sum_secs = self.sum_ns as f64 / SECOND as f64;
        out.put(count, labels, self.count as f64);
        out.put(time, labels, sum_secs);
        let labels_of = labels.iter().map(|&label| label.into()).collect();
        out.put_histogram(Histogram { metric: histogram, labels: labels_of, counts: self.since, sum_secs });
        let Some(l) = interval else { return };
        for (metric, ms) in percentiles.iter().zip([l.p50_ms, l.p90_ms, l.p99_ms, l.p999_ms, l.max_ms]) {
            out.put(metric, labels, ms);
        }
    }
}

/// One device and operation.
#[derive(Default)]
struct Requests {
    device: Option<Series>,
    queue: Option<Series>,
}

impl Requests {
    fn begin(&mut self) {
        self.device.iter_mut().chain(&mut self.queue).for_each(Series::begin);
    }

    fn add(&mut self, stage: u16, shard: &HistValue) {
        let series = if stage == Stage::Queue as u16 { &mut self.queue } else { &mut self.device };
        series.get_or_insert_with(Series::new).add(shard);
    }

    /// Puts the metrics out; gives what the engine judges.
    fn put(&mut self, name: &Arc<str>, op: &'static str, out: &mut Samples) -> DiskWindow {
        let labels = &[&**name, op];
        let interval = |series: &mut Option<Series>| series.as_mut().and_then(Series::interval);
        let (latency, queue) = (interval(&mut self.device), interval(&mut self.queue));
        let mut errors = 0;
        if let Some(series) = &self.device {
            series.put(labels, latency, &DEVICE, out);
            out.put(&m::ERRORS, labels, series.errors as f64);
            errors = series.errors.saturating_sub(series.errors_before);
        }
        if let Some(series) = &self.queue {
            series.put(labels, queue, &QUEUE, out);
        }
        DiskWindow { device: Arc::clone(name), op, errors, latency, queue, scene: None }
    }
}

/// Whether a device is left out.
pub type Skip = Box<dyn Fn(&str) -> bool + Send>;

/// How devices are looked at.
pub struct Look {
    /// Devices without series and alerts.
    pub skip: Skip,
    /// 99th percentile from which on an interval is given with what surrounds it, milliseconds.
    pub scene_from_ms: f64,
}

/// What the programs count about themselves, and the kernel about them, is asked for once in so long at most: it is some thirty
/// system calls.
const LEAST_OWN_NS: u64 = 5 * SECOND;

/// Of the newest time it was asked for.
#[derive(Default)]
struct Own {
    counts: Counts,
    asked_ns: Option<u64>,
}

/// The collector.
pub struct EbpfCollector {
    histograms: Option<HistMap>,
    issuers: Option<Issuers>,
    stats: Arc<Stats>,
    programs: Programs,
    own: Own,
    bytes: u64,
    requests: HashMap<(u32, u16), Requests>,
    devices: Devices,
    look: Look,
}

impl EbpfCollector {
    pub(super) fn new(
        (histograms, issuers): (Option<HistMap>, Option<Issuers>),
        (stats, programs): (Arc<Stats>, Programs),
        bytes: u64,
        look: Look,
    ) -> Self {
        Self {
            histograms,
            issuers,
            stats,
            programs,
            own: Own::default(),
            bytes,
            requests: HashMap::new(),
            devices: Devices::default(),
            look,
        }
    }

    fn read_histograms(&mut self) -> Result<(), MapError> {
        let Some(histograms) = &self.histograms else { return Ok(()) };
        self.requests.values_mut().for_each(Requests::begin);
        histograms.for_each(|key, value| {
            self.requests.entry((key.dev, key.op)).or_default().add(key.stage, value);
        })
    }

    fn put_histograms(&mut self, host: &dyn Host, out: &mut Samples) {
        self.devices.begin();
        for (&(dev, op), requests) in &mut self.requests {
            let op = IoOp::from_number(u32::from(op)).name();
            let name = self.devices.name(host, dev).unwrap_or_else(|| devices::number(dev).into());
            if (self.look.skip)(&name) {
                continue;
            }
            let mut window = requests.put(&name, op, out);
            if window.latency.is_some_and(|l| l.p99_ms >= self.look.scene_from_ms) {
                let mut scene = scene(host, &name);
                if let Some(issuers) = &mut self.issuers {
                    issuers.fill(host, dev, out.at().mono_ns, &mut scene);
                }
                window.scene = Some(Box::new(scene));
            }
            out.put_disk(window);
        }
    }
}

/// What eBPF takes and loses.
fn put_own(bytes: u64, counts: Counts, out: &mut Samples) {
    out.put(&m::EBPF_MAP_BYTES, &[], bytes as f64);
    for (stat, count) in Stat::ALL.into_iter().zip(counts) {
        out.put(&m::EBPF_DROPS, &[stat.name()], count as f64);
    }
}

fn scene(host: &dyn Host, device: &str) -> DiskScene {
    DiskScene {
        model: block::model(host, device),
        in_flight: block::in_flight(host, device),
        ..DiskScene::default()
    }
}

impl Collector for EbpfCollector {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let failed = |map: &str| {
            let path = format!("BPF map {map}");
            move |error: MapError| CollectError::Read { path, error: error.to_string() }
        };
        let now = out.at().mono_ns;
        if self.own.asked_ns.is_none_or(|asked| now.saturating_sub(asked) >= LEAST_OWN_NS) {
            self.own.counts = self.stats.read().map_err(failed("STATS"))?;
            self.programs.ask().map_err(|error| CollectError::Read {
                path: "the kernel's counters of eBPF programs".to_owned(),
                error: error.to_string(),
            })?;
            self.own.asked_ns = Some(now);
        }
        put_own(self.bytes, self.own.counts, out);
        self.programs.put(out);
        self.read_histograms().map_err(failed("HIST"))?;
        self.put_histograms(host, out);
        Ok(())
    }
}

#[cfg(test)]
#[path = "hist_tests.rs"]
mod tests;
