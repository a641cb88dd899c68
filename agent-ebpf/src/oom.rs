//! `oom:mark_victim`: the kernel chose a process to kill.

use core::ffi::c_void;

use agent_common::{ABSENT_SCORE, ABSENT_U32, ABSENT_U64, CMDLINE_LEN, OomRecord, RecordKind};
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use bytemuck::Zeroable;

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
#[unsafe(no_mangle)]
static OOM_TASK_CGROUPS: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_SET_SUBSYS: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_CSS_SS: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_SS_NAME: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_CSS_PARENT: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_CSS_SERIAL: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static OOM_MEMCG_GROUP: Member = Member::ABSENT;
/// log2 of a page's size in kB.
#[unsafe(no_mangle)]
static PAGE_KB_SHIFT: u8 = 2;

/// Room for a record: the stack has 512 bytes in all.
#[map]
static OOM_SCRATCH: PerCpuArray<OomRecord> = PerCpuArray::with_max_entries(1, 0);

/// No kernel has this `oom_score_adj`; it stands for an absent one while 16 bits wide.
const NO_SCORE: i16 = i16::MIN;

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn oom_kill(ctx: *mut c_void) -> u32 {
    let mut record = OomRecord::zeroed();
    begin(&mut record);
    record.total_vm_kb = field(ctx, &OOM_TOTAL_VM, ABSENT_U64);
    record.anon_rss_kb = field(ctx, &OOM_ANON_RSS, ABSENT_U64);
    record.file_rss_kb = field(ctx, &OOM_FILE_RSS, ABSENT_U64);
    record.shmem_rss_kb = field(ctx, &OOM_SHMEM_RSS, ABSENT_U64);
    record.pgtables_kb = field(ctx, &OOM_PGTABLES, ABSENT_U64);
    record.pid = field(ctx, &OOM_PID, 0);
    record.uid = field(ctx, &OOM_UID, ABSENT_U32);
    record.oom_score_adj = score(field(ctx, &OOM_SCORE_ADJ, NO_SCORE));
    name(ctx, &OOM_COMM, &OOM_COMM_BY_REF, &mut record.comm);
    out::send(Mode::Classic, ctx, &record);
    0
}

/// Reads what `TRACE_EVENT(mark_victim)`, `include/trace/events/oom.h`, puts into the record.
#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn oom_kill_btf(ctx: *mut c_void) -> u32 {
    let Some(record) = OOM_SCRATCH.get_ptr_mut(0) else { return 0 };
    // SAFETY: the map's value is this processor's, and the program is not interrupted by itself.
    let record = unsafe { &mut *record };
    *record = OomRecord::zeroed();
    begin(record);
    let task = argument(ctx, &OOM_TASK_ARG);
    let mm: u64 = member(task, &OOM_TASK_MM, 0);
    let signal: u64 = member(task, &OOM_TASK_SIGNAL, 0);
    record.total_vm_kb = pages_kb(member(mm, &OOM_MM_TOTAL_VM, ABSENT_U64));
    record.anon_rss_kb = counter_kb(mm, &OOM_MM_ANON);
    record.file_rss_kb = counter_kb(mm, &OOM_MM_FILE);
    record.shmem_rss_kb = counter_kb(mm, &OOM_MM_SHMEM);
    let pgtables = member(mm, &OOM_MM_PGTABLES, ABSENT_U64);
    record.pgtables_kb = if pgtables == ABSENT_U64 { ABSENT_U64 } else { pgtables >> 10 };
    // Kernels without commit 72ba14deb40a pass the pid and nothing else.
    record.pid = member(task, &OOM_TASK_PID, argument(ctx, &OOM_PID_ARG) as u32);
    record.tgid = member(task, &OOM_TASK_TGID, 0);
    record.uid = if OOM_UID_ARG.is_there() { argument(ctx, &OOM_UID_ARG) as u32 } else { ABSENT_U32 };
    record.oom_score_adj = score(member(signal, &OOM_SIGNAL_SCORE_ADJ, NO_SCORE));
    member_name(task, &OOM_TASK_COMM, &mut record.comm);
    record.group = group(task);
    if record.tgid == record.trigger_pid {
        arguments(mm, record);
    }
    out::send(Mode::Btf, ctx, record);
    0
}

/// What both modes know: the moment, and who triggered the kill.
#[inline(always)]
fn begin(record: &mut OomRecord) {
    record.header = out::header::<OomRecord>(RecordKind::Oom, out::now());
    record.group = ABSENT_U64;
    record.trigger_tid = bpf_get_current_pid_tgid() as u32;
    record.trigger_pid = current_pid();
    record.trigger_uid = bpf_get_current_uid_gid() as u32;
    current_name(&mut record.trigger_comm);
}

/// The outermost group around a task whose processes die together, as the kernel looks for it
/// (`mem_cgroup_get_oom_group`, `mm/memcontrol.c`), but up to the root: the limit's group is not known here.
#[inline(always)]
fn group(task: u64) -> u64 {
    let slot = &mut 0;
    let mut css = memory(member(task, &OOM_TASK_CGROUPS, 0), slot);
    if css == 0 || !OOM_MEMCG_GROUP.is_there() || !OOM_CSS_SERIAL.is_there() {
        return ABSENT_U64;
    }
    let mut found = 0;
    for _ in 0..MAX_DEPTH {
        // `css` is the first member of `struct mem_cgroup`. A `bool`; the machine is little-endian.
        if read(OOM_MEMCG_GROUP.find(css), slot) & 0xff != 0 {
            found = read(OOM_CSS_SERIAL.find(css), slot);
        }
        css = read(OOM_CSS_PARENT.find(css), slot);
    }
    found
}

/// What the memory controller keeps of the group of this `css_set`, 0 if nothing. Its place among the
/// controllers depends on how the kernel was built.
#[inline(always)]
fn memory(set: u64, slot: &mut u64) -> u64 {
    let places = OOM_SET_SUBSYS.find(set);
    let mut found = 0;
    if places != 0 {
        for nth in 0..MAX_CONTROLLERS {
            let css = read(places + nth * 8, slot);
            let controller = read(OOM_CSS_SS.find(css), slot);
            let name = read(OOM_SS_NAME.find(controller), slot);
            if read(name, slot) & MEMORY_MASK == MEMORY {
                found = css;
            }
        }
    }
    found
}

/// Eight bytes from there, 0 where nothing can be read. Through one place on the stack: unrolled loops would take
/// one for each reading.
#[inline(always)]
fn read(address: u64, slot: &mut u64) -> u64 {
    *slot = 0;
    if address != 0 {
        // SAFETY: writes 8 bytes to the slot; the helper checks the source.
        unsafe { bpf_probe_read_kernel((&raw mut *slot).cast(), 8, address as *const c_void) };
    }
    *slot
}

/// Groups looked at from the victim's own upwards.
const MAX_DEPTH: u64 = 16;
/// Controllers of a kernel at most (`CGROUP_SUBSYS_COUNT`); what lies behind them is no controller.
const MAX_CONTROLLERS: u64 = 16;
const MEMORY: u64 = u64::from_le_bytes(*b"memory\0\0");
const MEMORY_MASK: u64 = (1 << 56) - 1;

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
