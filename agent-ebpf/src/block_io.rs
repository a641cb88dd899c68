//! `block:block_rq_issue` to `block:block_rq_complete`: every latency into a histogram, the slow
//! ones out as records.
//!
//! A request is known by device and first sector. Flushes, and the extra completion of a SCSI
//! error, carry 0 sectors and match nothing: they are passed over at both ends, or that extra
//! completion would take away the entry of the real one.

use core::ffi::c_void;

use agent_common::hist::{HistKey, HistValue, bucket_of};
use agent_common::limits::{HIST_BUCKETS, MAX_HIST_ENTRIES, MAX_STARTS};
use agent_common::{COMM_LEN, IoOp, IoRecord, RecordKind, Stat};
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap};
use bytemuck::Zeroable;

use crate::ctx::{Argument, Member, Offset, argument, constant, current_name, current_pid, field, member};
use crate::out::{self, Mode, add, count};

#[unsafe(no_mangle)]
static ISSUE_DEV: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static ISSUE_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static ISSUE_NR_SECTOR: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static ISSUE_BYTES: Offset = Offset::ABSENT;
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
static ISSUE_REQUEST_ARG: Argument = Argument::ABSENT;
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
static REQUEST_FLAGS: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static REQUEST_SECTOR: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static REQUEST_BYTES: Member = Member::ABSENT;
/// The disk of a request (kernels before 5.17) …
#[unsafe(no_mangle)]
static REQUEST_DISK: Member = Member::ABSENT;
/// … or of its queue.
#[unsafe(no_mangle)]
static REQUEST_QUEUE: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static QUEUE_DISK: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static DISK_MAJOR: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static DISK_FIRST_MINOR: Member = Member::ABSENT;

/// Latency from which on a request is reported, nanoseconds.
#[unsafe(no_mangle)]
static IO_THRESHOLD_NS: u64 = u64::MAX;
/// Reports per second at most.
#[unsafe(no_mangle)]
static IO_MAX_PER_SECOND: u32 = 0;
/// Number of shards less one; the number is a power of two.
#[unsafe(no_mangle)]
static HIST_SHARD_MASK: u32 = 0;

const SECOND: u64 = 1_000_000_000;

/// Which request is in flight.
#[derive(Clone, Copy, Zeroable)]
#[repr(C)]
struct StartKey {
    sector: u64,
    dev: u32,
    zero: u32,
}

/// Since when, and who issued it: at completion the current task is whoever was interrupted.
#[derive(Clone, Copy, Zeroable)]
#[repr(C)]
struct Start {
    at_ns: u64,
    bytes: u32,
    pid: u32,
    comm: [u8; COMM_LEN],
}

/// The current second of the limit.
#[repr(C)]
struct Window {
    since_ns: u64,
    sent: u64,
}

#[map]
static STARTS: LruHashMap<StartKey, Start> = LruHashMap::with_max_entries(MAX_STARTS, 0);

#[map]
static HIST: HashMap<HistKey, HistValue> = HashMap::with_max_entries(MAX_HIST_ENTRIES, 0);

/// An empty histogram to copy from: it does not fit on the stack of 512 bytes.
#[map]
static EMPTY: Array<HistValue> = Array::with_max_entries(1, 0);

#[map]
static WINDOW: Array<Window> = Array::with_max_entries(1, 0);

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn io_issue(ctx: *mut c_void) -> u32 {
    if field(ctx, &ISSUE_NR_SECTOR, 0u32) == 0 {
        return 0;
    }
    issued(
        StartKey::new(field(ctx, &ISSUE_DEV, 0), field(ctx, &ISSUE_SECTOR, 0)),
        field(ctx, &ISSUE_BYTES, 0),
    );
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn io_issue_btf(ctx: *mut c_void) -> u32 {
    let request = Request::new(argument(ctx, &ISSUE_REQUEST_ARG));
    let bytes = request.bytes();
    if request.is_passthrough() || bytes < SECTOR {
        return 0;
    }
    issued(request.key(), bytes);
    0
}

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn io_complete(ctx: *mut c_void) -> u32 {
    if field(ctx, &COMPLETE_NR_SECTOR, 0u32) == 0 {
        return 0;
    }
    let key = StartKey::new(field(ctx, &COMPLETE_DEV, 0), field(ctx, &COMPLETE_SECTOR, 0));
    let [first, second] = field(ctx, &COMPLETE_RWBS, [0u8; 2]);
    completed(Mode::Classic, ctx, &key, IoOp::from_rwbs(first, second), field(ctx, &COMPLETE_ERROR, 0));
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn io_complete_btf(ctx: *mut c_void) -> u32 {
    let request = Request::new(argument(ctx, &COMPLETE_REQUEST_ARG));
    if request.is_passthrough() || (argument(ctx, &COMPLETE_BYTES_ARG) as u32) < SECTOR {
        return 0;
    }
    let error = if COMPLETE_STATUS_ARG.is_there() {
        argument(ctx, &COMPLETE_STATUS_ARG) as u8 as i32
    } else {
        argument(ctx, &COMPLETE_ERRNO_ARG) as i32
    };
    completed(Mode::Btf, ctx, &request.key(), IoOp::from_flags(request.flags), error);
    0
}

/// `struct request`, read as `TRACE_EVENT(block_rq_issue)` and its siblings do
/// (`include/trace/events/block.h`).
struct Request {
    address: u64,
    flags: u32,
}

/// Bytes of a sector.
const SECTOR: u32 = 512;

impl Request {
    #[inline(always)]
    fn new(address: u64) -> Self {
        Self { address, flags: member(address, &REQUEST_FLAGS, 0) }
    }

    /// Commands of a driver or of user space to the device have no sectors (`blk_rq_trace_nr_sectors`).
    #[inline(always)]
    fn is_passthrough(&self) -> bool {
        IoOp::is_passthrough(self.flags)
    }

    #[inline(always)]
    fn bytes(&self) -> u32 {
        member(self.address, &REQUEST_BYTES, 0)
    }

    #[inline(always)]
    fn key(&self) -> StartKey {
        let disk: u64 = if REQUEST_DISK.is_there() {
            member(self.address, &REQUEST_DISK, 0)
        } else {
            member(member(self.address, &REQUEST_QUEUE, 0), &QUEUE_DISK, 0)
        };
        let (major, minor): (u32, u32) = (member(disk, &DISK_MAJOR, 0), member(disk, &DISK_FIRST_MINOR, 0));
        StartKey::new(major << MINOR_BITS | minor, member(self.address, &REQUEST_SECTOR, 0))
    }
}

/// `MINORBITS`, `include/linux/kdev_t.h`.
const MINOR_BITS: u32 = 20;

impl StartKey {
    #[inline(always)]
    fn new(dev: u32, sector: u64) -> Self {
        Self { sector, dev, zero: 0 }
    }
}

#[inline(always)]
fn issued(key: StartKey, bytes: u32) {
    let mut start = Start::zeroed();
    start.at_ns = out::now();
    start.bytes = bytes;
    start.pid = current_pid();
    current_name(&mut start.comm);
    if STARTS.insert(key, start, 0).is_err() {
        count(Stat::StartsFull);
    }
}

#[inline(always)]
fn completed(mode: Mode, ctx: *mut c_void, key: &StartKey, op: IoOp, error: i32) {
    let Some(start) = STARTS.get_ptr(key) else {
        count(Stat::IoUnmatched);
        return;
    };
    // SAFETY: the entry stays until it is removed below; should the LRU take it for another request
    // at this very moment, one latency is wrong.
    let start = unsafe { &*start };
    let at_ns = out::now();
    let done = Done { at_ns, latency_ns: at_ns.saturating_sub(start.at_ns), dev: key.dev, op, error };
    done.count();
    if done.latency_ns >= constant(&IO_THRESHOLD_NS) {
        done.report(mode, ctx, key, start);
    }
    let _ = STARTS.remove(key);
}

/// A completed request.
struct Done {
    at_ns: u64,
    latency_ns: u64,
    dev: u32,
    op: IoOp,
    error: i32,
}

impl Done {
    #[inline(always)]
    fn count(&self) {
        // SAFETY: no arguments.
        let shard = unsafe { bpf_get_smp_processor_id() } & constant(&HIST_SHARD_MASK);
        let Some(hist) = histogram(&HistKey { dev: self.dev, op: self.op as u32, shard }) else {
            count(Stat::HistFull);
            return;
        };
        let bucket = bucket_of(self.latency_ns);
        // SAFETY: `hist` points to a map value as long as the program runs.
        unsafe {
            if bucket < HIST_BUCKETS {
                add((&raw mut (*hist).buckets).cast::<u32>().add(bucket), 1);
            }
            add(&raw mut (*hist).count, 1);
            add(&raw mut (*hist).sum_ns, self.latency_ns);
            if self.error != 0 {
                add(&raw mut (*hist).errors, 1);
            }
            if self.latency_ns > (*hist).max_ns {
                (*hist).max_ns = self.latency_ns;
            }
        }
    }

    #[inline(always)]
    fn report(&self, mode: Mode, ctx: *mut c_void, key: &StartKey, start: &Start) {
        if !within_limit(self.at_ns) {
            count(Stat::IoRateLimited);
            return;
        }
        let mut record = IoRecord::zeroed();
        record.header = out::header::<IoRecord>(RecordKind::Io, self.at_ns);
        record.latency_ns = self.latency_ns;
        record.sector = key.sector;
        record.dev = self.dev;
        record.bytes = start.bytes;
        record.op = self.op as u32;
        record.error = self.error;
        record.issuer_pid = start.pid;
        record.issuer_comm = start.comm;
        out::send(mode, ctx, &record);
    }
}

#[inline(always)]
fn histogram(key: &HistKey) -> Option<*mut HistValue> {
    if let Some(hist) = HIST.get_ptr_mut(key) {
        return Some(hist);
    }
    let empty = EMPTY.get(0)?;
    // Another processor may have been first; then that one's is found below.
    let _ = HIST.insert(key, empty, BPF_NOEXIST as u64);
    HIST.get_ptr_mut(key)
}

/// Whether this second has room for a report. Processors that race here may let one too many through.
#[inline(always)]
fn within_limit(now: u64) -> bool {
    let Some(window) = WINDOW.get_ptr_mut(0) else { return false };
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
