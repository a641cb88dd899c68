//! `/proc/net/sockstat` and the states of TCP sockets.
//!
//! The states come from `sock_diag`, without those that have most sockets: `TIME_WAIT` is counted by `sockstat`,
//! and `ESTABLISHED` is what `snmp` counts less `CLOSE_WAIT`. So a host with 100,000 connections costs little
//! more than one with ten; `/proc/net/tcp` would print a line for each.

use super::kept::{Kept, failure};
use super::{CollectError, Collector};
use crate::host::parse::{key, lines, number, words};
use crate::host::{Host, TcpSocket, TcpState};
use crate::metric::{Metric, metrics};
use crate::sample::Samples;
use crate::time::{Now, SECOND};

metrics! {
    USED: Gauge Count "sockets_used_count" [] "Sockets of all kinds.", "/proc/net/sockstat sockets used";
    STATES: Gauge Count "tcp_sockets_count" ["state"]
        "TCP sockets in a state; nothing where there are more than 65536 in the lesser ones.",
        "sock_diag; /proc/net/snmp Tcp CurrEstab, /proc/net/sockstat TCP tw";
    ORPHANS: Gauge Count "tcp_orphans_count" []
        "TCP sockets that no process holds any more.", "/proc/net/sockstat TCP orphan";
    ALLOCATED: Gauge Count "tcp_allocated_count" []
        "TCP sockets of the whole machine, containers too.", "/proc/net/sockstat TCP alloc";
    MEMORY: Gauge Bytes "tcp_memory_bytes" [] "Memory in buffers of TCP sockets.", "/proc/net/sockstat TCP mem";
    MEMORY_PERCENT: Gauge Percent "tcp_memory_used_percent" []
        "Share of the memory TCP may have; at 100 connections are dropped.",
        "/proc/net/sockstat TCP mem, /proc/sys/net/ipv4/tcp_mem";
    UDP: Gauge Count "udp_sockets_count" ["family"] "UDP sockets in use.", "/proc/net/sockstat, sockstat6 UDP inuse";
    UDP_MEMORY: Gauge Bytes "udp_memory_bytes" [] "Memory in buffers of UDP sockets.", "/proc/net/sockstat UDP mem";
    RAW: Gauge Count "raw_sockets_count" ["family"] "Raw sockets in use.", "/proc/net/sockstat, sockstat6 RAW inuse";
    FRAGMENTS: Gauge Bytes "ip_fragments_bytes" ["family"]
        "Memory in packets that wait for their other fragments.", "/proc/net/sockstat, sockstat6 FRAG memory";
}

/// Line, word, metric, labels, and whether it is pages.
type Row = (&'static [u8], &'static [u8], &'static Metric, &'static [&'static str], bool);

/// Words of `sockstat` and `sockstat6`.
static ROWS: [Row; 11] = [
    (b"sockets:", b"used", &USED, &[], false),
    (b"TCP:", b"orphan", &ORPHANS, &[], false),
    (b"TCP:", b"alloc", &ALLOCATED, &[], false),
    (b"TCP:", b"mem", &MEMORY, &[], true),
    (b"UDP:", b"inuse", &UDP, &["ipv4"], false),
    (b"UDP:", b"mem", &UDP_MEMORY, &[], true),
    (b"RAW:", b"inuse", &RAW, &["ipv4"], false),
    (b"FRAG:", b"memory", &FRAGMENTS, &["ipv4"], false),
    (b"UDP6:", b"inuse", &UDP, &["ipv6"], false),
    (b"RAW6:", b"inuse", &RAW, &["ipv6"], false),
    (b"FRAG6:", b"memory", &FRAGMENTS, &["ipv6"], false),
];

/// Sockets in the states that are asked for, counted at most: some 40 ms.
const MAX_SOCKETS: u64 = 65_536;

/// Sockets are not looked for more often: the kernel goes through its whole table of connections, which grows with the
/// memory of the machine (0.5 ms with 24 GB) and not with the connections.
const STATES_NS: u64 = 10 * SECOND;

/// Reads counts and states.
pub struct Sockets {
    stat: Kept,
    stat6: Kept,
    snmp: Kept,
    tcp_mem: Kept,
    states: Option<States>,
}

/// TCP sockets by state, as they were found.
#[derive(Clone, Copy)]
struct States {
    at: Now,
    counts: [u64; TcpState::ALL.len() + 1],
    /// Of those in `FIN_WAIT2`, such that `sockstat` counts as `TIME_WAIT`.
    half_closed: u64,
    established: Option<u64>,
}

impl Sockets {
    /// Reads nothing yet.
    pub const fn new() -> Self {
        Self {
            stat: Kept::new("/proc/net/sockstat"),
            stat6: Kept::new("/proc/net/sockstat6"),
            snmp: Kept::new("/proc/net/snmp"),
            tcp_mem: Kept::new("/proc/sys/net/ipv4/tcp_mem"),
            states: None,
        }
    }
}

impl Default for Sockets {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Sockets {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let text = self.stat.read(host)?;
        let pages = word_of(text, b"TCP:", b"mem");
        let time_wait = word_of(text, b"TCP:", b"tw");
        if put_rows(text, host, out) == 0 {
            return Err(self.stat.parse_error("it has no line `sockets:` or `TCP:`"));
        }
        // Not there where IPv6 was switched off at boot.
        if let Ok(text) = self.stat6.read(host) {
            put_rows(text, host, out);
        }
        // Three limits in pages, of which the last is where it ends.
        let limits = self.tcp_mem.seldom(host, out.at()).ok();
        let max = limits.and_then(|text| words(text.trim_ascii()).nth(2).and_then(number));
        if let (Some(pages), Some(max @ 1..)) = (pages, max) {
            out.put(&MEMORY_PERCENT, &[], (100.0 * pages as f64 / max as f64).min(100.0));
        }
        let known = self.states.filter(|states| out.at().since(states.at) < STATES_NS);
        let states = match known {
            Some(states) => states,
            None => self.find_states(host, out.at())?,
        };
        self.states = Some(states);
        states.put(time_wait, out);
        Ok(())
    }
}

fn put_rows(text: &[u8], host: &dyn Host, out: &mut Samples) -> usize {
    let mut count = 0;
    for (line, word, metric, labels, pages) in &ROWS {
        let Some(value) = word_of(text, line, word) else { continue };
        let value = if *pages { value.saturating_mul(host.page_size()) } else { value };
        out.put(metric, labels, value as f64);
        count += 1;
    }
    count
}

/// The number behind a word of a line: `TCP: inuse 1 orphan 0`.
fn word_of(text: &[u8], line: &[u8], word: &[u8]) -> Option<u64> {
    let (_, rest) = lines(text).map(key).find(|(name, _)| *name == line)?;
    let mut words = words(rest).skip_while(|known| *known != word);
    words.nth(1).and_then(number)
}

fn current_established(snmp: &[u8]) -> Option<u64> {
    let mut tcp = lines(snmp).filter(|line| line.starts_with(b"Tcp:"));
    let (names, values) = (tcp.next()?, tcp.next()?);
    words(names)
        .zip(words(values))
        .find(|(name, _)| *name == b"CurrEstab")
        .and_then(|(_, value)| number(value))
}

/// States that are looked for: all but those that hold most sockets, which are counted elsewhere.
fn wanted() -> u32 {
    let elsewhere = TcpState::Established.mask() | TcpState::TimeWait.mask();
    TcpState::ALL.iter().fold(0, |mask, state| mask | state.mask()) & !elsewhere
}

impl Sockets {
    fn find_states(&mut self, host: &dyn Host, at: Now) -> Result<States, CollectError> {
        let established = self.snmp.read(host).ok().and_then(current_established);
        let mut counts = [0u64; TcpState::ALL.len() + 1];
        let (mut seen, mut half_closed) = (0, 0u64);
        let each = &mut |socket: &TcpSocket| {
            counts[socket.state as usize] += 1;
            // `sockstat` counts these among those in TIME_WAIT, as the kernel keeps them there (`tw_substate`).
            half_closed += u64::from(socket.state == TcpState::FinWait2 && socket.inode == 0);
            seen += 1;
            seen < MAX_SOCKETS
        };
        host.tcp_sockets(wanted(), each).map_err(|error| failure("sock_diag", &error))?;
        if seen >= MAX_SOCKETS {
            let why = format!("more than {MAX_SOCKETS} sockets are neither established nor in TIME_WAIT");
            return Err(CollectError::Parse { path: "sock_diag".to_owned(), why });
        }
        counts[TcpState::SynReceived as usize] += counts[TcpState::NewSynReceived as usize];
        Ok(States { at, counts, half_closed, established })
    }
}

impl States {
    fn put(&self, time_wait: Option<u64>, out: &mut Samples) {
        let Self { counts, half_closed, established, .. } = self;
        let closing = counts[TcpState::CloseWait as usize];
        let found = |state: &&TcpState| state.mask() & wanted() != 0 && **state != TcpState::NewSynReceived;
        for state in TcpState::ALL.iter().filter(found) {
            out.put(&STATES, &[state.name()], counts[*state as usize] as f64);
        }
        established.inspect(|&n| out.put(&STATES, &["established"], n.saturating_sub(closing) as f64));
        time_wait.inspect(|&n| out.put(&STATES, &["time_wait"], n.saturating_sub(*half_closed) as f64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    const HOST: &str = "\
//- /proc/net/sockstat
sockets: used 24
TCP: inuse 5 orphan 3 tw 7 alloc 11 mem 250
UDP: inuse 4 mem 2
UDPLITE: inuse 0
RAW: inuse 6
FRAG: inuse 0 memory 4096
//- /proc/net/sockstat6
TCP6: inuse 9
UDP6: inuse 8
RAW6: inuse 1
FRAG6: inuse 0 memory 5
//- /proc/sys/net/ipv4/tcp_mem
100\t500\t1000
//- /proc/net/snmp
Tcp: RtoMin CurrEstab
Tcp: 200 10
//- tcp listen 0.0.0.0:22 inode=5
//- tcp listen [::]:80 inode=6
//- tcp close_wait 10.0.0.1:5000 times=3
//- tcp established 10.0.0.1:5001 times=7
//- tcp syn_sent 10.0.0.1:5002
//- tcp fin_wait2 10.0.0.1:5003 times=2
//- tcp fin_wait2 10.0.0.1:5004 inode=9
//- tcp syn_received [::1]:80 times=2
";

    #[test]
    fn a_host_is_read() {
        let mut bench = Bench::new(HOST, Sockets::new());
        for _ in 0..2 {
            bench.pass().unwrap();
            bench.expect(&[
                ("sockets_used_count", 24.0),
                ("tcp_orphans_count", 3.0),
                ("tcp_allocated_count", 11.0),
                ("tcp_memory_bytes", 1_024_000.0),
                ("tcp_memory_used_percent", 25.0),
                ("udp_sockets_count{ipv4}", 4.0),
                ("udp_sockets_count{ipv6}", 8.0),
                ("udp_memory_bytes", 8192.0),
                ("raw_sockets_count{ipv4}", 6.0),
                ("ip_fragments_bytes{ipv4}", 4096.0),
                ("tcp_sockets_count{listen}", 2.0),
                ("tcp_sockets_count{close_wait}", 3.0),
                ("tcp_sockets_count{established}", 7.0),
                ("tcp_sockets_count{time_wait}", 5.0),
                ("tcp_sockets_count{fin_wait2}", 3.0),
                ("tcp_sockets_count{syn_sent}", 1.0),
                ("tcp_sockets_count{syn_received}", 2.0),
                ("tcp_sockets_count{last_ack}", 0.0),
            ]);
        }
        bench.host.remove("/proc/net/sockstat6");
        bench.host.remove("/proc/sys");
        bench.pass().unwrap();
        assert!(!bench.has("tcp_memory_used_percent") && !bench.has("udp_sockets_count{ipv6}"));
    }

    #[test]
    fn too_many_sockets_are_said() {
        let mut bench = Bench::new(HOST, Sockets::new());
        bench.host.apply("//- tcp close_wait 10.0.0.1:5000 times=70000").unwrap();
        assert!(bench.pass().unwrap_err().to_string().contains("more than 65536 sockets"));
        assert!(bench.has("sockets_used_count") && !bench.has("tcp_sockets_count{close_wait}"));
    }

    #[test]
    fn bad_content_is_an_error_or_left_out() {
        for content in [&b""[..], b"TCP", b"TCP: mem", b"TCP: mem -5", b"TCP: inuse alloc", b"\xff\xff 5"] {
            let mut bench = Bench::new(HOST, Sockets::new());
            bench.host.set("/proc/net/sockstat", content);
            assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{content:?}");
            bench.expect_nothing();
        }
        let mut bench = Bench::new(HOST, Sockets::new());
        bench.host.set("/proc/net/sockstat", "TCP: mem 18446744073709551615\n");
        bench.host.set("/proc/net/snmp", "Tcp: CurrEstab\nTcp: 1\n");
        bench.pass().unwrap();
        bench.expect(&[("tcp_memory_used_percent", 100.0), ("tcp_sockets_count{established}", 0.0)]);
    }
}
