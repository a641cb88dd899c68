//! `tcp:tcp_retransmit_skb`, `tcp_send_reset`, `tcp_receive_reset`: counted by remote address, no records.

use core::ffi::c_void;

use agent_common::limits::MAX_REMOTES;
use agent_common::remote::{Counts, Remote, Trouble};
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, LruHashMap};
use bytemuck::Zeroable;

use crate::ctx::{Argument, Member, Offset, argument, field, member, peek};
use crate::out::add;

#[map]
static REMOTES: LruHashMap<Remote, Counts> = LruHashMap::with_max_entries(MAX_REMOTES, 0);

#[map]
static REMOTE_TOTALS: Array<Counts> = Array::with_max_entries(1, 0);

#[unsafe(no_mangle)]
static RETRANSMIT_REMOTE: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static RESET_IN_REMOTE: Offset = Offset::ABSENT;
#[unsafe(no_mangle)]
static RESET_OUT_REMOTE: Offset = Offset::ABSENT;
/// As a socket address: kernels from 6.10 on.
#[unsafe(no_mangle)]
static RESET_OUT_ADDRESS: Offset = Offset::ABSENT;

#[unsafe(no_mangle)]
static RETRANSMIT_SOCK_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static RESET_IN_SOCK_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static RESET_OUT_SOCK_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static RESET_OUT_PACKET_ARG: Argument = Argument::ABSENT;
#[unsafe(no_mangle)]
static SOCK_FAMILY: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static SOCK_V4: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static SOCK_V6: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static PACKET_HEAD: Member = Member::ABSENT;
#[unsafe(no_mangle)]
static PACKET_NETWORK: Member = Member::ABSENT;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Where the address lies in `struct sockaddr_in` and `sockaddr_in6`, and the source's in the headers
/// of IPv4 and IPv6.
const SOCKADDR_V4: u64 = 4;
const SOCKADDR_V6: u64 = 8;
const HEADER_V4: u64 = 12;
const HEADER_V6: u64 = 8;

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn tcp_retransmit(ctx: *mut c_void) -> u32 {
    suffered(Remote { address: field(ctx, &RETRANSMIT_REMOTE, [0; 2]) }, Trouble::Retransmit);
    0
}

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn tcp_reset_in(ctx: *mut c_void) -> u32 {
    suffered(Remote { address: field(ctx, &RESET_IN_REMOTE, [0; 2]) }, Trouble::ResetReceived);
    0
}

#[unsafe(link_section = "tracepoint")]
#[unsafe(no_mangle)]
fn tcp_reset_out(ctx: *mut c_void) -> u32 {
    let at = RESET_OUT_ADDRESS.find(ctx);
    let remote = match at {
        0 => Remote { address: field(ctx, &RESET_OUT_REMOTE, [0; 2]) },
        _ if peek(at, 0, 0u16) == AF_INET6 => v6(at + SOCKADDR_V6),
        _ => v4(at + SOCKADDR_V4),
    };
    suffered(remote, Trouble::ResetSent);
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn tcp_retransmit_btf(ctx: *mut c_void) -> u32 {
    suffered(peer(argument(ctx, &RETRANSMIT_SOCK_ARG)), Trouble::Retransmit);
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn tcp_reset_in_btf(ctx: *mut c_void) -> u32 {
    suffered(peer(argument(ctx, &RESET_IN_SOCK_ARG)), Trouble::ResetReceived);
    0
}

#[unsafe(link_section = "tp_btf")]
#[unsafe(no_mangle)]
fn tcp_reset_out_btf(ctx: *mut c_void) -> u32 {
    let sock = argument(ctx, &RESET_OUT_SOCK_ARG);
    let remote = if sock == 0 { sender(argument(ctx, &RESET_OUT_PACKET_ARG)) } else { peer(sock) };
    suffered(remote, Trouble::ResetSent);
    0
}

/// The other end of a socket (`struct sock_common`, which small sockets have, too).
#[inline(always)]
fn peer(sock: u64) -> Remote {
    if member(sock, &SOCK_FAMILY, 0u16) == AF_INET {
        return mapped(member(sock, &SOCK_V4, 0));
    }
    Remote { address: member(sock, &SOCK_V6, [0; 2]) }
}

/// Who sent the packet that is answered by a reset, where no socket is there.
#[inline(always)]
fn sender(packet: u64) -> Remote {
    let header = member(packet, &PACKET_HEAD, 0u64) + member(packet, &PACKET_NETWORK, 0u16) as u64;
    let version: u8 = peek(header, 0, 0u8);
    if version >> 4 == 6 { v6(header + HEADER_V6) } else { v4(header + HEADER_V4) }
}

#[inline(always)]
fn v4(at: u64) -> Remote {
    mapped(peek(at, 0, 0u32))
}

#[inline(always)]
fn v6(at: u64) -> Remote {
    Remote { address: peek(at, 0, [0u64; 2]) }
}

/// `::ffff:a.b.c.d` on a little-endian machine.
#[inline(always)]
fn mapped(address: u32) -> Remote {
    Remote { address: [0, (address as u64) << 32 | 0xffff_0000] }
}

#[inline(always)]
fn suffered(remote: Remote, what: Trouble) {
    raise(REMOTE_TOTALS.get_ptr_mut(0), what);
    if REMOTES.get_ptr(remote).is_none() {
        // Another processor may have been first; then that one's is found below.
        let _ = REMOTES.insert(remote, Counts::zeroed(), BPF_NOEXIST as u64);
    }
    raise(REMOTES.get_ptr_mut(remote), what);
}

#[inline(always)]
fn raise(counts: Option<*mut Counts>, what: Trouble) {
    if let Some(counts) = counts {
        // SAFETY: a map's value, and `what` is one of its places.
        add(unsafe { (&raw mut (*counts).counts).cast::<u64>().add(what as usize) }, 1);
    }
}
