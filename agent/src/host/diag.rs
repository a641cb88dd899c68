//! TCP sockets through `NETLINK_SOCK_DIAG`, which needs no rights and lets the kernel choose by state: of a
//! hundred thousand connections only the few in the wanted states are copied. Listening sockets are
//! in a table of their own, so asking for them looks at nothing else (`inet_diag_dump_icsk`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::{TcpSocket, TcpState};

/// `TCPDIAG_GETSOCK`, `include/uapi/linux/inet_diag.h`: the older request, and the only one for which one walk over
/// the table of connections gives IPv4 and IPv6 (`inet_diag_dump_compat`).
const GETSOCK: u16 = 18;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_req`: four bytes, a `struct inet_diag_sockid`, states, an unused word.
const REQUEST: usize = 60;
/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;
/// Room for one answer, on the stack: some 80 sockets. The kernel fills no more than it was last asked for.
const ROOM: usize = 16 << 10;

/// Calls `each` with the sockets in one of `states` until it returns false.
pub(super) fn tcp_sockets(states: u32, each: &mut dyn FnMut(&TcpSocket) -> bool) -> io::Result<()> {
    let protocol = Some(netlink::SOCK_DIAG);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    send(&socket, &request(states), SendFlags::empty())?;
    let mut room = [0; ROOM];
    loop {
        let length = match recv(&socket, &mut room[..], RecvFlags::empty()) {
            Ok((_, 0)) => return Ok(()),
            Ok((_, length)) => length.min(ROOM),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if !messages(&room[..length], each)? {
            return Ok(());
        }
    }
}

fn request(states: u32) -> [u8; HEADER + REQUEST] {
    let mut bytes = [0; HEADER + REQUEST];
    bytes[..4].copy_from_slice(&((HEADER + REQUEST) as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&GETSOCK.to_ne_bytes());
    bytes[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    bytes[HEADER + 52..HEADER + 56].copy_from_slice(&states.to_ne_bytes());
    bytes
}

/// Takes one datagram of messages; whether more are to come.
fn messages(mut bytes: &[u8], each: &mut dyn FnMut(&TcpSocket) -> bool) -> io::Result<bool> {
    while let Some(length) = word32(bytes, 0) {
        let length = length as usize;
        let (Some(message), Some(kind)) = (bytes.get(..length.max(HEADER)), word16(bytes, 4)) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match kind {
            NLMSG_DONE => return Ok(false),
            // 0 would be an acknowledgement, which was not asked for.
            NLMSG_ERROR => {
                let error = word32(message, HEADER).unwrap_or(0).cast_signed().wrapping_neg();
                return Err(io::Error::from_raw_os_error(error));
            }
            GETSOCK => {
                if let Some(socket) = message.get(HEADER..).and_then(socket)
                    && !each(&socket)
                {
                    return Ok(false);
                }
            }
            _ => {}
        }
        // Messages begin at multiples of four.
        bytes = bytes.get(length.max(HEADER).next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(true)
}

/// `struct inet_diag_msg`: family, state, two bytes, ports in network order, addresses, …, queues, uid, inode.
fn socket(message: &[u8]) -> Option<TcpSocket> {
    let message = message.get(..MESSAGE)?;
    let port = u16::from_be_bytes(message[4..6].try_into().ok()?);
    let address = if i32::from(message[0]) == i32::from(AddressFamily::INET.as_raw()) {
        IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(&message[8..12]).ok()?))
    } else {
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(&message[8..24]).ok()?))
    };
    Some(TcpSocket {
        state: TcpState::of(message[1])?,
        address,
        port,
        queued: word32(message, 56)?,
        queue_max: word32(message, 60)?,
        inode: word32(message, 68)?,
    })
}

fn word32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn word16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn all(states: &[TcpState]) -> Vec<TcpSocket> {
        let mut found = Vec::new();
        let states = states.iter().fold(0, |mask, state| mask | state.mask());
        tcp_sockets(states, &mut |socket| {
            found.push(*socket);
            true
        })
        .unwrap();
        found
    }

    #[test]
    fn sockets_of_this_machine() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let _near = TcpStream::connect(at).unwrap();
        let of = |sockets: &[TcpSocket]| {
            sockets.iter().filter(|s| s.port == at.port()).copied().collect::<Vec<_>>()
        };
        let listening = of(&all(&[TcpState::Listen]));
        let [socket] = listening[..] else { panic!("{listening:?}") };
        assert_eq!((socket.address, socket.state), (at.ip(), TcpState::Listen));
        assert_eq!((socket.queued, socket.queue_max), (1, 128), "one connection waits to be accepted");
        assert!(socket.inode > 0);
        let here = of(&all(&[TcpState::Established]));
        assert_eq!(here.len(), 1, "the end that was connected to");
        let v6 = TcpListener::bind("[::1]:0").map(|v6| (v6.local_addr().unwrap(), v6));
        if let Ok((at, _v6)) = v6 {
            let found = all(&[TcpState::Listen]);
            assert!(found.iter().any(|s| s.port == at.port() && s.address == at.ip()));
        }
    }

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER + payload.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes
    }

    fn check(bytes: &[u8], expect: Result<(bool, usize), i32>) {
        let mut count = 0;
        let more = messages(bytes, &mut |_| {
            count += 1;
            true
        });
        let got = more.map(|more| (more, count)).map_err(|error| error.raw_os_error().unwrap_or(0));
        assert_eq!(got, expect, "{bytes:?}");
    }

    #[test]
    fn messages_are_taken_apart() {
        let mut listen = [0; MESSAGE];
        (listen[0], listen[1]) = (2, TcpState::Listen as u8);
        let two = [message(GETSOCK, &listen), message(GETSOCK, &listen)].concat();
        check(&two, Ok((true, 2)));
        check(&[two.clone(), message(NLMSG_DONE, &[0; 4])].concat(), Ok((false, 2)));
        check(&message(NLMSG_ERROR, &(-2i32).to_ne_bytes()), Err(2));
        check(&message(99, &[]), Ok((true, 0)));
        check(&message(GETSOCK, &listen[..70]), Ok((true, 0)));
        check(&two[..100], Err(0));
        check(&[], Ok((true, 0)));
        check(&[0; 16], Ok((true, 0)));
        check(&[0xff; 16], Err(0));
        listen[1] = 77;
        check(&message(GETSOCK, &listen), Ok((true, 0)));
    }
}
