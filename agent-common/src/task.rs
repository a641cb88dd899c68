//! What the task iterator writes: a [`ThreadRecord`] for each thread, and directly behind that of a process's first
//! thread (`pid == tgid`) a [`ProcessRecord`], unless it is marked as told in [`BRIEF`].

use bytemuck::{Pod, Zeroable};

use crate::COMM_LEN;

/// A thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ThreadRecord {
    /// Its number.
    pub pid: u32,
    /// Number of its process.
    pub tgid: u32,
    /// `task_struct.__state`.
    pub state: u32,
    /// `task_struct.exit_state`.
    pub exit_state: u32,
    /// Time on a processor, nanoseconds.
    pub runtime_ns: u64,
    /// Context switches of both kinds; 0 unless it sleeps uninterruptibly.
    pub switches: u64,
}

/// A process, besides its first thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ProcessRecord {
    /// Start after boot, nanoseconds.
    pub start_ns: u64,
    /// Time on a processor of threads that have ended, nanoseconds.
    pub ended_ns: u64,
    /// Resident memory, pages.
    pub rss_pages: u64,
    /// Another number after it has moved to another control group of any hierarchy.
    pub groups: u64,
    /// Threads.
    pub threads: u32,
    /// Open files, at most [`limits::MAX_OPEN_FILES`](crate::limits::MAX_OPEN_FILES).
    pub open_files: u32,
    /// `task_struct.flags`.
    pub flags: u32,
    /// Keeps the layout free of padding; zero.
    pub reserved: u32,
    /// Its name, NUL-terminated.
    pub comm: [u8; COMM_LEN],
}

/// In [`ThreadRecord::exit_state`]: no [`ProcessRecord`] follows, since the process has not run since the newest one.
pub const BRIEF: u32 = 1 << 31;

/// `PF_KTHREAD`, `include/linux/sched.h`: a thread of the kernel.
pub const PF_KTHREAD: u32 = 0x0020_0000;
/// `TASK_UNINTERRUPTIBLE`, same file.
pub const UNINTERRUPTIBLE: u32 = 2;

/// `TASK_NOLOAD`, same file: it does not count as load.
pub const NOLOAD: u32 = 0x400;

/// The letter of `/proc/PID/stat` (`get_task_state`, `fs/proc/array.c`; `__task_state_index`, `include/linux/sched.h`).
pub const fn letter(state: u32, exit_state: u32) -> u8 {
    /// `TASK_REPORT`: running is none of them.
    const REPORT: u32 = 0x7f;
    const RTLOCK_WAIT: u32 = 0x1000;
    const FROZEN: u32 = 0x8000;
    const LETTERS: &[u8; 8] = b"RSDTtXZP";
    if exit_state & REPORT == 0 {
        if state & (UNINTERRUPTIBLE | NOLOAD) == UNINTERRUPTIBLE | NOLOAD {
            return b'I';
        }
        if state & (RTLOCK_WAIT | FROZEN) != 0 {
            return b'D';
        }
    }
    LETTERS[(u32::BITS - ((state | exit_state) & REPORT).leading_zeros()) as usize]
}

const _: () = {
    assert!(size_of::<ThreadRecord>() == 32);
    assert!(size_of::<ProcessRecord>() == 64);
};

#[cfg(test)]
mod tests {
    use super::letter;

    #[test]
    fn letters_are_those_of_proc() {
        for (state, exit_state, expect) in [
            (0, 0, b'R'),
            (1, 0, b'S'),
            (2, 0, b'D'),
            (0x2002, 0, b'D'),
            (0x102, 0, b'D'),
            (0x402, 0, b'I'),
            (0x2402, 0, b'I'),
            (4, 0, b'T'),
            (0x104, 0, b'T'),
            (8, 0, b't'),
            (0x40, 0, b'P'),
            (0x80, 0x20, b'Z'),
            (0, 0x10, b'X'),
            (0, 0x30, b'Z'),
            (0x8000, 0, b'D'),
            (0x1000, 0, b'D'),
            (u32::MAX, u32::MAX, b'P'),
        ] {
            assert_eq!(
                char::from(letter(state, exit_state)),
                char::from(expect),
                "{state:#x} {exit_state:#x}"
            );
        }
    }
}
