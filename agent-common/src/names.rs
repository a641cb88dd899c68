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
/// LRU map of processes by device.
pub const ISSUERS: &str = "ISSUERS";

/// Program on `block:block_rq_insert`.
pub const IO_INSERT: &str = "io_insert";
/// The same in BTF mode.
pub const IO_INSERT_BTF: &str = "io_insert_btf";
/// Program on `block:block_rq_error`.
pub const IO_ERROR: &str = "io_error";
/// The same in BTF mode.
pub const IO_ERROR_BTF: &str = "io_error_btf";
/// Program on `block:block_rq_issue`.
pub const IO_ISSUE: &str = "io_issue";
/// The same in BTF mode.
pub const IO_ISSUE_BTF: &str = "io_issue_btf";
/// Program on `block:block_rq_complete`.
pub const IO_COMPLETE: &str = "io_complete";
/// The same in BTF mode.
pub const IO_COMPLETE_BTF: &str = "io_complete_btf";
