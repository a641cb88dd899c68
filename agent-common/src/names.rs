//! Names of programs, maps and constants in the eBPF object.

/// Perf event array all records go through …
pub const EVENTS: &str = "EVENTS";
/// … or the ring buffer.
pub const RING: &str = "RING";
/// Array of `u64` counters, one a [`Stat`](crate::Stat).
pub const STATS: &str = "STATS";
/// Hash map of histograms.
pub const HIST: &str = "HIST";
/// One empty histogram to copy from.
pub const EMPTY: &str = "EMPTY";
/// The current second of the limit on slow-request records.
pub const WINDOW: &str = "WINDOW";
/// LRU map of requests in flight.
pub const STARTS: &str = "STARTS";

/// Program on `oom:mark_victim`.
pub const OOM_KILL: &str = "oom_kill";
/// The same in BTF mode.
pub const OOM_KILL_BTF: &str = "oom_kill_btf";
/// Program on `sched:sched_process_hang`.
pub const HUNG_TASK: &str = "hung_task";
/// The same in BTF mode.
pub const HUNG_TASK_BTF: &str = "hung_task_btf";
/// Program on `block:block_rq_issue`.
pub const IO_ISSUE: &str = "io_issue";
/// The same in BTF mode.
pub const IO_ISSUE_BTF: &str = "io_issue_btf";
/// Program on `block:block_rq_complete`.
pub const IO_COMPLETE: &str = "io_complete";
/// The same in BTF mode.
pub const IO_COMPLETE_BTF: &str = "io_complete_btf";

/// LRU map of [`Counts`](crate::remote::Counts) by [`Remote`](crate::remote::Remote).
pub const REMOTES: &str = "REMOTES";
/// Array of one [`Counts`](crate::remote::Counts): those of all remotes.
pub const REMOTE_TOTALS: &str = "REMOTE_TOTALS";
/// Slots of threads in direct reclaim, and their histograms.
pub const RECLAIM: [&str; 2] = ["RECLAIM_STARTS", "RECLAIM_WAITS"];
/// Slots of threads in reclaim for the limit of a control group, and their histograms.
pub const CGROUP_RECLAIM: [&str; 2] = ["MEMCG_STARTS", "MEMCG_WAITS"];
/// Slots of threads in compaction, and their histograms.
pub const COMPACTION: [&str; 2] = ["COMPACT_STARTS", "COMPACT_WAITS"];
/// Slots of threads that wait for a processor, and their histograms.
pub const RUN_QUEUE: [&str; 2] = ["RUN_STARTS", "RUN_WAITS"];
