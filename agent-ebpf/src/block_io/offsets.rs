//! Where the fields of the block layer's tracepoints lie on this kernel; user space writes them before it loads the
//! programs. What is absent there reads as its default.

use crate::ctx::{Argument, Offset};

#[unsafe(no_mangle)]
pub static INSERT_DEV: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static INSERT_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static INSERT_NR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static INSERT_BYTES: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static INSERT_RWBS: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static ISSUE_DEV: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static ISSUE_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static ISSUE_NR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static ISSUE_BYTES: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static ISSUE_RWBS: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static REQUEUE_DEV: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static REQUEUE_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static REQUEUE_NR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static REQUEUE_RWBS: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static MERGE_DEV: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static MERGE_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static MERGE_NR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static MERGE_RWBS: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static COMPLETE_DEV: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static COMPLETE_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static COMPLETE_NR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static COMPLETE_ERROR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static COMPLETE_RWBS: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static ERROR_DEV: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static ERROR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static ERROR_NR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static ERROR_ERROR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
pub static ERROR_RWBS: Offset = Offset::ABSENT;

#[unsafe(no_mangle)]
pub static INSERT_REQUEST_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
pub static ISSUE_REQUEST_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
pub static REQUEUE_REQUEST_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
pub static MERGE_REQUEST_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
pub static COMPLETE_REQUEST_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
pub static COMPLETE_BYTES_ARG: Argument = Argument::ABSENT;
/// 0 or a negative errno (kernels before 5.16) …
#[unsafe(no_mangle)]
pub static COMPLETE_ERRNO_ARG: Argument = Argument::ABSENT;
/// … or a `blk_status_t`.
#[unsafe(no_mangle)]
pub static COMPLETE_STATUS_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
pub static ERROR_REQUEST_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
pub static ERROR_BYTES_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
pub static ERROR_STATUS_ARG: Argument = Argument::ABSENT;
