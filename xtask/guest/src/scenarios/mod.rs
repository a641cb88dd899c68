//! What happens to a guest, and what the agent must say to it. One function a scenario, one row in [`ALL`].
//!
//! A scenario causes one thing, waits for its one alert with [`Lab::one`] and checks what it says. Alerts that no scenario
//! has claimed by the end of a run fail the run, so that "exactly one" needs no waiting here.

mod cpus;
mod disk;
mod faults;
mod groups;
mod hang;
mod health;
mod interfaces;
mod oom;
mod own;
mod storage;
mod systemd;

use crate::lab::{Lab, Verdict};

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Name on the command line of `cargo xtask vm --scenario`.
    pub name: &'static str,
    /// What it is, for the table in docs/KERNELS.md.
    pub title: &'static str,
    /// Whether it belongs to the matrix of docs/KERNELS.md: any kernel can have it without special devices.
    pub everywhere: bool,
    /// Causes it and judges the alert.
    pub play: fn(&mut Lab) -> Verdict,
}

/// What any kernel can have, in the order in which it runs.
pub const ALL: &[Scenario] = &[
    row("oom-unit", "OOM kill, limit of a systemd unit", oom::unit),
    row("oom-docker", "OOM kill, limit of a Docker container", oom::docker),
    row("oom-pod", "OOM kill, limit of a Kubernetes container", oom::pod),
    row("oom-group", "OOM kill of a whole group (`memory.oom.group`)", oom::group),
    row("oom-global", "OOM kill, machine out of memory", oom::global),
    row("hung-task", "hung task", hang::told),
    row("hung-task-silent", "hung task with `hung_task_warnings` 0", hang::silent),
    row("slow-io", "block request of 250 ms (null_blk)", disk::slow),
    row("retried-io", "block request that its driver tries twice (scsi_debug)", disk::retried),
    row("io-error", "I/O error (virtio-blk)", disk::failing),
    row("ext4-error", "ext4 error", disk::damaged),
];

/// What takes disks and firmware tables that most guests lack.
pub const HEALTH: &[Scenario] = &[
    apart("inventory", "memory modules and disks in the inventory", health::inventory),
    apart("disk-warning", "critical warning of an NVMe disk", health::warning),
    apart("scsi-health", "log pages of a SCSI disk, and one that takes its time", health::scsi),
];

/// What takes two sockets, NUMA nodes, spare disks and adapters, and slots to put more into.
pub const LARGE: &[Scenario] = &[
    apart("numa", "sockets and NUMA nodes, one without memory, one without CPUs", cpus::nodes),
    apart("cpu-offline", "a CPU that goes offline and comes back", cpus::offline),
    apart("cgroup", "CPU time, memory, disk and pressure of a unit", groups::unit),
    apart("md", "a RAID array that loses a disk and gets it back", storage::mirror),
    apart("hotplug", "a disk that is plugged in, pulled out and plugged in again", storage::hotplug),
    apart("link", "a network link that comes and goes", interfaces::link),
    apart("bonding", "a bond that loses a link", interfaces::bond),
    apart("rename", "interfaces that change their names, and one that is pulled out", interfaces::rename),
];

const fn apart(name: &'static str, title: &'static str, play: fn(&mut Lab) -> Verdict) -> Scenario {
    Scenario { everywhere: false, ..row(name, title, play) }
}

/// Faults of the hardware: they take devices and a kernel with drivers that most guests lack.
pub const FAULTS: &[Scenario] = &[
    apart("machine-check", "`mce:mce_record`, QEMU's `mce`, corrected", faults::machine_check),
    apart("broken-page", "`ras:memory_failure_event`, `madvise(MADV_HWPOISON)`", faults::broken_page),
    apart("pcie-error", "`ras:aer_event`, `aer_inject`, corrected", faults::pcie),
    apart(
        "transmit-timeout",
        "`net:net_dev_xmit_timeout`, virtio-net whose peer reads nothing",
        faults::transmit,
    ),
    apart("thermal-trip", "`thermal:thermal_zone_trip`, an ACPI zone that gets hot", faults::thermal),
];

/// What takes a real systemd.
pub const SYSTEMD: &[Scenario] = &[
    apart("service", "the agent as a service: start, reload, stop", systemd::service),
    apart("oomd", "kill by systemd-oomd, memory pressure of a slice", systemd::oomd),
    apart("earlyoom", "kill by earlyoom", systemd::earlyoom),
    apart("unit-limit", "OOM kill, `MemoryMax=` of a unit", systemd::limit),
    apart("unit-failed", "a unit that fails, and is mended", systemd::failed),
    apart("unit-loop", "a unit that restarts over and over", systemd::looping),
];

const fn row(name: &'static str, title: &'static str, play: fn(&mut Lab) -> Verdict) -> Scenario {
    Scenario { name, title, everywhere: true, play }
}

/// Those of all tables.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    ALL.iter().chain(FAULTS).chain(HEALTH).chain(SYSTEMD).chain(LARGE)
}

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    all().find(|s| s.name == name)
}
