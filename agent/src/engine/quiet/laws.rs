//! What explains what: the table behind inhibition and correlation.

use super::super::compose::{Draft, oom};
use super::super::series::SeriesTable;
use crate::alert::Severity;
use crate::cgroup::memory::contains;

/// What two alerts must have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Same {
    /// Nothing.
    Host,
    /// The value of a label.
    Label(&'static str),
    /// The disk: its partitions and the mounts on them are part of it.
    Disk,
    /// The second is about a control group below that of the first.
    Below,
}

/// One line of the table.
#[derive(Debug)]
pub(in crate::engine) struct Law {
    /// Rules of the cause.
    pub(in crate::engine) causes: &'static [&'static str],
    /// A label the cause must have.
    only: Option<(&'static str, &'static str)>,
    /// Rules or metrics that follow from it; `…*`: all that begin like this.
    pub(in crate::engine) hidden: &'static [&'static str],
    pub(in crate::engine) same: Same,
    /// How long an event explains, seconds. What lasts does so as long as it stands.
    pub(in crate::engine) secs: u64,
    /// Only what is an information is hidden.
    mild: bool,
}

const LATENCY: &[&str] = &[
    "disk_await_ms",
    "disk_busy_percent",
    "block_io_latency*",
    "smart_stuck",
    "filesystem_device_error",
    "filesystem_stuck",
    "filesystem_error",
];

/// All but that a board is lost, which is worse than a driver that does not answer.
const GPU_READINGS: &[&str] =
    &["gpu_utilization*", "gpu_memory*", "gpu_temperature*", "gpu_power*", "gpu_throttle*", "gpu_process*"];

/// A machine that has much to do: one word of it will do, as long as nobody has to act.
const FULL: &[&str] = &["load_average_per_cpu", "cpu_socket_usage_percent", "cpu_mode_percent_steal"];

pub(in crate::engine) const LAWS: &[Law] = &[
    Law { causes: &["cpu_usage_percent"], only: None, hidden: FULL, same: Same::Host, secs: 0, mild: true },
    // A GPU that is lost has no readings worth a word.
    Law {
        causes: &["gpu_lost"],
        only: None,
        hidden: &["gpu_*"],
        same: Same::Label("gpu"),
        secs: 0,
        mild: false,
    },
    Law {
        causes: &["gpu_driver_stuck", "gpu_driver_failed"],
        only: None,
        hidden: GPU_READINGS,
        same: Same::Host,
        secs: 0,
        mild: false,
    },
    // A disk that fails is slow, and its filesystems with it.
    Law {
        causes: &[
            "smart_warning_failing",
            "smart_warning_reliability",
            "smart_warning_read_only",
            "io_error",
            "nvme_error",
            "scsi_error",
            "ata_error",
        ],
        only: None,
        hidden: LATENCY,
        same: Same::Disk,
        secs: 300,
        mild: false,
    },
    Law {
        causes: &["filesystem_stuck"],
        only: None,
        hidden: &["disk_used_percent", "disk_inode_used_percent"],
        same: Same::Label("mount"),
        secs: 0,
        mild: false,
    },
    // The limit of a group above was reached: what happens in those below is the same shortage.
    Law { causes: &[oom::RULE], only: None, hidden: &[oom::RULE], same: Same::Below, secs: 30, mild: false },
    // The machine is out of memory: that its memory is full is no news.
    Law {
        causes: &[oom::RULE],
        only: Some(("scope", "global")),
        hidden: &["memory_used_percent", "swap_used_percent"],
        same: Same::Host,
        secs: 300,
        mild: false,
    },
    // The kill is why the unit failed.
    Law {
        causes: &[oom::RULE],
        only: None,
        hidden: &["systemd_unit_failed", "systemd_unit_restarts_recent_count"],
        same: Same::Label("unit"),
        secs: 600,
        mild: false,
    },
];

/// What is known of the host.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// All series.
    pub table: &'a SeriesTable,
}

impl Law {
    pub(super) fn is_cause(&self, draft: &Draft) -> bool {
        let only = self.only.is_none_or(|(name, value)| draft.labels.get(name).is_some_and(|v| v == value));
        only && self.causes.contains(&draft.rule.as_str())
    }

    /// Whether `cause` explains `draft`.
    pub(super) fn hides(&self, cause: &Draft, draft: &Draft, facts: Facts<'_>) -> bool {
        let named = |pattern: &&str| match pattern.strip_suffix('*') {
            Some(start) => draft.rule.starts_with(start) || draft.metric.starts_with(start),
            None => draft.rule == **pattern || draft.metric == **pattern,
        };
        let is_cause_itself = self.causes.contains(&draft.rule.as_str()) && self.same != Same::Below;
        !is_cause_itself
            // A warning is no reason to keep quiet of what is critical.
            && draft.severity <= cause.severity
            && (!self.mild || draft.severity == Severity::Info)
            && self.is_cause(cause)
            && self.hidden.iter().any(named)
            && self.is_same(cause, draft, facts)
    }

    fn is_same(&self, cause: &Draft, draft: &Draft, facts: Facts<'_>) -> bool {
        match self.same {
            Same::Host => true,
            Same::Label(name) => {
                cause.labels.get(name).is_some_and(|value| draft.labels.get(name) == Some(value))
            }
            Same::Disk => cause
                .labels
                .get("device")
                .is_some_and(|disk| device(draft, facts).is_some_and(|device| is_part_of(&device, disk))),
            Same::Below => is_below(&draft.place, &cause.place),
        }
    }
}

/// The device of an alert, or the one below its mount.
fn device(draft: &Draft, facts: Facts<'_>) -> Option<String> {
    if let Some(device) = draft.labels.get("device") {
        return Some(device.clone());
    }
    let mount = draft.labels.get("mount")?;
    let of = |metric: &str| metric == "disk_used_percent" || metric == "disk_used_bytes";
    let mut mounts = facts.table.iter().map(|(_, series)| series).filter(|series| of(series.metric.name));
    let found = mounts.find(|series| series.label("mount") == Some(mount))?;
    found.label("device").map(str::to_owned)
}

/// `sda1` is part of `sda`, `nvme0n1p2` of `nvme0n1`; a disk is part of itself.
fn is_part_of(device: &str, disk: &str) -> bool {
    let short = |name: &str| name.trim_start_matches("/dev/").to_owned();
    let (device, disk) = (short(device), short(disk));
    let Some(rest) = device.strip_prefix(&disk) else { return false };
    if rest.is_empty() {
        return !disk.is_empty();
    }
    // A controller and its namespaces: `nvme0` and `nvme0n1p2`.
    let is_controller = disk.strip_prefix("nvme").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    if is_controller && rest.starts_with('n') {
        return rest[1..].starts_with(|c: char| c.is_ascii_digit());
    }
    let number =
        if disk.ends_with(|c: char| c.is_ascii_digit()) { rest.strip_prefix('p') } else { Some(rest) };
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) && !disk.is_empty()
}

/// Control group `path` lies below `above`; every one lies below the host.
fn is_below(path: &str, above: &str) -> bool {
    let above = if above == "host" { "/" } else { above };
    let are_paths = path.starts_with('/') && above.starts_with('/');
    are_paths && path != above && contains(above, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_and_groups() {
        for (device, disk, expect) in [
            ("sda", "sda", true),
            ("/dev/sda1", "sda", true),
            ("sdab", "sda", false),
            ("sdab1", "sda", false),
            ("nvme0n1p2", "nvme0n1", true),
            ("nvme0n1p2", "nvme0", true),
            ("nvme0", "nvme0", true),
            ("nvme01", "nvme0", false),
            ("nvme0n", "nvme0", false),
            ("nvme0n12", "nvme0n1", false),
            ("nvme0n1", "nvme0n1p2", false),
            ("dm-10", "dm-1", false),
            ("sda1", "", false),
            ("", "", false),
        ] {
            assert_eq!(is_part_of(device, disk), expect, "{device:?} of {disk:?}");
        }
        for (path, above, expect) in [
            ("/a/b", "/a", true),
            ("/a", "/a", false),
            ("/ab", "/a", false),
            ("/a", "/a/b", false),
            ("/a", "host", true),
            ("host", "/a", false),
            ("", "host", false),
            ("/a", "", false),
        ] {
            assert_eq!(is_below(path, above), expect, "{path:?} below {above:?}");
        }
    }
}
