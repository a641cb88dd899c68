//! Processors and memory nodes.

use std::collections::{BTreeMap, BTreeSet};

use super::read::{entries, number, numbered, tidy, value};
use super::system::kb_of;
use super::{Cpu, Node, Numa};
use crate::host::parse::count_of_list;
use crate::host::{Host, read_text};

const CPUS: &str = "/sys/devices/system/cpu";
const NODES: &str = "/sys/devices/system/node";

pub(super) fn cpu(host: &dyn Host) -> Cpu {
    let info = Info::read(host);
    let topology =
        Topology::read(host).unwrap_or(Topology { sockets: 1, cores: info.threads, threads: info.threads });
    let caches = caches(host);
    let sockets = topology.sockets.max(1);
    let total = |level| caches.get(&level).copied();
    Cpu {
        mhz: info.mhz(host),
        model: info.model,
        vendor: info.vendor,
        sockets,
        cores_per_socket: topology.cores / sockets,
        threads_per_core: topology.threads / topology.cores.max(1),
        total_threads: topology.threads,
        cache_l1d_kb: total(1),
        cache_l2_kb: total(2),
        cache_l3_mb: total(3).map(|kb| kb / sockets as u64 / 1024),
        microcode: info.microcode,
        flags: info.flags,
    }
}

/// The first processor of `/proc/cpuinfo`, and how many there are.
#[derive(Default)]
struct Info {
    model: Option<String>,
    vendor: Option<String>,
    microcode: Option<String>,
    mhz: Option<f64>,
    flags: Vec<String>,
    threads: usize,
}

impl Info {
    fn read(host: &dyn Host) -> Self {
        let text = read_text(host, "/proc/cpuinfo").unwrap_or_default();
        let field = |names: &[&str]| {
            let mut fields = text.lines().filter_map(|line| line.split_once(':'));
            fields.find(|(name, _)| names.contains(&name.trim())).map(|(_, value)| value)
        };
        let flags = field(&["flags", "Features"]).unwrap_or_default();
        Self {
            model: field(&["model name", "cpu model", "cpu"]).and_then(tidy),
            vendor: field(&["vendor_id", "CPU implementer"]).and_then(tidy),
            microcode: field(&["microcode"]).and_then(tidy),
            mhz: field(&["cpu MHz"]).and_then(|mhz| mhz.trim().parse().ok()),
            flags: flags
                .split_whitespace()
                .filter(|flag| is_instruction_set(flag))
                .map(str::to_owned)
                .collect(),
            threads: text.lines().filter(|line| line.starts_with("processor")).count(),
        }
    }

    /// Base frequency: what the driver says, else what the model name promises, else the current one.
    fn mhz(&self, host: &dyn Host) -> Option<u64> {
        let base = number(host, &format!("{CPUS}/cpu0/cpufreq/base_frequency")).map(|khz| khz / 1000);
        base.or_else(|| self.promised_mhz()).or(self.mhz.map(|mhz| mhz.round() as u64))
    }

    /// `… CPU @ 2.60GHz`
    fn promised_mhz(&self) -> Option<u64> {
        let ghz: f64 = self.model.as_ref()?.split_once("@ ")?.1.strip_suffix("GHz")?.trim().parse().ok()?;
        Some((ghz * 1000.0).round() as u64)
    }
}

fn is_instruction_set(flag: &str) -> bool {
    const FAMILIES: [&str; 9] = ["sse", "ssse", "avx", "amx", "sha", "bmi", "sve", "asimd", "sm"];
    const SINGLE: [&str; 22] = [
        "abm",
        "adx",
        "aes",
        "atomics",
        "crc32",
        "f16c",
        "fma",
        "fma4",
        "gfni",
        "lzcnt",
        "mmx",
        "movbe",
        "neon",
        "pclmulqdq",
        "pmull",
        "pni",
        "popcnt",
        "rdrand",
        "rdseed",
        "vaes",
        "vpclmulqdq",
        "xop",
    ];
    // `sm` stands for the Chinese sm3 and sm4, not for smap and smep.
    let family = FAMILIES.iter().filter_map(|family| flag.strip_prefix(family));
    let of_family =
        family.clone().any(|rest| rest.is_empty() || !flag.starts_with("sm") || rest.starts_with(['3', '4']));
    of_family || SINGLE.contains(&flag)
}

struct Topology {
    sockets: usize,
    cores: usize,
    threads: usize,
}

impl Topology {
    /// Of the CPUs that are online: others have no topology.
    fn read(host: &dyn Host) -> Option<Self> {
        let mut sockets = BTreeSet::new();
        let mut cores = BTreeSet::new();
        let mut threads = 0;
        for cpu in numbered(host, CPUS, "cpu") {
            let id = |name| value(host, &format!("{CPUS}/cpu{cpu}/topology/{name}"));
            let Some(package) = id("physical_package_id") else { continue };
            // Core numbers begin again on each die.
            cores.insert((package.clone(), id("die_id"), id("core_id")));
            sockets.insert(package);
            threads += 1;
        }
        (threads > 0).then_some(Self { sockets: sockets.len(), cores: cores.len(), threads })
    }
}

/// KiB of all data caches of a level together, each counted once, whoever shares it.
fn caches(host: &dyn Host) -> BTreeMap<u64, u64> {
    let mut seen = BTreeSet::new();
    let mut sums = BTreeMap::new();
    for cpu in numbered(host, CPUS, "cpu") {
        let dir = format!("{CPUS}/cpu{cpu}/cache");
        for index in entries(host, &dir).iter().filter(|name| name.starts_with("index")) {
            let file = |name: &str| value(host, &format!("{dir}/{index}/{name}"));
            let (Some(level), Some(shared)) =
                (number(host, &format!("{dir}/{index}/level")), file("shared_cpu_list"))
            else {
                continue;
            };
            if file("type").as_deref() == Some("Instruction") || !seen.insert((level, shared)) {
                continue;
            }
            *sums.entry(level).or_insert(0u64) += file("size").and_then(|size| kib(&size)).unwrap_or(0);
        }
    }
    sums.retain(|_, kb| *kb > 0);
    sums
}

/// `48K`, `2M`
fn kib(size: &str) -> Option<u64> {
    let digits = size.trim_end_matches(['K', 'M', 'G']);
    let unit = match &size[digits.len()..] {
        "K" => 1,
        "M" => 1024,
        "G" => 1024 * 1024,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

pub(super) fn numa(host: &dyn Host) -> Option<Numa> {
    let node = |node: u32| Node {
        node,
        cpus: value(host, &format!("{NODES}/node{node}/cpulist"))
            .filter(|list| count_of_list(list.as_bytes()).is_some())
            .unwrap_or_default(),
        memory_mb: read_text(host, &format!("{NODES}/node{node}/meminfo"))
            .ok()
            .and_then(|text| kb_of(&text, "MemTotal:"))
            .unwrap_or(0)
            / 1024,
    };
    let topology: Vec<_> = numbered(host, NODES, "node").into_iter().map(node).collect();
    (!topology.is_empty()).then_some(Numa { nodes: topology.len(), topology })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;
    use std::fmt::Write;

    /// Two sockets of two cores of two threads; caches as of a server.
    fn two_sockets() -> FixtureHost {
        let mut text = String::new();
        for cpu in 0..8 {
            let (socket, core) = (cpu / 2 % 2, cpu % 2);
            let sibling = (cpu + 4) % 8;
            let pair = format!("{},{}", cpu.min(sibling), cpu.max(sibling));
            let dir = format!("//- /sys/devices/system/cpu/cpu{cpu}");
            write!(text, "{dir}/topology/physical_package_id\n{socket}\n{dir}/topology/core_id\n{core}\n")
                .unwrap();
            let all = if socket == 0 { "0-1,4-5" } else { "2-3,6-7" };
            for (index, level, kind, size, shared) in [
                (0, 1, "Data", "48K", &*pair),
                (1, 1, "Instruction", "32K", &*pair),
                (2, 2, "Unified", "1280K", &*pair),
                (3, 3, "Unified", "42M", all),
            ] {
                write!(
                    text,
                    "{dir}/cache/index{index}/level\n{level}\n{dir}/cache/index{index}/type\n{kind}\n"
                )
                .unwrap();
                write!(text, "{dir}/cache/index{index}/size\n{size}\n{dir}/cache/index{index}/shared_cpu_list\n{shared}\n").unwrap();
            }
        }
        text += "//- /sys/devices/system/cpu/cpu9/online\n0\n//- /sys/devices/system/cpu/cpufreq/x\n";
        text += "//- /proc/cpuinfo\nprocessor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon(R) CPU @ 2.60GHz\n";
        text += "microcode\t: 0x1\ncpu MHz\t: 800.1\nflags\t: fpu sse4_2 smap smep sm4 aes avx512f amx_tile ssse3 smx\n";
        FixtureHost::parse(&text).unwrap()
    }

    #[test]
    fn a_server_is_read() {
        let expect = Cpu {
            model: Some("Xeon(R) CPU @ 2.60GHz".into()),
            vendor: Some("GenuineIntel".into()),
            sockets: 2,
            cores_per_socket: 2,
            threads_per_core: 2,
            total_threads: 8,
            cache_l1d_kb: Some(4 * 48),
            cache_l2_kb: Some(4 * 1280),
            cache_l3_mb: Some(42),
            mhz: Some(2600),
            microcode: Some("0x1".into()),
            flags: ["sse4_2", "sm4", "aes", "avx512f", "amx_tile", "ssse3"].map(str::to_owned).into(),
        };
        assert_eq!(cpu(&two_sockets()), expect);
        let host = two_sockets();
        host.set("/sys/devices/system/cpu/cpu0/cpufreq/base_frequency", "2100000\n");
        assert_eq!(cpu(&host).mhz, Some(2100));
    }

    #[test]
    fn bad_or_no_content_is_left_out() {
        let empty = cpu(&FixtureHost::default());
        assert_eq!(empty, Cpu { sockets: 1, ..Cpu::default() });
        let host = two_sockets();
        host.remove("/sys");
        let bare = cpu(&host);
        assert_eq!(
            (bare.sockets, bare.cores_per_socket, bare.total_threads, bare.cache_l3_mb),
            (1, 1, 1, None)
        );
        host.set("/proc/cpuinfo", b"\xff\xfe: 1\nmodel name\ncpu MHz : x\nprocessor");
        assert_eq!((cpu(&host).model, cpu(&host).mhz), (None, None));
        for (size, expect) in [
            ("48K", Some(48)),
            ("2M", Some(2048)),
            ("", None),
            ("K", None),
            ("48", None),
            ("-1K", None),
            ("99999999999999999999G", None),
        ] {
            assert_eq!(kib(size), expect, "{size}");
        }
    }

    #[test]
    fn nodes_are_read() {
        let host = FixtureHost::parse(
            "//- /sys/devices/system/node/node1/cpulist\n28-55\n//- /sys/devices/system/node/node0/cpulist\n0-27,56-83\n\
             //- /sys/devices/system/node/node0/meminfo\nNode 0 MemTotal:       268435456 kB\nNode 0 MemFree: 1 kB\n\
             //- /sys/devices/system/node/has_cpu\n0\n",
        )
        .unwrap();
        let numa = numa(&host).unwrap();
        assert_eq!(numa.nodes, 2);
        assert_eq!(numa.topology[0], Node { node: 0, cpus: "0-27,56-83".into(), memory_mb: 262_144 });
        assert_eq!(numa.topology[1], Node { node: 1, cpus: "28-55".into(), memory_mb: 0 });
        assert_eq!(super::numa(&FixtureHost::default()), None);
    }
}
