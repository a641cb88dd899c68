//! `sched:sched_process_hang`.

use agent_common::names;

use super::{BtfHook, BtfMode, Hook, Mode, Probe, Shape, argument, member, needs, takes};

pub(super) const PROBE: Probe = Probe {
    name: "hung_task",
    classic: &[Hook {
        program: names::HUNG_TASK,
        category: "sched",
        event: "sched_process_hang",
        fields: &[
            needs("pid", "HANG_PID", Shape::Number(4)),
            takes("comm", "HANG_COMM", Shape::Name("HANG_COMM_BY_REF")),
        ],
    }],
    btf: BtfMode {
        hooks: &[BtfHook {
            program: names::HUNG_TASK_BTF,
            event: "sched_process_hang",
            arguments: &[argument("*task_struct", "HANG_TASK_ARG")],
        }],
        members: &[
            member(&["task_struct.pid"], "HANG_TASK_PID", Shape::Number(4)),
            member(&["task_struct.tgid"], "HANG_TASK_TGID", Shape::Number(4)),
            member(&["task_struct.comm"], "HANG_TASK_COMM", Shape::Letters(16)),
        ],
        enough: &[&["HANG_TASK_ARG", "HANG_TASK_PID"]],
    },
    // The kernel stack: `bpf_get_task_stack` wants a task that the verifier knows to be one.
    prefers: Mode::Btf,
    maps: &[],
    fallback: "hung tasks are read from the kernel log (/dev/kmsg), which falls silent after \
               kernel.hung_task_warnings reports",
    wanted: |options| options.hung_task,
};
