//! The rules of the configuration.

use super::absent::Absence;
use super::compose::condition::Culprits;
use super::condition::Policy;
use super::limits::{ALL_LABELS, Own, Rule, Style};
use crate::alert::Severity;
use crate::analyze::threshold::{Limits, Op};
use crate::config::{self, Op as Written};
use crate::text::clean;

/// Characters of a name.
const MAX_NAME: usize = 100;

/// Rules on values, and on what is not there. `is_count`: whether a metric is a whole number.
pub fn rules(all: &[config::Rule], is_count: &dyn Fn(&str) -> bool) -> (Vec<Rule>, Vec<Absence>) {
    let values = all.iter().filter_map(|rule| Some(value(rule, op(rule.op)?, is_count(&rule.metric))));
    (values.collect(), all.iter().filter(|rule| op(rule.op).is_none()).map(absence).collect())
}

fn op(written: Written) -> Option<Op> {
    Some(match written {
        Written::Above => Op::Above,
        Written::AtLeast => Op::AtLeast,
        Written::Below => Op::Below,
        Written::AtMost => Op::AtMost,
        Written::Equal => Op::Equal,
        Written::NotEqual => Op::NotEqual,
        Written::Absent => return None,
    })
}

fn value(rule: &config::Rule, op: Op, whole: bool) -> Rule {
    let config::Rule { warn, critical, for_secs, clear, .. } = *rule;
    let name = clean(&rule.name, MAX_NAME);
    Rule {
        subject: format!("{name}: {}", rule.metric).into(),
        noun: format!("{name} alerts").into(),
        name,
        metric: rule.metric.clone(),
        labels: rule.labels.clone().into_iter().collect(),
        policy: Policy { limits: Limits { op, warn, critical, clear, whole }, for_secs },
        patience: None,
        shown: ALL_LABELS,
        style: Style::Unit,
        hint: "",
        culprits: culprits(&rule.metric),
        own: Some(Own { message: rule.message.clone(), runbook_url: url(rule) }),
    }
}

fn absence(rule: &config::Rule) -> Absence {
    // The limits themselves mean nothing here: which of them is there says how bad it is.
    let severity = if rule.critical.is_some() { Severity::Critical } else { Severity::Warn };
    Absence {
        name: clean(&rule.name, MAX_NAME),
        metric: rule.metric.clone(),
        labels: rule.labels.clone().into_iter().collect(),
        for_secs: rule.for_secs,
        severity,
        message: rule.message.clone(),
        runbook_url: url(rule),
    }
}

fn url(rule: &config::Rule) -> Option<String> {
    Some(rule.runbook_url.clone()).filter(|url| !url.is_empty())
}

/// The same as of the built-in rules for such metrics.
fn culprits(metric: &str) -> Culprits {
    let begins = |start: &[&str]| start.iter().any(|start| metric.starts_with(start));
    if begins(&["cpu_", "load_"]) {
        Culprits::Cpu
    } else if begins(&["memory_", "swap_"]) {
        Culprits::Memory
    } else if begins(&["fd_"]) {
        Culprits::Files
    } else if begins(&["disk_await", "disk_busy", "disk_io"]) {
        Culprits::Waiting
    } else {
        Culprits::Nobody
    }
}
