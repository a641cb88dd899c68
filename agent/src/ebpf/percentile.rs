//! Percentiles of one interval of a latency histogram, and the coarser histogram of all intervals. Pure.

use agent_common::hist::bucket_floor;
use agent_common::limits::HIST_BUCKETS;

use crate::sample::Latency;
use crate::sample::histogram::{Counts, place};
use crate::time::MILLI;

/// Requests by latency.
pub type Buckets = [u32; HIST_BUCKETS];

/// Requests that came between two readings of counters that wrap.
pub fn between(before: &Buckets, after: &Buckets) -> Box<Buckets> {
    let mut delta = Box::new([0; HIST_BUCKETS]);
    for ((d, b), a) in delta.iter_mut().zip(before).zip(after) {
        *d = a.wrapping_sub(*b);
    }
    delta
}

/// Adds the requests of an interval to those of all before: the kernel's counters wrap, these do not.
pub fn accumulate(interval: &Buckets, counts: &mut Counts) {
    for (bucket, &count) in interval.iter().enumerate().filter(|(_, count)| **count > 0) {
        let end_ns = if bucket == HIST_BUCKETS - 1 { u64::MAX } else { bucket_floor(bucket + 1) };
        let sum = &mut counts[place(end_ns)];
        *sum = sum.saturating_add(u64::from(count));
    }
}

/// Percentiles; `None` without requests. `longest_ns` is the longest latency ever seen, and exact if
/// it `is_new` in this interval.
pub fn summarize(interval: &Buckets, longest_ns: u64, is_new: bool) -> Option<Latency> {
    let total: u64 = interval.iter().map(|&n| u64::from(n)).sum();
    let last = interval.iter().rposition(|&n| n > 0)?;
    let max_ns = if is_new { longest_ns } else { end_of(last, longest_ns).min(longest_ns) };
    let ms = |ns: u64| ns as f64 / MILLI as f64;
    let at = |per_mille: u64| ms(percentile(interval, (total * per_mille).div_ceil(1000), max_ns));
    Some(Latency {
        requests: total,
        p50_ms: at(500),
        p90_ms: at(900),
        p99_ms: at(990),
        p999_ms: at(999),
        max_ms: ms(max_ns),
    })
}

/// Latency of the request with this rank, 1 being the fastest: spread evenly over its bucket.
fn percentile(interval: &Buckets, rank: u64, max_ns: u64) -> u64 {
    let mut before = 0;
    for (bucket, &count) in interval.iter().enumerate() {
        let count = u64::from(count);
        if count > 0 && before + count >= rank {
            let (low, high) = (bucket_floor(bucket), end_of(bucket, max_ns));
            let place = ((rank - before) as f64 - 0.5) / count as f64;
            return (low + ((high - low) as f64 * place) as u64).min(max_ns);
        }
        before += count;
    }
    max_ns
}

/// End of a bucket; that of the last one is the longest latency.
fn end_of(bucket: usize, longest_ns: u64) -> u64 {
    if bucket == HIST_BUCKETS - 1 { longest_ns.max(bucket_floor(bucket)) } else { bucket_floor(bucket + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_common::hist::bucket_of;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn histogram(latencies: &[u64]) -> (Box<Buckets>, u64) {
        let mut buckets = Box::new([0; HIST_BUCKETS]);
        for &ns in latencies {
            buckets[bucket_of(ns)] += 1;
        }
        (buckets, latencies.iter().copied().max().unwrap_or(0))
    }

    /// Median, 90th, 99th, 99.9th and the longest, in milliseconds.
    fn check(latencies: &[u64], expect: [u64; 5]) {
        let (buckets, longest) = histogram(latencies);
        let got = summarize(&buckets, longest, true).expect("requests");
        assert_eq!(got.requests, latencies.len() as u64);
        let all = [got.p50_ms, got.p90_ms, got.p99_ms, got.p999_ms, got.max_ms];
        for (got, expect) in all.into_iter().zip(expect) {
            let error = (got / expect as f64 - 1.0).abs();
            assert!(error <= 0.0625, "{latencies:?}: {got} instead of {expect}");
        }
    }

    #[test]
    fn known_latencies() {
        check(&[MS], [1; 5]);
        check(&[MS; 1000], [1; 5]);
        check(&[MS, 100 * MS], [1, 100, 100, 100, 100]);
        let mut mostly_fast = vec![MS; 990];
        mostly_fast.extend([700 * MS; 10]);
        check(&mostly_fast, [1, 1, 1, 700, 700]);
        mostly_fast.push(700 * MS);
        check(&mostly_fast, [1, 1, 700, 700, 700]);
        let mut one_slow = vec![MS; 999];
        one_slow.push(900 * MS);
        check(&one_slow, [1, 1, 1, 1, 900]);
        one_slow.push(900 * MS);
        check(&one_slow, [1, 1, 1, 900, 900]);
    }

    #[test]
    fn beyond_the_range() {
        let (buckets, longest) = histogram(&[200_000 * MS]);
        let one = summarize(&buckets, longest, true).expect("one");
        assert!((one.max_ms - 200_000.0).abs() < 1e-9);
        assert!(one.p50_ms >= 68_719.0 && one.p50_ms <= one.max_ms);
        let (buckets, longest) = histogram(&[3]);
        assert_eq!(summarize(&buckets, longest, true).map(|s| s.max_ms), Some(0.000_003));
        assert_eq!(summarize(&[0; HIST_BUCKETS], 5, true), None);
    }

    #[test]
    fn an_interval_without_a_new_record_does_not_repeat_the_old_one() {
        let (buckets, _) = histogram(&[MS, 2 * MS]);
        let longest_ever = 900 * MS;
        let max = summarize(&buckets, longest_ever, false).expect("two").max_ms;
        assert!((2.0..=2.125).contains(&max), "{max}");
    }

    #[test]
    fn all_intervals_together() {
        let mut counts = Counts::default();
        for _ in 0..2 {
            let (interval, _) = histogram(&[0, 16_383, 16_384, MS, 200_000 * MS]);
            accumulate(&interval, &mut counts);
        }
        assert_eq!(counts.iter().sum::<u64>(), 10);
        assert_eq!((counts[0], counts[1], counts[6], counts[counts.len() - 1]), (4, 2, 2, 2), "{counts:?}");
    }

    #[test]
    fn counters_may_wrap() {
        let (mut before, mut after) = (Box::new([0; HIST_BUCKETS]), Box::new([0; HIST_BUCKETS]));
        (before[7], after[7]) = (u32::MAX - 1, 3);
        let delta = between(&before, &after);
        assert_eq!(delta[7], 5);
        assert_eq!(delta.iter().sum::<u32>(), 5);
    }

    proptest! {
        #[test]
        fn every_percentile_is_within_a_sixteenth(latencies in prop::collection::vec(1024u64..1 << 36, 1..400)) {
            let (buckets, longest) = histogram(&latencies);
            let got = summarize(&buckets, longest, true).expect("requests");
            let mut sorted = latencies;
            sorted.sort_unstable();
            let exact = |per_mille: usize| sorted[(sorted.len() * per_mille).div_ceil(1000) - 1] as f64 / 1e6;
            let [p50, p90, p99, p999] = [exact(500), exact(900), exact(990), exact(999)];
            for (got, exact) in [(got.p50_ms, p50), (got.p90_ms, p90), (got.p99_ms, p99), (got.p999_ms, p999)] {
                prop_assert!((got / exact - 1.0).abs() <= 0.0625, "{got} instead of {exact}");
            }
            prop_assert!((got.max_ms - longest as f64 / 1e6).abs() < 1e-9);
        }
    }
}
