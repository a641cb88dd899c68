//! `iter/task` (Linux 5.8): the kernel calls the program with each thread of the machine, and what it writes is read from a
//! descriptor.
//!
//! Here alone structs are read with plain loads instead of a helper: the context gives a task whose type the verifier knows,
//! and to what is loaded through such a pointer it adds the type (`btf_struct_access`) and a guard against bad addresses, which
//! read as 0 (`BPF_PROBE_MEM`). A load is a nanosecond, a call of the helper twenty. The places are constants to the verifier,
//! since their map is frozen, so it lets them be added to the pointer, and holds every load against the kernel's own types.
//!
//! Most processes sleep from one look to the next. What surrounds them (memory, open files, name) lies in a dozen cache lines that
//! nobody else touches, and cannot have changed much: where user space wants it so, a process with one thread that has not been
//! on a processor since it was told of is told by its first record alone.
//!
//! What the structs of a task that is just ending point to may be freed meanwhile (nothing is locked here), so pointers are
//! read once more afterwards: as long as they stand, what they point to has not been given back.

use core::ffi::c_void;

use agent_common::limits::{MAX_FILE_WORDS, TASK_SLOTS};
use agent_common::task::{BRIEF, NOLOAD, PF_KTHREAD, ProcessRecord, ThreadRecord, UNINTERRUPTIBLE};
use aya_ebpf::helpers::generated::bpf_seq_write;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use bytemuck::{Pod, Zeroable};

use crate::ctx::{Member, Place, peek};

#[unsafe(no_mangle)]
static ITER_TASK_PID: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_TASK_TGID: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_TASK_STATE: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_TASK_EXIT_STATE: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_TASK_RUNTIME: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_TASK_NVCSW: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_TASK_NIVCSW: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_TASK_START: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_TASK_FLAGS: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_TASK_COMM: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_TASK_CGROUPS: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_TASK_SIGNAL: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_TASK_FILES: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_TASK_MM: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_SIGNAL_ENDED: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_SIGNAL_THREADS: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_FILES_FDT: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_FILES_FIRST: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_FDT_MAX: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_FDT_OPEN: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_MM_COUNTS: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static ITER_MM_FILE: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_MM_ANON: Place = Place::UNSET;
#[unsafe(no_mangle)]
static ITER_MM_SHMEM: Place = Place::UNSET;

/// 1 where processes may be told in brief at all.
#[unsafe(no_mangle)]
static ITER_BRIEF: Place = Place::UNSET;
/// 1 where only threads in uninterruptible sleep are told of, and nothing of their processes.
#[unsafe(no_mangle)]
static ITER_ASLEEP: Place = Place::UNSET;

/// Time on a processor that processes had when they were told of, plus 1, by their number; 0: not told of, or with several
/// threads. The last word is user space's: 1 for a look that may be brief.
#[map]
static TASKS_TOLD: Array<u64> = Array::with_max_entries(TASK_SLOTS + 1, 0);

/// `struct bpf_iter__task` and the beginning of `struct bpf_iter_meta`, `kernel/bpf/task_iter.c`, `include/linux/bpf.h`.
#[repr(C)]
struct Context {
    meta: *const Meta,
    task: Struct,
}

#[repr(C)]
struct Meta {
    seq: *mut c_void,
}

/// Address of a struct whose type the verifier knows.
type Struct = *const u8;

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
    // SAFETY: the verifier knows both structs.
    let (seq, task) = unsafe {
        let ctx = ctx.cast::<Context>();
        ((*(*ctx).meta).seq, (*ctx).task)
    };
    // After the last one it is called once without any.
    if task.is_null() {
        return 0;
    }
    let mut both = Both::zeroed();
    let thread = &mut both.thread;
    thread.pid = load(task, &ITER_TASK_PID);
    thread.tgid = load(task, &ITER_TASK_TGID);
    // On kernels before 5.14 a `long` whose upper half is 0.
    thread.state = load(task, &ITER_TASK_STATE);
    thread.exit_state = load(task, &ITER_TASK_EXIT_STATE);
    thread.runtime_ns = load(task, &ITER_TASK_RUNTIME);
    // Idle threads of the kernel (`TASK_NOLOAD`) are many.
    let asleep = thread.state & (UNINTERRUPTIBLE | NOLOAD) == UNINTERRUPTIBLE;
    if asleep {
        thread.switches = load::<u64>(task, &ITER_TASK_NVCSW).wrapping_add(load(task, &ITER_TASK_NIVCSW));
    }
    if ITER_ASLEEP.get() != 0 {
        if asleep {
            write(seq, thread);
        }
    } else if thread.pid == thread.tgid {
        tell(seq, task, &mut both);
    } else {
        write(seq, thread);
    }
    0
}

/// A process, or that it has not run since it was told of.
#[inline(always)]
fn tell(seq: *mut c_void, task: Struct, both: &mut Both) {
    let Both { thread, process: record } = both;
    let mark = thread.runtime_ns.wrapping_add(1);
    let slot = if ITER_BRIEF.get() == 0 { None } else { TASKS_TOLD.get_ptr_mut(thread.pid % TASK_SLOTS) };
    if let Some(slot) = slot {
        // SAFETY: a map's value.
        if unsafe { slot.read_volatile() } == mark && TASKS_TOLD.get(TASK_SLOTS) == Some(&1) {
            thread.exit_state |= BRIEF;
            write(seq, thread);
            return;
        }
    }
    process(task, record);
    let alone = record.threads == 1;
    if write(seq, both)
        && let Some(slot) = slot
    {
        // SAFETY: as above.
        unsafe { slot.write_volatile(if alone { mark } else { 0 }) };
    }
}

#[inline(always)]
fn process(task: Struct, record: &mut ProcessRecord) {
    let signal: Struct = load(task, &ITER_TASK_SIGNAL);
    record.start_ns = load(task, &ITER_TASK_START);
    record.ended_ns = member(signal, &ITER_SIGNAL_ENDED);
    record.groups = load(task, &ITER_TASK_CGROUPS);
    record.threads = member(signal, &ITER_SIGNAL_THREADS);
    record.flags = load(task, &ITER_TASK_FLAGS);
    record.comm = bytemuck::cast([load::<u64>(task, &ITER_TASK_COMM), load_at(task, &ITER_TASK_COMM, 8)]);
    // A kernel thread has the memory of somebody else for a while, and the open files of process 1.
    if record.flags & PF_KTHREAD == 0 {
        record.rss_pages = resident(task);
        record.open_files = open_files(task);
    }
}

/// As `get_mm_rss`, `include/linux/mm.h`: what each processor keeps for itself is not added up.
#[inline(always)]
fn resident(task: Struct) -> u64 {
    let mm: Struct = load(task, &ITER_TASK_MM);
    let [file, anon, _swap, shmem] = if ITER_MM_COUNTS.is_there() {
        // Before 6.2. By the helper: those kernels do not find their way into an array of `atomic_long_t`.
        peek(ITER_MM_COUNTS.find(mm as u64), 0, [0; 4])
    } else {
        [member(mm, &ITER_MM_FILE), member(mm, &ITER_MM_ANON), 0, member(mm, &ITER_MM_SHMEM)]
    };
    let pages = positive(file) + positive(anon) + positive(shmem);
    if load::<u64>(task, &ITER_TASK_MM) == mm as u64 { pages } else { 0 }
}

/// Below 0 for moments.
#[inline(always)]
fn positive(pages: i64) -> u64 {
    if pages < 0 { 0 } else { pages as u64 }
}

/// Bits of `fdt->open_fds`, as `proc_readfd_count`, `fs/proc/fd.c`, counts them.
#[inline(always)]
fn open_files(task: Struct) -> u32 {
    /// Room of the table that lies in `files_struct` itself (`NR_OPEN_DEFAULT`): most processes need no other.
    const OWN_ROOM: u32 = 64;
    let files: Struct = load(task, &ITER_TASK_FILES);
    let fdt: Struct = member(files, &ITER_FILES_FDT);
    let max: u32 = member(fdt, &ITER_FDT_MAX);
    let count = if max == OWN_ROOM {
        member::<u64>(files, &ITER_FILES_FIRST).count_ones()
    } else {
        count_bits(member(fdt, &ITER_FDT_OPEN), max / 64)
    };
    if load::<u64>(task, &ITER_TASK_FILES) == files as u64 { count } else { 0 }
}

#[inline(always)]
fn count_bits(bits: u64, words: u32) -> u32 {
    let mut count = 0;
    if bits != 0 {
        for nth in 0..MAX_FILE_WORDS {
            if nth >= words {
                break;
            }
            count += peek(bits, nth as u64 * 8, 0u64).count_ones();
        }
    }
    count
}

/// A member of a struct, 0 where there is no struct.
#[inline(always)]
fn member<T: Zero>(address: Struct, member: &'static Place) -> T {
    if address.is_null() { T::ZERO } else { load(address, member) }
}

/// A member of a struct that is there.
#[inline(always)]
fn load<T>(address: Struct, member: &'static Place) -> T {
    load_at(address, member, 0)
}

/// The same, so many bytes behind its beginning.
#[inline(always)]
fn load_at<T>(address: Struct, member: &'static Place, behind: usize) -> T {
    // SAFETY: the verifier knows the struct and holds place and size against its type. Volatile: each is one load, in this order.
    unsafe { core::ptr::read_volatile(address.add(member.get() + behind).cast()) }
}

/// Whether there was room. Where there is none the kernel takes the record back, and calls again with the same task at the next
/// `read`.
#[inline(always)]
fn write<T: Pod>(seq: *mut c_void, record: &T) -> bool {
    // SAFETY: the record has no padding (`Pod`), so every byte of it is set.
    unsafe { bpf_seq_write(seq.cast(), (&raw const *record).cast(), size_of::<T>() as u32) == 0 }
}

/// What can be 0.
trait Zero {
    const ZERO: Self;
}

impl Zero for u32 {
    const ZERO: Self = 0;
}

impl Zero for u64 {
    const ZERO: Self = 0;
}

impl Zero for i64 {
    const ZERO: Self = 0;
}

impl Zero for Struct {
    const ZERO: Self = core::ptr::null();
}
