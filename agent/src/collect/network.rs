//! `/proc/net/dev`: bytes, packets and errors of each network interface.

use std::collections::HashMap;

use super::kept::Kept;
use super::names::KeptDir;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::glob::Globs;
use crate::host::parse::{lines, number, words};
use crate::metric::{Metric, metrics};
use crate::sample::Samples;

metrics! {
    RX_BYTES: Counter Bytes "network_receive_bytes_total" ["interface"] "Bytes received.", "/proc/net/dev";
    RX_PACKETS: Counter Count "network_receive_packets_total" ["interface"] "Packets received.", "/proc/net/dev";
    RX_ERRORS: Counter Count "network_receive_errors_total" ["interface"]
        "Packets received with errors.", "/proc/net/dev errs";
    RX_DROPS: Counter Count "network_receive_drops_total" ["interface"]
        "Packets received and dropped: no memory, no room, or nobody wanted them.", "/proc/net/dev drop";
    RX_FIFO: Counter Count "network_receive_fifo_errors_total" ["interface"]
        "Packets lost because the interface's buffer was full.", "/proc/net/dev fifo";
    RX_FRAME: Counter Count "network_receive_frame_errors_total" ["interface"]
        "Packets of wrong length, checksum or frame.", "/proc/net/dev frame";
    RX_COMPRESSED: Counter Count "network_receive_compressed_total" ["interface"]
        "Compressed packets received.", "/proc/net/dev compressed";
    RX_MULTICAST: Counter Count "network_receive_multicast_total" ["interface"]
        "Multicast packets received.", "/proc/net/dev multicast";
    TX_BYTES: Counter Bytes "network_transmit_bytes_total" ["interface"] "Bytes sent.", "/proc/net/dev";
    TX_PACKETS: Counter Count "network_transmit_packets_total" ["interface"] "Packets sent.", "/proc/net/dev";
    TX_ERRORS: Counter Count "network_transmit_errors_total" ["interface"]
        "Packets that could not be sent.", "/proc/net/dev errs";
    TX_DROPS: Counter Count "network_transmit_drops_total" ["interface"]
        "Packets dropped before they were sent.", "/proc/net/dev drop";
    TX_FIFO: Counter Count "network_transmit_fifo_errors_total" ["interface"]
        "Packets not sent because of the interface's buffer.", "/proc/net/dev fifo";
    TX_COLLISIONS: Counter Count "network_transmit_collisions_total" ["interface"]
        "Collisions while sending.", "/proc/net/dev colls";
    TX_CARRIER: Counter Count "network_transmit_carrier_errors_total" ["interface"]
        "Packets not sent because the carrier was lost.", "/proc/net/dev carrier";
    TX_COMPRESSED: Counter Count "network_transmit_compressed_total" ["interface"]
        "Compressed packets sent.", "/proc/net/dev compressed";
}

/// Columns after the name (`dev_seq_printf_stats`, `net/core/net-procfs.c`).
static COLUMNS: [&Metric; 16] = [
    &RX_BYTES,
    &RX_PACKETS,
    &RX_ERRORS,
    &RX_DROPS,
    &RX_FIFO,
    &RX_FRAME,
    &RX_COMPRESSED,
    &RX_MULTICAST,
    &TX_BYTES,
    &TX_PACKETS,
    &TX_ERRORS,
    &TX_DROPS,
    &TX_FIFO,
    &TX_COLLISIONS,
    &TX_CARRIER,
    &TX_COMPRESSED,
];

/// Lines of headings.
const HEADINGS: usize = 2;

/// Interfaces remembered; at more, all are forgotten, and learned anew.
const MAX_KNOWN: usize = 8192;

/// Reads `/proc/net/dev`.
pub struct Network {
    exclude: Globs,
    dev: Kept,
    class: KeptDir,
    /// Which interface bore a name in the pass before: a node of `/sys/class/net`, which it keeps under any name.
    known: HashMap<Box<str>, u64>,
    /// Names that another one bears now.
    others: Vec<String>,
}

impl Network {
    /// Leaves out interfaces whose names `exclude` fits.
    pub fn new(exclude: Globs) -> Self {
        let (known, others) = (HashMap::new(), Vec::new());
        let (dev, class) = (Kept::new("/proc/net/dev"), KeptDir::new("/sys/class/net"));
        Self { exclude, dev, class, known, others }
    }

    /// Finds names that another interface bears: its counters are no growth of the former one's.
    fn identify(&mut self, host: &dyn Host) {
        let Self { class, known, others, .. } = self;
        others.clear();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        // Where it cannot be listed, nothing is known of renaming.
        let _ = class.list_nodes(host, &mut |name, node| match known.get_mut(name) {
            None => drop(known.insert(name.into(), node)),
            Some(before) if *before == node => {}
            Some(before) => {
                *before = node;
                others.push(name.to_owned());
            }
        });
    }
}

impl Collector for Network {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        self.identify(host);
        for name in &self.others {
            for metric in COLUMNS {
                out.anew(metric, &[name]);
            }
        }
        let mut bad = 0;
        let text = self.dev.read(host)?;
        for line in lines(text).skip(HEADINGS) {
            let Some((name, values)) = parse(line) else {
                bad += 1;
                continue;
            };
            let name = String::from_utf8_lossy(name);
            if self.exclude.matches(&name) {
                continue;
            }
            for (metric, value) in COLUMNS.iter().zip(values) {
                out.put(metric, &[&name], value as f64);
            }
        }
        if bad > 0 || lines(text).count() < HEADINGS {
            return Err(self.dev.parse_error("a line is not `name:` and 16 numbers"));
        }
        Ok(())
    }
}

/// `  eth0: 126359206 6998 …`; old kernels write no space after the colon, and a name may hold colons
/// (`eth0:1`).
fn parse(line: &[u8]) -> Option<(&[u8], [u64; COLUMNS.len()])> {
    let colon = line.iter().rposition(|&b| b == b':')?;
    let name = line[..colon].trim_ascii();
    let mut values = [0; COLUMNS.len()];
    let mut words = words(&line[colon + 1..]);
    for value in &mut values {
        *value = number(words.next()?)?;
    }
    (!name.is_empty()).then_some((name, values))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    const HEAD: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
";

    fn pass(lines: &[u8]) -> (Bench, Result<(), CollectError>) {
        let mut bench = Bench::new(
            "",
            Network::new(Globs::new(&crate::config::Config::default().collector.exclude_interfaces)),
        );
        bench.host.set("/proc/net/dev", [HEAD.as_bytes(), lines].concat());
        let result = bench.pass();
        (bench, result)
    }

    #[test]
    fn interfaces_are_read() {
        let (bench, result) = pass(
            b"    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
  eth0:126359206 6998 1 2 3 4 5 6 357355 3859 7 8 9 10 11 12
veth12: 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1
eth0:1: 4294967295 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
",
        );
        result.unwrap();
        bench.expect(&[
            ("network_receive_bytes_total{eth0}", 126_359_206.0),
            ("network_receive_packets_total{eth0}", 6998.0),
            ("network_receive_errors_total{eth0}", 1.0),
            ("network_receive_drops_total{eth0}", 2.0),
            ("network_receive_multicast_total{eth0}", 6.0),
            ("network_transmit_bytes_total{eth0}", 357_355.0),
            ("network_transmit_errors_total{eth0}", 7.0),
            ("network_transmit_collisions_total{eth0}", 10.0),
            ("network_transmit_compressed_total{eth0}", 12.0),
            ("network_receive_bytes_total{eth0:1}", 4_294_967_295.0),
        ]);
        assert_eq!(bench.readings.len(), 32, "lo and veth12 are left out");
    }

    #[test]
    fn bad_lines_are_an_error_and_good_ones_count() {
        for bad in [
            &b"eth1: 1 2 3"[..],
            b"eth1 1 2",
            b": 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
            b"eth1: -1 0",
            b"\xff",
        ] {
            let good = b"\neth0: 5 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0";
            let (bench, result) = pass(&[bad, good].concat());
            assert!(matches!(result, Err(CollectError::Parse { .. })), "{bad:?}");
            bench.expect(&[("network_receive_bytes_total{eth0}", 5.0)]);
        }
        let (bench, result) = pass(b"\xfe\xff: 5 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0");
        result.unwrap();
        bench.expect(&[("network_receive_bytes_total{\u{fffd}\u{fffd}}", 5.0)]);
        let mut empty = Bench::new("//- /proc/net/dev\n", Network::new(Globs::default()));
        assert!(matches!(empty.pass(), Err(CollectError::Parse { .. })));
    }

    #[test]
    fn a_name_that_another_interface_bears_begins_anew() {
        let line =
            |name: &str, packets: u64| format!("{name}: 0 {packets} 0 0 0 0 0 0 0 {packets} 0 0 0 0 0 0\n");
        let mut bench = Bench::new(
            "//- /sys/class/net/eth0 -> ../../devices/a\n//- /sys/class/net/eth1 -> ../../devices/b\n",
            Network::new(Globs::default()),
        );
        let host = bench.host.clone();
        let mut pass = |zero: u64, one: u64| {
            bench.host.set("/proc/net/dev", format!("{HEAD}{}{}", line("eth0", zero), line("eth1", one)));
            bench.pass().unwrap();
            let of = |name: &String| {
                Some(name.strip_prefix("network_receive_packets_total{")?.trim_end_matches('}').to_owned())
            };
            let mut begun: Vec<String> = bench.begun.iter().filter_map(of).collect();
            begun.sort_unstable();
            begun
        };
        let none = [""; 0];
        let both = ["eth0".to_owned(), "eth1".to_owned()];
        assert_eq!(pass(5, 7_000_000), both);
        assert_eq!(pass(6, 7_000_001), none);
        host.apply(
            "//- /sys/class/net/eth0 -> ../../devices/b\n//- /sys/class/net/eth1 -> ../../devices/a\n",
        )
        .unwrap();
        assert_eq!(pass(7_000_002, 7), both, "they exchanged their names");
        assert_eq!(pass(7_000_003, 8), none);
        host.remove("/sys/class/net/eth1");
        assert_eq!(pass(7_000_004, 9), none, "it is not known who it is");
        host.apply("//- /sys/class/net/eth1 -> ../../devices/c\n").unwrap();
        assert_eq!(pass(7_000_005, 9), ["eth1"], "another one was plugged in");
    }
}
