use std::fmt::Write;

use super::*;
use crate::collect::testing::Bench;

const HOST: &str = "\
//- /proc/net/snmp
Ip: Forwarding DefaultTTL InReceives ForwDatagrams InDiscards OutDiscards OutNoRoutes ReasmFails FragFails
Ip: 2 64 372756 7 1 2 3 4 5
Icmp: InMsgs InErrors
Icmp: 9 6
IcmpMsg: InType3
IcmpMsg: 3
Tcp: RtoAlgorithm MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts
Tcp: 1 -1 91370 5055 86177 4938 12 372401 345793 36 8 88747
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors
Udp: 352 1 2 355 3 4
//- /proc/net/netstat
TcpExt: SyncookiesSent SyncookiesFailed PruneCalled ListenOverflows ListenDrops TCPLostRetransmit TCPTimeouts
TcpExt: 11 12 13 14 15 16 17
IpExt: InOctets
IpExt: 2080177256
//- /proc/net/snmp6
Ip6InReceives                   \t3
Ip6OutNoRoutes                  \t1
Udp6RcvbufErrors                \t5
";

#[test]
fn a_host_is_read() {
    let mut bench = Bench::new(HOST, Netstat::new());
    for _ in 0..2 {
        bench.pass().unwrap();
        bench.expect(&[
            ("ip_packets_received_total{ipv4}", 372_756.0),
            ("ip_fragmentation_failures_total{ipv4}", 5.0),
            ("icmp_receive_errors_total{ipv4}", 6.0),
            ("tcp_active_opens_total", 91_370.0),
            ("tcp_connections_count", 12.0),
            ("tcp_retransmits_total", 36.0),
            ("tcp_resets_sent_total", 88_747.0),
            ("udp_datagrams_received_total{ipv4}", 352.0),
            ("udp_send_buffer_errors_total{ipv4}", 4.0),
            ("tcp_syncookies_sent_total", 11.0),
            ("tcp_listen_overflows_total", 14.0),
            ("tcp_timeouts_total", 17.0),
            ("ip_packets_received_total{ipv6}", 3.0),
            ("ip_no_route_total{ipv6}", 1.0),
            ("udp_receive_buffer_errors_total{ipv6}", 5.0),
        ]);
    }
    // A kernel with other columns, as after a kexec under a checkpointed agent.
    bench.host.set("/proc/net/netstat", "TcpExt: X TCPTimeouts\nTcpExt: 1 18\n");
    bench.host.remove("/proc/net/snmp6");
    bench.pass().unwrap();
    bench.expect(&[("tcp_timeouts_total", 18.0)]);
    assert!(!bench.has("tcp_listen_drops_total") && !bench.has("ip_packets_received_total{ipv6}"));
}

/// Every row of the tables is read from where the kernel writes it.
#[test]
fn every_counter_has_its_place() {
    let (mut snmp, mut expect) = (String::new(), Vec::new());
    let put = |metric: &Metric, labels: &[&str]| match labels {
        [] => metric.name.to_owned(),
        labels => format!("{}{{{}}}", metric.name, labels.join(",")),
    };
    for (block, (name, rows)) in BLOCKS.iter().enumerate() {
        let (mut names, mut values) = (String::new(), String::new());
        for (at, (counter, metric, labels)) in rows.iter().enumerate() {
            let value = 100 * (block + 1) + at;
            write!(names, " {}", str::from_utf8(counter).unwrap()).unwrap();
            write!(values, " {value}").unwrap();
            expect.push((put(metric, labels), value as f64));
        }
        let name = str::from_utf8(name).unwrap();
        writeln!(snmp, "{name}{names}\n{name}{values}").unwrap();
    }
    let mut snmp6 = String::new();
    for (at, (name, metric, labels)) in LINES_6.iter().enumerate() {
        writeln!(snmp6, "{}\t{}", str::from_utf8(name).unwrap(), 1000 + at).unwrap();
        expect.push((put(metric, labels), (1000 + at) as f64));
    }
    let mut bench = Bench::new("//- /proc/net/netstat\n", Netstat::new());
    bench.host.set("/proc/net/snmp", snmp);
    bench.host.set("/proc/net/snmp6", snmp6);
    bench.pass().unwrap();
    for (name, value) in &expect {
        bench.expect(&[(name, *value)]);
    }
    assert_eq!(bench.readings.len(), expect.len());
    assert_eq!(METRICS.len(), expect.len() - LINES_6.len());
}

#[test]
fn bad_content_is_an_error_or_left_out() {
    for content in [
        &b""[..],
        b"Tcp: InSegs\n",
        b"Tcp: 5\nTcp: 5\n",
        b"Tcp: InSegs\nUdp: 5\n",
        b"Tcp: InSegs\nTcp: -5\n",
        b"Tcp: InSegs\nTcp:\n",
        b"\xff: InSegs\n\xff: 5\n",
    ] {
        let mut bench = Bench::new(HOST, Netstat::new());
        bench.host.set("/proc/net/snmp", content);
        assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{content:?}");
        bench.expect_nothing();
    }
    let mut bench = Bench::new(HOST, Netstat::new());
    bench.host.set("/proc/net/snmp", "Tcp: A InSegs OutSegs\nTcp: x 5\nTcp: InErrs\nTcp: 7 8\n");
    bench.pass().unwrap();
    bench.expect(&[("tcp_segments_received_total", 5.0), ("tcp_receive_errors_total", 7.0)]);
    assert!(!bench.has("tcp_segments_sent_total"), "a line that was cut");
}
