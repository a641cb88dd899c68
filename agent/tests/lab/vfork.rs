//! Uninterruptible sleep that takes no rights and no disk.

use std::thread;

/// A thread that waits for its vfork child for so long.
pub(crate) fn vfork_parent(secs: u32) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let flags = libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: like fork: the child has memory of its own, and calls only what is safe in a signal handler.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
        if pid == 0 {
            // SAFETY: as above; both take plain numbers, and `_exit` does not return.
            unsafe {
                libc::sleep(secs);
                libc::_exit(0)
            }
        }
        // SAFETY: the status is not wanted; the pid is that of the child.
        unsafe { libc::waitpid(pid as libc::pid_t, std::ptr::null_mut(), 0) };
    })
}
