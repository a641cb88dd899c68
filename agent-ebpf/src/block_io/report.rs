//! What user space is told at once: slow requests and failed ones, so many a second.

use core::ffi::c_void;

use agent_common::{IoErrorRecord, IoOp, IoRecord, RecordKind, Stat};
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use bytemuck::Zeroable;

use super::issuers::name_of;
use super::starts::Start;
use crate::ctx::constant;
use crate::out::{self, Mode, add, count};

/// Latency from which on a request is reported, nanoseconds.
#[unsafe(no_mangle)]
static IO_THRESHOLD_NS: u64 = u64::MAX;
/// Reports per second at most, of slow requests and of failed ones.
#[unsafe(no_mangle)]
static IO_MAX_PER_SECOND: u32 = 0;

const SECOND: u64 = 1_000_000_000;

/// The current second of a limit.
#[repr(C)]
struct Window {
    since_ns: u64,
    sent: u64,
}

/// One for slow requests, one for failed ones.
#[map]
static WINDOW: Array<Window> = Array::with_max_entries(2, 0);
const SLOW: u32 = 0;
const FAILED: u32 = 1;

/// A completed request.
pub struct Done {
    pub at_ns: u64,
    pub latency_ns: u64,
    pub queue_ns: u64,
    pub start: Start,
    pub op: IoOp,
    pub error: i32,
}

impl Done {
    #[inline(always)]
    pub fn is_slow(&self) -> bool {
        self.latency_ns >= constant(&IO_THRESHOLD_NS)
    }

    #[inline(always)]
    pub fn report(&self, mode: Mode, ctx: *mut c_void, sector: u64) {
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
pub struct Failure {
    pub dev: u32,
    pub sector: u64,
    pub bytes: u32,
    pub op: IoOp,
    pub error: i32,
}

impl Failure {
    #[inline(always)]
    pub fn report(&self, mode: Mode, ctx: *mut c_void) {
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
