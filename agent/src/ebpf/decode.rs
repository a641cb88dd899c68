//! From bytes of the kernel to events. Pure.

mod way;

use agent_common::{
    ABSENT_ORDER, ABSENT_SCORE, ABSENT_U32, ABSENT_U64, HangRecord, Header, IoErrorRecord, IoOp, IoRecord,
    LIMIT_INFERRED, MEMORY_HIERARCHY, OomRecord, RecordKind,
};
use bytemuck::AnyBitPattern;

use self::way::Way;
use crate::event::{
    Constraint, Event, GroupNumber, Hang, IoError, KillGroup, Oom, SlowIo, Source, Task, What,
};
use crate::text::arguments;
use crate::time::{MILLI, Now};

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than its header or than its kind demands.
    #[error("a record of {0} bytes is too short")]
    Short(usize),
    /// A kind number this agent does not know.
    #[error("a record of unknown kind {0}")]
    UnknownKind(u32),
    /// A reporter this agent does not know.
    #[error("a report of hardware by an unknown tracepoint {0}")]
    UnknownReporter(u32),
    /// The header tells another size than the kind has: agent and object do not fit together.
    #[error("a record of kind {kind} says it has {size} bytes")]
    WrongSize {
        /// Kind number.
        kind: u32,
        /// Size it tells.
        size: u32,
    },
}

/// Finds the name of a device (`major << 20 | minor`).
pub type DeviceName<'a> = dyn FnMut(u32) -> Option<String> + 'a;

/// One record as an event.
pub fn decode(
    bytes: &[u8],
    now: Now,
    threshold_ms: f64,
    device: &mut DeviceName<'_>,
) -> Result<Event, DecodeError> {
    let header: Header = prefix(bytes)?;
    let kind = RecordKind::from_number(header.kind).ok_or(DecodeError::UnknownKind(header.kind))?;
    let what = match kind {
        RecordKind::Oom => What::Oom(Box::new(oom(&record(bytes, header)?))),
        RecordKind::Hang => What::Hang(Box::new(hang(&record(bytes, header)?))),
        RecordKind::Hardware => What::Hardware(Box::new(super::hardware::report(&record(bytes, header)?)?)),
        RecordKind::IoError => What::IoError(Box::new(io_error(&record(bytes, header)?, device))),
        RecordKind::Io => What::SlowIo(Box::new(slow_io(&record(bytes, header)?, threshold_ms, device))),
    };
    Ok(Event { at: now.at_mono(header.at_ns), source: Source::Ebpf, historic: false, what })
}

fn record<T: AnyBitPattern>(bytes: &[u8], header: Header) -> Result<T, DecodeError> {
    if header.size as usize != size_of::<T>() {
        return Err(DecodeError::WrongSize { kind: header.kind, size: header.size });
    }
    prefix(bytes)
}

fn prefix<T: AnyBitPattern>(bytes: &[u8]) -> Result<T, DecodeError> {
    let bytes = bytes.get(..size_of::<T>()).ok_or(DecodeError::Short(bytes.len()))?;
    Ok(bytemuck::pod_read_unaligned(bytes))
}

fn oom(record: &OomRecord) -> Oom {
    let mut victim = task(record.pid, &record.comm, known_u32(record.uid));
    victim.cmdline = arguments(record.cmdline.iter().take(record.cmdline_len as usize).copied().collect());
    victim.start_ticks = (record.start_ns != 0).then_some(record.start_ns / TICK_NS);
    let way = Way::of(record);
    victim.cgroup = way.path(0);
    let group = known_u64(record.group).filter(|&serial| serial != 0);
    Oom {
        victim,
        group: group.map(|serial| KillGroup { serial: Some(serial), ..KillGroup::default() }),
        victim_tgid: (record.tgid != 0).then_some(record.tgid),
        trigger: task(record.trigger_pid, &record.trigger_comm, Some(record.trigger_uid)),
        trigger_tid: (record.trigger_tid != 0).then_some(record.trigger_tid),
        total_vm_kb: known_u64(record.total_vm_kb),
        anon_rss_kb: known_u64(record.anon_rss_kb),
        file_rss_kb: known_u64(record.file_rss_kb),
        shmem_rss_kb: known_u64(record.shmem_rss_kb),
        pgtables_kb: known_u64(record.pgtables_kb),
        oom_score_adj: (record.oom_score_adj != ABSENT_SCORE).then_some(record.oom_score_adj),
        constraint: known_u32(record.constraint).map(constraint),
        oom_memcg: known_u32(record.limit_level).and_then(|level| way.path(level as usize)),
        limit_inferred: record.flags & LIMIT_INFERRED != 0,
        gfp_mask: known_u32(record.gfp_mask).map(|mask| format!("{mask:#x}")),
        order: (record.order != ABSENT_ORDER).then_some(record.order),
        count: 1,
        ..Oom::default()
    }
}

fn hang(record: &HangRecord) -> Hang {
    let frames = record.stack.iter().take(record.frames as usize).filter(|&&address| address != 0);
    Hang {
        task: task(record.pid, &record.comm, None),
        tgid: (record.tgid != 0).then_some(record.tgid),
        addresses: frames.copied().collect(),
        ..Hang::default()
    }
}

fn slow_io(record: &IoRecord, threshold_ms: f64, device: &mut DeviceName<'_>) -> SlowIo {
    SlowIo {
        device: device(record.dev).unwrap_or_else(|| super::devices::number(record.dev)),
        op: IoOp::from_number(record.op).name(),
        latency_ms: record.latency_ns as f64 / MILLI as f64,
        queue_ms: known_u64(record.queue_ns).map(|ns| ns as f64 / MILLI as f64),
        threshold_ms,
        sector: record.sector,
        bytes: u64::from(record.bytes),
        error: errno(record.error),
        issuer: task(record.issuer_pid, &record.issuer_comm, None),
        issuer_group: group_of(record.issuer_hierarchy, record.issuer_cgroup),
        ..SlowIo::default()
    }
}

/// A group as a program tells it.
pub(super) fn group_of(hierarchy: u32, id: u64) -> GroupNumber {
    GroupNumber { of_memory: hierarchy == MEMORY_HIERARCHY, id }
}

fn io_error(record: &IoErrorRecord, device: &mut DeviceName<'_>) -> IoError {
    IoError {
        device: device(record.dev).unwrap_or_else(|| super::devices::number(record.dev)),
        op: Some(IoOp::from_number(record.op).name()),
        sector: record.sector,
        bytes: Some(u64::from(record.bytes)),
        error: Some(errno(record.error)),
        ..IoError::default()
    }
}

/// A `blk_status_t` as the errno that the tracepoint's record would have had (`blk_errors`, `block/blk-core.c`).
/// The numbers between 13 and 19 have meant different things; to them and to unknown ones it says -EIO.
fn errno(error: i32) -> i32 {
    -match error {
        ..=0 => -error.max(-MAX_ERRNO),
        1 => libc::EOPNOTSUPP,
        2 => libc::ETIMEDOUT,
        3 => libc::ENOSPC,
        4 => libc::ENOLINK,
        5 => libc::EREMOTEIO,
        6 => libc::EBADE,
        7 => libc::ENODATA,
        8 => libc::EILSEQ,
        9 => libc::ENOMEM,
        11 => libc::EREMCHG,
        12 => libc::EAGAIN,
        13 => libc::EBUSY,
        19 => libc::EINVAL,
        _ => libc::EIO,
    }
}

/// `enum oom_constraint`, `include/linux/oom.h`.
fn constraint(number: u32) -> Constraint {
    match number {
        0 => Constraint::None,
        1 => Constraint::Cpuset,
        2 => Constraint::MemoryPolicy,
        3 => Constraint::Memcg,
        other => Constraint::Other(other.to_string()),
    }
}

/// A tick of `/proc/PID/stat` (`USER_HZ`, 100 a second on x86 and ARM), nanoseconds.
pub(super) const TICK_NS: u64 = 10 * MILLI;

/// `include/linux/err.h`.
const MAX_ERRNO: i32 = 4095;

fn task(pid: u32, comm: &[u8], uid: Option<u32>) -> Task {
    Task { pid: (pid != 0).then_some(pid), comm: name(comm), uid, ..Task::default() }
}

/// The bytes before the first NUL; any byte is allowed in a task name.
pub(super) fn name(comm: &[u8]) -> Option<String> {
    let length = comm.iter().position(|&b| b == 0).unwrap_or(comm.len());
    (length > 0).then(|| String::from_utf8_lossy(&comm[..length]).into_owned())
}

fn known_u64(value: u64) -> Option<u64> {
    (value != ABSENT_U64).then_some(value)
}

fn known_u32(value: u32) -> Option<u32> {
    (value != ABSENT_U32).then_some(value)
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
