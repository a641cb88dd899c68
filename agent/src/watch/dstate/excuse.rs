//! Long uninterruptible sleeps that are no hangs.

use super::Status;
use crate::host::{Host, read_text};
use crate::watch::enrich::Stat;

/// A thread of the kernel (`include/linux/sched.h`).
const PF_KTHREAD: u64 = 0x0020_0000;
/// Children of a task that are looked at.
const MAX_CHILDREN: usize = 16;
/// Ancestors of a control group looked at.
const MAX_DEPTH: usize = 16;

/// Why a sleep in this function is none of ours.
const WAITS: &[(&[&str], &str)] = &[
    (&["kernel_clone", "_do_fork", "do_fork", "wait_for_vfork_done"], VFORK),
    (&["__refrigerator", "refrigerator"], FROZEN),
    (&["msleep", "schedule_timeout_uninterruptible"], "it sleeps for a time that it chose itself"),
    (&["do_coredump", "coredump_task_exit", "exit_mm"], DUMP),
    (&["kthread"], IDLE),
];

const OWN: &str =
    "it is a thread or a child of the agent, made to ask what may hang: who does not answer is told as that";
const VFORK: &str = "the parent of a vfork waits until its child has started another program or ended";
const FROZEN: &str = "it is frozen, by a control group or for suspend";
const DUMP: &str = "its process is writing a core dump";
const IDLE: &str = "a kernel thread that waits in its own main function has nothing to do";
const UNTOLD: &str = "this kernel shows idle kernel threads as if they hung (before 4.14)";
const UNSEEN: &str = "a kernel thread whose stack may not be read: idle or hung, the kernel will say";

/// The excuse of a task, if it has one.
pub(super) fn of(
    host: &dyn Host,
    pid: u32,
    stat: &Stat,
    status: &Status,
    wchan: Option<&str>,
) -> Option<&'static str> {
    if status.dumping {
        return Some(DUMP);
    }
    if is_own(host, status) {
        return Some(OWN);
    }
    if stat.flags & PF_KTHREAD != 0 {
        return kernel_thread(host, pid, wchan);
    }
    match wchan {
        Some(wchan) => waits(wchan),
        // Where this process may not see the function, the same from what all may see.
        None => vfork(host, pid, stat).or_else(|| frozen(host, pid)),
    }
}

/// By the number that this `/proc` gives the agent.
fn is_own(host: &dyn Host, status: &Status) -> bool {
    let own = host.read_link("/proc/self").ok().and_then(|link| link.parse::<u32>().ok());
    own.is_some() && (status.tgid == own || status.parent == own)
}

fn waits(wchan: &str) -> Option<&'static str> {
    // Compilers split functions: `exit_mm.isra.0`.
    let name = wchan.split('.').next().unwrap_or_default();
    WAITS.iter().find(|(names, _)| names.contains(&name)).map(|(_, why)| *why)
}

fn kernel_thread(host: &dyn Host, pid: u32, wchan: Option<&str>) -> Option<&'static str> {
    if !tells_idle(&host.uname().release) {
        return Some(UNTOLD);
    }
    if let Some(why) = wchan.and_then(waits) {
        return Some(why);
    }
    // Some drivers' threads wait for work uninterruptibly: Rockchip's media, wilc1000's K_TXQ_TASK, SCST.
    // They never hold `exec_update_lock`: reading their stack waits for nobody.
    let Ok(stack) = read_text(host, &format!("/proc/{pid}/stack")) else { return Some(UNSEEN) };
    let mut names = stack.lines().filter_map(|line| {
        let frame = line.split_once(">] ").map_or(line, |(_, frame)| frame);
        Some(frame.split_once("+0x")?.0)
    });
    let main = names.by_ref().find(|name| !PRIMITIVES.iter().any(|begin| name.starts_with(begin)))?;
    (main == "kthread" || names.next() == Some("kthread")).then_some(IDLE)
}

/// Functions that wait on behalf of their caller.
const PRIMITIVES: [&str; 9] = [
    "schedule",
    "__schedule",
    "io_schedule",
    "down",
    "__down",
    "wait_for_completion",
    "__wait_for_common",
    "wait_woken",
    "usleep_range",
];

/// Idle threads of the kernel have a letter of their own since 4.14 (06eb61844d84).
fn tells_idle(release: &str) -> bool {
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().ok());
    let version = (parts.next().flatten(), parts.next().flatten());
    version >= (Some(4), Some(14)) || version.0.is_none()
}

/// A child that still shares its parent's memory has the same size and name.
fn vfork(host: &dyn Host, pid: u32, stat: &Stat) -> Option<&'static str> {
    let children = read_text(host, &format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let mut pids = children.split_whitespace().take(MAX_CHILDREN).filter_map(|pid| pid.parse().ok());
    let shares = |child: Stat| child.virtual_bytes == stat.virtual_bytes && child.comm == stat.comm;
    pids.any(|pid| Stat::read(host, pid).is_some_and(shares)).then_some(VFORK)
}

/// Frozen through version 1 of control groups; version 2 does not show it as uninterruptible.
fn frozen(host: &dyn Host, pid: u32) -> Option<&'static str> {
    let groups = read_text(host, &format!("/proc/{pid}/cgroup")).ok()?;
    let path = groups.lines().find_map(|line| line.split_once(":freezer:"))?.1;
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return None;
    }
    let parents = std::iter::successors(Some(path), |path| path.rsplit_once('/').map(|(parent, _)| parent));
    let state = |path: &str| read_text(host, &format!("/sys/fs/cgroup/freezer{path}/freezer.state")).ok();
    let is_frozen = |path| state(path).is_some_and(|state| state.trim() != "THAWED");
    parents.take(MAX_DEPTH).filter(|path| !path.is_empty()).any(is_frozen).then_some(FROZEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    const USER: u64 = 0x40_0000;

    /// The excuse of task 7 on a host; `-` for none.
    fn check(text: &str, flags: u64, wchan: Option<&str>, dumping: bool, expect: &str) {
        let host = FixtureHost::parse(text).unwrap();
        let line = format!("7 (x) D 1 1 1 0 -1 {flags} 9 0 0 0 1 0 0 0 20 0 1 0 5 4096 1 18 1\n");
        let status = Status { state: b'D', tgid: Some(7), parent: Some(3), switches: 1, dumping };
        let why = of(&host, 7, &Stat::parse(&line).unwrap(), &status, wchan);
        assert_eq!(why.unwrap_or("-"), expect, "{text} {wchan:?}");
    }

    #[test]
    fn waits_of_user_space() {
        for (wchan, expect) in [
            ("kernel_clone", VFORK),
            ("_do_fork", VFORK),
            ("__refrigerator", FROZEN),
            ("exit_mm.isra.0", DUMP),
            ("exit_mmap", "-"),
            ("percpu_rwsem_wait", "-"),
            ("rpc_wait_bit_killable", "-"),
            ("", "-"),
            (".", "-"),
        ] {
            check("", USER, Some(wchan), false, expect);
        }
        check("", USER, Some("anything"), true, DUMP);
    }

    #[test]
    fn threads_and_children_of_the_agent() {
        for (own, expect) in [("7", OWN), ("3", OWN), ("8", "-"), ("x", "-")] {
            check(&format!("//- /proc/self -> {own}"), USER, Some("fuse_get_req"), false, expect);
        }
    }

    #[test]
    fn where_the_function_is_hidden() {
        let child = |size: u32, comm: &str| {
            format!(
                "//- /proc/7/task/7/children\n8 x 9\n//- /proc/9/stat\n\
                 9 ({comm}) S 7 1 1 0 -1 0 9 0 0 0 1 0 0 0 20 0 1 0 5 {size} 1 18 1\n"
            )
        };
        check(&child(4096, "x"), USER, None, false, VFORK);
        check(&child(8192, "x"), USER, None, false, "-");
        check(&child(4096, "other"), USER, None, false, "-");
        check(&child(4096, "x"), USER, Some("nfs_wait"), false, "-");
        let group = |state: &str, path: &str| {
            format!(
                "//- /proc/7/cgroup\n3:freezer:{path}\n//- /sys/fs/cgroup/freezer/a/freezer.state\n{state}\n"
            )
        };
        check(&group("FROZEN", "/a"), USER, None, false, FROZEN);
        check(&group("FREEZING", "/a/b"), USER, None, false, FROZEN);
        check(&group("THAWED", "/a"), USER, None, false, "-");
        check(&group("FROZEN", "/"), USER, None, false, "-");
        check(&group("FROZEN", "/b"), USER, None, false, "-");
        check(&group("FROZEN", "/../a"), USER, None, false, "-");
        check("", USER, None, false, "-");
    }

    #[test]
    fn threads_of_the_kernel() {
        let on =
            |release: &str, stack: &str| format!("//- uname h {release} x86_64\n//- /proc/7/stack\n{stack}");
        let idle = "[<0>] schedule_timeout+0x1/0x2\n[<0>] __down_common+0x1/0x2\n[<0>] vmcu_task+0x1/0x2 [rk]\n[<0>] kthread+0x1/0x2\n";
        let hung = "[<0>] jbd2_journal_commit_transaction+0x1/0x2\n[<0>] kjournald2+0x1/0x2\n[<0>] kthread+0x1/0x2\n";
        let module = "[<0>] vmcu_task+0x1/0x2\n[<0>] kthread+0x1/0x2\n";
        for (release, stack, wchan, expect) in [
            ("6.18.0", module, Some("vmcu_task"), IDLE),
            ("6.18.0", idle, None, IDLE),
            ("6.18.0", hung, Some("jbd2_journal_commit_transaction"), "-"),
            ("4.14.0-x", hung, None, "-"),
            ("4.4.0-21-generic", hung, None, UNTOLD),
            ("3.10.0-957.el7", module, None, UNTOLD),
            ("6.18.0", hung, Some("msleep"), "it sleeps for a time that it chose itself"),
            ("6.18.0", "", None, "-"),
            ("x", hung, None, "-"),
        ] {
            check(&on(release, stack), PF_KTHREAD, wchan, false, expect);
        }
        check("//- uname h 6.1 x\n//- denied /proc/7/stack", PF_KTHREAD, None, false, UNSEEN);
    }
}
