use super::*;
use agent_common::hist::bucket_of;
use bytemuck::Zeroable;

use crate::sample::Batch;
use crate::time::Now;

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

fn pass(series: &mut Series, samples: &mut Samples, shards: &[HistValue]) -> Batch {
    series.begin();
    for shard in shards {
        series.add(shard);
    }
    samples.begin("ebpf", Now::default(), None);
    series.put("sda", "read", samples);
    samples.finish()
}

#[test]
fn shards_add_up_and_intervals_stand_alone() {
    let (mut series, mut samples) = (Series::new(), Samples::new(100));
    let first = pass(&mut series, &mut samples, &[shard(&[10], 1), shard(&[10, 30], 2)]);
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

    let idle = pass(&mut series, &mut samples, &[shard(&[10], 1), shard(&[10, 30], 2)]);
    assert_eq!(read(&idle, "block_io_requests_total"), Some(3.0));
    assert_eq!(read(&idle, "block_io_latency_p50_ms"), None, "no requests, no percentile");

    let fast = pass(&mut series, &mut samples, &[shard(&[10, 2], 1), shard(&[10, 30], 2)]);
    let max = read(&fast, "block_io_latency_max_ms").expect("one request");
    assert!((2.0..=2.125).contains(&max), "the old maximum is not repeated: {max}");
}

#[test]
fn names_are_unique_and_counters_end_in_total() {
    for metric in METRICS {
        assert_eq!(METRICS.iter().filter(|m| m.name == metric.name).count(), 1, "{}", metric.name);
        assert_eq!(metric.kind == Kind::Counter, metric.prometheus.ends_with("_total"), "{}", metric.name);
    }
}
