//! `/sys/class/net/bonding_masters`: bonds of network interfaces, and how many of their links are down.

use super::kept::Kept;
use super::readings::word;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::metric::metrics;
use crate::sample::Samples;

metrics! {
    LINKS: Gauge Count "bond_links_count" ["bond"] "Interfaces in a bond.", "/sys/class/net/BOND/bonding/slaves";
    DOWN: Gauge Count "bond_links_down_count" ["bond"]
        "Interfaces of a bond that have no link.", "/sys/class/net/*/bonding_slave/mii_status, else operstate";
}

/// Bonds, and interfaces of one, read at most.
const MAX_BONDS: usize = 64;

/// Reads the bonds.
pub struct Bonding {
    masters: Kept,
}

impl Bonding {
    /// Reads nothing yet.
    pub const fn new() -> Self {
        Self { masters: Kept::new("/sys/class/net/bonding_masters") }
    }
}

impl Default for Bonding {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Bonding {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        // The module is loaded and there is no bond.
        let masters = String::from_utf8_lossy(self.masters.rare(host, out.at())?);
        if masters.trim().is_empty() {
            return Err(CollectError::Absent { path: "/proc/net/bonding/bond0".to_owned() });
        }
        for bond in masters.split_whitespace().take(MAX_BONDS).filter(|bond| !bond.contains('/')) {
            let links = word(host, &format!("/sys/class/net/{bond}/bonding/slaves")).unwrap_or_default();
            let links = || links.split_whitespace().take(MAX_BONDS);
            out.put(&LINKS, &[bond], links().count() as f64);
            out.put(&DOWN, &[bond], links().filter(|link| !is_up(host, link)).count() as f64);
        }
        Ok(())
    }
}

/// What the bond thinks of it (from 3.14 on), else what the interface says.
fn is_up(host: &dyn Host, link: &str) -> bool {
    let dir = format!("/sys/class/net/{link}");
    let state = word(host, &format!("{dir}/bonding_slave/mii_status"));
    state.or_else(|| word(host, &format!("{dir}/operstate"))).is_some_and(|state| state == "up")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    const HOST: &str = "\
//- /sys/class/net/bonding_masters
bond0 bond1
//- /sys/class/net/bond0/bonding/slaves
eth0 eth1
//- /sys/class/net/eth0/bonding_slave/mii_status
up
//- /sys/class/net/eth0/operstate
down
//- /sys/class/net/eth1/bonding_slave/mii_status
going back
//- /sys/class/net/bond1/bonding/slaves
eth2 gone
//- /sys/class/net/eth2/operstate
up
";

    #[test]
    fn bonds_are_read() {
        let mut bench = Bench::new(HOST, Bonding::new());
        bench.pass().unwrap();
        let links = [
            ("bond_links_count{bond0}", 2.0),
            ("bond_links_down_count{bond0}", 1.0),
            ("bond_links_down_count{bond1}", 1.0),
        ];
        bench.expect(&links);
    }

    #[test]
    fn hosts_without_bonds_and_bad_content() {
        for text in ["", "//- /sys/class/net/bonding_masters\n\n"] {
            assert!(matches!(Bench::new(text, Bonding::new()).pass(), Err(CollectError::Absent { .. })));
        }
        let mut bench = Bench::new(HOST, Bonding::new());
        bench.host.set("/sys/class/net/bonding_masters", b"\xff ../../etc bond0");
        bench.host.remove("/sys/class/net/bond0");
        bench.pass().unwrap();
        bench.expect(&[("bond_links_count{bond0}", 0.0), ("bond_links_count{\u{fffd}}", 0.0)]);
        assert_eq!(bench.readings.len(), 4, "a path is no name");
    }
}
