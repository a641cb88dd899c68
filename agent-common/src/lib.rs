//! Records that the eBPF programs write and the agent reads.
//!
//! Both sides compile this crate, so the layout is one fact: `repr(C)`, no padding
//! (`bytemuck::Pod` refuses it at compile time) and sizes asserted below.
#![no_std]

pub mod hardware;
pub mod hist;
pub mod limits;
pub mod names;
pub mod remote;
pub mod task;
pub mod wait;

use bytemuck::{Pod, Zeroable};

use crate::limits::MAX_FRAMES;

/// Length of a task name in the kernel, the final NUL included (`TASK_COMM_LEN`, `include/linux/sched.h`).
pub const COMM_LEN: usize = 16;

/// What a record is. The numbers are stable: a number is never given a second meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RecordKind {
    /// [`OomRecord`].
    Oom = 1,
    /// [`HangRecord`].
    Hang = 2,
    /// [`IoRecord`].
    Io = 3,
    /// [`IoErrorRecord`].
    IoError = 4,
    /// [`HardwareRecord`](hardware::HardwareRecord).
    Hardware = 16,
}

impl RecordKind {
    /// The kind with this number, if there is one.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Oom),
            2 => Some(Self::Hang),
            3 => Some(Self::Io),
            4 => Some(Self::IoError),
            16 => Some(Self::Hardware),
            _ => None,
        }
    }
}

/// First bytes of every record.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct Header {
    /// A [`RecordKind`] number.
    pub kind: u32,
    /// Size of the whole record in bytes.
    pub size: u32,
    /// `bpf_ktime_get_ns()`: `CLOCK_MONOTONIC`, nanoseconds.
    pub at_ns: u64,
}

/// Value of a number the kernel at hand does not tell.
pub const ABSENT_U64: u64 = u64::MAX;
/// As [`ABSENT_U64`], for 32 bits.
pub const ABSENT_U32: u32 = u32::MAX;
/// Value of an unknown `oom_score_adj`, outside the kernel's -1000..=1000.
pub const ABSENT_SCORE: i32 = i32::MIN;
/// Value of an unknown order of an allocation, outside the kernel's -1..=10.
pub const ABSENT_ORDER: i32 = i32::MIN;

/// `oom:mark_victim`: the kernel chose a process to kill.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct OomRecord {
    /// Kind, size, time.
    pub header: Header,
    /// Victim's `total_vm`, kB, or [`ABSENT_U64`].
    pub total_vm_kb: u64,
    /// Victim's anonymous resident memory, kB, or [`ABSENT_U64`].
    pub anon_rss_kb: u64,
    /// Victim's file-backed resident memory, kB, or [`ABSENT_U64`].
    pub file_rss_kb: u64,
    /// Victim's shared resident memory, kB, or [`ABSENT_U64`].
    pub shmem_rss_kb: u64,
    /// Victim's page tables, kB, or [`ABSENT_U64`].
    pub pgtables_kb: u64,
    /// Serial number of the outermost memory control group around the victim whose processes die together
    /// (`memory.oom.group`); 0: there is none; or [`ABSENT_U64`].
    pub group: u64,
    /// Inode of the directory of the victim's memory control group (`kernfs_node.id`), or 0.
    pub cgroup_id: u64,
    /// When the victim, [`OomRecord::pid`], started (`CLOCK_BOOTTIME`, nanoseconds), or 0.
    pub start_ns: u64,
    /// Victim as `task_pid_nr` gives it, in the initial pid namespace.
    pub pid: u32,
    /// Victim's user id, or [`ABSENT_U32`].
    pub uid: u32,
    /// Victim's `oom_score_adj`, or [`ABSENT_SCORE`].
    pub oom_score_adj: i32,
    /// Thread whose allocation started the kill (the current task of the tracepoint).
    pub trigger_tid: u32,
    /// Process of that thread.
    pub trigger_pid: u32,
    /// User of that thread.
    pub trigger_uid: u32,
    /// Victim's process, or 0 when the kernel does not tell it; [`OomRecord::pid`] may be any thread of it.
    pub tgid: u32,
    /// Bytes of `cmdline` that count.
    pub cmdline_len: u32,
    /// What ran out, an `enum oom_constraint` (`include/linux/oom.h`), or [`ABSENT_U32`].
    pub constraint: u32,
    /// Flags of the trigger's allocation, or [`ABSENT_U32`].
    pub gfp_mask: u32,
    /// Its order, or [`ABSENT_ORDER`].
    pub order: i32,
    /// The group whose limit was hit: so many levels above the victim's own; [`ABSENT_U32`]: none, or not known.
    pub limit_level: u32,
    /// Bytes of `path` that count; 0: the group is not known.
    pub path_len: u32,
    /// [`PATH_CUT`], [`LIMIT_INFERRED`].
    pub flags: u32,
    /// Victim's name, NUL-terminated; empty when the kernel does not tell it.
    pub comm: [u8; COMM_LEN],
    /// Trigger's name, NUL-terminated.
    pub trigger_comm: [u8; COMM_LEN],
    /// Beginning of the victim's arguments, each NUL-terminated, where the victim itself triggered the kill.
    pub cmdline: [u8; CMDLINE_LEN],
    /// Names of the victim's memory control group and of those around it, innermost first, the root's left out, each
    /// NUL-terminated, the last one perhaps cut.
    pub path: [u8; PATH_LEN],
}

/// Bytes of a command line that a record holds.
pub const CMDLINE_LEN: usize = 256;
/// In [`OomRecord::flags`]: there are more levels above than `path` tells.
pub const PATH_CUT: u32 = 1;
/// In [`OomRecord::flags`]: the group of the limit is the one whose lock says that it is out of memory; nobody was seen
/// to look for a victim in it.
pub const LIMIT_INFERRED: u32 = 2;
/// Bytes of a control group's path that a record holds: those of Kubernetes in Docker take some 400.
pub const PATH_LEN: usize = 512;

/// `sched:sched_process_hang`: khungtaskd found a task in uninterruptible sleep for too long.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct HangRecord {
    /// Kind, size, time.
    pub header: Header,
    /// The task (a thread id) in the initial pid namespace.
    pub pid: u32,
    /// Its process, or 0 when the kernel does not tell it.
    pub tgid: u32,
    /// The task's name, NUL-terminated; empty when the kernel does not tell it.
    pub comm: [u8; COMM_LEN],
    /// Frames in `stack`.
    pub frames: u32,
    /// Keeps the layout free of padding; zero.
    pub reserved: u32,
    /// Return addresses in the kernel, innermost first; 0 behind the last.
    pub stack: [u64; MAX_FRAMES],
}

/// A block request that took at least the threshold from issue to completion.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct IoRecord {
    /// Kind, size, time (of the completion).
    pub header: Header,
    /// Issue to completion, nanoseconds.
    pub latency_ns: u64,
    /// Insert to issue, nanoseconds; [`ABSENT_U64`] for a request that was never queued.
    pub queue_ns: u64,
    /// First sector, in units of 512 bytes.
    pub sector: u64,
    /// Kernel-internal `dev_t`: major << 20 | minor.
    pub dev: u32,
    /// Bytes of the request at issue.
    pub bytes: u32,
    /// An [`IoOp`] number.
    pub op: u32,
    /// The completion's `error`: 0, a negative errno, or a positive `blk_status_t`.
    pub error: i32,
    /// Process that issued it (often a kernel worker), or 0.
    pub issuer_pid: u32,
    /// As [`IoIssuer::hierarchy`].
    pub issuer_hierarchy: u32,
    /// Control group of the issuer then, as [`IoIssuer::cgroup_id`]; 0: not known.
    pub issuer_cgroup: u64,
    /// Issuer's name, NUL-terminated.
    pub issuer_comm: [u8; COMM_LEN],
}

/// A block request that failed.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct IoErrorRecord {
    /// Kind, size, time.
    pub header: Header,
    /// First sector, in units of 512 bytes.
    pub sector: u64,
    /// Kernel-internal `dev_t`: major << 20 | minor.
    pub dev: u32,
    /// Bytes that failed.
    pub bytes: u32,
    /// An [`IoOp`] number.
    pub op: u32,
    /// As [`IoRecord::error`].
    pub error: i32,
}

/// In [`IoIssuer::hierarchy`]: the default hierarchy, that of version 2.
pub const DEFAULT_HIERARCHY: u32 = 0;
/// In [`IoIssuer::hierarchy`]: that of the memory controller, of version 1.
pub const MEMORY_HIERARCHY: u32 = 1;

/// Value of the map of issuers; its key is the device and the process id.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub struct IoIssuer {
    /// Number of the window `requests` and `bytes` are of: the time, shifted.
    pub window: u32,
    /// Requests in that window …
    pub requests: u32,
    /// … and their bytes.
    pub bytes: u64,
    /// Bytes of the window before.
    pub bytes_before: u64,
    /// Requests of the window before.
    pub requests_before: u32,
    /// Whose number `cgroup_id` is: [`DEFAULT_HIERARCHY`] or [`MEMORY_HIERARCHY`].
    pub hierarchy: u32,
    /// Control group of the process when it issued, the inode of its directory (`kernfs_node.id`).
    pub cgroup_id: u64,
    /// The process's name, NUL-terminated.
    pub comm: [u8; COMM_LEN],
}

/// Place of a counter in the statistics map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stat {
    /// Records that found no room in the buffer, or no perf buffer on their processor.
    OutputLost = 0,
    /// Slow requests not reported because of the limit per second.
    IoRateLimited = 1,
    /// Completions whose issue was not seen.
    IoUnmatched = 2,
    /// Requests not counted because the histogram map is full.
    HistFull = 3,
    /// Issues that could not be remembered.
    StartsFull = 4,
    /// Waits whose beginning was not seen, or whose slot another thread took.
    WaitUnmatched = 5,
    /// Failed requests not reported because of the limit per second.
    IoErrorsLimited = 6,
}

impl Stat {
    /// All counters, in the order of their places.
    pub const ALL: [Self; 7] = [
        Self::OutputLost,
        Self::IoRateLimited,
        Self::IoUnmatched,
        Self::HistFull,
        Self::StartsFull,
        Self::WaitUnmatched,
        Self::IoErrorsLimited,
    ];

    /// Label value on metrics, and the reason in reports of loss.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OutputLost => "buffer_full",
            Self::IoRateLimited => "kernel_rate_limit",
            Self::IoUnmatched => "io_unmatched",
            Self::HistFull => "histogram_map_full",
            Self::StartsFull => "in_flight_map_full",
            Self::WaitUnmatched => "wait_unmatched",
            Self::IoErrorsLimited => "kernel_rate_limit_of_errors",
        }
    }
}

/// Kind of block request, from the first letters of the tracepoint's `rwbs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum IoOp {
    /// `R`
    Read = 0,
    /// `W`
    Write = 1,
    /// `D`
    Discard = 2,
    /// Anything else.
    Other = 3,
    /// `FF`: a flush of the device's cache, without data.
    Flush = 4,
}

impl IoOp {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Read, Self::Write, Self::Discard, Self::Other, Self::Flush];

    /// The kind that the first two letters of `rwbs` tell (`blk_fill_rwbs`, `block/blk-core.c` and
    /// `kernel/trace/blktrace.c`): a write with a flush before it is `FW…`, a bare flush `FF`.
    #[expect(clippy::inline_always, reason = "a BPF program must not call another function")]
    #[inline(always)]
    pub const fn from_rwbs(first: u8, second: u8) -> Self {
        let letter = if first == b'F' { second } else { first };
        match letter {
            b'R' => Self::Read,
            b'W' => Self::Write,
            b'D' => Self::Discard,
            b'F' => Self::Flush,
            _ => Self::Other,
        }
    }

    /// The kind that a request's `cmd_flags` tell, the same that [`IoOp::from_rwbs`] makes of it: the
    /// low 8 bits are an `enum req_op` (`include/linux/blk_types.h`). Zeroing is a write from 6.15 on.
    #[expect(clippy::inline_always, reason = "a BPF program must not call another function")]
    #[inline(always)]
    pub const fn from_flags(flags: u32) -> Self {
        match flags & 0xff {
            0 => Self::Read,
            1 => Self::Write,
            // REQ_OP_FLUSH
            2 => Self::Flush,
            // REQ_OP_DISCARD, REQ_OP_SECURE_ERASE
            3 | 5 => Self::Discard,
            _ => Self::Other,
        }
    }

    /// Whether `cmd_flags` are of a command from a driver or from user space: `REQ_OP_SCSI_IN` (32,
    /// before 5.12) to `REQ_OP_DRV_OUT` (35).
    #[expect(clippy::inline_always, reason = "a BPF program must not call another function")]
    #[inline(always)]
    pub const fn is_passthrough(flags: u32) -> bool {
        flags & 0xff >= 32
    }

    /// The kind with this number; an unknown number is [`IoOp::Other`].
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Read,
            1 => Self::Write,
            2 => Self::Discard,
            4 => Self::Flush,
            _ => Self::Other,
        }
    }

    /// Label value on metrics and alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Discard => "discard",
            Self::Other => "other",
            Self::Flush => "flush",
        }
    }
}

const _: () = {
    assert!(size_of::<Header>() == 16);
    assert!(size_of::<OomRecord>() == 168 + CMDLINE_LEN + PATH_LEN);
    assert!(size_of::<HangRecord>() == 48 + 8 * MAX_FRAMES);
    assert!(size_of::<IoRecord>() == 88);
    assert!(size_of::<IoErrorRecord>() == 40);
    assert!(size_of::<IoIssuer>() == 56);
};
