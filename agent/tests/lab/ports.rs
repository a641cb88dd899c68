//! Ports for servers that are told where to listen before they run.
//!
//! A port that was bound to 0, read and let go is the kernel's to give again, to the next test or to any connection
//! that goes out. The ones here lie below those that the kernel gives (`net.ipv4.ip_local_port_range`, from 32768),
//! and no two calls of one process are given the same.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its part of it")]

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u32 = 15_000;
const COUNT: u32 = 17_000;

/// A port that nobody has, and that nobody else is given.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Programs that run beside each other begin far apart.
    let start = std::process::id().wrapping_mul(257);
    let mut ports = std::iter::repeat_with(|| {
        let nth = start.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        u16::try_from(FIRST + nth % COUNT).expect("below 32768")
    });
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.by_ref().take(1000).find(is_free).expect("a free port among a thousand")
}

/// The same as an address.
pub(crate) fn free_address() -> SocketAddr {
    (std::net::Ipv4Addr::LOCALHOST, free_port()).into()
}
