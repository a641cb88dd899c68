//! Limits both sides of the eBPF boundary rely on.

/// Smallest latency the block-I/O histogram tells apart: 2^10 ns, about 1 µs.
pub const HIST_MIN_SHIFT: u32 = 10;
/// Octaves of the histogram: 2^10 ns up to 2^36 ns (68 s).
pub const HIST_OCTAVES: u32 = 26;
/// log2 of the buckets per octave: 16, so a bucket is at most 1/16 = 6.25 % wide.
pub const HIST_SUB_BITS: u32 = 4;
/// Buckets per histogram: one below the range, the octaves, one above.
pub const HIST_BUCKETS: usize = ((HIST_OCTAVES << HIST_SUB_BITS) + 2) as usize;

/// Histograms of one device and operation are spread over at most so many shards by processor.
pub const MAX_SHARDS: u32 = 8;
/// Entries of the histogram map at most, 1.8 KB each; user space asks for less on small machines.
pub const MAX_HIST_ENTRIES: u32 = 2048;
/// Requests in flight that are remembered: so many per processor …
pub const STARTS_PER_CPU: u32 = 256;
/// … but at least so many (an LRU map keeps free lists per processor and evicts early when small) …
pub const MIN_STARTS: u32 = 4096;
/// … and at most so many, 104 bytes each.
pub const MAX_STARTS: u32 = 16_384;
/// Frames of a hung task's kernel stack that a record has room for.
pub const MAX_FRAMES: usize = 24;
/// Remote addresses whose TCP trouble is counted one by one, about 120 bytes each.
pub const MAX_REMOTES: u32 = 1024;
/// Threads whose stall in reclaim or compaction is remembered, 8 bytes each; a power of two.
pub const STALL_SLOTS: u32 = 1024;
/// Threads whose wait for a processor is remembered, 8 bytes each; a power of two.
pub const RUN_SLOTS: u32 = 16_384;
/// Devices times processes whose requests are counted: at least so many …
pub const MIN_ISSUERS: u32 = 1024;
/// … and at most so many, 128 bytes each; so many per processor in between.
pub const MAX_ISSUERS: u32 = 4096;
/// See [`MAX_ISSUERS`].
pub const ISSUERS_PER_CPU: u32 = 64;
/// Processes of which the task iterator remembers what it told, 8 bytes each, by their number modulo this; a power of two.
pub const TASK_SLOTS: u32 = 32_768;
/// Words of 64 open files that the task iterator looks at in a process; a loop with an end, as the verifier wants it.
pub const MAX_FILE_WORDS: u32 = 1024;
/// Open files of a process that are counted: further ones are not.
pub const MAX_OPEN_FILES: u32 = MAX_FILE_WORDS * 64;
