//! Whether this process sees the processes of the host under the numbers that the kernel gives them.

use super::{Host, read_text};

/// The first namespace of processes (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
pub const FIRST_PID: &str = "pid:[4026531836]";

/// Whether `/proc` is that of a namespace of its own. Kernels without such namespaces have no such file.
pub fn has_own_pids(host: &dyn Host) -> bool {
    // A `/proc` of the host's shows the numbers of the agent in all namespaces from there on.
    let seen_from_outside = || {
        let status = read_text(host, "/proc/self/status").unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.is_some_and(|line| line.split_whitespace().count() > 1)
    };
    host.read_link("/proc/self/ns/pid").is_ok_and(|link| link != FIRST_PID) && !seen_from_outside()
}

/// Whether the network is another one than that of process 1: each network has its own files (`proc_net_ns_init`), which have
/// their numbers; to read the links in `ns` of others takes rights.
pub fn has_own_net(host: &dyn Host) -> bool {
    let file = |process: &str| host.inode(&format!("/proc/{process}/net/dev")).ok();
    file("self").zip(file("1")).is_some_and(|(own, first)| own != first)
}

/// Whether processes of others are shown. Process 1 has all rights of its namespace, so that whoever sees it in spite
/// of `hidepid` may look at everybody (`has_pid_permissions`, `fs/proc/base.c`; `cap_ptrace_access_check`).
pub fn shows_others(host: &dyn Host) -> bool {
    read_text(host, "/proc/1/status").is_ok()
}
