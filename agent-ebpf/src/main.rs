//! The eBPF programs. They report and count; what it means is decided in user space.
//!
//! Written for kernels from 4.18 on: no loops (but in what only newer ones run), no calls between BPF functions,
//! instructions of the v2 set only. A test of the agent (`ebpf::object`) reads the built object and keeps it so.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(
    internal_features,
    reason = "atomic add: the target has no compare-and-swap, so core hides fetch_add"
)]

mod block_io;
mod ctx;
mod hardware;
mod hung_task;
mod oom;
mod out;
mod remote;
mod task;
mod wait;

/// Helpers such as `bpf_probe_read_kernel` are open to GPL-compatible programs only; the agent's
/// own licence, MIT, is compatible. The kernel wants to read it in these words
/// (`license_is_gpl_compatible`, `include/linux/license.h`).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
