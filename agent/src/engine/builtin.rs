//! The rules behind `[thresholds]`: one line a key.

use super::compose::condition::Culprits::{self, Cpu, Memory, Nobody};
use super::condition::Policy;
use super::disk::DiskPolicy;
use super::limits::{Rule, Style};
use crate::analyze::threshold::{Limits, Op};
use crate::config::{Config, Ebpf, Threshold, Thresholds};

struct Line {
    metric: &'static str,
    labels: &'static [(&'static str, &'static str)],
    limits: fn(&Thresholds) -> &Threshold,
    subject: &'static str,
    shown: &'static [&'static str],
    unit: &'static str,
    noun: &'static str,
    culprits: Culprits,
}

const LINE: Line = Line {
    metric: "",
    labels: &[],
    limits: |t| &t.cpu_percent,
    subject: "",
    shown: &[],
    unit: " %",
    noun: "alerts",
    culprits: Nobody,
};

/// One line for each key of `[thresholds]` whose metric is collected.
const LINES: &[Line] = &[
    Line { metric: "cpu_usage_percent", subject: "CPU usage", noun: "CPU alerts", culprits: Cpu, ..LINE },
    Line {
        metric: "cpu_mode_percent",
        labels: &[("mode", "iowait")],
        limits: |t| &t.iowait_percent,
        subject: "CPU time waiting for disks",
        noun: "iowait alerts",
        ..LINE
    },
    Line {
        metric: "cpu_mode_percent",
        labels: &[("mode", "steal")],
        limits: |t| &t.steal_percent,
        subject: "CPU time taken by the hypervisor",
        noun: "steal alerts",
        ..LINE
    },
    Line {
        metric: "load_average_per_cpu",
        limits: |t| &t.load_avg_multiplier,
        subject: "Load average per CPU thread",
        unit: "",
        noun: "load alerts",
        culprits: Cpu,
        ..LINE
    },
    Line {
        metric: "memory_used_percent",
        limits: |t| &t.memory_percent,
        subject: "Memory use",
        noun: "memory alerts",
        culprits: Memory,
        ..LINE
    },
    Line {
        metric: "swap_used_percent",
        limits: |t| &t.swap_percent,
        subject: "Swap use",
        noun: "swap alerts",
        culprits: Memory,
        ..LINE
    },
    Line {
        metric: "disk_used_percent",
        limits: |t| &t.disk_percent,
        subject: "Disk usage of",
        shown: &["mount"],
        noun: "disk alerts",
        ..LINE
    },
    Line {
        metric: "disk_inode_used_percent",
        limits: |t| &t.disk_inode_percent,
        subject: "Inode usage of",
        shown: &["mount"],
        noun: "inode alerts",
        ..LINE
    },
    Line {
        metric: "disk_busy_percent",
        limits: |t| &t.disk_busy_percent,
        subject: "Busy time of disk",
        shown: &["device"],
        noun: "busy-disk alerts",
        ..LINE
    },
    Line {
        metric: "disk_await_ms",
        limits: |t| &t.disk_await_ms,
        subject: "Average request time of disk",
        shown: &["device"],
        unit: " ms",
        noun: "slow-disk alerts",
        ..LINE
    },
    Line {
        metric: "fd_used_percent",
        limits: |t| &t.fd_percent,
        subject: "Use of file descriptors",
        noun: "descriptor alerts",
        ..LINE
    },
    Line {
        metric: "network_error_ratio",
        limits: |t| &t.network_error_rate,
        subject: "Share of faulty packets on",
        shown: &["interface"],
        unit: "",
        noun: "network alerts",
        ..LINE
    },
    Line {
        metric: "gpu_utilization_percent",
        limits: |t| &t.gpu_utilization_percent,
        subject: "Load of GPU",
        shown: &["gpu"],
        noun: "GPU load alerts",
        ..LINE
    },
    Line {
        metric: "gpu_memory_used_percent",
        limits: |t| &t.gpu_memory_percent,
        subject: "Memory use of GPU",
        shown: &["gpu"],
        noun: "GPU memory alerts",
        ..LINE
    },
    Line {
        metric: "gpu_temperature_celsius",
        limits: |t| &t.gpu_temperature_celsius,
        subject: "Temperature of GPU",
        shown: &["gpu"],
        unit: " °C",
        noun: "GPU temperature alerts",
        ..LINE
    },
    Line {
        metric: "gpu_power_percent",
        limits: |t| &t.gpu_power_percent,
        subject: "Power, as a share of its limit, of GPU",
        shown: &["gpu"],
        noun: "GPU power alerts",
        ..LINE
    },
];

/// A metric that is 0 while all is well: the thing, the labels that tell which, words for bad and for good again.
struct State {
    metric: &'static str,
    subject: &'static str,
    shown: &'static [&'static str],
    bad: &'static str,
    good: &'static str,
    noun: &'static str,
}

/// What is critical as soon as it is so.
const STATES: &[State] = &[
    State {
        metric: "filesystem_stuck",
        subject: "Mount",
        shown: &["mount"],
        bad: "does not answer",
        good: "answers again",
        noun: "dead mounts",
    },
    State {
        metric: "filesystem_device_error",
        subject: "Mount",
        shown: &["mount"],
        bad: "cannot be read: its device fails",
        good: "can be read again",
        noun: "failing mounts",
    },
    State {
        metric: "gpu_driver_stuck",
        subject: "The NVIDIA driver",
        shown: &[],
        bad: "does not answer",
        good: "answers again",
        noun: "GPU driver alerts",
    },
    State {
        metric: "gpu_lost",
        subject: "GPU",
        shown: &["gpu"],
        bad: "is lost to its driver; look for Xid in the kernel log, drain the host and reset or reseat the board",
        good: "is back",
        noun: "lost GPUs",
    },
    State {
        metric: "gpu_remap_failed",
        subject: "GPU",
        shown: &["gpu"],
        bad: "has no spare rows left for its broken memory; have the board exchanged",
        good: "has spare memory rows again",
        noun: "GPUs with broken memory",
    },
];

const UNHEALTHY: &str = "docker_container_unhealthy";
const DISK_WARNING: &str = "smart_warning";

/// What a disk can say is wrong with it, whether that is critical, and what it means.
const DISK_WARNINGS: &[(&str, bool, &str)] = &[
    ("failing", true, "says that it is about to fail: save its data and replace it"),
    ("reliability", true, "says that it has too many errors to be relied on: replace it"),
    ("spare", true, "has used up its spare cells: replace it"),
    ("read_only", true, "takes no more writes: it has become read-only"),
    ("backup", true, "would lose its cache when power fails: its backup power does not work"),
    ("memory_region", false, "takes no more writes to its persistent memory region"),
    ("temperature", false, "says that it is too hot or too cold"),
];

/// The rules of `[thresholds]`, those of [`STATES`] and of [`DISK_WARNINGS`].
pub fn rules(thresholds: &Thresholds) -> Vec<Rule> {
    let mut rules: Vec<Rule> = LINES
        .iter()
        .map(|line| line.rule((line.limits)(thresholds)))
        .filter(|r| r.policy.limits.warn.is_some() || r.policy.limits.critical.is_some())
        .collect();
    rules.extend(STATES.iter().map(State::rule));
    rules.extend(DISK_WARNINGS.iter().map(disk_rule));
    rules.push(container_rule());
    rules
}

/// Metrics the built-in rules judge.
pub fn judged() -> impl Iterator<Item = &'static str> {
    LINES.iter().map(|l| l.metric).chain(STATES.iter().map(|s| s.metric)).chain([DISK_WARNING, UNHEALTHY])
}

/// What a threshold on a value that is bad when it is high demands.
pub fn policy(threshold: &Threshold) -> Policy {
    let Threshold { warn, critical, for_secs, clear } = *threshold;
    Policy { limits: Limits { op: Op::Above, warn, critical, clear }, for_secs }
}

/// What block devices are held to.
pub fn disk_policy(config: &Config) -> DiskPolicy {
    let Ebpf { io_rise_factor, io_rise_min_ms, io_rise_for_secs, .. } = config.ebpf;
    DiskPolicy {
        limit: policy(&config.thresholds.disk_p99_ms),
        factor: io_rise_factor,
        least_ms: io_rise_min_ms,
        for_secs: io_rise_for_secs,
    }
}

impl Line {
    fn rule(&self, limits: &Threshold) -> Rule {
        let mode = self.labels.first().map(|(_, value)| format!("_{value}")).unwrap_or_default();
        Rule {
            name: format!("{}{mode}", self.metric),
            metric: self.metric.to_owned(),
            labels: self.labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            policy: policy(limits),
            subject: self.subject,
            shown: self.shown,
            style: Style::Number(self.unit),
            noun: self.noun,
            culprits: self.culprits,
        }
    }
}

impl State {
    fn rule(&self) -> Rule {
        let Self { metric, subject, shown, bad, good, noun } = *self;
        Rule {
            name: metric.into(),
            metric: metric.into(),
            labels: Vec::new(),
            policy: Policy {
                limits: Limits { op: Op::Above, warn: None, critical: Some(0.0), clear: Some(0.0) },
                for_secs: 0,
            },
            subject,
            shown,
            style: Style::State(bad, good),
            noun,
            culprits: Nobody,
        }
    }
}

fn disk_rule((warning, is_critical, bad): &(&str, bool, &'static str)) -> Rule {
    let rule = State {
        metric: DISK_WARNING,
        subject: "Disk",
        shown: &["device"],
        bad,
        good: "no longer says so",
        noun: "disk health alerts",
    }
    .rule();
    let rule = if *is_critical { rule } else { warn(rule) };
    Rule {
        name: format!("{DISK_WARNING}_{warning}"),
        labels: vec![("warning".to_owned(), (*warning).to_owned())],
        ..rule
    }
}

/// What a container's own check says is no more than a warning: nobody knows what it checks.
fn container_rule() -> Rule {
    let state = State {
        metric: UNHEALTHY,
        subject: "Container",
        shown: &["name"],
        bad: "is unhealthy by its own check",
        good: "is healthy again",
        noun: "unhealthy containers",
    };
    warn(state.rule())
}

/// The same rule, as a warning.
fn warn(rule: Rule) -> Rule {
    let Limits { critical, .. } = rule.policy.limits;
    let limits = Limits { warn: critical, critical: None, ..rule.policy.limits };
    Rule { policy: Policy { limits, ..rule.policy }, ..rule }
}
