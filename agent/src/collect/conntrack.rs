//! `/proc/sys/net/netfilter`: connections the firewall follows. When its table is full, new connections are dropped.

use super::kept::Kept;
use super::{CollectError, Collector};
use crate::host::parse::{lines, number, words};
use crate::host::{Host, namespace};
use crate::metric::metrics;
use crate::sample::Samples;

metrics! {
    USED: Gauge Count "conntrack_used_count" []
        "Connections followed.", "/proc/sys/net/netfilter/nf_conntrack_count; /proc/net/stat/nf_conntrack entries";
    MAX: Gauge Count "conntrack_max_count" []
        "Connections that can be followed.", "/proc/sys/net/netfilter/nf_conntrack_max";
    USED_PERCENT: Gauge Percent "conntrack_used_percent" []
        "Share of the connections that can be followed; at 100 new ones are dropped.", "the two above";
}

/// Reads count and limit.
pub struct Conntrack {
    used: Kept,
    /// The same of process 1's network, where the agent has one of its own: settings are those of the reader's.
    stat: Kept,
    own_net: Option<bool>,
    max: Kept,
}

impl Conntrack {
    /// Reads nothing yet.
    pub const fn new() -> Self {
        Self {
            used: Kept::new("/proc/sys/net/netfilter/nf_conntrack_count"),
            stat: Kept::new("/proc/net/stat/nf_conntrack"),
            own_net: None,
            max: Kept::new("/proc/sys/net/netfilter/nf_conntrack_max"),
        }
    }

    fn used(&mut self, host: &dyn Host) -> Result<Option<u64>, CollectError> {
        if *self.own_net.get_or_insert_with(|| namespace::has_own_net(host)) {
            return Ok(entries(self.stat.read(host)?));
        }
        // Absent where the module is not loaded.
        Ok(number(self.used.read(host)?.trim_ascii()))
    }
}

impl Default for Conntrack {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Conntrack {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let used = self.used(host)?;
        let max = self.max.seldom(host, out.at()).ok().and_then(|text| number(text.trim_ascii()));
        let (Some(used), Some(max)) = (used, max) else {
            return Err(self.used.parse_error("count or limit is not a number"));
        };
        out.put(&USED, &[], used as f64);
        out.put(&MAX, &[], max as f64);
        if max > 0 {
            // Expected connections are let in above the limit.
            out.put(&USED_PERCENT, &[], (100.0 * used as f64 / max as f64).min(100.0));
        }
        Ok(())
    }
}

/// A line of names, then one for each processor, in hexadecimal; all begin with the same (`ct_cpu_seq_show`,
/// `net/netfilter/nf_conntrack_standalone.c`).
fn entries(text: &[u8]) -> Option<u64> {
    let mut lines = lines(text).map(|line| words(line).next());
    lines.next().flatten().filter(|name| *name == b"entries")?;
    u64::from_str_radix(std::str::from_utf8(lines.next()??).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    fn bench(used: &str, max: &str) -> Bench {
        let mut bench = Bench::new("", Conntrack::new());
        bench.host.set("/proc/sys/net/netfilter/nf_conntrack_count", used);
        bench.host.set("/proc/sys/net/netfilter/nf_conntrack_max", max);
        let result = bench.pass();
        assert_eq!(result.is_ok(), bench.has("conntrack_used_count"), "{used} of {max}");
        bench
    }

    #[test]
    fn the_table_is_read() {
        bench("65536\n", "262144\n").expect(&[
            ("conntrack_used_count", 65536.0),
            ("conntrack_max_count", 262_144.0),
            ("conntrack_used_percent", 25.0),
        ]);
        bench("9\n", "8\n").expect(&[("conntrack_used_percent", 100.0)]);
        assert!(!bench("0\n", "0\n").has("conntrack_used_percent"), "no limit");
    }

    #[test]
    fn the_host_is_read_from_another_network() {
        let head = "entries  clashres found new\n";
        for (stat, expect) in [
            (format!("{head}000000ff  00000000 00000000\n000000ff  00000001 00000000\n"), Some(255.0)),
            (head.to_owned(), None),
            (String::new(), None),
            (format!("{head}xyz\n"), None),
            ("searched found\n00000007 1\n".to_owned(), None),
        ] {
            let mut bench =
                Bench::new("//- inode /proc/self/net/dev 8\n//- inode /proc/1/net/dev 7\n", Conntrack::new());
            bench.host.set("/proc/sys/net/netfilter/nf_conntrack_count", "3\n");
            bench.host.set("/proc/sys/net/netfilter/nf_conntrack_max", "510\n");
            bench.host.set("/proc/net/stat/nf_conntrack", &*stat);
            assert_eq!(bench.pass().is_ok(), expect.is_some(), "{stat}");
            let found = expect.map(|_| bench.value("conntrack_used_count"));
            assert_eq!(found, expect, "{stat}");
        }
    }

    #[test]
    fn bad_content_is_an_error() {
        for (used, max) in [("", "5"), ("5", ""), ("-1", "5"), ("x", "5"), ("5", "99999999999999999999")] {
            bench(used, max).expect_nothing();
        }
        assert!(matches!(Bench::new("", Conntrack::new()).pass(), Err(CollectError::Absent { .. })));
    }
}
