//! `sched:sched_process_hang`.

use agent_common::names;

use super::{BtfHook, BtfMode, Hook, Mode, Probe, Shape, argument, member, needs, takes};
use crate::ebpf::remedy::Circumstances;
use crate::host::kallsyms::{self, NoNames};
use crate::host::{Host, read_text};

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
    lacks: stack,
};

/// Kernel stacks come from `/proc/PID/stack`, which needs `CAP_SYS_ADMIN`, or from the program, which tells
/// addresses.
fn stack(host: &dyn Host, around: &Circumstances, mode: Mode) -> Option<(String, String)> {
    if around.sys_admin {
        return None;
    }
    if mode == Mode::Classic {
        let why = "kernel stacks of hung tasks come from the kernel log only".to_owned();
        return Some((
            why,
            "nothing short of another kernel (5.9 or newer, CONFIG_DEBUG_INFO_BTF)".to_owned(),
        ));
    }
    let error = kallsyms::check(host).err()?;
    let restrict = read_text(host, "/proc/sys/kernel/kptr_restrict").unwrap_or_default();
    let remedy = match (&error, restrict.trim()) {
        (NoNames::Hidden, "2") => "run `sysctl kernel.kptr_restrict=1` and give the agent CAP_SYSLOG",
        (NoNames::Hidden, _) => "give the agent CAP_SYSLOG (kernel.kptr_restrict)",
        (NoNames::Unreadable(_), _) => "a kernel with CONFIG_KALLSYMS, and a /proc that shows it",
    };
    Some((format!("kernel stacks of hung tasks have no names: {error}"), remedy.to_owned()))
}
