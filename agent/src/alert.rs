//! The alert object of webhook bodies and NATS subjects.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How bad, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look in working hours.
    Warn,
    /// Worth waking somebody.
    Critical,
    /// Worth waking everybody; passes rate limits.
    Emergency,
}

impl Severity {
    /// All severities, least first.
    pub const ALL: [Self; 4] = [Self::Info, Self::Warn, Self::Critical, Self::Emergency];

    /// Name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Critical => "critical",
            Self::Emergency => "emergency",
        }
    }
}

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It began (for a kernel event: it happened).
    Firing,
    /// More became known, or it got worse.
    Updated,
    /// It is over.
    Resolved,
}

impl Status {
    /// Name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Updated => "updated",
            Self::Resolved => "resolved",
        }
    }
}

/// One message about one incident. The first eight keys are a fixed contract, the others may grow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Host it is about.
    pub hostname: String,
    /// When the message was made, RFC 3339 with zone.
    pub timestamp: String,
    /// How bad.
    pub severity: Severity,
    /// Metric, or an event's counter.
    pub metric: String,
    /// Value that led to it; 1 for events that are not measured.
    pub value: f64,
    /// Limit it is compared with, where there is one.
    pub threshold: Option<f64>,
    /// One sentence for a person.
    pub message: String,
    /// Few, low-cardinality names and values.
    pub labels: BTreeMap<String, String>,
    /// Where the incident stands.
    pub status: Status,
    /// Unique per incident.
    pub id: String,
    /// Same for the same condition.
    pub fingerprint: String,
    /// When the incident began, RFC 3339.
    pub started_at: String,
    /// When it ended, RFC 3339.
    pub ended_at: Option<String>,
    /// Seconds since it began.
    pub duration_secs: u64,
    /// Rule that judged.
    pub rule: String,
    /// Who saw it.
    pub source: Vec<String>,
    /// What to read at night.
    pub runbook_url: Option<String>,
    /// Everything known, typed.
    pub context: Map<String, Value>,
}

/// Context of an end whose begin nobody was told.
pub const ONLY_MESSAGE: &str = "only_message";

/// Context of a summary: ids of the incidents it tells.
pub const MEMBERS: &str = "members";
/// Context of a summary: alerts of it that it carries whole, with id and fingerprint.
pub const WHOLE: &str = "alerts";
/// Context of an end: ids of the summaries that are over with it, since nothing of what they told stands any more.
pub const CLOSES: &str = "closes";
/// Context of what was told in summaries: their ids.
pub const TOLD_IN: &str = "told_in";
/// Context of a summary of what lasts: its end is told by [`CLOSES`].
pub const STANDS: &str = "stands";

/// Context of an alert about what is expected and not there: the value and the limit are seconds without a reading.
pub const ABSENT: &str = "absent";

/// Context of what is judged against a limit: how bad it is by that, or that it comes and goes.
pub const LEVEL: &str = "level";
/// Context of what is judged against a limit: seconds for which it has held.
pub const HELD_SECS: &str = "held_secs";

/// Context of an update for which nobody is called by name: it only tells what else follows.
pub const NO_CALL: &str = "no_call";

/// Whether what has this context stands until its end is told: what is judged against a limit, something missing, what comes and
/// goes, a hang, a summary of such. Other events only happen: an OOM kill, a slow request, which has a limit, too.
pub fn lasts(context: &Map<String, Value>) -> bool {
    // The engine puts the key of the incident into the context of kernel events.
    let kind = context.get("incident").and_then(|key| key.get("kind"));
    [HELD_SECS, STANDS].into_iter().any(|key| context.contains_key(key))
        // A finding of the analyzers tells the level of its reading under that name, a number.
        || context.get(LEVEL).is_some_and(Value::is_string)
        || kind.is_some_and(|kind| kind == "hang")
}

impl Alert {
    /// Ids of the incidents that end with this one: those of a summary of ends, and summaries of which it was the last.
    pub fn also_over(&self) -> impl Iterator<Item = &str> {
        let over = self.status == Status::Resolved && !self.is_only_message();
        let ids = [MEMBERS, CLOSES].into_iter().filter(move |_| over).filter_map(|key| self.context.get(key));
        ids.filter_map(|ids| ids.as_array()).flatten().filter_map(|id| id.as_str())
    }

    /// Whether it stands until its end is told.
    pub fn stands(&self) -> bool {
        self.status != Status::Resolved && lasts(&self.context)
    }

    /// The reading that led to it; `None` where it is that there was none.
    pub fn reading(&self) -> Option<f64> {
        Some(self.value).filter(|_| !self.context.contains_key(ABSENT))
    }

    /// Whether it is an end that is the only message of its incident: news for everybody, whoever was told before.
    pub fn is_only_message(&self) -> bool {
        self.status == Status::Resolved && self.context.contains_key(ONLY_MESSAGE)
    }
}
