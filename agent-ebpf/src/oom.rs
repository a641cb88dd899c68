//! `oom:mark_victim`: the kernel chose a process to kill.

use core::ffi::c_void;

use agent_common::{ABSENT_SCORE, ABSENT_U32, ABSENT_U64, OomRecord, RecordKind};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use bytemuck::Zeroable;

use crate::ctx::{Offset, current_name, current_pid, field, name};
use crate::out;

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

/// No kernel has this `oom_score_adj`; it stands for an absent one while 16 bits wide.
const NO_SCORE: i16 = i16::MIN;

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn oom_kill(ctx: *mut c_void) -> u32 {
    let mut record = OomRecord::zeroed();
    record.header = out::header::<OomRecord>(RecordKind::Oom, out::now());
    record.total_vm_kb = field(ctx, &OOM_TOTAL_VM, ABSENT_U64);
    record.anon_rss_kb = field(ctx, &OOM_ANON_RSS, ABSENT_U64);
    record.file_rss_kb = field(ctx, &OOM_FILE_RSS, ABSENT_U64);
    record.shmem_rss_kb = field(ctx, &OOM_SHMEM_RSS, ABSENT_U64);
    record.pgtables_kb = field(ctx, &OOM_PGTABLES, ABSENT_U64);
    record.pid = field(ctx, &OOM_PID, 0);
    record.uid = field(ctx, &OOM_UID, ABSENT_U32);
    let score = field(ctx, &OOM_SCORE_ADJ, NO_SCORE);
    record.oom_score_adj = if score == NO_SCORE { ABSENT_SCORE } else { score as i32 };
    name(ctx, &OOM_COMM, &OOM_COMM_BY_REF, &mut record.comm);
    record.trigger_tid = bpf_get_current_pid_tgid() as u32;
    record.trigger_pid = current_pid();
    record.trigger_uid = bpf_get_current_uid_gid() as u32;
    current_name(&mut record.trigger_comm);
    out::send(ctx, &record);
    0
}
