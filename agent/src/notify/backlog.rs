//! What an outage of a channel held up, as one message: what stands, what is over meanwhile, what happened. Pure.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::own_alert;
use crate::alert::{Alert, ONLY_MESSAGE, Severity, Status, lasts};
use crate::text::{clean, span};
use crate::time::{Now, SECOND};

/// Rule and metric of the message.
pub const RULE: &str = "agent_backlog";
/// Alerts that the sentence lists: those that stand, those that are over, events.
const LISTED: [usize; 3] = [10, 5, 5];
/// Alerts that the context carries, those that stand first.
const MAX_CARRIED: usize = 200;
/// Characters of each in the sentence, and in the context.
const MAX_SHORT: usize = 140;
const MAX_SENTENCE: usize = 400;

/// How one incident stands at the end of the outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stands,
    Over,
    Happened,
}

#[derive(Debug)]
struct Row {
    id: String,
    fate: Fate,
    severity: Severity,
    sentence: String,
    labels: Value,
    began: String,
    lasted_secs: u64,
}

/// Takes in what waited, oldest first, then makes the message.
#[derive(Debug, Default)]
pub struct Backlog {
    rows: Vec<Row>,
    by_id: HashMap<String, usize>,
    messages: u64,
    /// Alerts of summaries that only counted them.
    uncounted: u64,
    unreadable: u64,
    oldest_ns: Option<i64>,
    /// A limit of ours held it up, not the other side.
    limited: bool,
}

impl Backlog {
    /// What the rate limit held up, not an outage.
    pub fn limited(limited: bool) -> Self {
        Self { limited, ..Self::default() }
    }

    /// One message that waited since `born_ns` of the monotonic clock.
    pub fn add(&mut self, alert: &Alert, born_ns: i64) {
        self.messages += 1;
        self.oldest_ns = Some(self.oldest_ns.map_or(born_ns, |oldest| oldest.min(born_ns)));
        let Some(members) = alert.context.get("alerts").and_then(Value::as_array) else {
            return self.row(Row {
                id: alert.id.clone(),
                fate: fate(alert.status, &alert.context),
                severity: alert.severity,
                sentence: clean(&alert.message, MAX_SENTENCE),
                labels: json!(alert.labels),
                began: alert.started_at.clone(),
                lasted_secs: alert.duration_secs,
            });
        };
        self.uncounted += alert.context.get("alerts_left_out").and_then(Value::as_u64).unwrap_or(0);
        for member in members {
            self.member(alert, member);
        }
    }

    /// One alert of a summary.
    fn member(&mut self, summary: &Alert, member: &Value) {
        let text = |key: &str| member.get(key).and_then(Value::as_str).unwrap_or_default();
        let status =
            if text("status") == Status::Resolved.name() { Status::Resolved } else { summary.status };
        let none = Map::new();
        let context = member.get("context").and_then(Value::as_object).unwrap_or(&none);
        let severity = Severity::ALL.into_iter().find(|severity| severity.name() == text("severity"));
        self.row(Row {
            id: text("id").to_owned(),
            fate: fate(status, context),
            severity: severity.unwrap_or(summary.severity),
            sentence: clean(text("message"), MAX_SENTENCE),
            labels: member.get("labels").cloned().unwrap_or_default(),
            began: summary.started_at.clone(),
            lasted_secs: 0,
        });
    }

    /// The newest word on an incident, at the place of the first.
    fn row(&mut self, new: Row) {
        let Some(known) = self.by_id.get(&new.id).and_then(|at| self.rows.get_mut(*at)) else {
            self.by_id.insert(new.id.clone(), self.rows.len());
            self.rows.push(new);
            return;
        };
        let severity = if new.fate == Fate::Stands { new.severity } else { known.severity.max(new.severity) };
        let began = std::mem::take(&mut known.began);
        *known = Row { severity, began, ..new };
    }

    /// One that could not be read back.
    pub fn unreadable(&mut self) {
        self.unreadable += 1;
    }

    /// Whether nothing could be read.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.uncounted == 0
    }

    /// The message for `channel`. `id` is the same at every try.
    pub fn alert(mut self, hostname: &str, channel: &str, id: String, now: Now) -> Alert {
        // The worst of what stands comes first, the rest as it came.
        self.rows.sort_by_key(|row| {
            (row.fate as u8, std::cmp::Reverse((row.fate == Fate::Stands).then_some(row.severity)))
        });
        let open = self.rows.iter().filter(|row| row.fate != Fate::Over).map(|row| row.severity).max();
        let worst = open.or_else(|| self.rows.iter().map(|row| row.severity).max()).unwrap_or(Severity::Warn);
        let oldest = self
            .oldest_ns
            .and_then(|at| u64::try_from((now.mono_ns as i64).saturating_sub(at)).ok())
            .unwrap_or(0);
        let mut alert = own_alert(hostname, RULE, worst, String::new(), now);
        alert.message = self.sentence(channel, oldest / SECOND, &alert.timestamp);
        alert.value = self.rows.len() as f64;
        alert.id = id;
        alert.context = self.context();
        if open.is_none() && self.uncounted == 0 {
            alert.status = Status::Resolved;
            alert.ended_at = Some(alert.timestamp.clone());
            alert.context.insert(ONLY_MESSAGE.into(), true.into());
        }
        alert
    }

    fn of(&self, fate: Fate) -> Vec<&Row> {
        self.rows.iter().filter(|row| row.fate == fate).collect()
    }

    fn sentence(&self, channel: &str, waited_secs: u64, today: &str) -> String {
        let all = self.rows.len() as u64 + self.uncounted;
        let waited = span(waited_secs);
        let why = if self.limited {
            format!("the rate limit of {channel} held back alerts for up to {waited}")
        } else {
            format!("{channel} took nothing for up to {waited}")
        };
        let mut parts = vec![format!("{why}; the {all} alerts of that time in one message")];
        let kinds = [
            (Fate::Stands, ["still stands", "still stand"]),
            (Fate::Over, ["is over", "are over"]),
            (Fate::Happened, ["happened", "happened"]),
        ];
        for ((fate, [one, many]), listed) in kinds.into_iter().zip(LISTED) {
            let rows = self.of(fate);
            if rows.is_empty() {
                continue;
            }
            let mut shown: Vec<String> = rows.iter().take(listed).map(|row| row.short(today)).collect();
            if rows.len() > listed {
                shown.push(format!("and {} more", rows.len() - listed));
            }
            let words = if rows.len() == 1 { one } else { many };
            parts.push(format!("{} {words}: {}", rows.len(), shown.join("; ")));
        }
        if self.uncounted > 0 {
            parts.push(format!("{} more were counted only", self.uncounted));
        }
        if self.unreadable > 0 {
            parts.push(format!("{} could not be read back from the outbox", self.unreadable));
        }
        if self.of(Fate::Stands).len() > LISTED[0] || self.uncounted > 0 {
            parts.push("`sysops-agent alerts` lists all that stand".to_owned());
        }
        parts.join(". ")
    }

    fn context(&self) -> Map<String, Value> {
        let count = |fate| Value::from(self.of(fate).len());
        let carried: Vec<Value> = self.rows.iter().take(MAX_CARRIED).map(Row::carried).collect();
        let left_out = self.rows.len() as u64 + self.uncounted - carried.len() as u64;
        let mut context = Map::from_iter([
            ("messages".to_owned(), Value::from(self.messages)),
            ("standing".to_owned(), count(Fate::Stands)),
            ("over".to_owned(), count(Fate::Over)),
            ("happened".to_owned(), count(Fate::Happened)),
            ("alerts".to_owned(), carried.into()),
        ]);
        if left_out > 0 {
            context.insert("alerts_left_out".into(), left_out.into());
        }
        context
    }
}

/// Of what has not ended: whether it lasts, or happened once.
fn fate(status: Status, context: &Map<String, Value>) -> Fate {
    match status {
        Status::Resolved => Fate::Over,
        _ if lasts(context) => Fate::Stands,
        Status::Firing | Status::Updated => Fate::Happened,
    }
}

impl Row {
    /// `CRITICAL Disk usage of /data is 97 %, over 90 % (since 14:02)`: without what to do about it.
    fn short(&self, today: &str) -> String {
        let (what, _) = self.sentence.split_once(". ").unwrap_or((&self.sentence, ""));
        let began = clock(&self.began, today);
        let when = match self.fate {
            Fate::Stands => format!("since {began}"),
            // Its sentence says how long it was.
            Fate::Over => format!("began {began}"),
            Fate::Happened => format!("at {began}"),
        };
        format!("{} {} ({when})", self.severity.name().to_uppercase(), clean(what, MAX_SHORT))
    }

    fn carried(&self) -> Value {
        let status = if self.fate == Fate::Over { Status::Resolved } else { Status::Firing };
        let word = if self.fate == Fate::Over { "over" } else { self.severity.name() };
        json!({
            "id": self.id, "status": status.name(), "severity": self.severity.name(), "labels": self.labels,
            "message": format!("[{word}] {}", self.sentence), "started_at": self.began, "duration_secs": self.lasted_secs,
        })
    }
}

/// The time of an RFC 3339 moment, with its date unless that is today's.
fn clock(at: &str, today: &str) -> String {
    let time = at.get(11..16).unwrap_or("?");
    match (at.get(..10), today.get(..10)) {
        (Some(day), Some(today)) if day != today => format!("{} {time}", clean(day, 10)),
        _ => clean(time, 5),
    }
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;
