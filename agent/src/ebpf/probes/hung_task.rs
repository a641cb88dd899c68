//! `sched:sched_process_hang`.

use std::io::ErrorKind;

use agent_common::names;

use super::{Hook, Lack, Mode, Probe, Shape, argument, member, needs, takes};
use crate::ebpf::remedy::Circumstances;
use crate::host::kallsyms::{self, NoNames};
use crate::host::{Host, read_text};

pub(super) const PROBE: Probe = Probe {
    name: "hung_task",
    key: "hung_task",
    hooks: &[Hook {
        programs: [names::HUNG_TASK, names::HUNG_TASK_BTF],
        category: "sched",
        event: "sched_process_hang",
        fields: &[
            needs("pid", "HANG_PID", Shape::Number(4)),
            takes("comm", "HANG_COMM", Shape::Name("HANG_COMM_BY_REF")),
        ],
        arguments: &[argument("*task_struct", "HANG_TASK_ARG")],
    }],
    members: &[
        member(&["task_struct.pid"], "HANG_TASK_PID", Shape::Number(4)),
        member(&["task_struct.tgid"], "HANG_TASK_TGID", Shape::Number(4)),
        member(&["task_struct.comm"], "HANG_TASK_COMM", Shape::Letters(16)),
    ],
    enough: &[&["HANG_TASK_ARG", "HANG_TASK_PID"]],
    // The kernel stack: `bpf_get_task_stack` wants a task that the verifier knows to be one.
    prefers: Mode::Btf,
    maps: &[],
    rare: false,
    fallback: "hung tasks are read from the kernel log (/dev/kmsg), which falls silent after \
               kernel.hung_task_warnings reports",
    wanted: |options| options.hung_task,
    lacks,
};

/// What a running probe is without.
fn lacks(host: &dyn Host, around: &Circumstances, mode: Mode) -> Option<Lack> {
    khungtaskd(host).or_else(|| stack(host, around, mode))
}

/// The tracepoint is khungtaskd's: where that does not look, it never fires.
fn khungtaskd(host: &dyn Host) -> Option<Lack> {
    const TIMEOUT: &str = "kernel.hung_task_timeout_secs";
    let (why, remedy) = match read_text(host, "/proc/sys/kernel/hung_task_timeout_secs") {
        Ok(text) if text.trim() == "0" => (
            format!("{TIMEOUT} is 0, so the kernel looks for no hung task; the agent's own watch does"),
            format!("run `sysctl {TIMEOUT}=120`"),
        ),
        Ok(_) => return None,
        Err(error) => {
            let why =
                format!("{TIMEOUT} cannot be read ({error}); the agent's own watch looks for hung tasks");
            let remedy = match error.kind() {
                ErrorKind::NotFound if read_text(host, "/proc/sys/kernel/pid_max").is_ok() => {
                    "a kernel with CONFIG_DETECT_HUNG_TASK"
                }
                ErrorKind::NotFound => "mount /proc with /proc/sys in it: without subset=pid",
                _ => "let the agent read /proc/sys/kernel/hung_task_timeout_secs",
            };
            (why, remedy.to_owned())
        }
    };
    Some(Lack { why, remedy })
}

/// Kernel stacks come from `/proc/PID/stack`, which needs `CAP_SYS_ADMIN`, or from the program, which tells
/// addresses.
fn stack(host: &dyn Host, around: &Circumstances, mode: Mode) -> Option<Lack> {
    if around.sys_admin {
        return None;
    }
    if mode == Mode::Classic {
        return Some(Lack {
            why: "kernel stacks of hung tasks come from the kernel log only".into(),
            remedy: "nothing short of another kernel (5.9 or newer, CONFIG_DEBUG_INFO_BTF)".into(),
        });
    }
    let error = kallsyms::check(host).err()?;
    let restrict = read_text(host, "/proc/sys/kernel/kptr_restrict").unwrap_or_default();
    let remedy = match (&error, restrict.trim()) {
        (NoNames::Hidden, "2") => "run `sysctl kernel.kptr_restrict=1` and give the agent CAP_SYSLOG",
        (NoNames::Hidden, _) => "give the agent CAP_SYSLOG (kernel.kptr_restrict)",
        (NoNames::Unreadable(_), _) => "a kernel with CONFIG_KALLSYMS, and a /proc that shows it",
    };
    let why = format!("kernel stacks of hung tasks have no names: {error}");
    Some(Lack { why, remedy: remedy.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    fn check(host: &str, mode: Mode, sys_admin: bool, expect: Option<(&str, &str)>) {
        let host = FixtureHost::parse(host).expect("valid");
        let around = Circumstances { sys_admin, ..Circumstances::default() };
        match (stack(&host, &around, mode), expect) {
            (None, None) => {}
            (Some(lack), Some((why, remedy))) => {
                assert!(lack.why.contains(why) && lack.remedy.contains(remedy), "{lack:?}");
            }
            (got, _) => panic!("{got:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn what_keeps_a_stack_without_names_is_named() {
        const SHOWN: &str = "//- /proc/kallsyms\nffffffff81000000 T _text\n";
        const HIDDEN: &str =
            "//- /proc/kallsyms\n0000000000000000 T _text\n//- /proc/sys/kernel/kptr_restrict\n";
        check(SHOWN, Mode::Btf, false, None);
        check(SHOWN, Mode::Classic, false, Some(("kernel log only", "CONFIG_DEBUG_INFO_BTF")));
        check(SHOWN, Mode::Classic, true, None);
        check("", Mode::Btf, true, None);
        check("", Mode::Btf, false, Some(("cannot be read", "CONFIG_KALLSYMS")));
        check(&format!("{HIDDEN}1\n"), Mode::Btf, false, Some(("hides", "give the agent CAP_SYSLOG")));
        check(&format!("{HIDDEN}0\n"), Mode::Btf, false, Some(("hides", "CAP_SYSLOG")));
        check(&format!("{HIDDEN}2\n"), Mode::Btf, false, Some(("hides", "sysctl kernel.kptr_restrict=1")));
    }
}
