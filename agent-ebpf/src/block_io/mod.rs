//! Block requests from insert over issue to completion: every latency into a histogram, the slow requests and
//! the failed ones out as records.
//!
//! Here are the programs, each as a classic tracepoint and as a BTF one; what they share is in [`starts`] and [`report`].

mod hist;
mod issuers;
mod offsets;
mod report;
mod request;
mod starts;

use core::ffi::c_void;

use agent_common::IoOp;

use self::offsets::*;
use self::report::Failure;
use self::request::{Places, Request, of_record};
use self::starts::{Part, Start, begin, completed, forget, inserted, requeued, was_queued};
use crate::ctx::{argument, constant, field};
use crate::out::Mode;

/// Whether this kernel has no `block_rq_error`, and completions have to tell.
#[unsafe(no_mangle)]
static ERRORS_BY_COMPLETION: u8 = 0;

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn io_insert(ctx: *mut c_void) -> u32 {
    let places =
        Places { dev: &INSERT_DEV, sector: &INSERT_SECTOR, nr_sector: &INSERT_NR_SECTOR, rwbs: &INSERT_RWBS };
    if let Some(key) = of_record(ctx, &places) {
        inserted(Mode::Classic, key, key.dev(), field(ctx, &INSERT_BYTES, 0));
    }
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn io_insert_btf(ctx: *mut c_void) -> u32 {
    let request = Request::new(ctx, &INSERT_REQUEST_ARG);
    let bytes = request.bytes();
    if request.counts(bytes) {
        inserted(Mode::Btf, request.key(), request.dev(), bytes);
    }
    0
}

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn io_issue(ctx: *mut c_void) -> u32 {
    let places =
        Places { dev: &ISSUE_DEV, sector: &ISSUE_SECTOR, nr_sector: &ISSUE_NR_SECTOR, rwbs: &ISSUE_RWBS };
    if let Some(key) = of_record(ctx, &places) {
        let bytes = field(ctx, &ISSUE_BYTES, 0);
        if let Some(now) = was_queued(&key, bytes) {
            begin(&key, Start { issued_ns: now, ..Start::new(Mode::Classic, now, key.dev(), bytes) });
        }
    }
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn io_issue_btf(ctx: *mut c_void) -> u32 {
    let request = Request::new(ctx, &ISSUE_REQUEST_ARG);
    let bytes = request.bytes();
    if !request.counts(bytes) {
        return 0;
    }
    let key = request.key();
    if let Some(now) = was_queued(&key, bytes) {
        begin(&key, Start { issued_ns: now, ..Start::new(Mode::Btf, now, request.dev(), bytes) });
    }
    0
}

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn io_requeue(ctx: *mut c_void) -> u32 {
    let places = Places {
        dev: &REQUEUE_DEV,
        sector: &REQUEUE_SECTOR,
        nr_sector: &REQUEUE_NR_SECTOR,
        rwbs: &REQUEUE_RWBS,
    };
    if let Some(key) = of_record(ctx, &places) {
        requeued(&key);
    }
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn io_requeue_btf(ctx: *mut c_void) -> u32 {
    requeued(&Request::new(ctx, &REQUEUE_REQUEST_ARG).key());
    0
}

/// A request that waits in a queue becomes part of another one and never completes: what begins at its address or
/// sector next is a new one.
#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn io_merge(ctx: *mut c_void) -> u32 {
    let places =
        Places { dev: &MERGE_DEV, sector: &MERGE_SECTOR, nr_sector: &MERGE_NR_SECTOR, rwbs: &MERGE_RWBS };
    if let Some(key) = of_record(ctx, &places) {
        forget(&key);
    }
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn io_merge_btf(ctx: *mut c_void) -> u32 {
    forget(&Request::new(ctx, &MERGE_REQUEST_ARG).key());
    0
}

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn io_complete(ctx: *mut c_void) -> u32 {
    let places = Places {
        dev: &COMPLETE_DEV,
        sector: &COMPLETE_SECTOR,
        nr_sector: &COMPLETE_NR_SECTOR,
        rwbs: &COMPLETE_RWBS,
    };
    let Some(key) = of_record(ctx, &places) else { return 0 };
    let [first, second] = field(ctx, &COMPLETE_RWBS, [0u8; 2]);
    let (op, error) = (IoOp::from_rwbs(first, second), field(ctx, &COMPLETE_ERROR, 0));
    let bytes = field(ctx, &COMPLETE_NR_SECTOR, 0u32) << 9;
    if constant(&ERRORS_BY_COMPLETION) != 0 && error != 0 {
        Failure { dev: key.dev(), sector: key.sector(), bytes, op, error }.report(Mode::Classic, ctx);
    }
    let Some(done) = completed(&key, op, error, Part::OfRecord(bytes)) else { return 0 };
    if done.is_slow() {
        done.report(Mode::Classic, ctx, key.sector());
    }
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn io_complete_btf(ctx: *mut c_void) -> u32 {
    let request = Request::new(ctx, &COMPLETE_REQUEST_ARG);
    let bytes = argument(ctx, &COMPLETE_BYTES_ARG) as u32;
    if !request.counts(bytes) {
        return 0;
    }
    let error = if COMPLETE_STATUS_ARG.is_there() {
        argument(ctx, &COMPLETE_STATUS_ARG) as u8 as i32
    } else {
        argument(ctx, &COMPLETE_ERRNO_ARG) as i32
    };
    if constant(&ERRORS_BY_COMPLETION) != 0 && error != 0 {
        let (dev, sector) = (request.dev(), request.sector());
        Failure { dev, sector, bytes, op: request.op(), error }.report(Mode::Btf, ctx);
    }
    let part = Part::OfRequest { is_last: bytes >= request.bytes() };
    let Some(done) = completed(&request.key(), request.op(), error, part) else { return 0 };
    if done.is_slow() {
        done.report(Mode::Btf, ctx, request.sector());
    }
    0
}

/// The errors that the kernel logs (`blk_update_request`, `block/blk-mq.c`); it limits its lines, and not these.
#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn io_error(ctx: *mut c_void) -> u32 {
    let [first, second] = field(ctx, &ERROR_RWBS, [0u8; 2]);
    let failure = Failure {
        dev: field(ctx, &ERROR_DEV, 0),
        sector: field(ctx, &ERROR_SECTOR, 0),
        bytes: field(ctx, &ERROR_NR_SECTOR, 0u32) << 9,
        op: IoOp::from_rwbs(first, second),
        error: field(ctx, &ERROR_ERROR, 0),
    };
    failure.report(Mode::Classic, ctx);
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn io_error_btf(ctx: *mut c_void) -> u32 {
    let request = Request::new(ctx, &ERROR_REQUEST_ARG);
    let failure = Failure {
        dev: request.dev(),
        sector: request.sector(),
        bytes: argument(ctx, &ERROR_BYTES_ARG) as u32,
        op: request.op(),
        error: argument(ctx, &ERROR_STATUS_ARG) as u8 as i32,
    };
    failure.report(Mode::Btf, ctx);
    0
}
