//! Collectors: one file, one source, one line in [`COLLECTORS`]. Synchronous, raw values only:
//! rates and judgements are the engine's.

use std::time::Duration;

use crate::config::Config;
use crate::host::Host;
use crate::metric::Metric;
use crate::sample::Samples;

pub mod agent;
pub mod cgroup;
pub mod cpu;
pub mod diskstats;
pub mod docker;
mod docs;
pub mod fd;
pub mod filesystem;
pub mod gpu;
pub mod kept;
pub mod load;
pub mod memory;
pub mod network;
pub mod pressure;
pub mod process;
pub mod redis;
pub mod runner;
pub mod schedule;
pub mod smart;
pub mod stat_line;
#[cfg(test)]
pub(crate) mod testing;
pub mod uptime;
pub mod vmstat;

pub use docs::metrics_doc;

use crate::host::glob::Globs;

/// Why a collector has nothing to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectError {
    /// The host does not have it.
    #[error("{path} does not exist on this host")]
    Absent {
        /// What is not there.
        path: String,
    },
    /// The host has it, but this process may not read it.
    #[error("{path} may not be read: it needs {needs}")]
    Denied {
        /// What was refused.
        path: String,
        /// Capability or right that opens it.
        needs: &'static str,
    },
    /// Reading failed otherwise.
    #[error("{path} cannot be read: {error}")]
    Read {
        /// What was read.
        path: String,
        /// The system's words.
        error: String,
    },
    /// The content is not what the kernel writes.
    #[error("{path} is not as expected: {why}")]
    Parse {
        /// What was read.
        path: String,
        /// What was wrong.
        why: String,
    },
}

/// Reads one source.
pub trait Collector: Send {
    /// Puts the current readings into `out`. What was put before an error counts.
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError>;
}

/// One line of the table of collectors.
pub struct Entry {
    /// Name in the configuration, `doctor` and the logs.
    pub name: &'static str,
    /// How often it is read.
    pub pace: fn(&Config) -> Duration,
    /// What it puts out.
    pub metrics: &'static [&'static Metric],
    /// Makes one.
    pub make: fn(&Config) -> Box<dyn Collector>,
}

/// All collectors.
pub const COLLECTORS: &[Entry] = &[
    Entry {
        name: "cpu",
        pace: |config| secs(config.collector.cpu_interval_secs),
        metrics: cpu::METRICS,
        make: |config| Box::new(cpu::Cpu::new(cpu::Options { per_core: config.collector.per_core })),
    },
    Entry {
        name: "load",
        pace: |config| secs(config.collector.cpu_interval_secs),
        metrics: load::METRICS,
        make: |_| Box::new(load::Load::new()),
    },
    Entry {
        name: "memory",
        pace: |config| secs(config.collector.memory_interval_secs),
        metrics: memory::METRICS,
        make: |_| Box::new(memory::Memory::new()),
    },
    // Before vmstat: a kill that is in the machine's counter is then in that of its group.
    Entry {
        name: "cgroup",
        pace: |config| secs(config.collector.memory_interval_secs),
        metrics: cgroup::METRICS,
        make: |_| Box::new(cgroup::Cgroup::new()),
    },
    Entry {
        name: "vmstat",
        pace: |config| secs(config.collector.memory_interval_secs),
        metrics: vmstat::METRICS,
        make: |_| Box::new(vmstat::Vmstat::new()),
    },
    Entry {
        name: "filesystem",
        pace: |config| secs(config.collector.disk_interval_secs),
        metrics: filesystem::METRICS,
        make: |config| {
            Box::new(filesystem::Filesystem::new(filesystem::Options {
                exclude_fstypes: Globs::new(&config.collector.exclude_fstypes),
                exclude_mountpoints: Globs::new(&config.collector.exclude_mountpoints),
                exclude_devices: Globs::new(&config.collector.exclude_devices),
            }))
        },
    },
    Entry {
        name: "diskstats",
        pace: |config| secs(config.collector.disk_io_interval_secs),
        metrics: diskstats::METRICS,
        make: |config| Box::new(diskstats::Diskstats::new(Globs::new(&config.collector.exclude_devices))),
    },
    Entry {
        name: "smart",
        pace: |config| secs(config.collector.smart_interval_secs),
        metrics: smart::METRICS,
        make: |config| Box::new(smart::Smart::new(Globs::new(&config.collector.exclude_devices))),
    },
    Entry {
        name: "network",
        pace: |config| secs(config.collector.network_interval_secs),
        metrics: network::METRICS,
        make: |config| Box::new(network::Network::new(Globs::new(&config.collector.exclude_interfaces))),
    },
    Entry {
        name: "fd",
        pace: |config| secs(config.collector.fd_interval_secs),
        metrics: fd::METRICS,
        make: |_| Box::new(fd::Fd::new()),
    },
    Entry {
        name: "process",
        pace: |config| secs(config.collector.process_interval_secs),
        metrics: process::METRICS,
        make: |config| {
            Box::new(process::Process::new(process::Options { top_n: config.collector.track_top_n }))
        },
    },
    Entry {
        name: "gpu",
        pace: |config| secs(config.collector.gpu_interval_secs),
        metrics: gpu::ALL,
        make: |_| Box::new(gpu::Gpus::new()),
    },
    Entry {
        name: "pressure",
        pace: |config| secs(config.collector.cpu_interval_secs),
        metrics: pressure::METRICS,
        make: |_| Box::new(pressure::Pressure::new()),
    },
    Entry {
        name: "uptime",
        pace: |config| secs(config.collector.cpu_interval_secs),
        metrics: uptime::METRICS,
        make: |_| Box::new(uptime::Uptime::new()),
    },
    Entry {
        name: "docker",
        pace: |config| secs(config.collector.process_interval_secs),
        metrics: docker::METRICS,
        make: |config| Box::new(docker::Docker::new(&config.collector.docker.socket.to_string_lossy())),
    },
    Entry {
        name: "redis",
        pace: |config| secs(config.collector.process_interval_secs),
        metrics: redis::METRICS,
        make: |config| {
            let section = &config.collector.redis;
            Box::new(redis::Redis::new(&section.addr, section.password.clone()))
        },
    },
    Entry {
        name: "agent",
        pace: |config| secs(config.collector.cpu_interval_secs),
        metrics: agent::METRICS,
        make: |_| Box::new(agent::Agent::new()),
    },
];

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// The collectors of the table that the configuration wants.
pub fn enabled(config: &Config) -> impl Iterator<Item = &'static Entry> {
    let section = &config.collector;
    let named = |names: &[String], entry: &Entry| names.iter().any(|name| name == entry.name);
    // Whom others serve is asked only where that is wanted.
    let wanted = |entry: &Entry| match entry.name {
        "docker" => section.docker.enabled,
        "redis" => section.redis.enabled,
        _ => true,
    };
    COLLECTORS.iter().filter(move |entry| {
        wanted(entry)
            && (section.enabled.is_empty() || named(&section.enabled, entry))
            && !named(&section.disabled, entry)
    })
}

/// All metrics of the collectors and of the thread that runs them.
pub fn metrics() -> Vec<&'static Metric> {
    let own = runner::METRICS.iter();
    COLLECTORS.iter().flat_map(|entry| entry.metrics).chain(own).copied().collect()
}

#[cfg(test)]
mod tests;
