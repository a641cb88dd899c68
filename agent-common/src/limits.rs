//! Limits both sides of the eBPF boundary rely on.

/// Smallest latency the block-I/O histogram tells apart: 2^10 ns, about 1 µs.
pub const HIST_MIN_SHIFT: u32 = 10;
/// Octaves of the histogram: 2^10 ns up to 2^36 ns (68 s).
pub const HIST_OCTAVES: u32 = 26;
/// log2 of the buckets per octave: 16, so a bucket is at most 1/16 = 6.25 % wide.
pub const HIST_SUB_BITS: u32 = 4;
/// Buckets per histogram: one below the range, the octaves, one above.
pub const HIST_BUCKETS: usize = ((HIST_OCTAVES << HIST_SUB_BITS) + 2) as usize;
