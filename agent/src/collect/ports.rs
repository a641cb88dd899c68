//! Listening TCP ports, how full their queues are, and which process holds them.
//!
//! The sockets come from `sock_diag`, which names their inodes. Whose they are is looked for in `/proc/PID/fd` only
//! when a socket is there that was not there before; then all of them are looked for at once.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;

use super::kept::failure;
use super::readings::word;
use super::{CollectError, Collector};
use crate::host::{Host, TcpSocket, TcpState};
use crate::metric::metrics;
use crate::sample::Samples;
use crate::text::clean;

metrics! {
    LISTENING: Gauge Count "listening_port" ["port", "address", "process"]
        "Sockets that listen on a port; the process is empty where it may not be known.", "sock_diag, /proc/PID/fd";
    QUEUED: Gauge Count "listening_port_queue_count" ["port", "address", "process"]
        "Connections that wait to be accepted.", "sock_diag";
    QUEUE_MAX: Gauge Count "listening_port_queue_max_count" ["port", "address", "process"]
        "Connections that may wait; further ones are turned away. Nothing where the agent has a network of its own.", "sock_diag";
    COUNT: Gauge Count "listening_ports_count" [] "Port and address pairs that are listened on.", "sock_diag";
    LEFT_OUT: Gauge Count "listening_ports_left_out_count" []
        "Those that have no series because there are more than 256.", "sock_diag";
}

/// Port and address pairs with series at most.
const MAX_PORTS: usize = 256;
/// Sockets looked at, of which many may share a port.
const MAX_SOCKETS: usize = 4096;
/// Processes looked into at most, at one look.
const MAX_PROCESSES: usize = 32_768;
/// Open files looked at in all, at one look.
const MAX_FILES: usize = 65_536;
/// Looks after which sockets without a known owner are looked for again.
const PATIENCE: u32 = 20;
/// Longest name of a process, characters.
const MAX_NAME: usize = 32;

/// Follows the listening sockets.
#[derive(Default)]
pub struct Ports {
    sockets: Vec<TcpSocket>,
    /// Names of processes by the inode of a socket; empty where nobody is found.
    owners: HashMap<u32, String>,
    /// Passes since the last look for owners.
    age: u32,
}

impl Ports {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The sockets now.
    fn list(&mut self, host: &dyn Host) -> Result<(), CollectError> {
        let sockets = &mut self.sockets;
        sockets.clear();
        let each = &mut |socket: &TcpSocket| {
            sockets.push(*socket);
            sockets.len() < MAX_SOCKETS
        };
        host.tcp_sockets(TcpState::Listen.mask(), each).map_err(|error| failure("sock_diag", &error))
    }

    /// Brings the owners up to date where there is a socket that nobody has looked for.
    fn learn(&mut self, host: &dyn Host) {
        let Self { sockets, owners, age } = self;
        *age += 1;
        let is_new = sockets.iter().any(|socket| !owners.contains_key(&socket.inode));
        let is_open = owners.values().any(String::is_empty) && *age > PATIENCE;
        if is_new || is_open {
            *age = 0;
            let before = std::mem::take(owners);
            owners.extend(sockets.iter().map(|socket| (socket.inode, String::new())));
            find_owners(host, owners);
            // The look ends at a limit, and may end before one that was found another time.
            for (inode, owner) in owners.iter_mut().filter(|(_, owner)| owner.is_empty()) {
                before.get(inode).inspect(|known| owner.clone_from(known));
            }
        }
    }
}

impl Collector for Ports {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        self.list(host)?;
        self.learn(host);
        let Self { sockets, owners, .. } = self;
        let owner = |socket: &TcpSocket| owners.get(&socket.inode).map_or("", String::as_str);
        let place =
            |a: &TcpSocket, b: &TcpSocket| (a.port, a.address, owner(a)).cmp(&(b.port, b.address, owner(b)));
        sockets.sort_unstable_by(place);
        // Several sockets of one program may share a port (SO_REUSEPORT).
        let groups = || sockets.chunk_by(|a, b| place(a, b).is_eq());
        let mut text = String::new();
        for group in groups().take(MAX_PORTS) {
            let [first, ..] = group else { continue };
            text.clear();
            // Writing to a string does not fail.
            let _ = write!(text, "{} {}", first.port, shown(first.address));
            let (port, address) = text.split_once(' ').unwrap_or_default();
            let labels = &[port, address, owner(first)];
            let sum = |of: fn(&TcpSocket) -> u32| group.iter().map(|s| f64::from(of(s))).sum();
            out.put(&LISTENING, labels, group.len() as f64);
            out.put(&QUEUED, labels, sum(|socket| socket.queued));
            // Not known where the network is another than the agent's.
            let max = sum(|socket| socket.queue_max);
            if max > 0.0 {
                out.put(&QUEUE_MAX, labels, max);
            }
        }
        let count = groups().count();
        out.put(&COUNT, &[], count as f64);
        out.put(&LEFT_OUT, &[], count.saturating_sub(MAX_PORTS) as f64);
        Ok(())
    }
}

/// IPv4 through a socket of IPv6 is shown as what it is.
fn shown(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Looks through the open files of all processes until each socket has its owner.
fn find_owners(host: &dyn Host, owners: &mut HashMap<u32, String>) {
    let mut pids = Vec::new();
    // Without `/proc` nobody is found.
    let _ = host.list("/proc", &mut |name| {
        if pids.len() < MAX_PROCESSES {
            pids.extend(name.parse::<u32>().ok());
        }
    });
    let mut open = owners.len();
    let mut files = 0;
    let mut numbers = Vec::new();
    for pid in pids {
        numbers.clear();
        // Others' files are listed with CAP_SYS_PTRACE only; the process may have ended.
        let _ = host.list(&format!("/proc/{pid}/fd"), &mut |name| numbers.push(name.to_owned()));
        let mut name = None;
        for number in &numbers {
            files += 1;
            if open == 0 || files > MAX_FILES {
                return;
            }
            let Some(inode) =
                host.read_link(&format!("/proc/{pid}/fd/{number}")).ok().and_then(|l| inode(&l))
            else {
                continue;
            };
            if let Some(owner) = owners.get_mut(&inode).filter(|owner| owner.is_empty()) {
                let name = name.get_or_insert_with(|| comm(host, pid));
                owner.clone_from(name);
                open -= usize::from(!name.is_empty());
            }
        }
    }
}

fn comm(host: &dyn Host, pid: u32) -> String {
    clean(&word(host, &format!("/proc/{pid}/comm")).unwrap_or_default(), MAX_NAME)
}

/// Of `socket:[4711]`.
fn inode(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    const HOST: &str = "\
//- tcp listen 0.0.0.0:22 queued=1 max=128 inode=11
//- tcp listen [::]:80 max=511 inode=12
//- tcp listen [::]:80 queued=2 max=511 inode=13
//- tcp listen 0.0.0.0:22 inode=16
//- tcp listen 0.0.0.0:22 inode=17
//- tcp listen [::ffff:10.0.0.1]:9000 inode=14
//- tcp established 10.0.0.1:22 inode=15
//- /proc/1/comm
systemd
//- /proc/1/fd/3 -> pipe:[11]
//- /proc/7/comm
sshd
//- /proc/7/fd/3 -> socket:[11]
//- /proc/7/fd/4 -> socket:[17]
//- /proc/8/comm
nginx
//- /proc/8/fd/5 -> socket:[16]
//- /proc/8/fd/6 -> socket:[12]
//- /proc/8/fd/7 -> socket:[13]
//- /proc/9/comm
nginx
//- /proc/9/fd/6 -> socket:[12]
//- denied /proc/10/fd
";

    #[test]
    fn ports_are_read_with_their_owners() {
        let mut bench = Bench::new(HOST, Ports::new());
        for _ in 0..2 {
            bench.pass().unwrap();
            bench.expect(&[
                ("listening_port{22,0.0.0.0,sshd}", 2.0),
                ("listening_port{22,0.0.0.0,nginx}", 1.0),
                ("listening_port_queue_count{22,0.0.0.0,sshd}", 1.0),
                ("listening_port_queue_max_count{22,0.0.0.0,sshd}", 128.0),
                ("listening_port{80,::,nginx}", 2.0),
                ("listening_port_queue_count{80,::,nginx}", 2.0),
                ("listening_port_queue_max_count{80,::,nginx}", 1022.0),
                ("listening_port{9000,10.0.0.1,}", 1.0),
                ("listening_ports_count", 4.0),
                ("listening_ports_left_out_count", 0.0),
            ]);
        }
    }

    #[test]
    fn owners_are_looked_for_when_sockets_change() {
        let mut bench = Bench::new(HOST, Ports::new());
        bench.pass().unwrap();
        // Another name is not noticed while the sockets are the same,
        bench.host.set("/proc/7/comm", "\x1b]0;forged\n");
        bench.pass().unwrap();
        assert!(bench.has("listening_port{22,0.0.0.0,sshd}"));
        // and is with a new socket.
        bench.host.apply("//- tcp listen 0.0.0.0:5432 inode=20\n//- /proc/20/fd/3 -> socket:[20]\n").unwrap();
        bench.pass().unwrap();
        assert!(bench.has("listening_port{22,0.0.0.0,?]0;forged}"));
        assert!(bench.has("listening_port{5432,0.0.0.0,}"), "it has no name");
        bench.host.set("/proc/20/comm", "postgres\n");
        for _ in 0..=PATIENCE {
            bench.pass().unwrap();
        }
        assert!(bench.has("listening_port{5432,0.0.0.0,postgres}"), "looked for again after a while");
        bench.host.close_sockets();
        bench.pass().unwrap();
        assert_eq!(bench.readings.len(), 2);
        bench.expect(&[("listening_ports_count", 0.0)]);
    }

    /// A process in front that has opened all the files that are looked at hides nobody who is known.
    #[test]
    fn a_known_owner_stays_known() {
        let mut bench = Bench::new(HOST, Ports::new());
        bench.pass().unwrap();
        for number in 0..=MAX_FILES {
            bench.host.set(&format!("/proc/1/fd/{number}"), "");
        }
        bench.host.apply("//- tcp listen 0.0.0.0:5432 inode=20\n").unwrap();
        bench.pass().unwrap();
        bench.expect(&[("listening_port{22,0.0.0.0,sshd}", 2.0), ("listening_port{5432,0.0.0.0,}", 1.0)]);
    }

    #[test]
    fn links_that_are_no_sockets() {
        for (link, expect) in [
            ("socket:[4711]", Some(4711)),
            ("socket:[4294967296]", None),
            ("socket:[-1]", None),
            ("socket:[", None),
            ("pipe:[4711]", None),
            ("/tmp/socket:[4711]", None),
        ] {
            assert_eq!(inode(link), expect, "{link}");
        }
    }

    #[test]
    fn many_ports_are_bounded_and_said() {
        let text = (0..300)
            .map(|n| format!("//- tcp listen 127.0.0.1:{} inode={n}\n", 1000 + n))
            .collect::<Vec<_>>()
            .concat();
        let mut bench = Bench::new(&text, Ports::new());
        bench.pass().unwrap();
        bench.expect(&[("listening_ports_count", 300.0), ("listening_ports_left_out_count", 44.0)]);
        assert_eq!(bench.readings.len(), 2 * MAX_PORTS + 2);
    }
}
