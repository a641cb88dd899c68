//! Waits of threads, into histograms: `vmscan:mm_vmscan_direct_reclaim_begin` to `…_end`, the same for the
//! limit of a control group, `compaction:mm_compaction_begin` to `…_end`, and wake-up to running.

use core::ffi::c_void;

use agent_common::hist::{HistValue, bucket_of};
use agent_common::limits::{HIST_BUCKETS, MAX_SHARDS, RUN_SLOTS, STALL_SLOTS};
use agent_common::wait::{begun, ended};
use agent_common::{COMM_LEN, Stat};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;

use crate::ctx::{Argument, Member, Offset, argument, constant, current_name, field, member, peek};
use crate::out::{self, add, count};

/// Number of shards less one; the number is a power of two.
#[unsafe(no_mangle)]
static WAIT_SHARD_MASK: u32 = 0;

#[inline(always)]
fn begin(slots: &'static Array<u64>, size: u32, thread: u32) {
    if let Some(slot) = slots.get_ptr_mut(thread & (size - 1)) {
        // SAFETY: a map's value.
        unsafe { slot.write_volatile(begun(thread, out::now())) };
    }
}

/// How long the thread has waited; `None` where its beginning was not seen or its slot was taken.
#[inline(always)]
fn end(slots: &'static Array<u64>, size: u32, thread: u32) -> Option<u64> {
    let slot = slots.get_ptr_mut(thread & (size - 1))?;
    // SAFETY: a map's value.
    let waited = ended(unsafe { slot.read_volatile() }, thread, out::now())?;
    // SAFETY: as above.
    unsafe { slot.write_volatile(0) };
    Some(waited)
}

#[inline(always)]
fn measure(hist: &'static Array<HistValue>, waited_ns: u64) {
    // SAFETY: no arguments.
    let shard = unsafe { bpf_get_smp_processor_id() } & constant(&WAIT_SHARD_MASK);
    let Some(hist) = hist.get_ptr_mut(shard) else { return };
    let bucket = bucket_of(waited_ns);
    // SAFETY: `hist` points to a map value as long as the program runs.
    unsafe {
        if bucket < HIST_BUCKETS {
            add((&raw mut (*hist).buckets).cast::<u32>().add(bucket), 1);
        }
        add(&raw mut (*hist).count, 1);
        add(&raw mut (*hist).sum_ns, waited_ns);
        if waited_ns > (*hist).max_ns {
            (*hist).max_ns = waited_ns;
        }
    }
}

/// Programs of a stall of the current thread. They read nothing of the tracepoint, so they serve in both modes.
macro_rules! stall {
    ($starts:ident, $waits:ident, $begin:ident, $end:ident, $counts:expr) => {
        #[map]
        static $starts: Array<u64> = Array::with_max_entries(STALL_SLOTS, 0);
        #[map]
        static $waits: Array<HistValue> = Array::with_max_entries(MAX_SHARDS, 0);

        #[unsafe(link_section = "tracepoint")]
        #[unsafe(no_mangle)]
        fn $begin(_: *mut c_void) -> u32 {
            if $counts() {
                begin(&$starts, STALL_SLOTS, thread());
            }
            0
        }

        #[unsafe(link_section = "tracepoint")]
        #[unsafe(no_mangle)]
        fn $end(_: *mut c_void) -> u32 {
            over(end(&$starts, STALL_SLOTS, thread()), &$waits, $counts);
            0
        }
    };
}

#[inline(always)]
fn over(waited: Option<u64>, waits: &'static Array<HistValue>, counts: impl Fn() -> bool) {
    match waited {
        Some(waited) => measure(waits, waited),
        None if counts() => count(Stat::WaitUnmatched),
        None => {}
    }
}

stall!(RECLAIM_STARTS, RECLAIM_WAITS, reclaim_begin, reclaim_end, everybody);
stall!(MEMCG_STARTS, MEMCG_WAITS, memcg_begin, memcg_end, everybody);
stall!(COMPACT_STARTS, COMPACT_WAITS, compact_begin, compact_end, no_daemon);

#[inline(always)]
fn everybody() -> bool {
    true
}

/// `kcompactd` compacts in the background: nobody waits for it.
#[inline(always)]
fn no_daemon() -> bool {
    let mut name = [0u64; COMM_LEN / 8];
    current_name(bytemuck::cast_mut(&mut name));
    name[0] != u64::from_le_bytes(*b"kcompact")
}

#[inline(always)]
fn thread() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

#[map]
static RUN_STARTS: Array<u64> = Array::with_max_entries(RUN_SLOTS, 0);
#[map]
static RUN_WAITS: Array<HistValue> = Array::with_max_entries(MAX_SHARDS, 0);

#[unsafe(no_mangle)]
static WAKEUP_PID: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static WAKEUP_NEW_PID: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static SWITCH_PREV_PID: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static SWITCH_PREV_STATE: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static SWITCH_NEXT_PID: Offset = Offset::ABSENT;

#[unsafe(no_mangle)]
static WAKEUP_TASK_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static WAKEUP_NEW_TASK_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static SWITCH_PREEMPT_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static SWITCH_PREV_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static SWITCH_NEXT_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static TASK_PID: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static TASK_STATE: Member = Member::ABSENT;
/// Of 64 bits, before 5.14.
#[unsafe(no_mangle)]
static TASK_LONG_STATE: Member = Member::ABSENT;

/// What the record says of a task that was preempted, besides its state (`__trace_sched_switch_state`,
/// `include/trace/events/sched.h`).
const TASK_REPORT_MAX: u64 = 0x100;

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn run_wakeup(ctx: *mut c_void) -> u32 {
    queued(field(ctx, &WAKEUP_PID, 0));
    0
}

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn run_wakeup_new(ctx: *mut c_void) -> u32 {
    queued(field(ctx, &WAKEUP_NEW_PID, 0));
    0
}

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn run_switch(ctx: *mut c_void) -> u32 {
    let state = field(ctx, &SWITCH_PREV_STATE, u64::MAX);
    if state == 0 || state & TASK_REPORT_MAX != 0 {
        queued(field(ctx, &SWITCH_PREV_PID, 0));
    }
    runs(field(ctx, &SWITCH_NEXT_PID, 0));
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn run_wakeup_btf(ctx: *mut c_void) -> u32 {
    queued(member(argument(ctx, &WAKEUP_TASK_ARG), &TASK_PID, 0));
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn run_wakeup_new_btf(ctx: *mut c_void) -> u32 {
    queued(member(argument(ctx, &WAKEUP_NEW_TASK_ARG), &TASK_PID, 0));
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn run_switch_btf(ctx: *mut c_void) -> u32 {
    let prev = argument(ctx, &SWITCH_PREV_ARG);
    let preempted = argument(ctx, &SWITCH_PREEMPT_ARG) as u8 != 0;
    let state = TASK_STATE.find(prev) | TASK_LONG_STATE.find(prev);
    if preempted || peek(state, 0, u32::MAX) == 0 {
        queued(member(prev, &TASK_PID, 0));
    }
    runs(member(argument(ctx, &SWITCH_NEXT_ARG), &TASK_PID, 0));
    0
}

/// Number 0 is the idle task of each processor.
#[inline(always)]
fn queued(thread: u32) {
    if thread != 0 {
        begin(&RUN_STARTS, RUN_SLOTS, thread);
    }
}

#[inline(always)]
fn runs(thread: u32) {
    if thread == 0 {
        return;
    }
    match end(&RUN_STARTS, RUN_SLOTS, thread) {
        Some(waited) => measure(&RUN_WAITS, waited),
        None => count(Stat::WaitUnmatched),
    }
}
