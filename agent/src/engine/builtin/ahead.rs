//! What is judged ahead of time: what is used up, and the course of all series.

use super::super::analysis::Plan;
use super::super::compose::condition::Culprits::{self, Memory, Nobody};
use super::super::condition::Policy;
use super::super::limits::{Rule, Style};
use crate::analyze::threshold::{Limits, Op};
use crate::config::{Analyzer, Threshold, Thresholds};

const DISK: &str = "disk_full_hours";
const MEMORY: &str = "memory_exhausted_hours";

/// Rules on the hours that are left.
pub(super) fn rules(thresholds: &Thresholds) -> impl Iterator<Item = Rule> {
    let disk = Rule {
        shown: &["mount"],
        hint: "Find what fills it with `du -x` and what grows with `find -mmin -60 -size +100M`; make room before it is full",
        ..rule(DISK, "File system", ("will be full", "does not fill up any more"), Nobody)
    };
    let memory = Rule {
        hint: "Look for the process that grows; stop or restart it before the kernel kills one",
        ..rule(MEMORY, "Memory", ("will be exhausted", "does not run out any more"), Memory)
    };
    let all = [(disk, &thresholds.disk_full_hours), (memory, &thresholds.memory_exhausted_hours)];
    all.into_iter()
        .filter(|(_, threshold)| threshold.is_on())
        .map(|(rule, threshold)| Rule { policy: policy(threshold), ..rule })
}

/// Metrics they judge.
pub(super) fn judged() -> impl Iterator<Item = &'static str> {
    [DISK, MEMORY].into_iter()
}

fn rule(
    metric: &'static str,
    subject: &'static str,
    words: (&'static str, &'static str),
    culprits: Culprits,
) -> Rule {
    let limits = Limits { op: Op::Below, warn: None, critical: None, clear: None, whole: false };
    Rule {
        name: metric.to_owned(),
        metric: metric.to_owned(),
        labels: Vec::new(),
        policy: Policy { limits, for_secs: 0 },
        patience: None,
        subject: subject.into(),
        shown: &[],
        style: Style::Ahead(words.0, words.1),
        noun: "forecasts".into(),
        hint: "",
        culprits,
        own: None,
    }
}

fn policy(threshold: &Threshold) -> Policy {
    let Threshold { warn, critical, for_secs, clear, .. } = *threshold;
    Policy { limits: Limits { op: Op::Below, warn, critical, clear, whole: false }, for_secs }
}

/// What the analyzers are held to.
pub fn analysis(config: &Analyzer) -> Plan {
    let hours = |hours: f64| (hours * 3.6e12) as u64;
    Plan {
        window: config.zscore_window,
        deviations: config.zscore_threshold,
        alpha: config.ema_alpha,
        trend_ns: hours(config.trend_window_hours),
        leak_ns: hours(config.leak_min_observation_hours),
        leak_r_squared: config.leak_r_squared_threshold,
        anomaly: config.anomaly_severity.severity(),
        zscore: config.zscore_severity.severity(),
        ema: config.ema_severity.severity(),
        leak: config.leak_severity.severity(),
    }
}
