//! How a program gets onto its tracepoint. One way now: a perf event, which every kernel with
//! eBPF has; raw tracepoints, for hosts with `perf_event_paranoid` above 2, find their place here.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::remedy::{Failure, Step};
use super::sys;

/// An attached program; dropping it detaches.
#[derive(Debug)]
pub(super) struct Attachment {
    _event: OwnedFd,
}

/// Name of this way in reports.
pub(super) const MODE: &str = "tracepoint";

/// Puts a program on the tracepoint with this number.
pub(super) fn attach(program: BorrowedFd<'_>, tracepoint: u32, cpu: u32) -> Result<Attachment, Failure> {
    let event = sys::open_tracepoint(tracepoint, cpu).map_err(Failure::at(Step::OpenTracepoint))?;
    sys::set_bpf(event.as_fd(), program).map_err(Failure::at(Step::Attach))?;
    sys::enable(event.as_fd()).map_err(Failure::at(Step::Attach))?;
    Ok(Attachment { _event: event })
}
