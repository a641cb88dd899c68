//! What happens to a guest, and what the agent must say to it. One function a scenario, one row in [`ALL`].
//!
//! A scenario causes one thing, waits for its one alert with [`Lab::one`] and checks what it says. Alerts that no scenario
//! has claimed by the end of a run fail the run, so that "exactly one" needs no waiting here.

mod disk;
mod hang;
mod health;
mod oom;

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

/// All there are, in the order in which they run.
pub const ALL: &[Scenario] = &[
    row("oom-unit", "OOM kill, limit of a systemd unit", oom::unit),
    row("oom-docker", "OOM kill, limit of a Docker container", oom::docker),
    row("oom-pod", "OOM kill, limit of a Kubernetes container", oom::pod),
    // Not everywhere yet: the agent still tells some members of a group apart on real kernels.
    Scenario {
        everywhere: false,
        ..row("oom-group", "OOM kill of a whole group (`memory.oom.group`)", oom::group)
    },
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

/// All there are, of both tables.
pub fn all() -> impl Iterator<Item = &'static Scenario> {
    ALL.iter().chain(HEALTH)
}

const fn row(name: &'static str, title: &'static str, play: fn(&mut Lab) -> Verdict) -> Scenario {
    Scenario { name, title, everywhere: true, play }
}

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    all().find(|s| s.name == name)
}
