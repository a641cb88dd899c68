//! All threads of the machine at one look, where the kernel hands them out: see [`crate::ebpf`].

use std::io;

pub use agent_common::task::{BRIEF, PF_KTHREAD, ProcessRecord, ThreadRecord, letter};

/// Hands out all threads. Those of a process may come in any order.
pub trait Tasks: Send {
    /// Calls `each` with every thread; with a process's first one comes what is known of the process.
    ///
    /// # Errors
    /// The kernel's. What was handed out before does not count.
    fn scan(&mut self, each: &mut dyn FnMut(&ThreadRecord, Option<&ProcessRecord>)) -> io::Result<()>;

    /// The same, but what is known of a process with one thread may be left out where it has not run since it was handed out
    /// last, by either call.
    ///
    /// # Errors
    /// As above.
    fn scan_brief(&mut self, each: &mut dyn FnMut(&ThreadRecord, Option<&ProcessRecord>)) -> io::Result<()> {
        self.scan(each)
    }
}
