//! Rules that need no key: something is broken or about to be, whatever the host is for.

use super::super::compose::condition::Culprits::Nobody;
use super::super::condition::Policy;
use super::super::limits::{Rule, Style};
use crate::analyze::threshold::{Limits, Op};

/// What is wrong as soon as the metric is not 0.
pub(super) struct State {
    pub(super) metric: &'static str,
    pub(super) subject: &'static str,
    pub(super) shown: &'static [&'static str],
    pub(super) bad: &'static str,
    pub(super) good: &'static str,
    pub(super) noun: &'static str,
    pub(super) is_critical: bool,
    pub(super) hint: &'static str,
}

const STATES: &[State] = &[
    State {
        metric: "docker_container_unhealthy",
        subject: "Container",
        shown: &["name"],
        bad: "is unhealthy by its own check",
        good: "is healthy again",
        noun: "unhealthy containers",
        // Nobody knows what it checks.
        is_critical: false,
        hint: "`docker inspect` shows what its check said last",
    },
    State {
        metric: "docker_stuck",
        subject: "The Docker daemon",
        shown: &[],
        bad: "does not answer",
        good: "answers again",
        noun: "Docker alerts",
        is_critical: false,
        hint: "Containers go on, but nobody can start, stop or look at them; see its log",
    },
    State {
        metric: "smart_stuck",
        subject: "Disk",
        shown: &["device"],
        bad: "does not answer when it is asked for its health",
        good: "answers again",
        noun: "silent disks",
        is_critical: false,
        hint: "Look in the kernel log for timeouts and resets of it",
    },
    State {
        metric: "hwmon_stuck",
        subject: "Sensor chip",
        shown: &["chip", "device"],
        bad: "does not answer",
        good: "answers again",
        noun: "silent sensors",
        is_critical: false,
        hint: "Its temperatures and fans are not seen; look in the kernel log for its bus or for the device it sits on",
    },
    State {
        metric: "filesystem_stuck",
        subject: "Mount",
        shown: &["mount"],
        bad: "does not answer",
        good: "answers again",
        noun: "dead mounts",
        is_critical: true,
        hint: "Programs that use it hang. See to its server, or to the program behind it; `umount -f` lets go of \
            those that wait",
    },
    State {
        metric: "filesystem_device_error",
        subject: "Mount",
        shown: &["mount"],
        bad: "cannot be read: its device fails",
        good: "can be read again",
        noun: "failing mounts",
        is_critical: true,
        hint: "",
    },
    State {
        metric: "md_degraded_disks_count",
        subject: "RAID array",
        shown: &["array"],
        bad: "is degraded: a disk is missing",
        good: "has all its disks again",
        noun: "degraded arrays",
        is_critical: true,
        hint: "`mdadm --detail` names the disk; replace it before another one fails",
    },
    State {
        metric: "md_inactive",
        subject: "RAID array",
        shown: &["array"],
        bad: "does not run",
        good: "runs again",
        noun: "stopped arrays",
        is_critical: true,
        hint: "`mdadm --detail` and the kernel log say which disks it lacks",
    },
    State {
        metric: "bond_links_down_count",
        subject: "Bond",
        shown: &["bond"],
        bad: "has lost a link",
        good: "has all its links again",
        noun: "degraded bonds",
        is_critical: false,
        hint: "/proc/net/bonding names the interface; look at its cable and switch port",
    },
    State {
        metric: "zfs_pool_degraded",
        subject: "ZFS pool",
        shown: &["pool"],
        bad: "is degraded",
        good: "is online again",
        noun: "degraded pools",
        is_critical: true,
        hint: "`zpool status -x` names the disk; replace it before another one fails",
    },
    State {
        metric: "zfs_pool_faulted",
        subject: "ZFS pool",
        shown: &["pool"],
        bad: "cannot be used",
        good: "can be used again",
        noun: "faulted pools",
        is_critical: true,
        hint: "`zpool status -x` says why; programs that use it hang until it is repaired or cleared",
    },
    State {
        metric: "ecc_uncorrectable_errors",
        subject: "Memory controller",
        shown: &["mc"],
        bad: "has had errors that could not be corrected",
        good: "counts from 0 again",
        noun: "memory alerts",
        is_critical: true,
        hint: "ecc_dimm_uncorrectable_errors or the management controller's log names the module: replace it",
    },
    State {
        metric: "gpu_driver_stuck",
        subject: "The NVIDIA driver",
        shown: &[],
        bad: "does not answer",
        good: "answers again",
        noun: "GPU driver alerts",
        is_critical: true,
        hint: "",
    },
    State {
        metric: "gpu_driver_failed",
        subject: "The NVIDIA driver",
        shown: &[],
        bad: "does not tell its GPUs",
        good: "tells its GPUs again",
        noun: "GPU driver alerts",
        is_critical: true,
        hint: "`nvidia-smi` and NVRM in the kernel log say why; after an update of the driver its module and its \
               libraries go together again when the host has been rebooted",
    },
    State {
        metric: "gpu_lost",
        subject: "GPU",
        shown: &["gpu"],
        bad: "is lost to its driver",
        good: "is back",
        noun: "lost GPUs",
        is_critical: true,
        hint: "Look for Xid in the kernel log, drain the host and reset or reseat the board",
    },
    State {
        metric: "gpu_remap_failed",
        subject: "GPU",
        shown: &["gpu"],
        bad: "has no spare rows left for its broken memory",
        good: "has spare memory rows again",
        noun: "GPUs with broken memory",
        is_critical: true,
        hint: "Have the board exchanged",
    },
    State {
        metric: "systemd_unit_failed",
        subject: "Unit",
        shown: &["unit", "cause", "started"],
        bad: "has failed",
        good: "is well again",
        noun: "failed units",
        // It may be one that nobody misses.
        is_critical: false,
        hint: "`systemctl status` and `journalctl -u` show its last words",
    },
    State {
        metric: "systemd_unit_restarts_recent_count",
        subject: "Unit",
        shown: &["unit"],
        bad: "restarts over and over",
        good: "has run for ten minutes without a restart",
        noun: "units that restart",
        is_critical: false,
        hint: "`journalctl -u` shows why it ends",
    },
    State {
        metric: "fan_failed",
        subject: "Fan",
        shown: &["chip", "sensor"],
        bad: "has failed",
        good: "turns again",
        noun: "failed fans",
        is_critical: false,
        hint: "",
    },
];

/// What has limits of its own that no key sets.
pub(super) struct Own {
    pub(super) metric: &'static str,
    pub(super) subject: &'static str,
    pub(super) shown: &'static [&'static str],
    pub(super) op: Op,
    pub(super) warn: f64,
    pub(super) critical: Option<f64>,
    pub(super) unit: &'static str,
    pub(super) noun: &'static str,
    pub(super) hint: &'static str,
}

const OWN: &[Own] = &[
    Own {
        metric: "conntrack_used_percent",
        subject: "Use of the firewall's table of connections",
        shown: &[],
        op: Op::Above,
        warn: 80.0,
        critical: Some(95.0),
        unit: " %",
        noun: "conntrack alerts",
        hint: "When it is full, new connections are dropped: raise net.netfilter.nf_conntrack_max, or find with \
            `conntrack -L` who opens so many",
    },
    Own {
        metric: "temperature_margin_celsius",
        subject: "Distance to the critical temperature of",
        shown: &["chip", "sensor"],
        op: Op::Below,
        warn: 5.0,
        critical: Some(1.0),
        unit: " °C",
        noun: "heat alerts",
        hint: "Look at fans, dust and the air that comes in; the hardware slows down or switches off",
    },
];

/// Seconds for which a value must be beyond a limit of [`OWN`]: two readings at their slowest pace.
pub(super) const FOR_SECS: u64 = 60;

/// What is wrong while the metric is 0: only who has configured it has the metric.
const UP: &[State] = &[State {
    metric: "redis_up",
    subject: "The Redis server",
    shown: &[],
    bad: "does not answer",
    good: "answers again",
    noun: "Redis alerts",
    is_critical: true,
    hint: "`sysops-agent doctor` says why it cannot be asked",
}];

/// Seconds for which it must be so: three readings, and longer than a restart of it takes.
const DOWN_SECS: u64 = 90;

pub(super) fn rules() -> impl Iterator<Item = Rule> {
    STATES.iter().map(State::rule).chain(UP.iter().map(down)).chain(OWN.iter().map(Own::rule))
}

fn down(state: &State) -> Rule {
    let limits = Limits { op: Op::Below, warn: None, critical: Some(1.0), clear: Some(1.0), whole: false };
    Rule { policy: Policy { limits, for_secs: DOWN_SECS }, ..state.rule() }
}

pub(super) fn judged() -> impl Iterator<Item = &'static str> {
    STATES.iter().chain(UP).map(|state| state.metric).chain(OWN.iter().map(|own| own.metric))
}

impl State {
    pub(super) fn rule(&self) -> Rule {
        let (warn, critical) = if self.is_critical { (None, Some(0.0)) } else { (Some(0.0), None) };
        let limits = Limits { op: Op::Above, warn, critical, clear: Some(0.0), whole: false };
        Rule {
            name: self.metric.to_owned(),
            metric: self.metric.to_owned(),
            labels: Vec::new(),
            policy: Policy { limits, for_secs: 0 },
            patience: None,
            subject: self.subject.into(),
            shown: self.shown,
            style: Style::State(self.bad, self.good),
            noun: self.noun.into(),
            hint: self.hint,
            culprits: Nobody,
            own: None,
        }
    }
}

impl Own {
    pub(super) fn rule(&self) -> Rule {
        let limits =
            Limits { op: self.op, warn: Some(self.warn), critical: self.critical, clear: None, whole: false };
        Rule {
            name: self.metric.to_owned(),
            metric: self.metric.to_owned(),
            labels: Vec::new(),
            policy: Policy { limits, for_secs: FOR_SECS },
            patience: None,
            subject: self.subject.into(),
            shown: self.shown,
            style: Style::Number(self.unit),
            noun: self.noun.into(),
            hint: self.hint,
            culprits: Nobody,
            own: None,
        }
    }
}
