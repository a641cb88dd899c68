//! Requests on their way: noted when they begin, given up when they complete.

use agent_common::hist::Stage;
use agent_common::limits::MAX_STARTS;
use agent_common::{ABSENT_U64, IoOp, Stat};
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;
use bytemuck::Zeroable;

use super::hist::measure;
use super::issuers::account;
use super::report::Done;
use super::request::Key;
use crate::out::{self, Mode, count};

/// Since when, and who wants it: at completion the current task is whoever was interrupted.
#[derive(Clone, Copy, Zeroable)]
#[repr(C)]
pub struct Start {
    /// 0 for a request that was never queued.
    pub inserted_ns: u64,
    /// 0 while it is queued.
    pub issued_ns: u64,
    pub dev: u32,
    /// When it was issued; in classic mode less what has completed since.
    pub bytes: u32,
    pub pid: u32,
    /// 1 while the driver has given it back, until it is issued again.
    pub requeued: u16,
    /// Error of a part that completed.
    pub error: i16,
}

#[map]
static STARTS: LruHashMap<Key, Start> = LruHashMap::with_max_entries(MAX_STARTS, 0);

impl Start {
    /// Of a request that the current process wants.
    #[inline(always)]
    pub fn new(mode: Mode, now: u64, dev: u32, bytes: u32) -> Self {
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
pub fn inserted(mode: Mode, key: Key, dev: u32, bytes: u32) {
    // A worker of the kernel puts it back into the queue.
    if STARTS.get_ptr_mut(key).is_some_and(|start| entry(start).requeued != 0) {
        return;
    }
    let now = out::now();
    begin(&key, Start { inserted_ns: now, ..Start::new(mode, now, dev, bytes) });
}

/// Notes the issue of a request that waits in a queue. For others, the time: they begin here.
#[inline(always)]
pub fn was_queued(key: &Key, bytes: u32) -> Option<u64> {
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
pub fn requeued(key: &Key) {
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
pub fn begin(key: &Key, start: Start) {
    if STARTS.insert(key, start, 0).is_err() {
        count(Stat::StartsFull);
    }
}

/// What begins with this name from now on is another request.
#[inline(always)]
pub fn forget(key: &Key) {
    let _ = STARTS.remove(key);
}

/// How much of a request completes: a driver may end it in parts (`blk_update_request`, `block/blk-mq.c`).
pub enum Part {
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
pub fn completed(key: &Key, op: IoOp, error: i32, part: Part) -> Option<Done> {
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
