//! `/sys/devices/system/node`: memory of each NUMA node, and where allocations went. Nothing on hosts
//! with one node, whose memory is the host's.

use super::kept::Kept;
use super::names::Names;
use super::readings::word;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::parse::{Cursor, key, lines, number, words};
use crate::metric::{Metric, metrics};
use crate::sample::Samples;

metrics! {
    TOTAL: Gauge Bytes "memory_numa_total_bytes" ["node"] "Memory of a node.", "node*/meminfo MemTotal";
    FREE: Gauge Bytes "memory_numa_free_bytes" ["node"] "Memory used for nothing at all.", "node*/meminfo MemFree";
    USED: Gauge Bytes "memory_numa_used_bytes" ["node"]
        "Memory that is neither free nor a cache that can be dropped.",
        "node*/meminfo MemTotal, MemFree, Active(file), Inactive(file), SReclaimable";
    USED_PERCENT: Gauge Percent "memory_numa_used_percent" ["node"]
        "Share of a node's memory that is neither free nor a cache that can be dropped.", "the same";
    FILES: Gauge Bytes "memory_numa_file_bytes" ["node"] "Page cache on a node.", "node*/meminfo FilePages";
    ANON: Gauge Bytes "memory_numa_anon_bytes" ["node"] "Memory of programs on a node.", "node*/meminfo AnonPages";
    SLAB: Gauge Bytes "memory_numa_slab_bytes" ["node"] "Data structures of the kernel.", "node*/meminfo Slab";
    HUGE: Gauge Count "memory_numa_hugepages_count" ["node"] "Huge pages set aside.", "node*/meminfo HugePages_Total";
    HUGE_FREE: Gauge Count "memory_numa_hugepages_free_count" ["node"]
        "Huge pages not used.", "node*/meminfo HugePages_Free";
    HIT: Counter Count "numa_hit_total" ["node"] "Pages allocated on the node that was wanted.", "node*/numastat numa_hit";
    MISS: Counter Count "numa_miss_total" ["node"]
        "Pages allocated on this node though another was wanted.", "node*/numastat numa_miss";
    FOREIGN: Counter Count "numa_foreign_total" ["node"]
        "Pages wanted on this node and allocated on another.", "node*/numastat numa_foreign";
    LOCAL: Counter Count "numa_local_total" ["node"]
        "Pages allocated on this node by a task that ran there.", "node*/numastat local_node";
    REMOTE: Counter Count "numa_remote_total" ["node"]
        "Pages allocated on this node by a task that ran on another.", "node*/numastat other_node";
}

/// Lines of `meminfo` after `Node N `, in the order of the file; those without a metric are parts of [`USED`].
static MEMORY: [(&[u8], Option<&Metric>); 10] = [
    (b"MemTotal:", Some(&TOTAL)),
    (b"MemFree:", Some(&FREE)),
    (b"Active(file):", None),
    (b"Inactive(file):", None),
    (b"FilePages:", Some(&FILES)),
    (b"AnonPages:", Some(&ANON)),
    (b"Slab:", Some(&SLAB)),
    (b"SReclaimable:", None),
    (b"HugePages_Total:", Some(&HUGE)),
    (b"HugePages_Free:", Some(&HUGE_FREE)),
];

/// Lines of `numastat`.
static ALLOCATIONS: [(&[u8], &Metric); 5] = [
    (b"numa_hit", &HIT),
    (b"numa_miss", &MISS),
    (b"numa_foreign", &FOREIGN),
    (b"local_node", &LOCAL),
    (b"other_node", &REMOTE),
];

const ROOT: &str = "/sys/devices/system/node";
/// The nodes there can ever be, as long as the machine runs: `0` where there is one, `0-3` where there are more.
const POSSIBLE: &str = "/sys/devices/system/node/possible";
/// Nodes read at most.
const MAX_NODES: usize = 64;

/// Reads the nodes.
pub struct Numa {
    names: Names,
    nodes: Vec<Node>,
    /// Whether there can be more than one; `None`: to be asked.
    several: Option<bool>,
}

struct Node {
    name: String,
    meminfo: Kept,
    numastat: Kept,
    cursor: Cursor,
}

impl Numa {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self { names: Names::new(ROOT), nodes: Vec::new(), several: None }
    }
}

impl Default for Numa {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Numa {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let several = || word(host, POSSIBLE).is_none_or(|nodes| number(nodes.as_bytes()).is_none());
        if !*self.several.get_or_insert_with(several) {
            return Err(CollectError::Absent { path: format!("{ROOT}/node1") });
        }
        if self.names.changed(host)? {
            let names = self.names.list(host);
            let numbers = names.iter().filter_map(|name| name.strip_prefix("node"));
            let numbers = numbers.filter(|name| number(name.as_bytes()).is_some());
            self.nodes = numbers.take(MAX_NODES).map(Node::new).collect();
        }
        if self.nodes.len() < 2 {
            return Err(CollectError::Absent { path: format!("{ROOT}/node1") });
        }
        let mut result = Ok(());
        for node in &mut self.nodes {
            result = node.read(host, out).and(result);
        }
        result
    }
}

impl Node {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            meminfo: Kept::at(format!("{ROOT}/node{name}/meminfo")),
            numastat: Kept::at(format!("{ROOT}/node{name}/numastat")),
            cursor: Cursor::default(),
        }
    }

    fn read(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let (mut total, mut not_used) = (None, 0u64);
        for line in lines(self.meminfo.read(host)?) {
            // `Node 0 MemTotal:       65731472 kB`
            let mut words = words(line).skip(2);
            let Some(name) = words.next() else { continue };
            let Some((_, metric)) = self.cursor.find(&MEMORY, |(known, _)| *known == name) else { continue };
            let Some(value) = words.next().and_then(number) else { continue };
            let is_bytes = words.next() == Some(b"kB");
            let value = if is_bytes { value.saturating_mul(1024) } else { value };
            match name {
                b"MemTotal:" => total = Some(value),
                b"MemFree:" | b"Active(file):" | b"Inactive(file):" | b"SReclaimable:" => {
                    not_used = not_used.saturating_add(value);
                }
                _ => {}
            }
            metric.inspect(|metric| out.put(metric, &[&self.name], value as f64));
        }
        for line in lines(self.numastat.read(host)?) {
            let (name, rest) = key(line);
            let row = ALLOCATIONS.iter().find(|(known, _)| *known == name);
            if let Some(((_, metric), value)) = row.zip(number(rest.trim_ascii())) {
                out.put(metric, &[&self.name], value as f64);
            }
        }
        match total {
            // A node may have CPUs and no memory.
            Some(0) => {}
            Some(total) => {
                let used = total.saturating_sub(not_used);
                out.put(&USED, &[&self.name], used as f64);
                out.put(&USED_PERCENT, &[&self.name], 100.0 * used as f64 / total as f64);
            }
            None => return Err(self.meminfo.parse_error("it has no MemTotal")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    const SYS: &str = "\
//- /sys/devices/system/node/node0/meminfo
Node 0 MemTotal:        1000 kB
Node 0 MemFree:          100 kB
Node 0 MemUsed:          900 kB
Node 0 Active(file):     150 kB
Node 0 Inactive(file):   200 kB
Node 0 FilePages:        400 kB
Node 0 AnonPages:        300 kB
Node 0 Slab:              90 kB
Node 0 SReclaimable:      50 kB
Node 0 HugePages_Total:     4
Node 0 HugePages_Free:      3
//- /sys/devices/system/node/node0/numastat
numa_hit 100
numa_miss 2
numa_foreign 3
interleave_hit 4
local_node 98
other_node 5
//- /sys/devices/system/node/node8/meminfo
Node 8 MemTotal:           0 kB
Node 8 MemFree:            0 kB
//- /sys/devices/system/node/node8/numastat
numa_hit 0
//- /sys/devices/system/node/possible
0-255
";

    #[test]
    fn nodes_are_read() {
        let mut bench = Bench::new(SYS, Numa::new());
        for _ in 0..2 {
            bench.pass().unwrap();
            bench.expect(&[
                ("memory_numa_total_bytes{0}", 1_024_000.0),
                ("memory_numa_free_bytes{0}", 102_400.0),
                ("memory_numa_used_bytes{0}", 512_000.0),
                ("memory_numa_used_percent{0}", 50.0),
                ("memory_numa_file_bytes{0}", 409_600.0),
                ("memory_numa_anon_bytes{0}", 307_200.0),
                ("memory_numa_slab_bytes{0}", 92_160.0),
                ("memory_numa_hugepages_count{0}", 4.0),
                ("memory_numa_hugepages_free_count{0}", 3.0),
                ("numa_hit_total{0}", 100.0),
                ("numa_miss_total{0}", 2.0),
                ("numa_foreign_total{0}", 3.0),
                ("numa_local_total{0}", 98.0),
                ("numa_remote_total{0}", 5.0),
                ("memory_numa_total_bytes{8}", 0.0),
            ]);
            assert!(!bench.has("memory_numa_used_percent{8}"), "a node without memory");
        }
    }

    #[test]
    fn one_node_is_the_host_and_nodes_come_and_go() {
        let mut bench = Bench::new(SYS, Numa::new());
        bench.host.remove("/sys/devices/system/node/node8");
        assert!(matches!(bench.pass(), Err(CollectError::Absent { .. })));
        bench.expect_nothing();
        bench.host.apply(SYS).unwrap();
        bench.pass().unwrap();
        // Files that vanish between the listing and the reading.
        bench.host.remove("/sys/devices/system/node/node8/meminfo");
        assert!(matches!(bench.pass(), Err(CollectError::Absent { .. })));
        bench.expect(&[("numa_hit_total{0}", 100.0)]);
        assert!(matches!(Bench::new("", Numa::new()).pass(), Err(CollectError::Absent { .. })));
    }

    #[test]
    fn bad_content_is_an_error_or_left_out() {
        let path = "/sys/devices/system/node/node0/meminfo";
        for content in
            [&b""[..], b"Node 0", b"Node 0 MemTotal: -1 kB", b"Node 0 MemTotal: x", b"\xff \xfe \xfd"]
        {
            let mut bench = Bench::new(SYS, Numa::new());
            bench.host.set(path, content);
            assert!(matches!(bench.pass(), Err(CollectError::Parse { .. })), "{content:?}");
        }
        let mut bench = Bench::new(SYS, Numa::new());
        bench.host.set(path, "Node 0 MemTotal: 5 kB\nNode 0 MemFree: 18446744073709551615 kB\n");
        bench.pass().unwrap();
        bench.expect(&[("memory_numa_used_percent{0}", 0.0)]);
    }
}
