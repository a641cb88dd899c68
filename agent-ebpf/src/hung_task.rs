//! `sched:sched_process_hang`: khungtaskd found a task in uninterruptible sleep for too long.
//! The current task is khungtaskd itself; only the payload tells who hangs.

use core::ffi::c_void;

use agent_common::{HangRecord, RecordKind};
use aya_ebpf::helpers::generated::bpf_get_task_stack;
use bytemuck::Zeroable;

use crate::ctx::{Argument, Member, Offset, field, member, member_name, name};
use crate::out::{self, Mode};

#[unsafe(no_mangle)]
static HANG_PID: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static HANG_COMM: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static HANG_COMM_BY_REF: u8 = 0;

#[unsafe(no_mangle)]
static HANG_TASK_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static HANG_TASK_PID: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static HANG_TASK_TGID: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static HANG_TASK_COMM: Member = Member::ABSENT;

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn hung_task(ctx: *mut c_void) -> u32 {
    let mut record = HangRecord::zeroed();
    record.header = out::header::<HangRecord>(RecordKind::Hang, out::now());
    record.pid = field(ctx, &HANG_PID, 0);
    name(ctx, &HANG_COMM, &HANG_COMM_BY_REF, &mut record.comm);
    out::send(Mode::Classic, ctx, &record);
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn hung_task_btf(ctx: *mut c_void) -> u32 {
    if !HANG_TASK_ARG.is_there() {
        return 0;
    }
    let mut record = HangRecord::zeroed();
    record.header = out::header::<HangRecord>(RecordKind::Hang, out::now());
    // SAFETY: the first argument is the task. Loaded directly: the stack helper wants the pointer with its type.
    let task = unsafe { *ctx.cast::<*mut c_void>() };
    // SAFETY: the helper fills at most the size given. A negative answer counts as no frames.
    let bytes = unsafe {
        bpf_get_task_stack(
            task.cast(),
            record.stack.as_mut_ptr().cast(),
            size_of_val(&record.stack) as u32,
            0,
        )
    };
    record.frames = if bytes > 0 { bytes as u32 / 8 } else { 0 };
    let task = task as u64;
    record.pid = member(task, &HANG_TASK_PID, 0);
    record.tgid = member(task, &HANG_TASK_TGID, 0);
    member_name(task, &HANG_TASK_COMM, &mut record.comm);
    out::send(Mode::Btf, ctx, &record);
    0
}
