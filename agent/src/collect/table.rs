//! The table of collectors.

use std::time::Duration;

use super::topology::Wanted;
use super::{
    Collector, agent, bonding, cgroup, clock, conntrack, cpu, diskstats, docker, edac, fd, filesystem, gpu,
    hugepages, hwmon, link, load, md, memory, netstat, network, numa, ports, pressure, process, redis,
    runner, smart, sockets, softnet, systemd, units, uptime, vmstat, zfs,
};
use crate::config::Config;
use crate::host::glob::Globs;
use crate::metric::Metric;

/// One row of the table of collectors.
pub struct Entry {
    /// Name in the configuration, `doctor` and the logs.
    pub name: &'static str,
    /// How often it is read.
    pub pace: fn(&Config) -> Duration,
    /// What it puts out.
    pub metrics: &'static [&'static Metric],
    /// The same, of a part of it that has a file of its own.
    pub also: &'static [&'static Metric],
    /// Whether a key other than `collector.enabled` and `disabled` wants it.
    pub wanted: fn(&Config) -> bool,
    /// Reads what many hosts do not have: its absence is no fault.
    pub optional: bool,
    /// Makes one.
    pub make: fn(&Config) -> Box<dyn Collector>,
}

impl Entry {
    /// All it puts out.
    pub fn all_metrics(&self) -> impl Iterator<Item = &'static Metric> {
        self.metrics.iter().chain(self.also).copied()
    }
}

/// What most rows have in common.
const ROW: Entry = Entry {
    name: "",
    pace: cpu_pace,
    metrics: &[],
    also: &[],
    wanted: |_| true,
    optional: false,
    make: |_| Box::new(uptime::Uptime::new()),
};

/// All collectors.
pub const COLLECTORS: &[Entry] = &[
    Entry {
        name: "cpu",
        metrics: cpu::METRICS,
        make: |config| {
            let groups =
                Wanted { sockets: config.cpu.per_socket_monitoring, nodes: config.cpu.numa_monitoring };
            Box::new(cpu::Cpu::new(cpu::Options { per_core: config.collector.per_core, groups }))
        },
        ..ROW
    },
    Entry { name: "load", metrics: load::METRICS, make: |_| Box::new(load::Load::new()), ..ROW },
    Entry {
        name: "memory",
        pace: memory_pace,
        metrics: memory::METRICS,
        make: |_| Box::new(memory::Memory::new()),
        ..ROW
    },
    Entry {
        name: "numa",
        pace: memory_pace,
        metrics: numa::METRICS,
        wanted: |config| config.cpu.numa_monitoring,
        optional: true,
        make: |_| Box::new(numa::Numa::new()),
        ..ROW
    },
    Entry {
        name: "hugepages",
        pace: memory_pace,
        metrics: hugepages::METRICS,
        optional: true,
        make: |_| Box::new(hugepages::Hugepages::new()),
        ..ROW
    },
    // Before vmstat: a kill that is in the machine's counter is then in that of its group.
    Entry {
        name: "cgroup",
        pace: memory_pace,
        metrics: cgroup::METRICS,
        also: units::METRICS,
        make: |_| Box::new(cgroup::Cgroup::new()),
        ..ROW
    },
    Entry {
        name: "vmstat",
        pace: memory_pace,
        metrics: vmstat::METRICS,
        make: |_| Box::new(vmstat::Vmstat::new()),
        ..ROW
    },
    Entry {
        name: "filesystem",
        pace: disk_pace,
        metrics: filesystem::METRICS,
        make: |config| {
            Box::new(filesystem::Filesystem::new(filesystem::Options {
                exclude_fstypes: Globs::new(&config.collector.exclude_fstypes),
                exclude_mountpoints: Globs::new(&config.collector.exclude_mountpoints),
                exclude_devices: Globs::new(&config.collector.exclude_devices),
            }))
        },
        ..ROW
    },
    Entry {
        name: "diskstats",
        pace: |config| secs(config.collector.disk_io_interval_secs),
        metrics: diskstats::METRICS,
        make: |config| Box::new(diskstats::Diskstats::new(Globs::new(&config.collector.exclude_devices))),
        ..ROW
    },
    Entry {
        name: "smart",
        pace: |config| secs(config.collector.smart_interval_secs),
        metrics: smart::METRICS,
        optional: true,
        make: |config| Box::new(smart::Smart::new(Globs::new(&config.collector.exclude_devices))),
        ..ROW
    },
    Entry {
        name: "network",
        pace: network_pace,
        metrics: network::METRICS,
        make: |config| Box::new(network::Network::new(Globs::new(&config.collector.exclude_interfaces))),
        ..ROW
    },
    Entry {
        name: "link",
        pace: network_pace,
        metrics: link::METRICS,
        make: |config| Box::new(link::Link::new(Globs::new(&config.collector.exclude_interfaces))),
        ..ROW
    },
    Entry {
        name: "bonding",
        pace: network_pace,
        metrics: bonding::METRICS,
        optional: true,
        make: |_| Box::new(bonding::Bonding::new()),
        ..ROW
    },
    Entry {
        name: "netstat",
        pace: network_pace,
        metrics: netstat::METRICS,
        make: |_| Box::new(netstat::Netstat::new()),
        ..ROW
    },
    Entry {
        name: "sockets",
        pace: network_pace,
        metrics: sockets::METRICS,
        make: |_| Box::new(sockets::Sockets::new()),
        ..ROW
    },
    Entry {
        name: "softnet",
        pace: network_pace,
        metrics: softnet::METRICS,
        make: |_| Box::new(softnet::Softnet::new()),
        ..ROW
    },
    Entry {
        name: "conntrack",
        pace: network_pace,
        metrics: conntrack::METRICS,
        optional: true,
        make: |_| Box::new(conntrack::Conntrack::new()),
        ..ROW
    },
    Entry {
        name: "ports",
        pace: |config| process_pace(config).max(LEAST_PORTS),
        metrics: ports::METRICS,
        make: |_| Box::new(ports::Ports::new()),
        ..ROW
    },
    Entry {
        name: "edac",
        pace: hardware_pace,
        metrics: edac::METRICS,
        wanted: |config| config.cpu.ecc_monitoring,
        optional: true,
        make: |_| Box::new(edac::Edac::new()),
        ..ROW
    },
    Entry {
        name: "hwmon",
        pace: hardware_pace,
        metrics: hwmon::METRICS,
        optional: true,
        make: |_| Box::new(hwmon::Hwmon::new()),
        ..ROW
    },
    Entry {
        name: "md",
        pace: disk_pace,
        metrics: md::METRICS,
        optional: true,
        make: |_| Box::new(md::Md::new()),
        ..ROW
    },
    Entry {
        name: "zfs",
        pace: disk_pace,
        metrics: zfs::METRICS,
        optional: true,
        make: |_| Box::new(zfs::Zfs::new()),
        ..ROW
    },
    Entry {
        name: "clock",
        pace: hardware_pace,
        metrics: clock::METRICS,
        make: |_| Box::new(clock::Clock::new()),
        ..ROW
    },
    Entry {
        name: "fd",
        pace: |config| secs(config.collector.fd_interval_secs),
        metrics: fd::METRICS,
        make: |_| Box::new(fd::Fd::new()),
        ..ROW
    },
    Entry {
        name: "process",
        pace: process_pace,
        metrics: process::METRICS,
        also: process::tracked::METRICS,
        make: |config| Box::new(process::Process::new(&process::Options::of(config), None)),
        ..ROW
    },
    Entry {
        name: "gpu",
        pace: |config| secs(config.collector.gpu_interval_secs),
        metrics: gpu::ALL,
        optional: true,
        make: |_| Box::new(gpu::Gpus::new()),
        ..ROW
    },
    Entry {
        name: "pressure",
        metrics: pressure::METRICS,
        optional: true,
        make: |_| Box::new(pressure::Pressure::new()),
        ..ROW
    },
    Entry {
        name: "docker",
        pace: process_pace,
        wanted: |config| config.collector.docker.enabled,
        metrics: docker::METRICS,
        make: |config| Box::new(docker::Docker::new(&config.collector.docker.socket.to_string_lossy())),
        ..ROW
    },
    Entry {
        name: "redis",
        pace: process_pace,
        wanted: |config| config.collector.redis.enabled,
        metrics: redis::METRICS,
        make: |config| {
            let section = &config.collector.redis;
            Box::new(redis::Redis::new(&section.addr, section.password.clone()))
        },
        ..ROW
    },
    Entry {
        name: "systemd",
        pace: |config| secs(config.collector.systemd_interval_secs),
        metrics: systemd::METRICS,
        optional: true,
        make: |_| Box::new(systemd::Systemd::new()),
        ..ROW
    },
    Entry { name: "uptime", metrics: uptime::METRICS, make: |_| Box::new(uptime::Uptime::new()), ..ROW },
    Entry { name: "agent", metrics: agent::METRICS, make: |_| Box::new(agent::Agent::new()), ..ROW },
];

fn cpu_pace(config: &Config) -> Duration {
    secs(config.collector.cpu_interval_secs)
}

fn memory_pace(config: &Config) -> Duration {
    secs(config.collector.memory_interval_secs)
}

fn process_pace(config: &Config) -> Duration {
    secs(config.collector.process_interval_secs)
}

fn disk_pace(config: &Config) -> Duration {
    secs(config.collector.disk_interval_secs)
}

/// What seldom changes: memory errors, temperatures, the state of the clock.
fn hardware_pace(_: &Config) -> Duration {
    secs(60)
}

/// The kernel looks through all its buckets for them, 16,384 on a machine of 24 GiB (`tcp_diag_dump`, `net/ipv4/tcp_diag.c`).
const LEAST_PORTS: Duration = secs(10);

fn network_pace(config: &Config) -> Duration {
    secs(config.collector.network_interval_secs)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The collectors of the table that the configuration wants.
pub fn enabled(config: &Config) -> impl Iterator<Item = &'static Entry> {
    let section = &config.collector;
    let named = |names: &[String], entry: &Entry| names.iter().any(|name| name == entry.name);
    COLLECTORS.iter().filter(move |entry| {
        (section.enabled.is_empty() || named(&section.enabled, entry))
            && !named(&section.disabled, entry)
            && (entry.wanted)(config)
    })
}

/// All metrics of the collectors and of the thread that runs them.
pub fn metrics() -> Vec<&'static Metric> {
    let own = runner::METRICS.iter();
    COLLECTORS.iter().flat_map(Entry::all_metrics).chain(own.copied()).collect()
}
