//! From a finding to the alert object: one sentence for a person, few labels, everything else typed.

pub mod condition;
pub mod hang;
pub mod hardware;
pub mod inventory;
pub mod io;
pub mod kernel;
pub mod oom;
pub mod recall;
pub mod user_kill;

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Map, Value};

use crate::alert::{Alert, Severity, Status};
use crate::event::Source;
use crate::time::{Now, SECOND};

/// What the engine knows of the host it speaks for.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Name on alerts.
    pub hostname: String,
    /// Zone of the times on alerts.
    pub zone: TimeZone,
    /// `/proc/sys/kernel/random/boot_id`: kernel times mean something only within one boot.
    pub boot_id: String,
    /// Labels of the configuration, on every alert.
    pub labels: BTreeMap<String, String>,
}

/// An alert before it is decided whether, when and with whom it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Rule that judged; alerts of one rule and place are grouped.
    pub rule: String,
    /// Where it was (control group, mount, device); empty: alerts of the rule are grouped wherever they were.
    pub place: String,
    /// What several of them are called: `OOM kills`.
    pub noun: &'static str,
    /// This one in a list of several: `java (pid 4711)`.
    pub phrase: String,
    /// Ends by itself (an event) or lasts until resolved (a condition).
    pub lasts: bool,
    /// How bad.
    pub severity: Severity,
    /// Metric or an event's counter.
    pub metric: &'static str,
    /// Value.
    pub value: f64,
    /// Limit.
    pub threshold: Option<f64>,
    /// The sentence.
    pub message: String,
    /// Few names and values.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub status: Status,
    /// Unique per incident.
    pub id: String,
    /// Same for the same condition.
    pub fingerprint: String,
    /// When it began.
    pub started: Now,
    /// When it ended.
    pub ended: Option<Now>,
    /// Who saw it.
    pub sources: Vec<Source>,
    /// Everything known.
    pub context: Map<String, Value>,
}

impl Draft {
    /// The alert object, made at `now`.
    pub fn alert(self, identity: &Identity, now: Now) -> Alert {
        let end = self.ended.unwrap_or(now);
        let mut labels = identity.labels.clone();
        labels.extend(self.labels);
        Alert {
            hostname: identity.hostname.clone(),
            timestamp: rfc3339(now, &identity.zone),
            severity: self.severity,
            metric: self.metric.to_owned(),
            value: self.value,
            threshold: self.threshold,
            message: self.message,
            labels,
            status: self.status,
            id: self.id,
            fingerprint: self.fingerprint,
            started_at: rfc3339(self.started, &identity.zone),
            ended_at: self.ended.map(|e| rfc3339(e, &identity.zone)),
            duration_secs: end.since(self.started) / SECOND,
            rule: self.rule,
            source: self.sources.iter().map(|s| s.name().to_owned()).collect(),
            runbook_url: None,
            context: self.context,
        }
    }
}

/// RFC 3339 with the zone's offset and milliseconds.
pub fn rfc3339(at: Now, zone: &TimeZone) -> String {
    let timestamp = Timestamp::from_nanosecond(i128::from(at.wall_ns)).unwrap_or(Timestamp::UNIX_EPOCH);
    timestamp.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
}

/// Sixteen hex digits that are the same for the same parts (FNV-1a, 64 bits).
pub fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{hash:016x}")
}

/// A unique id: when this run of the engine began, and a number.
pub fn incident_id(run_ns: i64, number: u64) -> String {
    format!("{run_ns:016x}-{number:06x}")
}

/// Typed context; `None` stands for unknown and is listed as such.
#[derive(Debug, Default)]
pub(super) struct Context {
    known: Map<String, Value>,
    unknown: Vec<Value>,
}

impl Context {
    pub(super) fn put(&mut self, name: &str, value: Option<impl Into<Value>>) -> &mut Self {
        match value {
            Some(value) => {
                self.known.insert(name.to_owned(), value.into());
            }
            None => self.unknown.push(name.into()),
        }
        self
    }

    /// As [`Context::put`], but a missing value is not worth a word.
    pub(super) fn put_if(&mut self, name: &str, value: Option<impl Into<Value>>) -> &mut Self {
        if value.is_some() {
            self.put(name, value);
        }
        self
    }

    pub(super) fn done(mut self) -> Map<String, Value> {
        if !self.unknown.is_empty() {
            self.known.insert("unknown".into(), Value::Array(self.unknown));
        }
        self.known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_carry_the_zone() {
        let at = Now { mono_ns: 0, wall_ns: 1_771_777_800_250_000_000 };
        assert_eq!(rfc3339(at, &TimeZone::UTC), "2026-02-22T16:30:00.250+00:00");
        let seoul = TimeZone::fixed(jiff::tz::offset(9));
        assert_eq!(rfc3339(at, &seoul), "2026-02-23T01:30:00.250+09:00");
        assert_eq!(rfc3339(Now { mono_ns: 0, wall_ns: i64::MAX }, &TimeZone::UTC).len(), 29);
    }

    #[test]
    fn fingerprints_depend_on_every_part() {
        assert_eq!(fingerprint(["a", "b"]), fingerprint(["a", "b"]));
        assert_ne!(fingerprint(["a", "b"]), fingerprint(["ab"]));
        assert_ne!(fingerprint(["a", "b"]), fingerprint(["b", "a"]));
    }
}
