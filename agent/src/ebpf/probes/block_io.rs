//! `block:block_rq_insert`, `block_rq_issue`, `block_rq_requeue`, `block_rq_complete` and `block_rq_error`.

use agent_common::names;

use super::{BtfHook, BtfMode, Hook, Mode, Probe, Shape, argument, member, needs, nothing, takes};

/// A program of classic mode: what names the request, and one more field.
macro_rules! hook {
    ($program:ident, $event:literal, $prefix:literal $(, $field:literal to $constant:literal)?) => {
        Hook {
            program: names::$program,
            category: "block",
            event: $event,
            fields: &[
                needs("dev", concat!($prefix, "_DEV"), Shape::Number(4)),
                needs("sector", concat!($prefix, "_SECTOR"), Shape::Number(8)),
                needs("nr_sector", concat!($prefix, "_NR_SECTOR"), Shape::Number(4)),
                takes("rwbs", concat!($prefix, "_RWBS"), Shape::Letters(2)),
                $(takes($field, $constant, Shape::Number(4)),)?
            ],
        }
    };
}

pub(super) const PROBE: Probe = Probe {
    name: "block_io",
    key: "block_io",
    classic: &[
        hook!(IO_INSERT, "block_rq_insert", "INSERT", "bytes" to "INSERT_BYTES"),
        hook!(IO_ISSUE, "block_rq_issue", "ISSUE", "bytes" to "ISSUE_BYTES"),
        hook!(IO_REQUEUE, "block_rq_requeue", "REQUEUE"),
        hook!(IO_COMPLETE, "block_rq_complete", "COMPLETE", "error" to "COMPLETE_ERROR"),
        // From 5.18 on (`include/trace/events/block.h`).
        hook!(IO_ERROR, "block_rq_error", "ERROR", "error" to "ERROR_ERROR"),
    ],
    btf: BtfMode {
        hooks: &[
            BtfHook {
                program: names::IO_INSERT_BTF,
                event: "block_rq_insert",
                arguments: &[argument("*request", "INSERT_REQUEST_ARG")],
            },
            BtfHook {
                program: names::IO_ISSUE_BTF,
                event: "block_rq_issue",
                // Behind the queue before 5.11 (a54895fa057c).
                arguments: &[argument("*request", "ISSUE_REQUEST_ARG")],
            },
            BtfHook {
                program: names::IO_REQUEUE_BTF,
                event: "block_rq_requeue",
                // As with the issue.
                arguments: &[argument("*request", "REQUEUE_REQUEST_ARG")],
            },
            BtfHook {
                program: names::IO_COMPLETE_BTF,
                event: "block_rq_complete",
                arguments: &[
                    argument("*request", "COMPLETE_REQUEST_ARG"),
                    argument("unsigned int", "COMPLETE_BYTES_ARG"),
                    // An errno before 5.16 (8a7d267b4a2c).
                    argument("int", "COMPLETE_ERRNO_ARG"),
                    argument("blk_status_t", "COMPLETE_STATUS_ARG"),
                ],
            },
            BtfHook {
                program: names::IO_ERROR_BTF,
                event: "block_rq_error",
                arguments: &[
                    argument("*request", "ERROR_REQUEST_ARG"),
                    argument("unsigned int", "ERROR_BYTES_ARG"),
                    argument("blk_status_t", "ERROR_STATUS_ARG"),
                ],
            },
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
        ],
        enough: &[
            &[
                "ISSUE_REQUEST_ARG",
                "COMPLETE_REQUEST_ARG",
                "COMPLETE_BYTES_ARG",
                "REQUEST_FLAGS",
                "REQUEST_SECTOR",
                "REQUEST_BYTES",
                "DISK_MAJOR",
                "DISK_FIRST_MINOR",
                "REQUEST_QUEUE",
                "QUEUE_DISK",
            ],
            &[
                "ISSUE_REQUEST_ARG",
                "COMPLETE_REQUEST_ARG",
                "COMPLETE_BYTES_ARG",
                "REQUEST_FLAGS",
                "REQUEST_SECTOR",
                "REQUEST_BYTES",
                "DISK_MAJOR",
                "DISK_FIRST_MINOR",
                "REQUEST_DISK",
            ],
        ],
    },
    // Knows a request by its address: device and sector are those of several where the kernel merges
    // requests or flushes on several hardware queues.
    prefers: Mode::Btf,
    maps: &[names::STARTS, names::HIST, names::EMPTY, names::WINDOW, names::ISSUERS],
    rare: false,
    fallback: "block latency is the average of /proc/diskstats only; slow requests are not reported one by one",
    wanted: |options| options.block_io,
    lacks: nothing,
};
