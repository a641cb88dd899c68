//! `sched:sched_process_hang`: khungtaskd found a task in uninterruptible sleep for too long.
//! The current task is khungtaskd itself; only the payload tells who hangs.

use core::ffi::c_void;

use agent_common::{HangRecord, RecordKind};
use bytemuck::Zeroable;

use crate::ctx::{Offset, field, name};
use crate::out;

#[unsafe(no_mangle)]
static HANG_PID: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static HANG_COMM: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static HANG_COMM_BY_REF: u8 = 0;

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn hung_task(ctx: *mut c_void) -> u32 {
    let mut record = HangRecord::zeroed();
    record.header = out::header::<HangRecord>(RecordKind::Hang, out::now());
    record.pid = field(ctx, &HANG_PID, 0);
    name(ctx, &HANG_COMM, &HANG_COMM_BY_REF, &mut record.comm);
    out::send(ctx, &record);
    0
}
