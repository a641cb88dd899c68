//! From a finding to the alert object: one sentence for a person, few labels, everything else typed.

pub mod absent;
pub mod analysis;
pub mod condition;
mod culprits;
pub mod hang;
pub mod hardware;
pub mod inventory;
pub mod io;
pub mod kernel;
pub mod lost;
pub mod oom;
pub mod recall;
pub mod user_kill;
mod words;

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::alert::{Alert, Severity, Status};
use crate::event::{Event, Source};
use crate::text::span;
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

/// A name out of the program, or out of the configuration.
pub type Name = Cow<'static, str>;

/// An alert before it is decided whether, when and with whom it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Draft {
    /// Rule that judged; alerts of one rule and place are grouped.
    pub rule: String,
    /// Where it was (control group, mount, device); empty: alerts of the rule are grouped wherever they were.
    pub place: String,
    /// What several of them are called: `OOM kills`.
    pub noun: Name,
    /// This one in a list of several: `java (pid 4711)`.
    pub phrase: String,
    /// Ends by itself (an event) or lasts until resolved (a condition).
    pub lasts: bool,
    /// How bad.
    pub severity: Severity,
    /// Metric or an event's counter.
    pub metric: Name,
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
    /// What to read at night.
    pub runbook_url: Option<String>,
    /// Everything known.
    pub context: Map<String, Value>,
}

impl Draft {
    /// A copy that has only this part of the context, which is most of a draft.
    pub(super) fn with_context(&self, is_kept: impl Fn(&str) -> bool) -> Self {
        let kept = self.context.iter().filter(|(key, _)| is_kept(key));
        Self {
            rule: self.rule.clone(),
            place: self.place.clone(),
            noun: self.noun.clone(),
            phrase: self.phrase.clone(),
            lasts: self.lasts,
            severity: self.severity,
            metric: self.metric.clone(),
            value: self.value,
            threshold: self.threshold,
            message: self.message.clone(),
            labels: self.labels.clone(),
            status: self.status,
            id: self.id.clone(),
            fingerprint: self.fingerprint.clone(),
            started: self.started,
            ended: self.ended,
            sources: self.sources.clone(),
            runbook_url: self.runbook_url.clone(),
            context: kept.map(|(key, value)| (key.clone(), value.clone())).collect(),
        }
    }

    /// What is the same for most events: they happen once and end by themselves. What happened is still to be said.
    fn of(event: &Event, id: String) -> Self {
        Self {
            rule: String::new(),
            place: String::new(),
            noun: "".into(),
            phrase: String::new(),
            lasts: false,
            severity: Severity::Warn,
            metric: "".into(),
            value: 1.0,
            threshold: None,
            message: String::new(),
            labels: BTreeMap::new(),
            status: Status::Firing,
            id,
            fingerprint: String::new(),
            started: event.at,
            ended: None,
            sources: vec![event.source],
            runbook_url: None,
            context: Map::new(),
        }
    }

    /// The end of what nobody reports any more, and why, as the end of a sentence.
    #[must_use]
    pub fn ended_without_a_reading(&self, now: Now, why: &str) -> Self {
        let lived = span(lived_secs(self.started, now));
        let message = format!("{} {why}; the alert stood for {lived}", self.phrase);
        Self { status: Status::Resolved, ended: Some(now), message, ..self.clone() }
    }

    /// The alert object, made at `now`.
    pub fn alert(self, identity: &Identity, now: Now) -> Alert {
        let end = self.ended.unwrap_or(now);
        let mut labels = identity.labels.clone();
        labels.extend(self.labels);
        Alert {
            hostname: identity.hostname.clone(),
            timestamp: rfc3339(now, &identity.zone),
            severity: self.severity,
            metric: self.metric.into_owned(),
            value: self.value,
            threshold: self.threshold,
            message: self.message,
            labels,
            status: self.status,
            id: self.id,
            fingerprint: self.fingerprint,
            started_at: rfc3339(self.started, &identity.zone),
            ended_at: self.ended.map(|e| rfc3339(e, &identity.zone)),
            duration_secs: lived_secs(self.started, end),
            rule: self.rule,
            source: self.sources.iter().map(|s| s.name().to_owned()).collect(),
            runbook_url: self.runbook_url,
            context: self.context,
        }
    }
}

/// Seconds from `started` to `end`. What began before this boot did so at 0 on its monotonic clock: there the wall
/// clock counts.
pub fn lived_secs(started: Now, end: Now) -> u64 {
    match started.mono_ns {
        0 => u64::try_from(end.wall_ns.saturating_sub(started.wall_ns)).unwrap_or(0) / SECOND,
        _ => end.since(started) / SECOND,
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
