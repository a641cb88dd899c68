//! `iter/task` (Linux 5.8): the kernel calls the program with each thread of the machine, and what it writes is read from a
//! descriptor. A process costs a quarter of what it does by way of `/proc`.
//!
//! What the structs of a task that is just ending point to may be freed meanwhile (nothing is locked here), so pointers are
//! read once more afterwards: as long as they stand, what they point to has not been given back.

use core::ffi::c_void;

use agent_common::limits::MAX_FILE_WORDS;
use agent_common::task::{NOLOAD, PF_KTHREAD, ProcessRecord, ThreadRecord, UNINTERRUPTIBLE};
use aya_ebpf::helpers::generated::bpf_seq_write;
use bytemuck::{Pod, Zeroable};

use crate::ctx::{Member, member, member_name, peek};

#[unsafe(no_mangle)]
static ITER_TASK_PID: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_TASK_TGID: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_TASK_STATE: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_TASK_EXIT_STATE: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_TASK_RUNTIME: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_TASK_NVCSW: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_TASK_NIVCSW: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_TASK_START: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_TASK_FLAGS: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_TASK_COMM: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_TASK_CGROUPS: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_TASK_SIGNAL: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_TASK_FILES: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_TASK_MM: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_SIGNAL_ENDED: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_SIGNAL_THREADS: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_FILES_FDT: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_FDT_MAX: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_FDT_OPEN: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_MM_FILE: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_MM_ANON: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_MM_SHMEM: Member = Member::ABSENT;

/// `struct bpf_iter__task` and the beginning of `struct bpf_iter_meta`, `kernel/bpf/task_iter.c`, `include/linux/bpf.h`.
#[repr(C)]
struct Context {
    meta: *const Meta,
}

#[repr(C)]
struct Meta {
    seq: *mut c_void,
}

/// Both records of a process, in one piece.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Both {
    thread: ThreadRecord,
    process: ProcessRecord,
}

#[unsafe(link_section = "iter/task")]
#[unsafe(no_mangle)]
fn list_tasks(ctx: *mut c_void) -> u32 {
    // SAFETY: the verifier knows both structs. Loaded directly: the helper wants the pointer with its type.
    let seq = unsafe { (*(*ctx.cast::<Context>()).meta).seq };
    let task: u64 = peek(ctx as u64, 8, 0);
    // After the last one it is called once without any.
    if task == 0 {
        return 0;
    }
    let mut both = Both::zeroed();
    let thread = &mut both.thread;
    thread.pid = member(task, &ITER_TASK_PID, 0);
    thread.tgid = member(task, &ITER_TASK_TGID, 0);
    // On kernels before 5.14 a `long` whose upper half is 0.
    thread.state = member(task, &ITER_TASK_STATE, 0);
    thread.exit_state = member(task, &ITER_TASK_EXIT_STATE, 0);
    thread.runtime_ns = member(task, &ITER_TASK_RUNTIME, 0);
    // Idle threads of the kernel (`TASK_NOLOAD`) are many.
    if thread.state & (UNINTERRUPTIBLE | NOLOAD) == UNINTERRUPTIBLE {
        thread.switches =
            member(task, &ITER_TASK_NVCSW, 0u64).wrapping_add(member(task, &ITER_TASK_NIVCSW, 0));
    }
    if thread.pid == thread.tgid {
        process(task, &mut both.process);
        write(seq, &both);
    } else {
        write(seq, thread);
    }
    0
}

#[inline(always)]
fn process(task: u64, record: &mut ProcessRecord) {
    let signal: u64 = member(task, &ITER_TASK_SIGNAL, 0);
    record.start_ns = member(task, &ITER_TASK_START, 0);
    record.ended_ns = member(signal, &ITER_SIGNAL_ENDED, 0);
    record.groups = member(task, &ITER_TASK_CGROUPS, 0);
    record.threads = member(signal, &ITER_SIGNAL_THREADS, 0);
    record.flags = member(task, &ITER_TASK_FLAGS, 0);
    member_name(task, &ITER_TASK_COMM, &mut record.comm);
    // A kernel thread has the memory of somebody else for a while, and the open files of process 1.
    if record.flags & PF_KTHREAD == 0 {
        record.rss_pages = resident(task);
        record.open_files = open_files(task);
    }
}

/// As `get_mm_rss`, `include/linux/mm.h`: what each processor keeps for itself is not added up.
#[inline(always)]
fn resident(task: u64) -> u64 {
    let mm: u64 = member(task, &ITER_TASK_MM, 0);
    let pages = counter(mm, &ITER_MM_FILE) + counter(mm, &ITER_MM_ANON) + counter(mm, &ITER_MM_SHMEM);
    if member(task, &ITER_TASK_MM, 0u64) == mm { pages } else { 0 }
}

/// Below 0 for moments.
#[inline(always)]
fn counter(mm: u64, place: &'static Member) -> u64 {
    let pages: i64 = member(mm, place, 0);
    if pages < 0 { 0 } else { pages as u64 }
}

/// Bits of `fdt->open_fds`, as `proc_readfd_count`, `fs/proc/fd.c`, counts them.
#[inline(always)]
fn open_files(task: u64) -> u32 {
    let files: u64 = member(task, &ITER_TASK_FILES, 0);
    let fdt: u64 = member(files, &ITER_FILES_FDT, 0);
    let words = member(fdt, &ITER_FDT_MAX, 0u32) / 64;
    let bits: u64 = member(fdt, &ITER_FDT_OPEN, 0);
    let mut count = 0;
    if bits != 0 {
        for nth in 0..MAX_FILE_WORDS {
            if nth >= words {
                break;
            }
            count += peek(bits, nth as u64 * 8, 0u64).count_ones();
        }
    }
    if member(task, &ITER_TASK_FILES, 0u64) == files { count } else { 0 }
}

#[inline(always)]
fn write<T: Pod>(seq: *mut c_void, record: &T) {
    // Where there is no room the kernel takes the record back, and calls again with the same task at the next `read`.
    // SAFETY: the record has no padding (`Pod`), so every byte of it is set.
    unsafe { bpf_seq_write(seq.cast(), (&raw const *record).cast(), size_of::<T>() as u32) };
}
