//! Followers of an alert, collected by rule and place, and the one summary that tells them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::super::compose::{Draft, fingerprint};
use crate::alert::{CLOSES, MEMBERS, ONLY_MESSAGE, STANDS, Severity, Status, TOLD_IN, WHOLE};

/// Drafts held back for one rule, and one for each of its groups; further ones are counted in the summary
/// without being listed.
pub const MAX_HELD: usize = 256;
/// Places of a rule with a group of their own; the rule shares one group among further ones. With windows of 30 s
/// that makes at most ten messages a minute, what `rate_limit_per_minute` lets through by default.
pub const MAX_PLACES: usize = 4;
/// Emergencies of one rule that are told at once within a window, besides the first of each place. What follows waits for the
/// summary, in at most one window: the hundredth page of one rule tells nobody anything.
pub const MAX_URGENT: usize = 3;
/// Alerts that a summary carries whole.
pub const MAX_WHOLE: usize = 16;
/// Of what stands so many of a group keep all that is known: as many more than are carried whole as may be over before the
/// group is told.
const MAX_STANDING_WHOLE: usize = 4 * MAX_WHOLE;
/// Bytes of JSON they take at most.
const MAX_WHOLE_BYTES: usize = 32 << 10;
/// Bytes of JSON of the keys of incidents in a summary.
const MAX_KEYS_BYTES: usize = 40 << 10;
/// Bytes of JSON of all this, so that `notify::record::MAX_RECORD` holds it with the sentence and the labels.
const MAX_CONTEXT_BYTES: usize = 52 << 10;
/// Context of what a summary only counts and lists.
const NEEDED: &[&str] = &["incident", CLOSES, TOLD_IN, ONLY_MESSAGE];
/// Phrases in the sentence of a summary.
const LISTED: usize = 10;

/// What is grouped with what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub rule: String,
    /// Empty: any.
    pub place: String,
    /// Ends of what was told.
    pub ends: bool,
}

impl Key {
    pub(super) fn of(draft: &Draft) -> Self {
        let (rule, place) = (draft.rule.clone(), draft.place.clone());
        Self { rule, place, ends: is_end(draft) }
    }
}

/// Whether it ends what was told; an end that is the only message goes with the begins.
fn is_end(draft: &Draft) -> bool {
    draft.status == Status::Resolved && !draft.context.contains_key(ONLY_MESSAGE)
}

#[derive(Debug)]
pub(super) struct Group {
    pub ends_ns: u64,
    pub held: Vec<Draft>,
    pub uncounted: u64,
    /// Emergencies told at once.
    pub urgent: usize,
    /// How many of the uncounted ones are critical or worse.
    bad: u64,
    /// The worst of the uncounted ones, with the labels that all of them have.
    worst: Option<Draft>,
}

impl Group {
    pub(super) fn new(ends_ns: u64, urgent: usize) -> Self {
        Self { ends_ns, held: Vec::new(), uncounted: 0, urgent, bad: 0, worst: None }
    }

    /// Holds a draft back. Beyond those that the summary carries whole, only what the summary needs is kept: in a storm the
    /// context of hundreds would be most of the agent's memory.
    pub(super) fn hold(&mut self, mut draft: Draft) {
        let before = self.held.iter().filter(|held| held.severity >= draft.severity).count();
        let most = if draft.lasts { MAX_STANDING_WHOLE } else { MAX_WHOLE };
        if before >= most {
            let context = std::mem::take(&mut draft.context).into_iter();
            draft.context = context.filter(|(key, _)| NEEDED.contains(&key.as_str())).collect();
        }
        self.held.push(draft);
    }

    pub(super) fn count_only(&mut self, draft: Draft) {
        self.uncounted += 1;
        self.bad += u64::from(draft.severity >= Severity::Critical);
        match &mut self.worst {
            Some(worst) => {
                let mut common = std::mem::take(&mut worst.labels);
                common.retain(|k, v| draft.labels.get(k) == Some(v));
                if draft.severity > worst.severity {
                    *worst = draft;
                }
                worst.labels = common;
            }
            none => *none = Some(draft),
        }
    }

    /// One draft for all that it held: itself, if it is alone.
    pub(super) fn gather(mut self, window_secs: u64, id: impl FnOnce() -> String) -> Option<Draft> {
        if self.held.len() < 2 && self.uncounted == 0 {
            return self.held.pop();
        }
        // The worst comes first: whatever is cut off below, it is not that.
        self.held.sort_by_key(|draft| std::cmp::Reverse(draft.severity));
        let first = self.held.first().or(self.worst.as_ref())?;
        let severity = self.held.first().into_iter().chain(&self.worst).map(|d| d.severity).max()?;
        let count = self.held.len() as u64 + self.uncounted;
        let over = self.held.iter().chain(&self.worst).all(|d| d.status == Status::Resolved);
        let place = Some(first.place.as_str()).filter(|place| !place.is_empty());
        let mut context = Map::from_iter([("grouped".to_owned(), Value::from(count))]);
        if over && !is_end(first) {
            context.insert(ONLY_MESSAGE.into(), true.into());
        }
        self.carry(&mut context);
        Some(Draft {
            message: self.sentence(first, count, window_secs),
            id: id(),
            severity,
            value: count as f64,
            threshold: None,
            labels: self.common_labels(),
            status: if over { Status::Resolved } else { Status::Firing },
            ended: self.held.iter().filter_map(|d| d.ended).max_by_key(|e| e.mono_ns).filter(|_| over),
            fingerprint: fingerprint([first.rule.as_str(), "group"].into_iter().chain(place)),
            context,
            ..first.clone()
        })
    }

    fn sentence(&self, first: &Draft, count: u64, window_secs: u64) -> String {
        let mut listed: Vec<(&str, u64)> = Vec::new();
        for draft in &self.held {
            match listed.iter_mut().find(|(phrase, _)| *phrase == draft.phrase) {
                Some((_, n)) => *n += 1,
                None => listed.push((&draft.phrase, 1)),
            }
        }
        listed.truncate(LISTED);
        let named: u64 = listed.iter().map(|(_, n)| n).sum();
        let part = |(phrase, n): &(&str, u64)| match n {
            1 => (*phrase).to_owned(),
            n => format!("{phrase} ×{n}"),
        };
        let mut parts: Vec<String> = listed.iter().map(part).collect();
        if count > named {
            let bad = self.held.iter().filter(|d| d.severity >= Severity::Critical).count() as u64 + self.bad;
            let shown = self.shown(&listed, Severity::Critical);
            // Of a crowd of critical ones it goes without saying.
            let is_news = bad > shown && bad < count;
            let bad = if is_news { format!(", {} of them critical", bad - shown) } else { String::new() };
            parts.push(format!("and {} more{bad}", count - named));
        }
        let parts = parts.join(", ");
        if is_end(first) {
            format!("{count} {} are over: {parts}", first.noun)
        } else {
            format!("{count} more {} within {window_secs} s: {parts}", first.noun)
        }
    }

    /// How many of at least this severity have one of these phrases.
    fn shown(&self, listed: &[(&str, u64)], severity: Severity) -> u64 {
        let named = |draft: &&Draft| listed.iter().any(|(phrase, _)| *phrase == draft.phrase);
        self.held.iter().filter(|draft| draft.severity >= severity).filter(named).count() as u64
    }

    fn common_labels(&self) -> BTreeMap<String, String> {
        let mut all = self.held.iter().chain(&self.worst).map(|d| &d.labels);
        let mut common = all.next().cloned().unwrap_or_default();
        for labels in all {
            common.retain(|k, v| labels.get(k) == Some(v));
        }
        common
    }

    /// What a machine needs to know the incidents again, and as many of the alerts as fit.
    fn carry(&self, context: &mut Map<String, Value>) {
        let members: Vec<Value> = self.held.iter().map(|d| d.id.clone().into()).collect();
        let keys = self.held.iter().filter_map(key_of_incident);
        let keys = while_they_fit(keys, MAX_HELD, MAX_KEYS_BYTES);
        let taken = size(&members) + size(&keys);
        let room = MAX_CONTEXT_BYTES.saturating_sub(taken).min(MAX_WHOLE_BYTES);
        let whole = while_they_fit(self.held.iter().map(whole), MAX_WHOLE, room);
        let left_out = self.held.len() as u64 + self.uncounted - whole.len() as u64;
        for key in [CLOSES, TOLD_IN] {
            let ids = self.held.iter().filter_map(|d| d.context.get(key)?.as_array()).flatten();
            let ids: BTreeSet<&str> = ids.filter_map(Value::as_str).collect();
            if !ids.is_empty() {
                context.insert(key.into(), ids.into_iter().collect());
            }
        }
        if self.held.iter().any(|draft| draft.lasts && draft.status != Status::Resolved) {
            context.insert(STANDS.into(), true.into());
        }
        context.insert(MEMBERS.into(), members.into());
        context.insert("incidents".into(), keys.into());
        context.insert(WHOLE.into(), whole.into());
        if left_out > 0 {
            context.insert("alerts_left_out".into(), left_out.into());
        }
    }
}

fn key_of_incident(draft: &Draft) -> Option<Value> {
    let mut key = draft.context.get("incident")?.clone();
    if let (Status::Resolved, Some(key)) = (draft.status, key.as_object_mut()) {
        key.insert("over".into(), true.into());
    }
    Some(key)
}

fn whole(draft: &Draft) -> Value {
    json!({
        "id": draft.id, "fingerprint": draft.fingerprint, "status": draft.status.name(), "severity": draft.severity.name(),
        "message": draft.message, "labels": draft.labels, "context": draft.context,
    })
}

fn while_they_fit(all: impl Iterator<Item = Value>, max: usize, mut room: usize) -> Vec<Value> {
    let fits = |value: &Value| {
        let left = room.checked_sub(json_len(value) + 1);
        room = left.unwrap_or(room);
        left.is_some()
    };
    all.take(max).filter(fits).collect()
}

fn size(values: &[Value]) -> usize {
    values.iter().map(|value| json_len(value) + 1).sum()
}

fn json_len(value: &Value) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX / 2, |json| json.len())
}
