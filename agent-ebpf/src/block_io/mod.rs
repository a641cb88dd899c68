//! Block requests from insert over issue to completion: every latency into a histogram, the slow requests and
//! the failed ones out as records.

mod hist;
mod issuers;
mod request;

use core::ffi::c_void;

use agent_common::hist::Stage;
use agent_common::limits::MAX_STARTS;
use agent_common::{ABSENT_U64, IoErrorRecord, IoOp, IoRecord, RecordKind, Stat};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LruHashMap};
use bytemuck::Zeroable;

use self::hist::measure;
use self::issuers::{account, name_of};
use self::request::{Key, Places, Request, of_record};
use crate::ctx::{Argument, Offset, argument, constant, field};
use crate::out::{self, Mode, add, count};

#[unsafe(no_mangle)]
static INSERT_DEV: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static INSERT_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static INSERT_NR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static INSERT_BYTES: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static INSERT_RWBS: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static ISSUE_DEV: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static ISSUE_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static ISSUE_NR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static ISSUE_BYTES: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static ISSUE_RWBS: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static REQUEUE_DEV: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static REQUEUE_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static REQUEUE_NR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static REQUEUE_RWBS: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static MERGE_DEV: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static MERGE_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static MERGE_NR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static MERGE_RWBS: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static COMPLETE_DEV: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static COMPLETE_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static COMPLETE_NR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static COMPLETE_ERROR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static COMPLETE_RWBS: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static ERROR_DEV: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static ERROR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static ERROR_NR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static ERROR_ERROR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static ERROR_RWBS: Offset = Offset::ABSENT;

#[unsafe(no_mangle)]
static INSERT_REQUEST_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static ISSUE_REQUEST_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static REQUEUE_REQUEST_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static MERGE_REQUEST_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static COMPLETE_REQUEST_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static COMPLETE_BYTES_ARG: Argument = Argument::ABSENT;
/// 0 or a negative errno (kernels before 5.16) …
#[unsafe(no_mangle)]
static COMPLETE_ERRNO_ARG: Argument = Argument::ABSENT;
/// … or a `blk_status_t`.
#[unsafe(no_mangle)]
static COMPLETE_STATUS_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static ERROR_REQUEST_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static ERROR_BYTES_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static ERROR_STATUS_ARG: Argument = Argument::ABSENT;

/// Latency from which on a request is reported, nanoseconds.
#[unsafe(no_mangle)]
static IO_THRESHOLD_NS: u64 = u64::MAX;
/// Reports per second at most, of slow requests and of failed ones.
#[unsafe(no_mangle)]
static IO_MAX_PER_SECOND: u32 = 0;
/// Whether this kernel has no `block_rq_error`, and completions have to tell.
#[unsafe(no_mangle)]
static ERRORS_BY_COMPLETION: u8 = 0;

const SECOND: u64 = 1_000_000_000;

/// Since when, and who wants it: at completion the current task is whoever was interrupted.
#[derive(Clone, Copy, Zeroable)]
#[repr(C)]
struct Start {
    /// 0 for a request that was never queued.
    inserted_ns: u64,
    /// 0 while it is queued.
    issued_ns: u64,
    dev: u32,
    /// When it was issued; in classic mode less what has completed since.
    bytes: u32,
    pid: u32,
    /// 1 while the driver has given it back, until it is issued again.
    requeued: u16,
    /// Error of a part that completed.
    error: i16,
}

/// The current second of a limit.
#[repr(C)]
struct Window {
    since_ns: u64,
    sent: u64,
}

#[map]
static STARTS: LruHashMap<Key, Start> = LruHashMap::with_max_entries(MAX_STARTS, 0);

/// One for slow requests, one for failed ones.
#[map]
static WINDOW: Array<Window> = Array::with_max_entries(2, 0);
const SLOW: u32 = 0;
const FAILED: u32 = 1;

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
        let _ = STARTS.remove(key);
    }
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn io_merge_btf(ctx: *mut c_void) -> u32 {
    let _ = STARTS.remove(Request::new(ctx, &MERGE_REQUEST_ARG).key());
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

impl Start {
    /// Of a request that the current process wants.
    #[inline(always)]
    fn new(mode: Mode, now: u64, dev: u32, bytes: u32) -> Self {
        Self {
            inserted_ns: 0,
            issued_ns: 0,
            dev,
            bytes,
            pid: account(mode, now, dev, bytes),
            requeued: 0,
            error: 0,
        }
    }
}

#[inline(always)]
fn inserted(mode: Mode, key: Key, dev: u32, bytes: u32) {
    // A worker of the kernel puts it back into the queue.
    if STARTS.get_ptr_mut(key).is_some_and(|start| entry(start).requeued != 0) {
        return;
    }
    let now = out::now();
    begin(&key, Start { inserted_ns: now, ..Start::new(mode, now, dev, bytes) });
}

/// Notes the issue of a request that waits in a queue. For others, the time: they begin here.
#[inline(always)]
fn was_queued(key: &Key, bytes: u32) -> Option<u64> {
    let now = out::now();
    let Some(start) = STARTS.get_ptr_mut(key) else { return Some(now) };
    let start = entry(start);
    if start.requeued != 0 {
        start.requeued = 0;
        return None;
    }
    if start.issued_ns != 0 {
        // The end of an earlier request was not seen.
        return Some(now);
    }
    start.issued_ns = now;
    // Others may have been merged into it.
    start.bytes = bytes;
    None
}

/// Notes that the driver gives a request back, to be issued again: it had no room for it, or tries once more after
/// an error. It stays the request of who wanted it, and the device's since its first issue; the worker that issues
/// it again has nothing to do with it.
#[inline(always)]
fn requeued(key: &Key) {
    if let Some(start) = STARTS.get_ptr_mut(key) {
        let start = entry(start);
        start.requeued = (start.issued_ns != 0) as u16;
    }
}

#[inline(always)]
fn entry<'a>(start: *mut Start) -> &'a mut Start {
    // SAFETY: the entry is memory of the map as long as the program runs; should the LRU take it for
    // another request at this very moment, one latency is wrong.
    unsafe { &mut *start }
}

#[inline(always)]
fn begin(key: &Key, start: Start) {
    if STARTS.insert(key, start, 0).is_err() {
        count(Stat::StartsFull);
    }
}

/// How much of a request completes: a driver may end it in parts (`blk_update_request`, `block/blk-mq.c`).
enum Part {
    /// So many bytes, while the record does not tell how many are left.
    OfRecord(u32),
    /// The request itself tells whether more are left.
    OfRequest { is_last: bool },
}

impl Part {
    /// Whether more is to come. If so, and if the request begins at another sector from now on, it gets another name.
    #[inline(always)]
    fn leaves(&self, key: &Key, start: &mut Start) -> bool {
        let bytes = match self {
            Self::OfRequest { is_last } => return !is_last,
            Self::OfRecord(bytes) => *bytes,
        };
        if bytes >= start.bytes {
            return false;
        }
        let rest = Start { bytes: start.bytes - bytes, ..*start };
        let _ = STARTS.remove(key);
        begin(&key.after(bytes), rest);
        true
    }
}

/// Measures a completed request and forgets it.
#[inline(always)]
fn completed(key: &Key, op: IoOp, error: i32, part: Part) -> Option<Done> {
    let Some(start) = STARTS.get_ptr_mut(key) else {
        count(Stat::IoUnmatched);
        return None;
    };
    let start = entry(start);
    if error != 0 {
        start.error = error as i16;
    }
    if part.leaves(key, start) {
        return None;
    }
    let start = *start;
    let error = start.error as i32;
    let _ = STARTS.remove(key);
    if start.issued_ns == 0 {
        count(Stat::IoUnmatched);
        return None;
    }
    let at_ns = out::now();
    let latency_ns = at_ns.saturating_sub(start.issued_ns);
    measure(start.dev, op, Stage::Device, latency_ns, error);
    let mut queue_ns = ABSENT_U64;
    if start.inserted_ns != 0 {
        queue_ns = start.issued_ns.saturating_sub(start.inserted_ns);
        measure(start.dev, op, Stage::Queue, queue_ns, 0);
    }
    Some(Done { at_ns, latency_ns, queue_ns, start, op, error })
}

/// A completed request.
struct Done {
    at_ns: u64,
    latency_ns: u64,
    queue_ns: u64,
    start: Start,
    op: IoOp,
    error: i32,
}

impl Done {
    #[inline(always)]
    fn is_slow(&self) -> bool {
        self.latency_ns >= constant(&IO_THRESHOLD_NS)
    }

    #[inline(always)]
    fn report(&self, mode: Mode, ctx: *mut c_void, sector: u64) {
        if !within_limit(SLOW, self.at_ns) {
            count(Stat::IoRateLimited);
            return;
        }
        let mut record = IoRecord::zeroed();
        record.header = out::header::<IoRecord>(RecordKind::Io, self.at_ns);
        record.latency_ns = self.latency_ns;
        record.queue_ns = self.queue_ns;
        record.sector = sector;
        record.dev = self.start.dev;
        record.bytes = self.start.bytes;
        record.op = self.op as u32;
        record.error = self.error;
        record.issuer_pid = self.start.pid;
        name_of(self.start.dev, self.start.pid, &mut record);
        out::send(mode, ctx, &record);
    }
}

/// A failed request.
struct Failure {
    dev: u32,
    sector: u64,
    bytes: u32,
    op: IoOp,
    error: i32,
}

impl Failure {
    #[inline(always)]
    fn report(&self, mode: Mode, ctx: *mut c_void) {
        let now = out::now();
        if !within_limit(FAILED, now) {
            count(Stat::IoErrorsLimited);
            return;
        }
        let mut record = IoErrorRecord::zeroed();
        record.header = out::header::<IoErrorRecord>(RecordKind::IoError, now);
        record.sector = self.sector;
        record.dev = self.dev;
        record.bytes = self.bytes;
        record.op = self.op as u32;
        record.error = self.error;
        out::send(mode, ctx, &record);
    }
}

/// Whether this second has room for a report. Processors that race here may let one too many through.
#[inline(always)]
fn within_limit(which: u32, now: u64) -> bool {
    let Some(window) = WINDOW.get_ptr_mut(which) else { return false };
    // SAFETY: `window` points to a map value as long as the program runs.
    unsafe {
        if now.saturating_sub((*window).since_ns) >= SECOND {
            (*window).since_ns = now;
            (*window).sent = 0;
        }
        if (*window).sent >= constant(&IO_MAX_PER_SECOND) as u64 {
            return false;
        }
        add(&raw mut (*window).sent, 1);
    }
    true
}
