//! How a program gets onto its tracepoint.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::remedy::{Failure, Step};
use super::sys;

/// An attached program; dropping it detaches.
#[derive(Debug)]
pub(super) struct Attachment {
    _fd: OwnedFd,
}

/// Classic: on the tracepoint with this number, by way of a perf event on this processor.
pub(super) fn to_event(program: BorrowedFd<'_>, tracepoint: u32, cpu: u32) -> Result<Attachment, Failure> {
    let event = sys::open_tracepoint(tracepoint, cpu).map_err(Failure::at(Step::OpenTracepoint))?;
    sys::set_bpf(event.as_fd(), program).map_err(Failure::at(Step::Attach))?;
    sys::enable(event.as_fd()).map_err(Failure::at(Step::Attach))?;
    Ok(Attachment { _fd: event })
}

/// BTF: on the tracepoint or function whose type the program was loaded with.
pub(super) fn to_type(program: BorrowedFd<'_>) -> Result<Attachment, Failure> {
    sys::open_raw_tracepoint(program).map(|fd| Attachment { _fd: fd }).map_err(Failure::at(Step::Attach))
}
