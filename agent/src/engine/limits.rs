//! Rules of the threshold analyzer: which metric, which limits, and how a person reads it.

use crate::alert::Severity;
use crate::analyze::threshold::Limits;
use crate::engine::compose::Name;
use crate::engine::compose::condition::Culprits;
use crate::engine::condition::Policy;
use crate::engine::patience::Patience;
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
    /// What must show it besides before it is more than an information; `None`: nothing.
    pub patience: Option<&'static Patience>,
    /// What it is, for the sentence: `Memory use`.
    pub subject: Name,
    /// Labels named in the sentence; [`ALL_LABELS`]: every one.
    pub shown: &'static [&'static str],
    /// How its value is told.
    pub style: Style,
    /// Several of them: `disk alerts`.
    pub noun: Name,
    /// What to do, a sentence; empty where the alert itself says it.
    pub hint: &'static str,
    /// Processes worth naming.
    pub culprits: Culprits,
    /// What the configuration says of a rule of its own; `None`: it is built in.
    pub own: Option<Own>,
}

/// What a rule of the configuration says beyond its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Template of the message; empty: the usual sentence.
    pub message: String,
    /// Page to read when it fires.
    pub runbook_url: Option<String>,
}

/// Every label of the series is named.
pub const ALL_LABELS: &[&str] = &["*"];

/// The rules that judge `series`. A rule of the configuration replaces the built-in one that finds the same side of
/// a limit bad, and one that names more labels replaces one that names less.
pub fn judging(rules: &[Rule], series: &Series) -> Vec<usize> {
    let all: Vec<usize> = (0..rules.len()).filter(|&rule| rules[rule].judges(series)).collect();
    let is_replaced = |rule: usize| all.iter().any(|&by| rules[by].replaces(&rules[rule]));
    all.iter().copied().filter(|&rule| !is_replaced(rule)).collect()
}

impl Rule {
    /// Whether this rule judges `series`.
    pub fn judges(&self, series: &Series) -> bool {
        self.metric == series.metric.name
            && self.labels.iter().all(|(name, value)| series.label(name) == Some(value.as_str()))
    }

    fn replaces(&self, other: &Self) -> bool {
        let rank = |rule: &Self| rule.own.as_ref().map(|_| rule.labels.len());
        self.policy.limits.op.is_like(other.policy.limits.op) && rank(self) > rank(other)
    }

    /// Limit of a level; of the other level where this one has none.
    pub fn limit(&self, level: Severity) -> Option<f64> {
        let Limits { warn, critical, .. } = self.policy.limits;
        if level >= Severity::Critical { critical.or(warn) } else { warn.or(critical) }
    }
}

/// How a rule's value is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As a number with this unit behind it, its space included: ` %`.
    Number(&'static str),
    /// As a number in the metric's own unit.
    Unit,
    /// As the time, in hours, until something happens: words for that, and for when it will not happen any more.
    Ahead(&'static str, &'static str),
    /// As a state: words for bad and for good again.
    State(&'static str, &'static str),
}
