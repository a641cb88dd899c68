//! `/sys/kernel/mm/hugepages`: the pools of huge pages of each size, on hosts with several NUMA nodes for each node as well.
//! `/proc/meminfo` counts those of the default size only.

use super::kept::Kept;
use super::names::list;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::parse::number;
use crate::metric::{Metric, metrics};
use crate::sample::Samples;
use crate::time::{Now, SECOND};

metrics! {
    TOTAL: Gauge Count "hugepages_pool_count" ["size"]
        "Huge pages of a size; of pools that have or had any.", "/sys/kernel/mm/hugepages/*/nr_hugepages";
    FREE: Gauge Count "hugepages_pool_free_count" ["size"]
        "Of them those not used.", "/sys/kernel/mm/hugepages/*/free_hugepages";
    RESERVED: Gauge Count "hugepages_pool_reserved_count" ["size"]
        "Of these those promised and not yet used.", "/sys/kernel/mm/hugepages/*/resv_hugepages";
    SURPLUS: Gauge Count "hugepages_pool_surplus_count" ["size"]
        "Huge pages of a size beyond those set aside.", "/sys/kernel/mm/hugepages/*/surplus_hugepages";
    NODE_TOTAL: Gauge Count "memory_numa_hugepages_pool_count" ["node", "size"]
        "Huge pages of a size on a NUMA node.", "/sys/devices/system/node/node*/hugepages/*/nr_hugepages";
    NODE_FREE: Gauge Count "memory_numa_hugepages_pool_free_count" ["node", "size"]
        "Of them those not used.", "/sys/devices/system/node/node*/hugepages/*/free_hugepages";
    NODE_SURPLUS: Gauge Count "memory_numa_hugepages_pool_surplus_count" ["node", "size"]
        "Huge pages of a size on a NUMA node beyond those set aside.",
        "/sys/devices/system/node/node*/hugepages/*/surplus_hugepages";
}

/// Files behind `nr_hugepages`, and their metrics; a node promises none.
static OF_HOST: [(&str, &Metric); 3] =
    [("free_hugepages", &FREE), ("resv_hugepages", &RESERVED), ("surplus_hugepages", &SURPLUS)];
static OF_NODE: [(&str, &Metric); 2] = [("free_hugepages", &NODE_FREE), ("surplus_hugepages", &NODE_SURPLUS)];

const ROOT: &str = "/sys/kernel/mm/hugepages";
const NODES: &str = "/sys/devices/system/node";
/// Pools followed at most: sizes (one architecture has eight) and NUMA nodes.
const MAX_SIZES: usize = 16;
const MAX_NODES: usize = 64;
/// A pool without pages is looked at again after this time, and whether there are other pools.
const EMPTY_NS: u64 = 60 * SECOND;

/// Reads the pools.
#[derive(Default)]
pub struct Hugepages {
    pools: Vec<Pool>,
    /// Pools are looked for again from then on, monotonic nanoseconds.
    list_ns: u64,
}

struct Pool {
    dir: String,
    node: Option<String>,
    size: String,
    total: Kept,
    parts: Vec<(Kept, &'static Metric)>,
    /// It has or had pages.
    is_used: bool,
}

impl Hugepages {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the pools, and keeps those that are known.
    fn find(&mut self, host: &dyn Host) {
        let mut before = std::mem::take(&mut self.pools);
        let nodes = list(host, NODES);
        let nodes: Vec<_> =
            nodes.iter().filter_map(|name| name.strip_prefix("node")).filter(is_number).collect();
        let host_dir = (None, ROOT.to_owned());
        // The memory of a single node is the host's.
        let of_nodes = nodes.iter().filter(|_| nodes.len() > 1).take(MAX_NODES);
        let of_nodes = of_nodes.map(|node| (Some(*node), format!("{NODES}/node{node}/hugepages")));
        for (node, dir) in std::iter::once(host_dir).chain(of_nodes) {
            for (name, size) in
                list(host, &dir).iter().filter_map(|name| Some((name, size(name)?))).take(MAX_SIZES)
            {
                let dir = format!("{dir}/{name}");
                let known = before.iter().position(|pool| pool.dir == dir).map(|at| before.swap_remove(at));
                self.pools.push(known.unwrap_or_else(|| Pool::new(dir, node, size)));
            }
        }
    }
}

impl Collector for Hugepages {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let Now { mono_ns, .. } = out.at();
        let is_time = mono_ns >= self.list_ns;
        if is_time {
            self.list_ns = mono_ns.saturating_add(EMPTY_NS);
            self.find(host);
        }
        if self.pools.is_empty() {
            return Err(CollectError::Absent { path: ROOT.to_owned() });
        }
        let mut result = Ok(());
        for pool in self.pools.iter_mut().filter(|pool| is_time || pool.is_used) {
            result = pool.read(host, out).and(result);
        }
        result
    }
}

impl Pool {
    fn new(dir: String, node: Option<&str>, size: String) -> Self {
        let parts = if node.is_some() { &OF_NODE[..] } else { &OF_HOST };
        let parts = parts.iter().map(|(file, metric)| (Kept::at(format!("{dir}/{file}")), *metric)).collect();
        let total = Kept::at(format!("{dir}/nr_hugepages"));
        Self { dir, node: node.map(str::to_owned), size, total, parts, is_used: false }
    }

    fn read(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let Some(total) = number(self.total.read(host)?.trim_ascii()) else {
            return Err(self.total.parse_error("it is not a number"));
        };
        self.is_used |= total > 0;
        if !self.is_used {
            return Ok(());
        }
        let (of_node, of_host) = ([self.node.as_deref().unwrap_or_default(), &self.size], [&*self.size]);
        let (metric, labels): (_, &[&str]) =
            if self.node.is_some() { (&NODE_TOTAL, &of_node) } else { (&TOTAL, &of_host) };
        out.put(metric, labels, total as f64);
        for (file, metric) in &mut self.parts {
            if let Some(count) = file.number(host) {
                out.put(metric, labels, count as f64);
            }
        }
        Ok(())
    }
}

fn is_number(name: &&str) -> bool {
    number(name.as_bytes()).is_some()
}

/// `2M` of `hugepages-2048kB`.
fn size(name: &str) -> Option<String> {
    let kb = number(name.strip_prefix("hugepages-")?.strip_suffix("kB")?.as_bytes())?;
    Some(match kb {
        _ if kb > 0 && kb.is_multiple_of(1 << 20) => format!("{}G", kb >> 20),
        _ if kb > 0 && kb.is_multiple_of(1 << 10) => format!("{}M", kb >> 10),
        _ => format!("{kb}K"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    fn pool(dir: &str, counts: [u32; 4]) -> String {
        let files = ["nr", "free", "resv", "surplus"].into_iter().zip(counts);
        files
            .map(|(file, count)| format!("//- {dir}/{file}_hugepages\n{count}\n"))
            .collect::<Vec<_>>()
            .concat()
    }

    fn machine() -> Bench {
        let small = pool(&format!("{ROOT}/hugepages-2048kB"), [0; 4]);
        let large = pool(&format!("{ROOT}/hugepages-1048576kB"), [8, 3, 2, 1]);
        let node =
            |node: u32, counts| pool(&format!("{NODES}/node{node}/hugepages/hugepages-1048576kB"), counts);
        let text = [small, large, node(0, [5, 2, 0, 1]), node(1, [3, 1, 0, 0])].concat();
        Bench::new(&text, Hugepages::new())
    }

    #[test]
    fn pools_are_read_by_size_and_node() {
        let mut bench = machine();
        for _ in 0..2 {
            bench.pass().unwrap();
            bench.expect(&[
                ("hugepages_pool_count{1G}", 8.0),
                ("hugepages_pool_free_count{1G}", 3.0),
                ("hugepages_pool_reserved_count{1G}", 2.0),
                ("hugepages_pool_surplus_count{1G}", 1.0),
                ("memory_numa_hugepages_pool_count{0,1G}", 5.0),
                ("memory_numa_hugepages_pool_free_count{0,1G}", 2.0),
                ("memory_numa_hugepages_pool_surplus_count{0,1G}", 1.0),
                ("memory_numa_hugepages_pool_count{1,1G}", 3.0),
            ]);
            assert!(!bench.has("hugepages_pool_count{2M}"), "a pool that was never used");
        }
    }

    #[test]
    fn pools_are_filled_and_emptied() {
        let mut bench = machine();
        bench.pass().unwrap();
        bench.host.set(&format!("{ROOT}/hugepages-2048kB/nr_hugepages"), "7\n");
        bench.host.set(&format!("{ROOT}/hugepages-1048576kB/nr_hugepages"), "0\n");
        bench.pass().unwrap();
        bench.expect(&[("hugepages_pool_count{1G}", 0.0)]);
        assert!(!bench.has("hugepages_pool_count{2M}"), "looked at once a minute");
        (0..6).for_each(|_| bench.pass().unwrap());
        bench.expect(&[("hugepages_pool_count{2M}", 7.0)]);
        bench.host.remove(&format!("{NODES}/node1"));
        (0..6).for_each(|_| drop(bench.pass()));
        assert!(!bench.has("memory_numa_hugepages_pool_count{0,1G}"), "one node is the host");
    }

    #[test]
    fn bad_content_is_an_error_or_left_out() {
        let file = format!("{ROOT}/hugepages-1048576kB/nr_hugepages");
        for bad in [&b""[..], b"-1", b"x", b"\xff", b"99999999999999999999999"] {
            let mut bench = machine();
            bench.host.set(&file, bad);
            assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{bad:?}");
            assert!(!bench.has("hugepages_pool_count{1G}"));
            assert!(bench.has("memory_numa_hugepages_pool_count{0,1G}"), "the others are read");
        }
        let mut bench = machine();
        bench.host.set(&file.replace("/nr_", "/free_"), "x");
        bench.pass().unwrap();
        assert!(!bench.has("hugepages_pool_free_count{1G}") && bench.has("hugepages_pool_count{1G}"));
        assert!(matches!(Bench::new("", Hugepages::new()).pass(), Err(CollectError::Absent { .. })));
    }

    #[test]
    fn sizes_have_short_names() {
        for (name, expect) in [
            ("hugepages-64kB", Some("64K")),
            ("hugepages-2048kB", Some("2M")),
            ("hugepages-1048576kB", Some("1G")),
            ("hugepages-16777216kB", Some("16G")),
            ("hugepages-0kB", Some("0K")),
            ("hugepages-xkB", None),
            ("hugepages-", None),
            ("other", None),
        ] {
            assert_eq!(size(name).as_deref(), expect, "{name}");
        }
    }
}
