//! What people ask of a running engine: orders in, a view out. Both are plain data, fit for a socket.
//!
//! ```text
//! Order ─► Engine::order ─► Answer | a sentence why not
//!          Engine::view  ─► View
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ports::Settings;
use crate::alert::Severity;

/// An order. What it changes is kept over a restart.
#[derive(Debug)]
pub enum Order {
    /// Hold alerts back for a while.
    Silence(NewSilence),
    /// End a silence, by its id.
    Revoke(u64),
    /// Judge by these settings from now on; all state stays. Rules that are gone end their alerts. Sources, history,
    /// formulas and the count of OOM kills stay those of the start.
    Reload(Box<Settings>),
}

/// What to hold back, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSilence {
    /// Name of a metric or a rule; `*`: all.
    pub matcher: String,
    /// Labels an alert must have.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Seconds from now until it ends by itself: 1 to [`super::quiet::silence::LONGEST_SECS`].
    pub secs: u64,
    /// Why, for those who look.
    pub reason: String,
    /// Who wants it.
    pub by: String,
    /// Also if no metric and no rule has that name.
    #[serde(default)]
    pub force: bool,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A silence with this id stands.
    Silenced {
        /// Its id.
        id: u64,
        /// Why it may be forgotten with a restart, a sentence; said by who keeps it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unkept: Option<String>,
    },
    /// It is over.
    Revoked {
        /// As it was.
        #[serde(flatten)]
        silence: SilenceView,
        /// Why a restart may bring it back, a sentence; said by who keeps it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unkept: Option<String>,
    },
    /// Rules in effect after a reload.
    Reloaded {
        /// Rules judged now.
        rules: usize,
        /// Alerts that ended because their rule is gone.
        ended: usize,
    },
}

/// How things stand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// What stands: alerts that last, worst first, then the oldest. Their number is limited.
    pub active: Vec<ActiveView>,
    /// What is over its limit, but not for long enough, or while levels are learned.
    pub pending: Vec<PendingView>,
    /// Silences that stand.
    pub silences: Vec<SilenceView>,
    /// Maintenance windows that are open now.
    pub maintenance: Vec<MaintenanceView>,
    /// Alerts that were not told since the start, by what held them back; see docs/ALERTING.md.
    pub suppressed: BTreeMap<String, u64>,
    /// Messages handed to delivery since the start.
    pub told: u64,
    /// Seconds for which levels are still learned and only events speak; 0: it is over.
    pub learning_secs: u64,
}

/// One alert that stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActiveView {
    /// Id of the incident.
    pub id: String,
    /// Same for the same condition.
    pub fingerprint: String,
    /// Rule that judges.
    pub rule: String,
    /// Metric.
    pub metric: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How bad.
    pub severity: Severity,
    /// Newest value that was judged worth a message, in the metric's unit.
    pub value: f64,
    /// Its limit, in the metric's unit.
    pub limit: Option<f64>,
    /// The sentence.
    pub message: String,
    /// When it began, RFC 3339.
    pub since: String,
    /// Seconds since then.
    pub secs: u64,
    /// What holds it back: `silence 3`, `maintenance sunday`, `inhibited by gpu_lost`, `flapping`, `repeated`,
    /// `grouped`; behind the engine `rate limit of slack`. None: it was told.
    pub suppressed_by: Option<String>,
}

/// A condition on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PendingView {
    /// Rule that judges.
    pub rule: String,
    /// Metric.
    pub metric: String,
    /// Labels of the series.
    pub labels: BTreeMap<String, String>,
    /// Newest value, in the metric's unit.
    pub value: f64,
    /// Limit it is beyond.
    pub limit: Option<f64>,
    /// Level it would have.
    pub severity: Severity,
    /// Seconds for which it has held.
    pub held_secs: u64,
    /// Seconds until it fires.
    pub to_go_secs: u64,
}

/// A silence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceView {
    /// Its id, for [`Order::Revoke`].
    pub id: u64,
    /// Metric or rule; `*`: all.
    pub matcher: String,
    /// Labels an alert must have.
    pub labels: BTreeMap<String, String>,
    /// When it ends, RFC 3339.
    pub until: String,
    /// Seconds until then.
    pub left_secs: u64,
    /// Why.
    pub reason: String,
    /// By whom.
    pub by: String,
    /// Alerts it has held back so far.
    pub held: u64,
}

/// A maintenance window that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceView {
    /// Its name.
    pub name: String,
    /// Labels an alert must have.
    pub labels: BTreeMap<String, String>,
    /// Seconds until it ends.
    pub left_secs: u64,
}
