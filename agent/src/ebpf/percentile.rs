//! Percentiles of one interval of a latency histogram. Pure.

use agent_common::hist::bucket_floor;
use agent_common::limits::HIST_BUCKETS;

/// Requests by latency.
pub type Buckets = [u32; HIST_BUCKETS];

/// What an interval says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Median, nanoseconds.
    pub p50_ns: u64,
    /// Nine of ten were faster, nanoseconds.
    pub p90_ns: u64,
    /// 99 of 100 were faster, nanoseconds.
    pub p99_ns: u64,
    /// Longest, nanoseconds.
    pub max_ns: u64,
}

/// Requests that came between two readings of counters that wrap.
pub fn between(before: &Buckets, after: &Buckets) -> Box<Buckets> {
    let mut delta = Box::new([0; HIST_BUCKETS]);
    for ((d, b), a) in delta.iter_mut().zip(before).zip(after) {
        *d = a.wrapping_sub(*b);
    }
    delta
}

/// Percentiles; `None` without requests. `longest_ns` is the longest latency ever seen, and exact if
/// it `is_new` in this interval.
pub fn summarize(interval: &Buckets, longest_ns: u64, is_new: bool) -> Option<Summary> {
    let total: u64 = interval.iter().map(|&n| u64::from(n)).sum();
    let last = interval.iter().rposition(|&n| n > 0)?;
    let max_ns = if is_new { longest_ns } else { end_of(last, longest_ns).min(longest_ns) };
    let at = |percent: u64| percentile(interval, (total * percent).div_ceil(100), max_ns);
    Some(Summary { p50_ns: at(50), p90_ns: at(90), p99_ns: at(99), max_ns })
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

    fn check(latencies: &[u64], expect: [u64; 4]) {
        let (buckets, longest) = histogram(latencies);
        let got = summarize(&buckets, longest, true).expect("requests");
        for (got, expect) in [got.p50_ns, got.p90_ns, got.p99_ns, got.max_ns].into_iter().zip(expect) {
            let error = (got as f64 - expect as f64).abs() / expect as f64;
            assert!(error <= 0.0625, "{latencies:?}: {got} instead of {expect}");
        }
    }

    #[test]
    fn known_latencies() {
        check(&[MS], [MS; 4]);
        check(&[MS; 1000], [MS; 4]);
        check(&[MS, 100 * MS], [MS, 100 * MS, 100 * MS, 100 * MS]);
        let mut mostly_fast = vec![MS; 990];
        mostly_fast.extend([700 * MS; 10]);
        check(&mostly_fast, [MS, MS, MS, 700 * MS]);
        mostly_fast.push(700 * MS);
        check(&mostly_fast, [MS, MS, 700 * MS, 700 * MS]);
    }

    #[test]
    fn beyond_the_range() {
        let (buckets, longest) = histogram(&[200_000 * MS]);
        let one = summarize(&buckets, longest, true).expect("one");
        assert_eq!(one.max_ns, 200_000 * MS);
        assert!(one.p50_ns >= 1 << 36 && one.p50_ns <= one.max_ns);
        let (buckets, longest) = histogram(&[3]);
        assert_eq!(summarize(&buckets, longest, true).map(|s| s.max_ns), Some(3));
        assert_eq!(summarize(&[0; HIST_BUCKETS], 5, true), None);
    }

    #[test]
    fn an_interval_without_a_new_record_does_not_repeat_the_old_one() {
        let (buckets, _) = histogram(&[MS, 2 * MS]);
        let longest_ever = 900 * MS;
        let max = summarize(&buckets, longest_ever, false).expect("two").max_ns;
        assert!((2 * MS..=2 * MS + MS / 8).contains(&max), "{max}");
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
            let exact = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100) - 1];
            for (got, exact) in [(got.p50_ns, exact(50)), (got.p90_ns, exact(90)), (got.p99_ns, exact(99))] {
                let error = (got as f64 - exact as f64).abs() / exact as f64;
                prop_assert!(error <= 0.0625, "{got} instead of {exact}");
            }
            prop_assert_eq!(got.max_ns, longest);
        }
    }
}
