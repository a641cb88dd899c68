//! The system calls no crate offers: `perf_event_open`, and `bpf` for programs and constants.
//!
//! aya has them inside its loader and its tracepoint type; the first parses `/sys/kernel/btf/vmlinux`
//! whenever it is made (20 MB for nothing here), the second insists on a mounted tracefs.

use std::ffi::CStr;
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use aya_obj::generated::{bpf_attach_type, bpf_cmd, bpf_insn, bpf_prog_info, bpf_prog_type};

/// `PERF_TYPE_TRACEPOINT`, `include/uapi/linux/perf_event.h`.
const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
/// `_IO('$', 0)` and `_IOW('$', 8, __u32)`.
const PERF_EVENT_IOC_ENABLE: u64 = 0x2400;
const PERF_EVENT_IOC_SET_BPF: u64 = 0x4004_2408;

/// First version of `struct perf_event_attr`; every kernel takes it.
#[repr(C)]
#[derive(Default)]
struct PerfEventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    bp_addr: u64,
}

/// `BPF_PROG_LOAD`'s part of `union bpf_attr`, as far as it is used. Kernels that know less of it take it as
/// long as the rest is zero (`bpf_check_uarg_tail_zero`).
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// `BPF_RAW_TRACEPOINT_OPEN`'s part.
#[repr(C)]
#[derive(Default)]
struct RawTracepoint {
    name: u64,
    prog_fd: u32,
    pad: u32,
}

/// `BPF_LINK_CREATE`'s part, the details of an iterator included.
#[repr(C)]
#[derive(Default)]
struct Link {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    iter_info: u64,
    iter_info_len: u32,
    pad: u32,
}

/// `BPF_ITER_CREATE`'s part.
#[repr(C)]
struct Iterator {
    link_fd: u32,
    flags: u32,
}

/// `BPF_MAP_*_ELEM`'s part; `BPF_MAP_FREEZE` reads its first field.
#[repr(C)]
#[derive(Default)]
struct MapElem {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// `BPF_OBJ_GET_INFO_BY_FD`'s part.
#[repr(C)]
struct ObjectInfo {
    fd: u32,
    /// Bytes of room, then bytes that the kernel knows.
    length: u32,
    info: u64,
}

/// Opens a tracepoint as a perf event of one processor. BPF programs on it run on all of them:
/// they hang on the tracepoint, not on the event (`perf_event_attach_bpf_prog`).
pub(super) fn open_tracepoint(id: u32, cpu: u32) -> io::Result<OwnedFd> {
    let attr = PerfEventAttr {
        kind: PERF_TYPE_TRACEPOINT,
        size: size_of::<PerfEventAttr>() as u32,
        config: u64::from(id),
        ..PerfEventAttr::default()
    };
    let (pid, group) = (-1, -1);
    // SAFETY: `attr` outlives the call and says its own size.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            pid,
            cpu as libc::c_int,
            group,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    owned(fd)
}

/// Puts a program on a perf event.
pub(super) fn set_bpf(event: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    ioctl(event, PERF_EVENT_IOC_SET_BPF, program.as_raw_fd())
}

/// Starts a perf event.
pub(super) fn enable(event: BorrowedFd<'_>) -> io::Result<()> {
    ioctl(event, PERF_EVENT_IOC_ENABLE, 0)
}

/// Puts a program on the tracepoint or function whose type it was loaded with.
pub(super) fn open_raw_tracepoint(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let attr = RawTracepoint { prog_fd: program.as_raw_fd() as u32, ..RawTracepoint::default() };
    // SAFETY: without a name, the command reads a descriptor only.
    owned(unsafe { bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &attr) })
}

/// What a program is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// A tracepoint with a record.
    Record,
    /// The tracepoint of this type.
    Tracepoint(u32),
    /// The start of the function of this type.
    Function(u32),
    /// The iterator that calls the function of this type.
    Iterator(u32),
}

/// Ties a program to its iterator (`BPF_LINK_CREATE`).
pub(super) fn link_iterator(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let attach_type = bpf_attach_type::BPF_TRACE_ITER as u32;
    let attr = Link { prog_fd: program.as_raw_fd() as u32, attach_type, ..Link::default() };
    // SAFETY: without details of the iterator, the command reads numbers only.
    owned(unsafe { bpf(bpf_cmd::BPF_LINK_CREATE, &attr) })
}

/// One run of an iterator; what its program writes is read from the descriptor.
pub(super) fn run_iterator(link: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let attr = Iterator { link_fd: link.as_raw_fd() as u32, flags: 0 };
    // SAFETY: the command reads numbers only.
    owned(unsafe { bpf(bpf_cmd::BPF_ITER_CREATE, &attr) })
}

/// Loads a program. `log` takes the verifier's words if it is not empty.
pub(super) fn load_program(
    name: Option<&str>,
    purpose: For,
    instructions: &[bpf_insn],
    license: &CStr,
    log: &mut [u8],
) -> io::Result<OwnedFd> {
    use bpf_attach_type::{BPF_TRACE_FENTRY, BPF_TRACE_ITER, BPF_TRACE_RAW_TP};
    use bpf_prog_type::{BPF_PROG_TYPE_TRACEPOINT, BPF_PROG_TYPE_TRACING};

    let mut prog_name = [0; 16];
    let name = name.unwrap_or_default().as_bytes();
    let length = name.len().min(prog_name.len() - 1);
    prog_name[..length].copy_from_slice(&name[..length]);
    let (kind, expected, btf_type) = match purpose {
        For::Record => (BPF_PROG_TYPE_TRACEPOINT, 0, 0),
        For::Tracepoint(of) => (BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP as u32, of),
        For::Function(of) => (BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY as u32, of),
        For::Iterator(of) => (BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER as u32, of),
    };
    let attr = ProgLoad {
        prog_type: kind as u32,
        expected_attach_type: expected,
        attach_btf_id: btf_type,
        insn_cnt: instructions.len() as u32,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        prog_name,
        ..ProgLoad::default()
    };
    // SAFETY: all pointers in `attr` live until the call returns; a length goes with each of them.
    owned(unsafe { bpf(bpf_cmd::BPF_PROG_LOAD, &attr) })
}

/// Writes the only element of a constants map and makes it read-only.
pub(super) fn fill_constants(map: BorrowedFd<'_>, value: &[u8]) -> io::Result<()> {
    let key = 0u32;
    let attr = MapElem {
        map_fd: map.as_raw_fd() as u32,
        key: &raw const key as u64,
        value: value.as_ptr() as u64,
        ..MapElem::default()
    };
    // SAFETY: `key` and `value` live until the call returns; the map's value size is `value.len()`,
    // since both come from the same section of the object.
    done(unsafe { bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &attr) })?;
    let attr = MapElem { map_fd: map.as_raw_fd() as u32, ..MapElem::default() };
    // SAFETY: the command reads a descriptor only; the kernel wants the rest of it zero.
    done(unsafe { bpf(bpf_cmd::BPF_MAP_FREEZE, &attr) })
}

/// Sets one word of an array of words.
pub(super) fn set_word(map: BorrowedFd<'_>, index: u32, word: u64) -> io::Result<()> {
    let attr = MapElem {
        map_fd: map.as_raw_fd() as u32,
        key: &raw const index as u64,
        value: &raw const word as u64,
        ..MapElem::default()
    };
    // SAFETY: `index` and `word` live until the call returns, and are as long as the map's keys and values.
    done(unsafe { bpf(bpf_cmd::BPF_MAP_UPDATE_ELEM, &attr) })
}

/// What the kernel knows about a program, as far as it knows of the members up to `recursion_misses`
/// (`bpf_prog_get_info_by_fd`, since 5.12); others leave them 0.
pub(super) fn program_info(program: BorrowedFd<'_>) -> io::Result<(bpf_prog_info, bool)> {
    // SAFETY: plain numbers and arrays of them; no lengths of further buffers, so the kernel fills in none.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut attr = ObjectInfo {
        fd: program.as_raw_fd() as u32,
        length: size_of::<bpf_prog_info>() as u32,
        info: &raw mut info as u64,
    };
    // SAFETY: `info` lives until the call returns, which writes at most `length` bytes of it, and `attr.length`.
    done(unsafe { bpf_mut(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &raw mut attr) })?;
    let counts_misses =
        attr.length as usize >= offset_of!(bpf_prog_info, recursion_misses) + size_of::<u64>();
    Ok((info, counts_misses))
}

/// # Safety
/// `attr` must be what `command` expects, and its pointers valid.
unsafe fn bpf<T>(command: bpf_cmd, attr: &T) -> libc::c_long {
    // SAFETY: the caller's duty; none of these commands writes to it.
    unsafe { bpf_mut(command, (&raw const *attr).cast_mut()) }
}

/// # Safety
/// As [`bpf`], and `attr` may be written to.
unsafe fn bpf_mut<T>(command: bpf_cmd, attr: *mut T) -> libc::c_long {
    // SAFETY: the caller's duty.
    unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_int, attr, size_of::<T>()) }
}

fn ioctl(fd: BorrowedFd<'_>, request: u64, argument: i32) -> io::Result<()> {
    // SAFETY: both requests take a plain number.
    done(libc::c_long::from(unsafe { libc::ioctl(fd.as_raw_fd(), request as _, argument) }))
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    done(result)?;
    // SAFETY: the call succeeded, so this is a fresh descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}

fn done(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
