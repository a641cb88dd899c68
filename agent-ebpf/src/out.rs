//! The way out: records through one perf event array or one ring buffer, counters in one array.

use core::ffi::c_void;
use core::intrinsics::{AtomicOrdering, atomic_xadd};

use agent_common::{Header, RecordKind, Stat};
use aya_ebpf::bindings::BPF_F_CURRENT_CPU;
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_perf_event_output, bpf_ringbuf_output};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerfEventArray, RingBuf};

use crate::ctx::constant;

#[map]
static EVENTS: PerfEventArray<()> = PerfEventArray::new(0);

/// Only BTF programs know it: a kernel that has no ring buffer would refuse the program.
#[map]
static RING: RingBuf = RingBuf::with_byte_size(4096, 0);

/// Whether records go through the ring buffer. Kernels from 5.5 on leave out the branch not taken.
#[unsafe(no_mangle)]
static USE_RING: u8 = 0;

#[map]
static STATS: Array<u64> = Array::with_max_entries(Stat::ALL.len() as u32, 0);

/// The header of a record of type `T`.
#[inline(always)]
pub fn header<T>(kind: RecordKind, at_ns: u64) -> Header {
    Header { kind: kind as u32, size: size_of::<T>() as u32, at_ns }
}

/// `CLOCK_MONOTONIC`, nanoseconds.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// How a program hangs on its tracepoint.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As a perf event, reading the record: every kernel from 4.7 on.
    Classic,
    /// By the type of the tracepoint, reading its arguments: kernels with BTF.
    Btf,
}

/// Sends a record. This is the only place that knows the transport.
#[inline(always)]
pub fn send<T: bytemuck::Pod>(mode: Mode, ctx: *mut c_void, record: &T) {
    let data = (&raw const *record).cast_mut().cast();
    let size = size_of::<T>() as u64;
    // SAFETY: `ctx` is the program's context, the maps are of the kind the helper wants, and the record has
    // no padding (`Pod`), so every byte of it is set.
    let result = unsafe {
        if mode == Mode::Btf && constant(&USE_RING) != 0 {
            bpf_ringbuf_output((&raw const RING).cast_mut().cast(), data, size, 0)
        } else {
            bpf_perf_event_output(ctx, (&raw const EVENTS).cast_mut().cast(), BPF_F_CURRENT_CPU, data, size)
        }
    };
    if result != 0 {
        count(Stat::OutputLost);
    }
}

/// Counts one.
#[inline(always)]
pub fn count(stat: Stat) {
    if let Some(counter) = STATS.get_ptr_mut(stat as u32) {
        add(counter, 1);
    }
}

/// Adds atomically. The result is not used, so that it becomes the old `XADD`: atomic
/// instructions that return a value need 5.12.
#[inline(always)]
pub fn add<T: Copy>(counter: *mut T, amount: T) {
    // SAFETY: `counter` points into a map's value, which the verifier proves.
    unsafe { atomic_xadd::<T, T, { AtomicOrdering::Relaxed }>(counter, amount) };
}
