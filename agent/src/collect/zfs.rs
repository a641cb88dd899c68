//! `/proc/spl/kstat/zfs`: state of ZFS pools, and the size of the ARC.
//!
//! Nothing here waits for a pool, not even for one that is suspended.

use super::kept::Kept;
use super::names::Names;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::parse::{lines, number, words};
use crate::metric::{Metric, metrics};
use crate::sample::Samples;

metrics! {
    DEGRADED: Gauge Count "zfs_pool_degraded" ["pool"]
        "1 where a pool is not ONLINE.", "/proc/spl/kstat/zfs/*/state";
    FAULTED: Gauge Count "zfs_pool_faulted" ["pool"]
        "1 where a pool is FAULTED, UNAVAIL, SUSPENDED or REMOVED: it cannot be used.", "/proc/spl/kstat/zfs/*/state";
    SIZE: Gauge Bytes "zfs_arc_size_bytes" [] "Memory in the ARC; what is above its least size counts as available memory.", "/proc/spl/kstat/zfs/arcstats size";
    TARGET: Gauge Bytes "zfs_arc_target_bytes" [] "Size the ARC wants to have.", "/proc/spl/kstat/zfs/arcstats c";
    MAX: Gauge Bytes "zfs_arc_max_bytes" [] "Size the ARC may have.", "/proc/spl/kstat/zfs/arcstats c_max";
    HITS: Counter Count "zfs_arc_hits_total" [] "Reads the ARC answered.", "/proc/spl/kstat/zfs/arcstats hits";
    MISSES: Counter Count "zfs_arc_misses_total" [] "Reads that went to the disks.", "/proc/spl/kstat/zfs/arcstats misses";
}

static ARC: [(&[u8], &Metric); 5] =
    [(b"size", &SIZE), (b"c", &TARGET), (b"c_max", &MAX), (b"hits", &HITS), (b"misses", &MISSES)];

const ROOT: &str = "/proc/spl/kstat/zfs";
/// Pools read at most.
const MAX_POOLS: usize = 64;

/// Reads pools and ARC.
pub struct Zfs {
    names: Names,
    pools: Vec<(String, Kept)>,
    arc: Kept,
}

impl Zfs {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self { names: Names::new(ROOT), pools: Vec::new(), arc: Kept::new("/proc/spl/kstat/zfs/arcstats") }
    }
}

impl Default for Zfs {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Zfs {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        if self.names.changed_since(host, out.at())? {
            let state = |name: String| {
                let file = Kept::at(format!("{ROOT}/{name}/state"));
                host.open(file.path()).is_ok().then_some((name, file))
            };
            self.pools = self.names.list(host).into_iter().filter_map(state).take(MAX_POOLS).collect();
        }
        for (pool, file) in &mut self.pools {
            // Exported meanwhile.
            let Ok(state) = file.read(host) else { continue };
            let state = state.trim_ascii();
            let unusable = [&b"FAULTED"[..], b"UNAVAIL", b"SUSPENDED", b"REMOVED"].contains(&state);
            out.put(&DEGRADED, &[pool], f64::from(u8::from(state != b"ONLINE")));
            out.put(&FAULTED, &[pool], f64::from(u8::from(unusable)));
        }
        let mut found = 0;
        // `size    4    1234`: name, type, value.
        for line in lines(self.arc.read(host)?) {
            let mut words = words(line);
            let (Some(name), Some(value)) = (words.next(), words.nth(1).and_then(number)) else { continue };
            if let Some((_, metric)) = ARC.iter().find(|(known, _)| *known == name) {
                out.put(metric, &[], value as f64);
                found += 1;
            }
        }
        if found == 0 { Err(self.arc.parse_error("it has no line `size`")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    /// As `OpenZFS` 2.1 writes them (`module/os/linux/spl/spl-kstat.c`).
    const HOST: &str = "\
//- /proc/spl/kstat/zfs/arcstats
13 1 0x01 123 33456 5266997922 97951858082072
name                            type data
hits                            4    900
misses                          4    100
c                               4    16384
c_max                           4    32768
size                            4    8192
//- /proc/spl/kstat/zfs/tank/state
DEGRADED
//- /proc/spl/kstat/zfs/rpool/state
ONLINE
//- /proc/spl/kstat/zfs/dead/state
SUSPENDED
//- /proc/spl/kstat/zfs/dbgmsg

";

    #[test]
    fn pools_and_arc_are_read() {
        let mut bench = Bench::new(HOST, Zfs::new());
        for _ in 0..2 {
            bench.pass().unwrap();
            bench.expect(&[
                ("zfs_pool_degraded{tank}", 1.0),
                ("zfs_pool_faulted{tank}", 0.0),
                ("zfs_pool_degraded{rpool}", 0.0),
                ("zfs_pool_faulted{dead}", 1.0),
                ("zfs_arc_size_bytes", 8192.0),
                ("zfs_arc_target_bytes", 16384.0),
                ("zfs_arc_max_bytes", 32768.0),
                ("zfs_arc_hits_total", 900.0),
                ("zfs_arc_misses_total", 100.0),
            ]);
        }
        bench.host.remove("/proc/spl/kstat/zfs/tank");
        bench.pass().unwrap();
        assert!(!bench.has("zfs_pool_degraded{tank}"));
    }

    #[test]
    fn bad_content_is_an_error() {
        assert!(matches!(Bench::new("", Zfs::new()).pass(), Err(CollectError::Absent { .. })));
        for content in [&b""[..], b"size 4 -1", b"size", b"size 4", b"\xff \xff \xff"] {
            let mut bench = Bench::new(HOST, Zfs::new());
            bench.host.set("/proc/spl/kstat/zfs/arcstats", content);
            bench.host.set("/proc/spl/kstat/zfs/rpool/state", b"\xff");
            assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{content:?}");
            bench.expect(&[("zfs_pool_degraded{rpool}", 1.0)]);
        }
    }
}
