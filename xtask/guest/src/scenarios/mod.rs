//! What happens to a guest, and what the agent must say to it. One function a scenario, one row in [`ALL`].
//!
//! A scenario causes one thing, waits for its one alert with [`Lab::one`] and checks what it says. Alerts that no scenario
//! has claimed by the end of a run fail the run, so that "exactly one" needs no waiting here.

mod disk;
mod faults;
mod hang;
mod health;
mod oom;
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
    Scenario {
        everywhere: false,
        ..row("inventory", "memory modules and disks in the inventory", health::inventory)
    },
    Scenario {
        everywhere: false,
        ..row("disk-warning", "critical warning of an NVMe disk", health::warning)
    },
];

/// Faults of the hardware: they take devices and a kernel with drivers that most guests lack.
pub const FAULTS: &[Scenario] = &[
    fault("machine-check", "`mce:mce_record`, QEMU's `mce`, corrected", faults::machine_check),
    fault("broken-page", "`ras:memory_failure_event`, `madvise(MADV_HWPOISON)`", faults::broken_page),
    fault("pcie-error", "`ras:aer_event`, `aer_inject`, corrected", faults::pcie),
    fault(
        "transmit-timeout",
        "`net:net_dev_xmit_timeout`, virtio-net whose peer reads nothing",
        faults::transmit,
    ),
    fault("thermal-trip", "`thermal:thermal_zone_trip`, an ACPI zone that gets hot", faults::thermal),
];

/// What takes a real systemd.
pub const SYSTEMD: &[Scenario] = &[
    fault("service", "the agent as a service: start, reload, stop", systemd::service),
    fault("oomd", "kill by systemd-oomd, memory pressure of a slice", systemd::oomd),
    fault("earlyoom", "kill by earlyoom", systemd::earlyoom),
    fault("unit-limit", "OOM kill, `MemoryMax=` of a unit", systemd::limit),
    fault("unit-failed", "a unit that fails, and is mended", systemd::failed),
    fault("unit-loop", "a unit that restarts over and over", systemd::looping),
];

const fn fault(name: &'static str, title: &'static str, play: fn(&mut Lab) -> Verdict) -> Scenario {
    Scenario { everywhere: false, ..row(name, title, play) }
}

const fn row(name: &'static str, title: &'static str, play: fn(&mut Lab) -> Verdict) -> Scenario {
    Scenario { name, title, everywhere: true, play }
}

/// Those of all tables.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    ALL.iter().chain(FAULTS).chain(HEALTH).chain(SYSTEMD)
}

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    all().find(|s| s.name == name)
}
