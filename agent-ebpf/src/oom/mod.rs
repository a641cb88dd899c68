//! `oom:mark_victim`: the kernel chose a process to kill.

mod call;
pub mod group;

use core::ffi::c_void;

use agent_common::{ABSENT_ORDER, ABSENT_SCORE, ABSENT_U32, ABSENT_U64, CMDLINE_LEN, OomRecord, RecordKind};
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_user};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use bytemuck::Zeroable;

use self::group::Scratch;
use crate::ctx::{
    Argument, Member, Offset, argument, constant, current_name, current_pid, field, member, member_name, name,
};
use crate::out::{self, Mode};

#[unsafe(no_mangle)]
static OOM_PID: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static OOM_UID: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static OOM_COMM: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static OOM_COMM_BY_REF: u8 = 0;
#[unsafe(no_mangle)]
static OOM_TOTAL_VM: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static OOM_ANON_RSS: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static OOM_FILE_RSS: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static OOM_SHMEM_RSS: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static OOM_PGTABLES: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static OOM_SCORE_ADJ: Offset = Offset::ABSENT;

#[unsafe(no_mangle)]
static OOM_TASK_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static OOM_PID_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static OOM_UID_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static OOM_TASK_PID: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_TASK_TGID: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_TASK_START: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_TASK_COMM: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_TASK_MM: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_TASK_SIGNAL: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_SIGNAL_SCORE_ADJ: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_MM_TOTAL_VM: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_MM_FILE: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_MM_ANON: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_MM_SHMEM: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_MM_PGTABLES: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_MM_ARG_START: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_MM_ARG_END: Member = Member::ABSENT;
/// log2 of a page's size in kB.
#[unsafe(no_mangle)]
static PAGE_KB_SHIFT: u8 = 2;

/// Room for a record: the stack has 512 bytes in all.
#[map]
static OOM_SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// No kernel has this `oom_score_adj`; it stands for an absent one while 16 bits wide.
const NO_SCORE: i16 = i16::MIN;

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn oom_kill(ctx: *mut c_void) -> u32 {
    let Some(Scratch { record, .. }) = begin() else { return 0 };
    record.total_vm_kb = field(ctx, &OOM_TOTAL_VM, ABSENT_U64);
    record.anon_rss_kb = field(ctx, &OOM_ANON_RSS, ABSENT_U64);
    record.file_rss_kb = field(ctx, &OOM_FILE_RSS, ABSENT_U64);
    record.shmem_rss_kb = field(ctx, &OOM_SHMEM_RSS, ABSENT_U64);
    record.pgtables_kb = field(ctx, &OOM_PGTABLES, ABSENT_U64);
    record.pid = field(ctx, &OOM_PID, 0);
    record.uid = field(ctx, &OOM_UID, ABSENT_U32);
    record.oom_score_adj = score(field(ctx, &OOM_SCORE_ADJ, NO_SCORE));
    name(ctx, &OOM_COMM, &OOM_COMM_BY_REF, &mut record.comm);
    out::send(Mode::Classic, ctx, record);
    0
}

/// Reads what `TRACE_EVENT(mark_victim)`, `include/trace/events/oom.h`, puts into the record.
#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn oom_kill_btf(ctx: *mut c_void) -> u32 {
    let Some(scratch) = begin() else { return 0 };
    let control = call::current();
    let task = victim(ctx, control);
    let limit = call::describe(control, &mut scratch.record);
    let css = group::memory(task);
    group::path(css, limit, scratch);
    let record = &mut scratch.record;
    // SAFETY: no arguments.
    let trigger = unsafe { bpf_get_current_task() };
    group::around(css, control == 0 && group::all_of(task) == group::all_of(trigger), record);
    let mm: u64 = member(task, &OOM_TASK_MM, 0);
    let signal: u64 = member(task, &OOM_TASK_SIGNAL, 0);
    record.total_vm_kb = pages_kb(member(mm, &OOM_MM_TOTAL_VM, ABSENT_U64));
    record.anon_rss_kb = counter_kb(mm, &OOM_MM_ANON);
    record.file_rss_kb = counter_kb(mm, &OOM_MM_FILE);
    record.shmem_rss_kb = counter_kb(mm, &OOM_MM_SHMEM);
    let pgtables = member(mm, &OOM_MM_PGTABLES, ABSENT_U64);
    record.pgtables_kb = if pgtables == ABSENT_U64 { ABSENT_U64 } else { pgtables >> 10 };
    record.start_ns = member(task, &OOM_TASK_START, 0);
    record.pid = member(task, &OOM_TASK_PID, argument(ctx, &OOM_PID_ARG) as u32);
    record.tgid = member(task, &OOM_TASK_TGID, 0);
    record.uid = if OOM_UID_ARG.is_there() { argument(ctx, &OOM_UID_ARG) as u32 } else { ABSENT_U32 };
    record.oom_score_adj = score(member(signal, &OOM_SIGNAL_SCORE_ADJ, NO_SCORE));
    member_name(task, &OOM_TASK_COMM, &mut record.comm);
    if record.tgid == record.trigger_pid {
        arguments(mm, record);
    }
    out::send(Mode::Btf, ctx, record);
    0
}

/// A record with what both modes know: the moment, and who triggered the kill.
#[inline(always)]
fn begin<'a>() -> Option<&'a mut Scratch> {
    let scratch = OOM_SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the map's value is this processor's, and the program is not interrupted by itself.
    let scratch = unsafe { &mut *scratch };
    let record = &mut scratch.record;
    *record = OomRecord::zeroed();
    record.header = out::header::<OomRecord>(RecordKind::Oom, out::now());
    record.group = ABSENT_U64;
    record.constraint = ABSENT_U32;
    record.gfp_mask = ABSENT_U32;
    record.order = ABSENT_ORDER;
    record.limit_level = ABSENT_U32;
    record.trigger_tid = bpf_get_current_pid_tgid() as u32;
    record.trigger_pid = current_pid();
    record.trigger_uid = bpf_get_current_uid_gid() as u32;
    current_name(&mut record.trigger_comm);
    Some(scratch)
}

/// The victim. Kernels without commit 72ba14deb40a pass its pid and nothing else: there it is the task that was
/// chosen, or the current one, if it has that pid.
#[inline(always)]
fn victim(ctx: *mut c_void, control: u64) -> u64 {
    if OOM_TASK_ARG.is_there() {
        return argument(ctx, &OOM_TASK_ARG);
    }
    let pid = argument(ctx, &OOM_PID_ARG) as u32;
    let chosen = call::chosen(control);
    if member(chosen, &OOM_TASK_PID, 0u32) == pid {
        return chosen;
    }
    // SAFETY: no arguments.
    if bpf_get_current_pid_tgid() as u32 == pid { unsafe { bpf_get_current_task() } } else { 0 }
}

/// The victim is the current task, so its memory can be read without taking a lock or a reference; what is
/// not resident stays unknown.
#[inline(always)]
fn arguments(mm: u64, record: &mut OomRecord) {
    let start: u64 = member(mm, &OOM_MM_ARG_START, 0);
    let length = member(mm, &OOM_MM_ARG_END, 0u64).wrapping_sub(start);
    let length = if length > CMDLINE_LEN as u64 { CMDLINE_LEN as u64 } else { length };
    if start == 0 || length == 0 {
        return;
    }
    let to = record.cmdline.as_mut_ptr().cast();
    // SAFETY: writes at most `CMDLINE_LEN` bytes; the helper checks the source.
    if unsafe { bpf_probe_read_user(to, length as u32, start as *const c_void) } == 0 {
        record.cmdline_len = length as u32;
    }
}

#[inline(always)]
fn score(score: i16) -> i32 {
    if score == NO_SCORE { ABSENT_SCORE } else { score as i32 }
}

/// A counter of pages. Its processors' shares are not added up, so it may be below 0 for a moment
/// (`percpu_counter_read_positive`).
#[inline(always)]
fn counter_kb(mm: u64, place: &'static Member) -> u64 {
    if !place.is_there() {
        return ABSENT_U64;
    }
    let pages: i64 = member(mm, place, 0);
    pages_kb(if pages < 0 { 0 } else { pages as u64 })
}

#[inline(always)]
fn pages_kb(pages: u64) -> u64 {
    if pages == ABSENT_U64 { ABSENT_U64 } else { pages << constant(&PAGE_KB_SHIFT) }
}
