//! `/proc/net/snmp`, `netstat` and `snmp6`: what the protocols count. Of some 350 counters those that tell
//! of trouble, and those they are held against.

use super::kept::Kept;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::parse::{Cursor, key, lines, number, words};
use crate::metric::{Metric, metrics};
use crate::sample::Samples;

metrics! {
    ESTABLISHED: Gauge Count "tcp_connections_count" [] "TCP connections that are established or wait to be closed by us.", "/proc/net/snmp Tcp CurrEstab";
    ACTIVE: Counter Count "tcp_active_opens_total" [] "Connections opened from here.", "/proc/net/snmp Tcp ActiveOpens";
    PASSIVE: Counter Count "tcp_passive_opens_total" [] "Connections accepted.", "/proc/net/snmp Tcp PassiveOpens";
    ATTEMPT_FAILS: Counter Count "tcp_attempt_fails_total" [] "Connections that did not come about.", "/proc/net/snmp Tcp AttemptFails";
    RESETS: Counter Count "tcp_established_resets_total" [] "Connections that were reset.", "/proc/net/snmp Tcp EstabResets";
    SEGMENTS_IN: Counter Count "tcp_segments_received_total" [] "Segments received.", "/proc/net/snmp Tcp InSegs";
    SEGMENTS_OUT: Counter Count "tcp_segments_sent_total" [] "Segments sent, retransmitted ones left out.", "/proc/net/snmp Tcp OutSegs";
    RETRANSMITS: Counter Count "tcp_retransmits_total" [] "Segments sent again.", "/proc/net/snmp Tcp RetransSegs";
    TCP_ERRORS: Counter Count "tcp_receive_errors_total" [] "Segments received with errors.", "/proc/net/snmp Tcp InErrs";
    RESETS_SENT: Counter Count "tcp_resets_sent_total" [] "Segments sent with RST.", "/proc/net/snmp Tcp OutRsts";
    SYN_RETRANSMITS: Counter Count "tcp_syn_retransmits_total" [] "Requests to connect sent again: the other end does not answer.", "/proc/net/netstat TcpExt TCPSynRetrans";
    TIMEOUTS: Counter Count "tcp_timeouts_total" [] "Retransmissions after a timeout.", "/proc/net/netstat TcpExt TCPTimeouts";
    LOST_RETRANSMITS: Counter Count "tcp_lost_retransmits_total" [] "Retransmitted segments that were lost too.", "/proc/net/netstat TcpExt TCPLostRetransmit";
    LISTEN_OVERFLOWS: Counter Count "tcp_listen_overflows_total" [] "Connections turned away because a program did not accept them in time.", "/proc/net/netstat TcpExt ListenOverflows";
    LISTEN_DROPS: Counter Count "tcp_listen_drops_total" [] "Connections turned away for any reason.", "/proc/net/netstat TcpExt ListenDrops";
    SYN_QUEUE_DROPS: Counter Count "tcp_syn_queue_drops_total" [] "Requests to connect dropped because too many waited.", "/proc/net/netstat TcpExt TCPReqQFullDrop";
    COOKIES_SENT: Counter Count "tcp_syncookies_sent_total" [] "SYN cookies sent because too many requests to connect waited.", "/proc/net/netstat TcpExt SyncookiesSent";
    COOKIES_FAILED: Counter Count "tcp_syncookies_failed_total" [] "SYN cookies that came back wrong.", "/proc/net/netstat TcpExt SyncookiesFailed";
    BACKLOG_DROPS: Counter Count "tcp_backlog_drops_total" [] "Segments dropped because a socket's backlog was full.", "/proc/net/netstat TcpExt TCPBacklogDrop";
    RECEIVE_DROPS: Counter Count "tcp_receive_queue_drops_total" [] "Segments dropped because a socket's receive buffer was full.", "/proc/net/netstat TcpExt TCPRcvQDrop";
    PRUNED: Counter Count "tcp_pruned_total" [] "Times a socket's receive buffer was too full.", "/proc/net/netstat TcpExt PruneCalled";
    MEMORY_ABORTS: Counter Count "tcp_aborts_memory_total" [] "Connections given up for lack of memory.", "/proc/net/netstat TcpExt TCPAbortOnMemory";
    TIMEOUT_ABORTS: Counter Count "tcp_aborts_timeout_total" [] "Connections given up because the other end did not answer.", "/proc/net/netstat TcpExt TCPAbortOnTimeout";
    MEMORY_PRESSURES: Counter Count "tcp_memory_pressures_total" [] "Times TCP ran short of memory.", "/proc/net/netstat TcpExt TCPMemoryPressures";
    TIME_WAIT_OVERFLOWS: Counter Count "tcp_time_wait_overflows_total" [] "Sockets closed at once because too many were in TIME_WAIT.", "/proc/net/netstat TcpExt TCPTimeWaitOverflow";
    UDP_IN: Counter Count "udp_datagrams_received_total" ["family"] "Datagrams delivered to programs.", "/proc/net/snmp Udp InDatagrams, snmp6";
    UDP_OUT: Counter Count "udp_datagrams_sent_total" ["family"] "Datagrams sent.", "/proc/net/snmp Udp OutDatagrams, snmp6";
    UDP_NO_PORT: Counter Count "udp_no_port_total" ["family"] "Datagrams nobody waited for.", "/proc/net/snmp Udp NoPorts, snmp6";
    UDP_ERRORS: Counter Count "udp_receive_errors_total" ["family"] "Datagrams that could not be delivered.", "/proc/net/snmp Udp InErrors, snmp6";
    UDP_FULL: Counter Count "udp_receive_buffer_errors_total" ["family"] "Datagrams dropped because a socket's receive buffer was full.", "/proc/net/snmp Udp RcvbufErrors, snmp6";
    UDP_SEND_FULL: Counter Count "udp_send_buffer_errors_total" ["family"] "Datagrams not sent because a socket's send buffer was full.", "/proc/net/snmp Udp SndbufErrors, snmp6";
    IP_IN: Counter Count "ip_packets_received_total" ["family"] "Packets received.", "/proc/net/snmp Ip InReceives, snmp6";
    IP_FORWARDED: Counter Count "ip_packets_forwarded_total" ["family"] "Packets forwarded.", "/proc/net/snmp Ip ForwDatagrams, snmp6";
    IP_DISCARDS_IN: Counter Count "ip_receive_discards_total" ["family"] "Good packets dropped on their way in, for lack of memory.", "/proc/net/snmp Ip InDiscards, snmp6";
    IP_DISCARDS_OUT: Counter Count "ip_send_discards_total" ["family"] "Good packets dropped on their way out.", "/proc/net/snmp Ip OutDiscards, snmp6";
    IP_NO_ROUTE: Counter Count "ip_no_route_total" ["family"] "Packets for which there was no route.", "/proc/net/snmp Ip OutNoRoutes, snmp6";
    IP_REASSEMBLY: Counter Count "ip_reassembly_failures_total" ["family"] "Packets of which a fragment was missing.", "/proc/net/snmp Ip ReasmFails, snmp6";
    IP_FRAGMENTATION: Counter Count "ip_fragmentation_failures_total" ["family"] "Packets that had to be cut up and might not be.", "/proc/net/snmp Ip FragFails, snmp6";
    ICMP_ERRORS: Counter Count "icmp_receive_errors_total" ["family"] "ICMP messages received with errors.", "/proc/net/snmp Icmp InErrors, snmp6";
}

/// Name of a counter, its metric and its labels.
type Row = (&'static [u8], &'static Metric, &'static [&'static str]);

const V4: &[&str] = &["ipv4"];
const V6: &[&str] = &["ipv6"];

/// Lines of `snmp` and `netstat` by their first word, and the counters wanted of them.
static BLOCKS: [(&[u8], &[Row]); 5] = [
    (
        b"Ip:",
        &[
            (b"InReceives", &IP_IN, V4),
            (b"ForwDatagrams", &IP_FORWARDED, V4),
            (b"InDiscards", &IP_DISCARDS_IN, V4),
            (b"OutDiscards", &IP_DISCARDS_OUT, V4),
            (b"OutNoRoutes", &IP_NO_ROUTE, V4),
            (b"ReasmFails", &IP_REASSEMBLY, V4),
            (b"FragFails", &IP_FRAGMENTATION, V4),
        ],
    ),
    (b"Icmp:", &[(b"InErrors", &ICMP_ERRORS, V4)]),
    (
        b"Tcp:",
        &[
            (b"ActiveOpens", &ACTIVE, &[]),
            (b"PassiveOpens", &PASSIVE, &[]),
            (b"AttemptFails", &ATTEMPT_FAILS, &[]),
            (b"EstabResets", &RESETS, &[]),
            (b"CurrEstab", &ESTABLISHED, &[]),
            (b"InSegs", &SEGMENTS_IN, &[]),
            (b"OutSegs", &SEGMENTS_OUT, &[]),
            (b"RetransSegs", &RETRANSMITS, &[]),
            (b"InErrs", &TCP_ERRORS, &[]),
            (b"OutRsts", &RESETS_SENT, &[]),
        ],
    ),
    (
        b"Udp:",
        &[
            (b"InDatagrams", &UDP_IN, V4),
            (b"NoPorts", &UDP_NO_PORT, V4),
            (b"InErrors", &UDP_ERRORS, V4),
            (b"OutDatagrams", &UDP_OUT, V4),
            (b"RcvbufErrors", &UDP_FULL, V4),
            (b"SndbufErrors", &UDP_SEND_FULL, V4),
        ],
    ),
    (
        b"TcpExt:",
        &[
            (b"SyncookiesSent", &COOKIES_SENT, &[]),
            (b"SyncookiesFailed", &COOKIES_FAILED, &[]),
            (b"PruneCalled", &PRUNED, &[]),
            (b"ListenOverflows", &LISTEN_OVERFLOWS, &[]),
            (b"ListenDrops", &LISTEN_DROPS, &[]),
            (b"TCPLostRetransmit", &LOST_RETRANSMITS, &[]),
            (b"TCPTimeouts", &TIMEOUTS, &[]),
            (b"TCPAbortOnMemory", &MEMORY_ABORTS, &[]),
            (b"TCPAbortOnTimeout", &TIMEOUT_ABORTS, &[]),
            (b"TCPMemoryPressures", &MEMORY_PRESSURES, &[]),
            (b"TCPBacklogDrop", &BACKLOG_DROPS, &[]),
            (b"TCPTimeWaitOverflow", &TIME_WAIT_OVERFLOWS, &[]),
            (b"TCPReqQFullDrop", &SYN_QUEUE_DROPS, &[]),
            (b"TCPSynRetrans", &SYN_RETRANSMITS, &[]),
            (b"TCPRcvQDrop", &RECEIVE_DROPS, &[]),
        ],
    ),
];

/// Lines of `snmp6`, in the order of the file.
static LINES_6: [Row; 14] = [
    (b"Ip6InReceives", &IP_IN, V6),
    (b"Ip6InDiscards", &IP_DISCARDS_IN, V6),
    (b"Ip6OutForwDatagrams", &IP_FORWARDED, V6),
    (b"Ip6OutDiscards", &IP_DISCARDS_OUT, V6),
    (b"Ip6OutNoRoutes", &IP_NO_ROUTE, V6),
    (b"Ip6ReasmFails", &IP_REASSEMBLY, V6),
    (b"Ip6FragFails", &IP_FRAGMENTATION, V6),
    (b"Icmp6InErrors", &ICMP_ERRORS, V6),
    (b"Udp6InDatagrams", &UDP_IN, V6),
    (b"Udp6NoPorts", &UDP_NO_PORT, V6),
    (b"Udp6InErrors", &UDP_ERRORS, V6),
    (b"Udp6OutDatagrams", &UDP_OUT, V6),
    (b"Udp6RcvbufErrors", &UDP_FULL, V6),
    (b"Udp6SndbufErrors", &UDP_SEND_FULL, V6),
];

/// Reads the three files.
pub struct Netstat {
    snmp: Kept,
    extended: Kept,
    snmp6: Kept,
    /// Where the wanted counters stand, for each of [`BLOCKS`].
    places: [Places; BLOCKS.len()],
    cursor: Cursor,
}

/// A heading, and the columns below it that are wanted.
#[derive(Default)]
struct Places {
    heading: Vec<u8>,
    columns: Vec<(usize, &'static Row)>,
}

impl Netstat {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self {
            snmp: Kept::new("/proc/net/snmp"),
            extended: Kept::new("/proc/net/netstat"),
            snmp6: Kept::new("/proc/net/snmp6"),
            places: Default::default(),
            cursor: Cursor::default(),
        }
    }
}

impl Default for Netstat {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Netstat {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        if put_blocks(self.snmp.read(host)?, &mut self.places, out) == 0 {
            return Err(self.snmp.parse_error("it has no line `Tcp:` with a heading before it"));
        }
        put_blocks(self.extended.read(host)?, &mut self.places, out);
        // Not there where IPv6 was switched off at boot.
        for line in self.snmp6.read(host).ok().into_iter().flat_map(lines) {
            let (name, rest) = key(line);
            let Some((_, metric, labels)) = self.cursor.find(&LINES_6, |(known, ..)| *known == name) else {
                continue;
            };
            number(rest.trim_ascii()).inspect(|&value| out.put(metric, labels, value as f64));
        }
        Ok(())
    }
}

/// Pairs of lines with the same first word: names, then values. How many values were put out.
fn put_blocks(text: &[u8], places: &mut [Places; BLOCKS.len()], out: &mut Samples) -> usize {
    let mut count = 0;
    let mut heading: &[u8] = b"";
    for line in lines(text) {
        let (name, rest) = key(line);
        let (of, names) = key(heading);
        let block = BLOCKS.iter().position(|(known, _)| *known == name);
        let (Some(at), true) = (block, of == name) else {
            heading = line;
            continue;
        };
        heading = b"";
        places[at].learn(names, BLOCKS[at].1);
        let mut values = words(rest).enumerate();
        for (column, (_, metric, labels)) in &places[at].columns {
            let word = values.find(|(at, _)| at == column);
            // Tcp MaxConn may be -1, and so, by a race, could others.
            let Some(value) = word.and_then(|(_, word)| number(word)) else { continue };
            out.put(metric, labels, value as f64);
            count += 1;
        }
    }
    count
}

impl Places {
    fn learn(&mut self, heading: &[u8], rows: &'static [Row]) {
        if self.heading == heading {
            return;
        }
        heading.clone_into(&mut self.heading);
        let place = |(at, name)| Some((at, rows.iter().find(|(known, ..)| *known == name)?));
        self.columns = words(heading).enumerate().filter_map(place).collect();
    }
}

#[cfg(test)]
#[path = "netstat_tests.rs"]
mod tests;
