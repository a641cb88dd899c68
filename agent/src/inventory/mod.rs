//! Inventory: what hardware and software the host is made of.
//!
//! Memory modules (SMBIOS) and the health of disks (SMART) want rights; without them, their keys are left
//! out. GPUs are those of NVIDIA's driver.

use serde::Serialize;

use crate::config::Config;
use crate::host::Host;
use crate::host::glob::Globs;
use crate::time::Now;

pub mod changes;
mod cpu;
mod dimm;
mod disk;
mod gpu;
mod health;
pub mod kept;
mod network;
mod read;
mod system;

pub use dimm::Dimm;

/// The inventory; its JSON shape is a fixed contract. What the host does not have or does not tell is
/// left out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Inventory {
    /// Name of the host.
    pub hostname: String,
    /// When it was read, RFC 3339 in UTC.
    pub collected_at: String,
    /// Operating system.
    pub os: Os,
    /// Processors.
    pub cpu: Cpu,
    /// Memory nodes; left out where the kernel knows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numa: Option<Numa>,
    /// Memory.
    pub memory: Memory,
    /// NVIDIA graphics processors.
    pub gpu: Vec<Gpu>,
    /// Disks with hardware behind them.
    pub disks: Vec<Disk>,
    /// Network interfaces.
    pub network: Vec<Nic>,
    /// Firmware and model of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bios: Option<Bios>,
}

/// One NVIDIA graphics processor, as its driver knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// The driver's number.
    pub index: u32,
    /// Model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `GPU-…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// PCI address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus: Option<String>,
    /// Memory, GiB, rounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vram_gb: Option<u64>,
    /// Driver version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Newest CUDA version the driver knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuda: Option<String>,
    /// Best generation of PCI Express of board and slot together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcie_gen: Option<u64>,
    /// Most lanes of PCI Express.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcie_width: Option<u64>,
    /// Power the board may draw, watts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_limit_w: Option<u64>,
    /// Whether errors of its memory are corrected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecc: Option<bool>,
}

/// `/etc/os-release` and `uname`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Os {
    /// `NAME`, e.g. `Ubuntu`.
    pub distro: String,
    /// `VERSION` without its code name, e.g. `22.04.4 LTS`.
    pub version: String,
    /// `ID`, e.g. `ubuntu`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Kernel release.
    pub kernel: String,
    /// Machine, e.g. `x86_64`.
    pub arch: String,
}

/// `/proc/cpuinfo` and `/sys/devices/system/cpu`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cpu {
    /// Model name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Vendor, e.g. `GenuineIntel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Processors.
    pub sockets: usize,
    /// Cores of one processor.
    pub cores_per_socket: usize,
    /// Hardware threads of one core.
    pub threads_per_core: usize,
    /// Hardware threads online.
    pub total_threads: usize,
    /// Level-1 data caches of all cores together, KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_l1d_kb: Option<u64>,
    /// Level-2 caches of all cores together, KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_l2_kb: Option<u64>,
    /// Level-3 cache of one processor, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_l3_mb: Option<u64>,
    /// Base frequency, MHz.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mhz: Option<u64>,
    /// Microcode revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub microcode: Option<String>,
    /// Instruction sets, in the kernel's order.
    pub flags: Vec<String>,
}

/// `/sys/devices/system/node`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Numa {
    /// Nodes.
    pub nodes: usize,
    /// Each of them.
    pub topology: Vec<Node>,
}

/// One memory node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Number.
    pub node: u32,
    /// Its CPUs, as a list of ranges.
    pub cpus: String,
    /// Its memory, MiB.
    pub memory_mb: u64,
}

/// `/proc/meminfo`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Memory the kernel can use, GiB, rounded.
    pub total_gb: u64,
    /// Modules that are plugged in; left out where the firmware's tables cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimm_count: Option<usize>,
    /// Each of them; left out where they cannot be read or are not wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimms: Option<Vec<Dimm>>,
}

/// One disk of `/sys/block`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Kernel's name.
    pub name: String,
    /// Model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Firmware revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
    /// Size, 10^9 bytes, rounded.
    pub capacity_gb: u64,
    /// `NVMe`, `SATA`, `SAS`, `SCSI`, `USB`, `MMC`, `virtio` or `other`.
    pub interface: &'static str,
    /// Whether it calls itself healthy; left out where it was not asked or does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smart_healthy: Option<bool>,
}

/// One interface of `/sys/class/net`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Nic {
    /// Kernel's name.
    pub name: String,
    /// Hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Speed of the link, 10^6 bit/s; left out where there is no link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed_mbps: Option<u64>,
    /// Largest packet, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u64>,
    /// Driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Firmware version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<String>,
}

/// `/sys/class/dmi/id`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Bios {
    /// Vendor of the firmware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Version of the firmware.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Model of the machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Serial number of the machine; only root may read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
}

/// What goes into an inventory.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name of the host; empty: the system's.
    pub hostname: String,
    /// Firmware and model too.
    pub bios: bool,
    /// What disks say of their own health too.
    pub smart: bool,
    /// Single memory modules too.
    pub dimms: bool,
    /// Disks left out.
    pub exclude_devices: Globs,
    /// Interfaces left out.
    pub exclude_interfaces: Globs,
}

impl Options {
    /// As the configuration has them.
    pub fn of(config: &Config) -> Self {
        Self {
            hostname: config.agent.hostname.clone(),
            bios: config.inventory.include_bios,
            smart: config.inventory.include_smart,
            dimms: config.inventory.include_dimm_details,
            exclude_devices: Globs::new(&config.collector.exclude_devices),
            exclude_interfaces: Globs::new(&config.collector.exclude_interfaces),
        }
    }
}

/// Reads the inventory, again and again.
#[derive(Debug)]
pub struct Reader {
    options: Options,
    health: health::Asker,
    gpus: gpu::Asker,
}

impl Reader {
    /// Reads nothing yet.
    pub fn new(options: Options) -> Self {
        Self { options, health: health::Asker::default(), gpus: gpu::Asker::default() }
    }

    /// The inventory now. What cannot be read is left out.
    pub fn read(&mut self, host: &dyn Host, now: Now) -> Inventory {
        let options = &self.options;
        let uname = host.uname();
        let hostname =
            if options.hostname.is_empty() { uname.nodename.clone() } else { options.hostname.clone() };
        let mut disks = disk::disks(host, &options.exclude_devices);
        if options.smart {
            self.health.fill(host, &mut disks, now);
        }
        Inventory {
            hostname,
            collected_at: timestamp(now),
            os: system::os(host, uname),
            cpu: cpu::cpu(host),
            numa: cpu::numa(host),
            memory: memory(host, options),
            gpu: self.gpus.gpus(host, now),
            disks,
            network: network::interfaces(host, &options.exclude_interfaces),
            bios: if options.bios { system::bios(host) } else { None },
        }
    }
}

/// Reads the inventory once.
pub fn collect(host: &dyn Host, options: &Options, now: Now) -> Inventory {
    Reader::new(options.clone()).read(host, now)
}

fn memory(host: &dyn Host, options: &Options) -> Memory {
    let (dimm_count, dimms) = dimm::dimms(host).unzip();
    Memory { total_gb: system::total_gb(host), dimm_count, dimms: dimms.filter(|_| options.dimms) }
}

fn timestamp(now: Now) -> String {
    let secs = now.wall_ns.div_euclid(1_000_000_000);
    jiff::Timestamp::from_second(secs).unwrap_or_default().to_string()
}

/// `ID` of the distribution, e.g. `debian`; empty where it is not known.
pub fn platform(host: &dyn Host) -> String {
    system::os(host, host.uname()).id
}

#[cfg(test)]
mod tests;
