//! TCP sockets as `/proc/PID/net/tcp` and `tcp6` print them: those of another network than the agent's, whom `sock_diag` does not
//! tell of them. Listening ones come first (`tcp_seq_start`, `net/ipv4/tcp_ipv4.c`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Host, TcpSocket, TcpState};

const FILES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
/// Read of a file at most, some 14,000 connections: the kernel takes some 10 ms for them.
const MAX_BYTES: u64 = 2 << 20;
/// Read at once.
const ROOM: usize = 32 << 10;

/// Calls `each` with the sockets in one of `states` until it returns false.
///
/// # Errors
/// The host's, and where there are more connections than are read.
pub(super) fn tcp_sockets(
    host: &dyn Host,
    states: u32,
    each: &mut dyn FnMut(&TcpSocket) -> bool,
) -> io::Result<()> {
    for path in FILES {
        match file(host, path, states, each) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // Not there where IPv6 was switched off at boot.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path == FILES[1] => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether more are wanted.
fn file(
    host: &dyn Host,
    path: &str,
    states: u32,
    each: &mut dyn FnMut(&TcpSocket) -> bool,
) -> io::Result<bool> {
    let mut file = host.open(path)?;
    let (mut room, mut rest, mut offset) = (vec![0; ROOM], Vec::new(), 0);
    loop {
        let length = file.read_at(offset, &mut room)?;
        if length == 0 {
            return Ok(true);
        }
        offset += length as u64;
        rest.extend_from_slice(&room[..length]);
        let whole = rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        for socket in rest[..whole].split(|&byte| byte == b'\n').filter_map(socket) {
            if states & socket.state.mask() == 0 {
                // Behind those that listen there are no others that do.
                if states == TcpState::Listen.mask() {
                    return Ok(true);
                }
            } else if !each(&socket) {
                return Ok(false);
            }
        }
        rest.drain(..whole);
        if offset >= MAX_BYTES || rest.len() > ROOM {
            return Err(io::Error::other(format!(
                "{path} of process 1 has more than {MAX_BYTES} bytes; give the agent the host's network"
            )));
        }
    }
}

/// `   0: 0100007F:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 …`
fn socket(line: &[u8]) -> Option<TcpSocket> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace().skip(1);
    let (local, _remote, state, queues) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let (address, port) = local.split_once(':')?;
    let (sent, received) = queues.split_once(':')?;
    let inode = words.nth(4)?.parse().ok()?;
    let state = TcpState::of(u8::from_str_radix(state, 16).ok()?)?;
    let listens = state == TcpState::Listen;
    Some(TcpSocket {
        state,
        address: shown(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        queued: u32::from_str_radix(received, 16).ok()?,
        // How many may wait is not printed.
        queue_max: if listens { 0 } else { u32::from_str_radix(sent, 16).ok()? },
        inode,
    })
}

/// Words of four bytes, each as this machine reads a number.
fn shown(address: &str) -> Option<IpAddr> {
    let word =
        |at: usize| Some(u32::from_str_radix(address.get(8 * at..8 * at + 8)?, 16).ok()?.to_ne_bytes());
    match address.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    const HEAD: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    fn line(local: &str, state: &str, queues: &str, inode: &str) -> String {
        format!(
            "   0: {local} 00000000:0000 {state} {queues} 00:00000000 00000000     0        0 {inode} 1 0000000000000000 100 0 0 10 0\n"
        )
    }

    fn check(v4: &str, v6: &str, states: &[TcpState], expect: &[&str]) {
        let host = FixtureHost::default();
        host.set(FILES[0], format!("{HEAD}{v4}"));
        if !v6.is_empty() {
            host.set(FILES[1], format!("{HEAD}{v6}"));
        }
        let mask = states.iter().fold(0, |mask, state| mask | state.mask());
        let mut found = Vec::new();
        let each = &mut |s: &TcpSocket| {
            found.push(format!(
                "{} {}:{} {} {} {}",
                s.state.name(),
                s.address,
                s.port,
                s.queued,
                s.queue_max,
                s.inode
            ));
            true
        };
        tcp_sockets(&host, mask, each).unwrap();
        assert_eq!(found, expect, "{v4}{v6}");
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn sockets_are_read() {
        use TcpState::{CloseWait, Established, Listen};
        let listen = line("0100007F:0016", "0A", "00000000:00000003", "4711");
        let open = line("0200000A:01BB", "01", "00000010:00000020", "12");
        let closing = line("0200000A:01BB", "08", "00000000:00000001", "0");
        let v6 = line("00000000000000000000000001000000:0050", "0A", "00000000:00000000", "13");
        let all = [&*listen, &open, &closing].concat();
        check(&all, &v6, &[Listen], &["listen 127.0.0.1:22 3 0 4711", "listen ::1:80 0 0 13"]);
        check(
            &all,
            &v6,
            &[Established, CloseWait],
            &["established 10.0.0.2:443 32 16 12", "close_wait 10.0.0.2:443 1 0 0"],
        );
        check(&all, "", &[Listen], &["listen 127.0.0.1:22 3 0 4711"]);
        check("", "", &[Listen], &[]);
        for bad in [
            line("0100007F", "0A", "00000000:00000003", "1"),
            line("0100007F:FFFFF", "0A", "00000000:00000003", "1"),
            line("01007F:0016", "0A", "00000000:00000003", "1"),
            line("0100007F:0016", "FF", "00000000:00000003", "1"),
            line("0100007F:0016", "0A", "3", "1"),
            line("0100007F:0016", "0A", "00000000:00000003", "99999999999"),
            line("0100007F:0016", "0A", "00000000:00000003", "-1"),
            "\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}:0016\n".to_owned(),
            "0: \u{e4}\u{e4}\u{e4}\u{e4}:0016 x:1 0A 0:0 0 0 0 0 1\n".to_owned(),
            "torn\n".to_owned(),
        ] {
            check(&format!("{bad}{listen}"), "", &[Listen], &["listen 127.0.0.1:22 3 0 4711"]);
        }
    }

    #[test]
    fn a_machine_with_very_many_is_not_counted_wrongly() {
        let host = FixtureHost::default();
        let many = line("0100007F:0016", "08", "00000000:00000000", "1").repeat(20_000);
        host.set(FILES[0], format!("{HEAD}{many}"));
        let ask = |states| tcp_sockets(&host, states, &mut |_| true);
        assert!(ask(TcpState::CloseWait.mask()).unwrap_err().to_string().contains("network"));
        ask(TcpState::Listen.mask()).expect("read no further than the listening ones");
    }

    #[test]
    fn who_has_enough_is_told_no_more() {
        let host = FixtureHost::default();
        host.set(FILES[0], line("0100007F:0016", "0A", "00000000:00000000", "1").repeat(3));
        host.set(FILES[1], line("0100007F:0016", "0A", "00000000:00000000", "1"));
        let mut count = 0;
        let each = &mut |_: &TcpSocket| {
            count += 1;
            count < 2
        };
        tcp_sockets(&host, TcpState::Listen.mask(), each).unwrap();
        assert_eq!(count, 2);
        assert!(tcp_sockets(&FixtureHost::default(), 0, &mut |_| true).is_err());
    }
}
