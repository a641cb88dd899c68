//! Rules of the threshold analyzer: which metric, which limits, and how a person reads it.

use crate::alert::Severity;
use crate::analyze::threshold::{Limits, Op};
use crate::engine::compose::condition::Culprits;
use crate::engine::condition::Policy;
use crate::engine::series::Series;

/// One rule. It judges every series of its metric whose labels match, each on its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Name on alerts; the metric's name for built-in ones.
    pub name: String,
    /// Metric by wire name.
    pub metric: String,
    /// Labels a series must have.
    pub labels: Vec<(String, String)>,
    /// Limits and hold time.
    pub policy: Policy,
    /// What it is, for the sentence: `Memory use`.
    pub subject: &'static str,
    /// Labels named in the sentence.
    pub shown: &'static [&'static str],
    /// How its value is told.
    pub style: Style,
    /// Several of them: `disk alerts`.
    pub noun: &'static str,
    /// What to do, a sentence; empty where the alert itself says it.
    pub hint: &'static str,
    /// Processes worth naming.
    pub culprits: Culprits,
}

impl Rule {
    /// Whether this rule judges `series`.
    pub fn judges(&self, series: &Series) -> bool {
        self.metric == series.metric.name
            && self.labels.iter().all(|(name, value)| series.label(name) == Some(value.as_str()))
    }

    /// Limit of a level; of the other level where this one has none.
    pub fn limit(&self, level: Severity) -> Option<f64> {
        let Limits { op: Op::Above | Op::Below, warn, critical, clear: _ } = self.policy.limits;
        if level >= Severity::Critical { critical.or(warn) } else { warn.or(critical) }
    }
}

/// How a rule's value is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As a number with this unit behind it, its space included: ` %`.
    Number(&'static str),
    /// As a state: words for bad and for good again.
    State(&'static str, &'static str),
}
