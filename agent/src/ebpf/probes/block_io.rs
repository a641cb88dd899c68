//! `block:block_rq_insert`, `block_rq_issue`, `block_rq_requeue`, `block_rq_merge`, `block_rq_complete` and `block_rq_error`.

use agent_common::names;

use super::{Hook, Mode, Probe, Shape, argument, member, needs, nothing, takes};

/// A tracepoint: its programs, what names the request in its records, and one more field; arguments in BTF mode.
macro_rules! hook {
    ($event:literal by $classic:ident, $btf:ident, $prefix:literal
     $(with $field:literal to $constant:literal)?, $arguments:expr) => {
        Hook {
            programs: [names::$classic, names::$btf],
            category: "block",
            event: $event,
            fields: &[
                needs("dev", concat!($prefix, "_DEV"), Shape::Number(4)),
                needs("sector", concat!($prefix, "_SECTOR"), Shape::Number(8)),
                needs("nr_sector", concat!($prefix, "_NR_SECTOR"), Shape::Number(4)),
                takes("rwbs", concat!($prefix, "_RWBS"), Shape::Letters(2)),
                $(takes($field, $constant, Shape::Number(4)),)?
            ],
            arguments: $arguments,
        }
    };
}

/// What it is of no use without, and what else.
macro_rules! needed {
    ($($more:literal),+) => {
        [
            "ISSUE_REQUEST_ARG",
            "COMPLETE_REQUEST_ARG",
            "COMPLETE_BYTES_ARG",
            "REQUEST_FLAGS",
            "REQUEST_SECTOR",
            "REQUEST_BYTES",
            "DISK_MAJOR",
            "DISK_FIRST_MINOR",
            $($more),+
        ]
    };
}

pub(super) const PROBE: Probe = Probe {
    name: "block_io",
    key: "block_io",
    hooks: &[
        hook!(
            "block_rq_insert" by IO_INSERT, IO_INSERT_BTF, "INSERT" with "bytes" to "INSERT_BYTES",
            &[argument("*request", "INSERT_REQUEST_ARG")]
        ),
        // The request stands behind the queue before 5.11 (a54895fa057c), here and with the requeue.
        hook!(
            "block_rq_issue" by IO_ISSUE, IO_ISSUE_BTF, "ISSUE" with "bytes" to "ISSUE_BYTES",
            &[argument("*request", "ISSUE_REQUEST_ARG")]
        ),
        hook!(
            "block_rq_requeue" by IO_REQUEUE, IO_REQUEUE_BTF, "REQUEUE",
            &[argument("*request", "REQUEUE_REQUEST_ARG")]
        ),
        hook!(
            "block_rq_merge" by IO_MERGE, IO_MERGE_BTF, "MERGE",
            &[argument("*request", "MERGE_REQUEST_ARG")]
        ),
        hook!(
            "block_rq_complete" by IO_COMPLETE, IO_COMPLETE_BTF, "COMPLETE" with "error" to "COMPLETE_ERROR",
            &[
                argument("*request", "COMPLETE_REQUEST_ARG"),
                argument("unsigned int", "COMPLETE_BYTES_ARG"),
                // An errno before 5.16 (8a7d267b4a2c).
                argument("int", "COMPLETE_ERRNO_ARG"),
                argument("blk_status_t", "COMPLETE_STATUS_ARG"),
            ]
        ),
        // From 5.18 on (`include/trace/events/block.h`).
        hook!(
            "block_rq_error" by IO_ERROR, IO_ERROR_BTF, "ERROR" with "error" to "ERROR_ERROR",
            &[
                argument("*request", "ERROR_REQUEST_ARG"),
                argument("unsigned int", "ERROR_BYTES_ARG"),
                argument("blk_status_t", "ERROR_STATUS_ARG"),
            ]
        ),
    ],
    members: &[
        member(&["request.cmd_flags"], "REQUEST_FLAGS", Shape::Number(4)),
        member(&["request.__sector"], "REQUEST_SECTOR", Shape::Number(8)),
        member(&["request.__data_len"], "REQUEST_BYTES", Shape::Number(4)),
        // The disk moved from the request to its queue in 5.17 (f3fa33acca9f).
        member(&["request.rq_disk"], "REQUEST_DISK", Shape::Number(8)),
        member(&["request.q"], "REQUEST_QUEUE", Shape::Number(8)),
        member(&["request_queue.disk"], "QUEUE_DISK", Shape::Number(8)),
        member(&["gendisk.major"], "DISK_MAJOR", Shape::Number(4)),
        member(&["gendisk.first_minor"], "DISK_FIRST_MINOR", Shape::Number(4)),
        // The group of who issues, where version 1 of control groups is in use; as with OOM kills.
        member(&["task_struct.cgroups"], "OOM_TASK_CGROUPS", Shape::Number(8)),
        member(&["css_set.subsys"], "OOM_SET_SUBSYS", Shape::Letters(8)),
        member(&["cgroup_subsys_state.ss"], "OOM_CSS_SS", Shape::Number(8)),
        member(&["cgroup_subsys.name"], "OOM_SS_NAME", Shape::Number(8)),
        member(&["cgroup_subsys_state.cgroup"], "OOM_CSS_CGROUP", Shape::Number(8)),
        member(&["cgroup.kn"], "OOM_CGROUP_NODE", Shape::Number(8)),
        member(&["kernfs_node.id"], "OOM_NODE_ID", Shape::Number(8)),
    ],
    // With the disk behind the request, or behind its queue.
    enough: &[&needed!("REQUEST_QUEUE", "QUEUE_DISK"), &needed!("REQUEST_DISK")],
    // Knows a request by its address: device and sector are those of several where the kernel merges
    // requests or flushes on several hardware queues.
    prefers: Mode::Btf,
    maps: &[names::STARTS, names::HIST, names::EMPTY, names::WINDOW, names::ISSUERS],
    rare: false,
    fallback: "block latency is the average of /proc/diskstats only; slow requests are not reported one by one",
    wanted: |options| options.block_io,
    lacks: nothing,
};
