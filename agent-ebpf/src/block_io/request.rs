//! Which request an event is about: in classic mode by what the record tells, in BTF mode the very `struct
//! request`.

use core::ffi::c_void;

use agent_common::IoOp;
use bytemuck::Zeroable;

use crate::ctx::{Argument, Member, Offset, argument, field, member};

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

/// `MINORBITS`, `include/linux/kdev_t.h`.
const MINOR_BITS: u32 = 20;
/// Bytes of a sector.
const SECTOR: u32 = 512;

/// Names a request in flight. In classic mode its device and first sector, in BTF mode its address.
#[derive(Clone, Copy, Zeroable)]
#[repr(C)]
pub struct Key {
    id: u64,
    dev: u32,
    zero: u32,
}

/// Sector of a flush in classic mode. It is issued with sector 0 and completed with sector -1, both without a
/// length: one a device is told apart, though a device with several hardware queues may have more.
const FLUSH: u64 = u64::MAX;

/// Where the records of one tracepoint hold what names a request.
pub struct Places {
    pub dev: &'static Offset,
    pub sector: &'static Offset,
    pub nr_sector: &'static Offset,
    pub rwbs: &'static Offset,
}

/// Names the request of a record; `None` for what has no sectors and is no flush: commands to the device,
/// and the extra completion of a SCSI error, which would take away the entry of the real one.
#[inline(always)]
pub fn of_record(ctx: *mut c_void, places: &Places) -> Option<Key> {
    let dev = field(ctx, places.dev, 0);
    if field(ctx, places.nr_sector, 0u32) != 0 {
        return Some(Key { id: field(ctx, places.sector, 0), dev, zero: 0 });
    }
    if field(ctx, places.rwbs, [0u8; 2]) == *b"FF" { Some(Key { id: FLUSH, dev, zero: 0 }) } else { None }
}

impl Key {
    /// First sector, from a key of classic mode.
    #[inline(always)]
    pub fn sector(&self) -> u64 {
        if self.id == FLUSH { 0 } else { self.id }
    }

    /// What is left of a request when so many bytes have completed, in classic mode.
    #[inline(always)]
    pub fn after(&self, bytes: u32) -> Self {
        Self { id: self.id + (bytes / SECTOR) as u64, ..*self }
    }

    /// Device, from a key of classic mode.
    #[inline(always)]
    pub fn dev(&self) -> u32 {
        self.dev
    }
}

/// `struct request`, read as `TRACE_EVENT(block_rq_issue)` and its siblings do
/// (`include/trace/events/block.h`).
pub struct Request {
    address: u64,
    flags: u32,
}

impl Request {
    /// The request that is this argument.
    #[inline(always)]
    pub fn new(ctx: *mut c_void, place: &'static Argument) -> Self {
        let address = argument(ctx, place);
        Self { address, flags: member(address, &REQUEST_FLAGS, 0) }
    }

    /// Whether it is one to measure, `bytes` being its length or that of the part that completes: as
    /// [`of_record`]. Commands of a driver or of user space have no sectors (`blk_rq_trace_nr_sectors`).
    #[inline(always)]
    pub fn counts(&self, bytes: u32) -> bool {
        !IoOp::is_passthrough(self.flags) && (bytes >= SECTOR || matches!(self.op(), IoOp::Flush))
    }

    #[inline(always)]
    pub fn key(&self) -> Key {
        Key { id: self.address, dev: 0, zero: 0 }
    }

    #[inline(always)]
    pub fn op(&self) -> IoOp {
        IoOp::from_flags(self.flags)
    }

    #[inline(always)]
    pub fn bytes(&self) -> u32 {
        member(self.address, &REQUEST_BYTES, 0)
    }

    #[inline(always)]
    pub fn sector(&self) -> u64 {
        if matches!(self.op(), IoOp::Flush) { 0 } else { member(self.address, &REQUEST_SECTOR, 0) }
    }

    #[inline(always)]
    pub fn dev(&self) -> u32 {
        let disk: u64 = if REQUEST_DISK.is_there() {
            member(self.address, &REQUEST_DISK, 0)
        } else {
            member(member(self.address, &REQUEST_QUEUE, 0), &QUEUE_DISK, 0)
        };
        let (major, minor): (u32, u32) = (member(disk, &DISK_MAJOR, 0), member(disk, &DISK_FIRST_MINOR, 0));
        major << MINOR_BITS | minor
    }
}
