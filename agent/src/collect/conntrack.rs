//! `/proc/sys/net/netfilter`: connections the firewall follows. When its table is full, new connections are dropped.

use super::kept::Kept;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::metric::metrics;
use crate::sample::Samples;

metrics! {
    USED: Gauge Count "conntrack_used_count" [] "Connections followed.", "/proc/sys/net/netfilter/nf_conntrack_count";
    MAX: Gauge Count "conntrack_max_count" []
        "Connections that can be followed.", "/proc/sys/net/netfilter/nf_conntrack_max";
    USED_PERCENT: Gauge Percent "conntrack_used_percent" []
        "Share of the connections that can be followed; at 100 new ones are dropped.", "the two above";
}

/// Reads count and limit.
pub struct Conntrack {
    used: Kept,
    max: Kept,
}

impl Conntrack {
    /// Reads nothing yet.
    pub const fn new() -> Self {
        Self {
            used: Kept::new("/proc/sys/net/netfilter/nf_conntrack_count"),
            max: Kept::new("/proc/sys/net/netfilter/nf_conntrack_max"),
        }
    }
}

impl Default for Conntrack {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Conntrack {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        // Absent where the module is not loaded.
        self.used.read(host)?;
        let (Some(used), Some(max)) = (self.used.number(host), self.max.number(host)) else {
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
    fn bad_content_is_an_error() {
        for (used, max) in [("", "5"), ("5", ""), ("-1", "5"), ("x", "5"), ("5", "99999999999999999999")] {
            bench(used, max).expect_nothing();
        }
        assert!(matches!(Bench::new("", Conntrack::new()).pass(), Err(CollectError::Absent { .. })));
    }
}
