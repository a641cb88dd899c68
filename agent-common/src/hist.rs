//! The block-I/O latency histogram: 16 buckets an octave, one table for both sides.

use bytemuck::{Pod, Zeroable};

use crate::limits::{HIST_BUCKETS, HIST_MIN_SHIFT, HIST_OCTAVES, HIST_SUB_BITS};

/// Key of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct HistKey {
    /// Kernel-internal `dev_t`: major << 20 | minor.
    pub dev: u32,
    /// An [`IoOp`](crate::IoOp) number.
    pub op: u16,
    /// A [`Stage`] number.
    pub stage: u16,
    /// Processor number modulo the number of shards.
    pub shard: u32,
}

/// Which part of a request's way a histogram measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Stage {
    /// Issue to completion: the device's time.
    Device = 0,
    /// Insert to issue: the wait in the scheduler's or the software queue. Requests that go straight
    /// to the device have none.
    Queue = 1,
}

/// One histogram. Everything only grows; the buckets wrap at 2^32.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct HistValue {
    /// Requests by [`bucket_of`] their latency.
    pub buckets: [u32; HIST_BUCKETS],
    /// Requests in all.
    pub count: u64,
    /// Their latencies added up, nanoseconds.
    pub sum_ns: u64,
    /// Requests that completed with an error.
    pub errors: u64,
    /// Longest latency ever, nanoseconds. Two processors may race for it.
    pub max_ns: u64,
}

/// Bucket of a latency, always below [`HIST_BUCKETS`].
#[expect(clippy::inline_always, reason = "a BPF program must not call another function")]
#[inline(always)]
pub const fn bucket_of(ns: u64) -> usize {
    if ns < 1 << HIST_MIN_SHIFT {
        return 0;
    }
    if ns >= 1 << (HIST_MIN_SHIFT + HIST_OCTAVES) {
        return HIST_BUCKETS - 1;
    }
    let octave = ns.ilog2();
    let sub = (ns >> (octave - HIST_SUB_BITS)) as u32 & ((1 << HIST_SUB_BITS) - 1);
    (1 + ((octave - HIST_MIN_SHIFT) << HIST_SUB_BITS) + sub) as usize
}

/// Smallest latency of a bucket, nanoseconds. For [`HIST_BUCKETS`] itself and above: the end of the range.
pub const fn bucket_floor(bucket: usize) -> u64 {
    if bucket == 0 {
        return 0;
    }
    if bucket >= HIST_BUCKETS - 1 {
        return 1 << (HIST_MIN_SHIFT + HIST_OCTAVES);
    }
    let place = bucket as u32 - 1;
    let (octave, sub) = (place >> HIST_SUB_BITS, place & ((1 << HIST_SUB_BITS) - 1));
    let unit = 1u64 << (octave + HIST_MIN_SHIFT - HIST_SUB_BITS);
    unit * ((1 << HIST_SUB_BITS) + sub as u64)
}

const _: () = {
    assert!(size_of::<HistKey>() == 12);
    assert!(size_of::<HistValue>() == HIST_BUCKETS * 4 + 32);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_begins_where_the_previous_ends() {
        for bucket in 0..HIST_BUCKETS {
            let floor = bucket_floor(bucket);
            assert_eq!(bucket_of(floor), bucket, "first of {bucket}");
            if bucket > 0 {
                assert_eq!(bucket_of(floor - 1), bucket - 1, "last before {bucket}");
            }
        }
    }

    #[test]
    fn buckets_are_at_most_a_sixteenth_wide() {
        for bucket in 1..HIST_BUCKETS - 1 {
            let (low, high) = (bucket_floor(bucket), bucket_floor(bucket + 1));
            assert!((high - low) * 16 <= low, "{bucket}: {low}..{high}");
        }
    }

    #[test]
    fn the_ends_are_caught() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(1023), 0);
        assert_eq!(bucket_of(1024), 1);
        assert_eq!(bucket_of((1 << 36) - 1), HIST_BUCKETS - 2);
        assert_eq!(bucket_of(1 << 36), HIST_BUCKETS - 1);
        assert_eq!(bucket_of(u64::MAX), HIST_BUCKETS - 1);
    }
}
