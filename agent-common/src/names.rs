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
/// Program at the start of `out_of_memory`, in BTF mode only.
pub const OOM_BEGIN: &str = "oom_begin";
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
/// Program on `block:block_rq_requeue`.
pub const IO_REQUEUE: &str = "io_requeue";
/// The same in BTF mode.
pub const IO_REQUEUE_BTF: &str = "io_requeue_btf";
/// Program on `block:block_rq_merge`.
pub const IO_MERGE: &str = "io_merge";
/// The same in BTF mode.
pub const IO_MERGE_BTF: &str = "io_merge_btf";
/// Program on `block:block_rq_complete`.
pub const IO_COMPLETE: &str = "io_complete";
/// The same in BTF mode.
pub const IO_COMPLETE_BTF: &str = "io_complete_btf";

/// Room for one record of an OOM kill a processor.
pub const OOM_SCRATCH: &str = "OOM_SCRATCH";
/// The search for a victim that goes on.
pub const OOM_CALL: &str = "OOM_CALL";
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

/// Programs on `ras:mc_event`, the second in BTF mode.
pub const MC_EVENT: [&str; 2] = ["mc_event", "mc_event_btf"];
/// Programs on `ras:aer_event`, the second in BTF mode.
pub const AER_EVENT: [&str; 2] = ["aer_event", "aer_event_btf"];
/// Programs on `ras:memory_failure_event`, the second in BTF mode.
pub const MEMORY_FAILURE: [&str; 2] = ["memory_failure", "memory_failure_btf"];
/// Programs on `ras:extlog_mem_event`, the second in BTF mode.
pub const EXTLOG: [&str; 2] = ["extlog_mem_event", "extlog_btf"];
/// Programs on `mce:mce_record`, the second in BTF mode.
pub const MCE_RECORD: [&str; 2] = ["mce_record", "mce_record_btf"];
/// Programs on `net:net_dev_xmit_timeout`, the second in BTF mode.
pub const XMIT_TIMEOUT: [&str; 2] = ["xmit_timeout", "xmit_timeout_btf"];
/// Programs on `thermal:thermal_zone_trip`, the second in BTF mode.
pub const THERMAL_TRIP: [&str; 2] = ["thermal_trip", "thermal_trip_btf"];
/// Programs on `tcp:tcp_retransmit_skb`, the second in BTF mode.
pub const TCP_RETRANSMIT: [&str; 2] = ["tcp_retransmit", "tcp_retransmit_btf"];
/// Programs on `tcp:tcp_receive_reset`, the second in BTF mode.
pub const TCP_RESET_IN: [&str; 2] = ["tcp_reset_in", "tcp_reset_in_btf"];
/// Programs on `tcp:tcp_send_reset`, the second in BTF mode.
pub const TCP_RESET_OUT: [&str; 2] = ["tcp_reset_out", "tcp_reset_out_btf"];
/// Programs on `sched:sched_wakeup`, the second in BTF mode.
pub const RUN_WAKEUP: [&str; 2] = ["run_wakeup", "run_wakeup_btf"];
/// Programs on `sched:sched_wakeup_new`, the second in BTF mode.
pub const RUN_WAKEUP_NEW: [&str; 2] = ["run_wakeup_new", "run_wakeup_new_btf"];
/// Programs on `sched:sched_switch`, the second in BTF mode.
pub const RUN_SWITCH: [&str; 2] = ["run_switch", "run_switch_btf"];
/// Programs at the begin and end of direct reclaim, in both modes.
pub const RECLAIM_PROGRAMS: [&str; 2] = ["reclaim_begin", "reclaim_end"];
/// Programs at the begin and end of reclaim for a control group, in both modes.
pub const CGROUP_RECLAIM_PROGRAMS: [&str; 2] = ["memcg_begin", "memcg_end"];
/// Programs at the begin and end of compaction, in both modes.
pub const COMPACTION_PROGRAMS: [&str; 2] = ["compact_begin", "compact_end"];
/// What the task iterator told of processes.
pub const TASKS_TOLD: &str = "TASKS_TOLD";
/// The task iterator.
pub const LIST_TASKS: &str = "list_tasks";
