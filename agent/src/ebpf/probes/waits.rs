//! Waits for memory and for a processor.

use agent_common::names;

use super::{Hook, Mode, Probe, Shape, argument, argument_nth, member, needs, nothing};

/// A stall of the current thread between two tracepoints. The programs read nothing, so they are the same
/// in both modes.
macro_rules! stall {
    ($name:literal, $programs:ident, $maps:ident, $category:literal, $begin:literal, $end:literal) => {
        Probe {
            name: $name,
            key: "memory_stalls",
            hooks: &[
                Hook {
                    programs: [names::$programs[0]; 2],
                    category: $category,
                    event: $begin,
                    fields: &[],
                    arguments: &[],
                },
                Hook {
                    programs: [names::$programs[1]; 2],
                    category: $category,
                    event: $end,
                    fields: &[],
                    arguments: &[],
                },
            ],
            members: &[],
            enough: &[],
            prefers: Mode::Classic,
            maps: &names::$maps,
            rare: true,
            fallback: "/proc/pressure/memory tells the sum of such stalls",
            wanted: |options| options.memory_stalls,
            lacks: nothing,
        }
    };
}

pub(super) const RECLAIM: Probe = stall!(
    "direct_reclaim",
    RECLAIM_PROGRAMS,
    RECLAIM,
    "vmscan",
    "mm_vmscan_direct_reclaim_begin",
    "mm_vmscan_direct_reclaim_end"
);

pub(super) const CGROUP_RECLAIM: Probe = stall!(
    "cgroup_reclaim",
    CGROUP_RECLAIM_PROGRAMS,
    CGROUP_RECLAIM,
    "vmscan",
    "mm_vmscan_memcg_reclaim_begin",
    "mm_vmscan_memcg_reclaim_end"
);

pub(super) const COMPACTION: Probe = stall!(
    "compaction",
    COMPACTION_PROGRAMS,
    COMPACTION,
    "compaction",
    "mm_compaction_begin",
    "mm_compaction_end"
);

pub(super) const RUN_QUEUE: Probe = Probe {
    name: "run_queue",
    key: "run_queue",
    hooks: &[
        Hook {
            programs: names::RUN_WAKEUP,
            category: "sched",
            event: "sched_wakeup",
            fields: &[needs("pid", "WAKEUP_PID", Shape::Number(4))],
            arguments: &[argument("*task_struct", "WAKEUP_TASK_ARG")],
        },
        Hook {
            programs: names::RUN_WAKEUP_NEW,
            category: "sched",
            event: "sched_wakeup_new",
            fields: &[needs("pid", "WAKEUP_NEW_PID", Shape::Number(4))],
            arguments: &[argument("*task_struct", "WAKEUP_NEW_TASK_ARG")],
        },
        Hook {
            programs: names::RUN_SWITCH,
            category: "sched",
            event: "sched_switch",
            fields: &[
                needs("prev_pid", "SWITCH_PREV_PID", Shape::Number(4)),
                needs("prev_state", "SWITCH_PREV_STATE", Shape::Number(8)),
                needs("next_pid", "SWITCH_NEXT_PID", Shape::Number(4)),
            ],
            // The state of the first task stood between them in 5.18 and stands behind them since.
            arguments: &[
                argument("bool", "SWITCH_PREEMPT_ARG"),
                argument("*task_struct", "SWITCH_PREV_ARG"),
                argument_nth("*task_struct", 1, "SWITCH_NEXT_ARG"),
            ],
        },
    ],
    members: &[
        member(&["task_struct.pid"], "TASK_PID", Shape::Number(4)),
        // `__state`, of 32 bits, since 5.14 (2f064a59a11f); before it a long, whose low half is first.
        member(&["task_struct.__state"], "TASK_STATE", Shape::Number(4)),
        member(&["task_struct.state"], "TASK_LONG_STATE", Shape::Number(8)),
    ],
    enough: &[
        &[
            "WAKEUP_TASK_ARG",
            "WAKEUP_NEW_TASK_ARG",
            "SWITCH_PREV_ARG",
            "SWITCH_NEXT_ARG",
            "TASK_PID",
            "TASK_STATE",
        ],
        &[
            "WAKEUP_TASK_ARG",
            "WAKEUP_NEW_TASK_ARG",
            "SWITCH_PREV_ARG",
            "SWITCH_NEXT_ARG",
            "TASK_PID",
            "TASK_LONG_STATE",
        ],
    ],
    // Reads less at each switch between tasks.
    prefers: Mode::Classic,
    maps: &names::RUN_QUEUE,
    rare: true,
    fallback: "/proc/pressure/cpu tells the sum of such waits",
    wanted: |options| options.run_queue,
    lacks: nothing,
};
