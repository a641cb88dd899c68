//! What TCP connections to one remote address suffered, counted in the kernel.

use bytemuck::{Pod, Zeroable};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Trouble {
    /// A segment was sent again.
    Retransmit = 0,
    /// This host reset a connection.
    ResetSent = 1,
    /// The remote reset a connection.
    ResetReceived = 2,
}

/// Kinds of trouble.
pub const TROUBLES: usize = 3;

/// Key: an IPv6 address, or an IPv4 address mapped into it (`::ffff:192.0.2.1`), as the tracepoints
/// store it (`TP_STORE_V4MAPPED`, `include/trace/events/net_probe_common.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Pod, Zeroable)]
#[repr(C)]
pub struct Remote {
    /// Two halves in network order.
    pub address: [u64; 2],
}

/// Counts by [`Trouble`]. They only grow while the entry lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Counts {
    /// By number.
    pub counts: [u64; TROUBLES],
}
