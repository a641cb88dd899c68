use super::*;
use agent_common::hist::bucket_of;
use bytemuck::Zeroable;

use crate::host::fixture::FixtureHost;
use crate::sample::Batch;
use crate::time::{MILLI, Now};

fn shard(latencies_ms: &[u64], errors: u64) -> HistValue {
    let mut value = HistValue::zeroed();
    for &ms in latencies_ms {
        let ns = ms * MILLI;
        value.buckets[bucket_of(ns)] += 1;
        value.count += 1;
        value.sum_ns += ns;
        value.max_ns = value.max_ns.max(ns);
    }
    value.errors = errors;
    value
}

/// One pass over the shards of both stages.
fn pass(
    requests: &mut Requests,
    samples: &mut Samples,
    device: &[HistValue],
    queue: &[HistValue],
) -> (Batch, DiskWindow) {
    requests.begin();
    for (stage, shards) in [(Stage::Device, device), (Stage::Queue, queue)] {
        for shard in shards {
            requests.add(stage as u16, shard);
        }
    }
    samples.begin("ebpf", Now::default(), None);
    let window = requests.put(&"sda".into(), "read", samples);
    (samples.finish(), window)
}

#[test]
fn shards_add_up_and_intervals_stand_alone() {
    let (mut requests, mut samples) = (Requests::default(), Samples::new(100));
    let (ten, two) = (shard(&[10], 1), shard(&[10, 30], 2));
    let (first, window) = pass(&mut requests, &mut samples, &[ten, two], &[]);
    let names: Vec<_> = first.defs.iter().map(|d| d.metric.name).collect();
    let read = |batch: &Batch, name: &str| {
        let id = first.defs[names.iter().position(|n| *n == name).expect(name)].id;
        batch.samples.iter().find(|(i, _)| *i == id).map(|(_, v)| *v)
    };
    assert_eq!(read(&first, "block_io_requests_total"), Some(3.0));
    assert_eq!(read(&first, "block_io_latency_seconds_total"), Some(0.05));
    assert_eq!(read(&first, "block_io_errors_total"), Some(3.0));
    assert_eq!(read(&first, "block_io_latency_max_ms"), Some(30.0));
    assert!(read(&first, "block_io_latency_p50_ms").is_some_and(|v| (v / 10.0 - 1.0).abs() < 0.0625));
    assert!(read(&first, "block_io_latency_p999_ms").is_some_and(|v| (v / 30.0 - 1.0).abs() < 0.0625));
    assert!(!names.contains(&"block_io_queued_requests_total"), "nothing was queued");
    assert_eq!((window.errors, window.latency.map(|l| l.requests), window.queue), (3, Some(3), None));

    let (idle, window) = pass(&mut requests, &mut samples, &[ten, two], &[]);
    assert_eq!(read(&idle, "block_io_requests_total"), Some(3.0));
    assert_eq!(read(&idle, "block_io_latency_p50_ms"), None, "no requests, no percentile");
    assert_eq!((window.errors, window.latency), (0, None));

    let (fast, window) = pass(&mut requests, &mut samples, &[shard(&[10, 2], 1), two], &[]);
    let max = read(&fast, "block_io_latency_max_ms").expect("one request");
    assert!((2.0..=2.125).contains(&max), "the old maximum is not repeated: {max}");
    assert_eq!(window.latency.map(|l| l.max_ms), Some(max));
}

#[test]
fn waits_in_the_queue_are_apart() {
    let (mut requests, mut samples) = (Requests::default(), Samples::new(100));
    let (first, window) = pass(&mut requests, &mut samples, &[shard(&[10; 4], 0)], &[shard(&[300], 0)]);
    let value = |name: &str| {
        let id = first.defs.iter().find(|d| d.metric.name == name).expect(name).id;
        first.samples.iter().find(|(i, _)| *i == id).map(|(_, v)| *v)
    };
    assert_eq!(value("block_io_requests_total"), Some(4.0));
    assert_eq!(value("block_io_queued_requests_total"), Some(1.0));
    assert_eq!(value("block_io_queue_seconds_total"), Some(0.3));
    assert_eq!(value("block_io_queue_max_ms"), Some(300.0));
    assert_eq!(value("block_io_latency_max_ms"), Some(10.0));
    assert_eq!(window.queue.map(|l| l.requests), Some(1));
    let (_, idle) = pass(&mut requests, &mut samples, &[shard(&[10; 4], 0)], &[shard(&[300], 0)]);
    assert_eq!((idle.latency, idle.queue), (None, None));
}

#[test]
fn histograms_hold_all_requests_since_the_start() {
    let (mut requests, mut samples) = (Requests::default(), Samples::new(100));
    for ms in [10, 20] {
        let (device, queue) = ([shard(&[ms; 4], 0)], [shard(&[300], 0)]);
        let (batch, _) = pass(&mut requests, &mut samples, &device, &queue);
        let of = |name: &str| {
            batch.histograms.iter().find(|h| h.metric.name == name).expect("a histogram").clone()
        };
        let (requests, waits) = (of("block_io_duration_seconds"), of("block_io_queue_duration_seconds"));
        assert_eq!(requests.labels.iter().map(|l| &**l).collect::<Vec<_>>(), ["sda", "read"]);
        assert!(requests.counts.iter().sum::<u64>() >= 4 && requests.sum_secs > 0.0, "{requests:?}");
        assert_eq!(waits.counts.iter().filter(|n| **n > 0).count(), 1, "{waits:?}");
    }
}

#[test]
fn a_scene_is_what_sysfs_tells() {
    let host = FixtureHost::parse("").expect("empty");
    assert_eq!(scene(&host, "sda"), DiskScene::default());
    host.set("/sys/block/sda/device/model", "WDC WD40EFRX-68N\n");
    host.set("/sys/block/sda/inflight", "       7        2\n");
    let seen = scene(&host, "sda");
    assert_eq!((seen.model.as_deref(), seen.in_flight), (Some("WDC WD40EFRX-68N"), Some((7, 2))));
}

#[test]
fn names_are_unique_and_counters_end_in_total() {
    for metric in m::METRICS {
        assert_eq!(m::METRICS.iter().filter(|o| o.name == metric.name).count(), 1, "{}", metric.name);
        let counter = metric.kind == crate::metric::Kind::Counter;
        assert_eq!(counter, metric.prometheus.ends_with("_total"), "{}", metric.name);
    }
}

#[test]
fn each_metric_of_requests_has_its_value() {
    let (mut requests, mut samples) = (Requests::default(), Samples::new(100));
    let device: Vec<u64> = (1..=2000).collect();
    let queue: Vec<u64> = (1..=1000).map(|ms| ms * 3).collect();
    let (batch, _) = pass(&mut requests, &mut samples, &[shard(&device, 7)], &[shard(&queue, 0)]);
    for (metric, expect) in [
        ("block_io_latency_p50_ms", 1000.0),
        ("block_io_latency_p90_ms", 1800.0),
        ("block_io_latency_p99_ms", 1980.0),
        ("block_io_latency_p999_ms", 1998.0),
        ("block_io_latency_max_ms", 2000.0),
        ("block_io_requests_total", 2000.0),
        ("block_io_latency_seconds_total", 2001.0),
        ("block_io_errors_total", 7.0),
        ("block_io_queue_p50_ms", 1500.0),
        ("block_io_queue_p90_ms", 2700.0),
        ("block_io_queue_p99_ms", 2970.0),
        ("block_io_queue_p999_ms", 2997.0),
        ("block_io_queue_max_ms", 3000.0),
        ("block_io_queued_requests_total", 1000.0),
        ("block_io_queue_seconds_total", 1501.5),
    ] {
        let id = batch.defs.iter().find(|def| def.metric.name == metric).expect(metric).id;
        let value = batch.samples.iter().find(|(of, _)| *of == id).expect(metric).1;
        // As exact as a bucket is wide.
        assert!((value / expect - 1.0).abs() < 0.0625, "{metric} is {value}");
    }
}

#[test]
fn what_ebpf_takes_and_loses_is_told() {
    let mut samples = Samples::new(100);
    samples.begin("ebpf", Now::default(), None);
    let mut counts = Counts::default();
    counts.iter_mut().zip(1..).for_each(|(count, n)| *count = n);
    put_own(4096, counts, &mut samples);
    let batch = samples.finish();
    let values: Vec<_> = batch.samples.iter().map(|(_, value)| *value as usize).collect();
    let expect: Vec<_> = std::iter::once(4096).chain(1..=Stat::ALL.len()).collect();
    assert_eq!(values, expect);
    let names: Vec<_> = batch.defs.iter().map(|def| def.metric.name).collect();
    assert_eq!((names[0], names[1]), ("ebpf_map_bytes", "ebpf_drops_total"));
    assert!(batch.defs[1..].iter().zip(Stat::ALL).all(|(def, stat)| &*def.labels[0] == stat.name()));
}
