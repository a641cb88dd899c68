//! The rules behind `[thresholds]`: one line a key.

mod agent;
mod ahead;
mod smart;
mod states;

use super::absent::Absence;
use super::compose::condition::Culprits::{self, Cpu, Files, Memory, Nobody, Waiting};
use super::condition::Policy;
use super::disk::DiskPolicy;
use super::limits::{Rule, Style};
use super::patience::{self, Patience};
use crate::alert::Severity;
use crate::analyze::threshold::{Limits, Op};
use crate::config::{Config, Ebpf, Threshold, Thresholds};

struct Line {
    metric: &'static str,
    labels: &'static [(&'static str, &'static str)],
    limits: fn(&Thresholds) -> &Threshold,
    subject: &'static str,
    shown: &'static [&'static str],
    unit: &'static str,
    /// The limits are in units of so many of the metric's; told in the metric's own unit.
    scale: Option<f64>,
    noun: &'static str,
    culprits: Culprits,
    hint: &'static str,
    /// Of built-in limits.
    patience: Option<&'static Patience>,
}

const LINE: Line = Line {
    metric: "",
    labels: &[],
    limits: |t| &t.cpu_percent,
    subject: "",
    shown: &[],
    unit: " %",
    scale: None,
    noun: "alerts",
    culprits: Nobody,
    hint: "",
    patience: None,
};

/// One line for each key of `[thresholds]` whose metric is collected.
const LINES: &[Line] = &[
    Line {
        metric: "cpu_usage_percent",
        subject: "CPU usage",
        hint: "The alert names the processes that use most; stop, move or limit them, or give the host more processors",
        noun: "CPU alerts",
        patience: Some(&patience::CPU),
        culprits: Cpu,
        ..LINE
    },
    Line {
        metric: "cpu_socket_usage_percent",
        limits: |t| &t.cpu_per_socket_percent,
        subject: "CPU usage of socket",
        shown: &["socket"],
        hint: "Look at what is bound to that socket (`numactl --show`, cpusets)",
        noun: "socket alerts",
        patience: Some(&patience::CPU),
        culprits: Cpu,
        ..LINE
    },
    Line {
        metric: "cpu_mode_percent",
        labels: &[("mode", "iowait")],
        limits: |t| &t.iowait_percent,
        subject: "CPU time waiting for disks",
        hint: "`iostat -x 1` shows the disk that is waited for",
        noun: "iowait alerts",
        patience: Some(&patience::DISK),
        culprits: Waiting,
        ..LINE
    },
    Line {
        metric: "cpu_mode_percent",
        labels: &[("mode", "steal")],
        limits: |t| &t.steal_percent,
        subject: "CPU time taken by the hypervisor",
        hint: "The machine below is overbooked: ask who runs it, or move",
        noun: "steal alerts",
        patience: Some(&patience::STOLEN),
        ..LINE
    },
    Line {
        metric: "load_average_per_cpu",
        limits: |t| &t.load_avg_multiplier,
        subject: "Load average per CPU thread",
        unit: "",
        hint: "More wants to run, or waits for a disk, than there are processors; look at tasks in the states R and D",
        noun: "load alerts",
        patience: Some(&patience::LOADED),
        culprits: Cpu,
        ..LINE
    },
    Line {
        metric: "memory_used_percent",
        limits: |t| &t.memory_percent,
        subject: "Memory use",
        hint: "See to the processes named before the kernel kills one; look for one that grows",
        noun: "memory alerts",
        culprits: Memory,
        ..LINE
    },
    Line {
        metric: "swap_used_percent",
        limits: |t| &t.swap_percent,
        subject: "Swap use",
        hint: "Memory is short; `vmstat 1` shows whether it is being swapped now",
        noun: "swap alerts",
        culprits: Memory,
        ..LINE
    },
    Line {
        metric: "disk_used_percent",
        limits: |t| &t.disk_percent,
        subject: "Disk usage of",
        shown: &["mount"],
        hint: "Find what fills it with `du -x`, and files that are deleted but open with `lsof +L1`",
        noun: "disk alerts",
        ..LINE
    },
    Line {
        metric: "disk_inode_used_percent",
        limits: |t| &t.disk_inode_percent,
        subject: "Inode usage of",
        shown: &["mount"],
        hint: "Many small files: `du --inodes -x` shows where",
        noun: "inode alerts",
        ..LINE
    },
    Line {
        metric: "disk_busy_percent",
        limits: |t| &t.disk_busy_percent,
        subject: "Busy time of disk",
        shown: &["device"],
        hint: "`iostat -x 1` and `iotop` show what keeps it busy",
        noun: "busy-disk alerts",
        patience: Some(&patience::DISK),
        culprits: Waiting,
        ..LINE
    },
    Line {
        metric: "disk_await_ms",
        limits: |t| &t.disk_await_ms,
        subject: "Average request time of disk",
        shown: &["device"],
        unit: " ms",
        hint: "Look at its health (`smartctl -a`), at its queue and at who writes",
        noun: "slow-disk alerts",
        culprits: Waiting,
        ..LINE
    },
    Line {
        metric: "fd_used_percent",
        limits: |t| &t.fd_percent,
        subject: "Use of file descriptors",
        hint: "The alert names the processes that hold most; raise fs.file-max, or mend the one that leaks",
        noun: "descriptor alerts",
        culprits: Files,
        ..LINE
    },
    Line {
        metric: "network_error_ratio",
        limits: |t| &t.network_error_rate,
        subject: "Share of faulty packets on",
        shown: &["interface"],
        unit: "",
        hint: "Look at cable, transceiver and switch port; `ethtool -S` shows the kind of error",
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
        hint: "`nvidia-smi` shows which process holds it",
        noun: "GPU memory alerts",
        ..LINE
    },
    Line {
        metric: "gpu_temperature_celsius",
        limits: |t| &t.gpu_temperature_celsius,
        subject: "Temperature of GPU",
        shown: &["gpu"],
        unit: " °C",
        hint: "Look at fans, dust and the air that comes in; the board slows down to save itself",
        noun: "GPU temperature alerts",
        ..LINE
    },
    Line {
        metric: "gpu_power_percent",
        limits: |t| &t.gpu_power_percent,
        subject: "Power, as a share of its limit, of GPU",
        shown: &["gpu"],
        hint: "The board is held back by its power limit (`nvidia-smi -q -d POWER`)",
        noun: "GPU power alerts",
        ..LINE
    },
    Line {
        metric: "agent_cpu_percent",
        limits: |t| &t.agent_cpu_percent,
        subject: "The agent's own use of a CPU, over five minutes,",
        hint: "`sysops-agent status` shows what each collector takes: give costly ones a longer interval, or raise \
            thresholds.agent_cpu_percent",
        noun: "alerts about the agent itself",
        ..LINE
    },
    Line {
        metric: "agent_memory_bytes",
        limits: |t| &t.agent_memory_mb,
        subject: "The agent's own memory",
        scale: Some(1_048_576.0),
        hint: "Fewer series take less (collector.exclude_*, collector.max_series); if it goes on growing, restart the agent \
            and report it",
        noun: "alerts about the agent itself",
        ..LINE
    },
];

/// The rules of `[thresholds]`, and those of states and of limits that the host has itself.
pub fn rules(thresholds: &Thresholds) -> Vec<Rule> {
    LINES
        .iter()
        .map(|line| line.rule((line.limits)(thresholds)))
        .filter(|r| r.policy.limits.warn.is_some() || r.policy.limits.critical.is_some())
        .chain(states::rules())
        .chain(smart::rules())
        .chain(agent::rules())
        .chain(ahead::rules(thresholds))
        .collect()
}

/// Seconds without any reading after which the collectors count as stuck, or three of their paces if that is more.
const SILENCE_SECS: u64 = 60;

/// Expects `metric`, which is read with every round of the collectors, the first of which has this pace: what all of them
/// wait for is seen by nobody else.
pub fn collecting(metric: &str, pace_secs: u64) -> Absence {
    Absence {
        name: "collectors_stuck".to_owned(),
        metric: metric.to_owned(),
        labels: Vec::new(),
        for_secs: SILENCE_SECS.max(pace_secs.saturating_mul(3)),
        severity: Severity::Critical,
        message: "No collector has read anything for a while, so nothing that is read is watched. The agent's thread `collect` \
                  waits for the machine: /proc/PID/task/TID/stack and the kernel log say for what"
            .to_owned(),
        runbook_url: None,
    }
}

/// Metrics the built-in rules judge.
pub fn judged() -> impl Iterator<Item = &'static str> {
    LINES
        .iter()
        .map(|l| l.metric)
        .chain(states::judged())
        .chain([smart::METRIC])
        .chain(agent::judged())
        .chain(ahead::judged())
}

pub use ahead::analysis;

/// What a threshold on a value that is bad when it is high demands.
pub fn policy(threshold: &Threshold) -> Policy {
    let Threshold { warn, critical, for_secs, clear, .. } = *threshold;
    Policy { limits: Limits { op: Op::Above, warn, critical, clear, whole: false }, for_secs }
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

fn scaled(policy: Policy, by: f64) -> Policy {
    let Limits { op, warn, critical, clear, whole } = policy.limits;
    let [warn, critical, clear] = [warn, critical, clear].map(|limit| limit.map(|limit| limit * by));
    Policy { limits: Limits { op, warn, critical, clear, whole }, ..policy }
}

impl Line {
    fn rule(&self, limits: &Threshold) -> Rule {
        let mode = self.labels.first().map(|(_, value)| format!("_{value}")).unwrap_or_default();
        Rule {
            name: format!("{}{mode}", self.metric),
            metric: self.metric.to_owned(),
            labels: self.labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            policy: scaled(policy(limits), self.scale.unwrap_or(1.0)),
            // What the user sets is meant as it is written.
            patience: self.patience.filter(|_| limits.is_builtin),
            subject: self.subject.into(),
            shown: self.shown,
            style: if self.scale.is_some() { Style::Unit } else { Style::Number(self.unit) },
            noun: self.noun.into(),
            hint: self.hint,
            culprits: self.culprits,
            own: None,
        }
    }
}
