//! What keeps coming and going: one alert says so, then it is quiet until the condition is stable. And what fires
//! again and again.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::super::compose::{Draft, fingerprint};
use super::super::shift::Shift;
use crate::alert::{LEVEL, Severity, Status};
use crate::text::span;
use crate::time::{Now, SECOND};

/// Begins and ends within [`WINDOW_NS`] that make a condition a flapping one: three times to and fro.
pub(super) const CHANGES: usize = 6;
/// The window they are counted in: 30 min.
pub(super) const WINDOW_NS: u64 = 1800 * SECOND;
/// A flapping condition that did not change for so long is stable again: 15 min.
pub(super) const STABLE_NS: u64 = 900 * SECOND;
/// Begins that follow each other within this time are in a row: 1 h.
pub(super) const ROW_NS: u64 = 3600 * SECOND;
/// Conditions followed; beyond it the one that changed longest ago is forgotten, flapping ones last.
pub(super) const MAX_FOLLOWED: usize = 4096;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct History {
    changes: VecDeque<u64>,
    /// Begins in a row.
    row: u32,
    last_ns: u64,
    /// The last change was a begin.
    #[serde(default)]
    stands: bool,
    flapping: Option<Flapping>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flapping {
    /// The alert that says so.
    draft: Draft,
    changes: u64,
}

/// What is to be done with a change.
#[derive(Debug, PartialEq)]
pub(super) enum Course {
    /// As usual.
    Usual,
    /// It is flapping from now on: tell this instead.
    Begins(Box<Draft>),
    /// It is flapping: nothing is told.
    Quiet,
}

/// All conditions by fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Flaps {
    all: BTreeMap<String, History>,
}

impl Flaps {
    /// A condition begins or ends.
    pub(super) fn change(&mut self, now: Now, draft: &Draft) -> Course {
        self.make_room(&draft.fingerprint);
        let begins = draft.status == Status::Firing;
        let history = self.all.entry(draft.fingerprint.clone()).or_default();
        if begins {
            let in_row = history.last_ns > 0 && now.mono_ns.saturating_sub(history.last_ns) < ROW_NS;
            history.row = if in_row { history.row.saturating_add(1) } else { 1 };
        }
        (history.last_ns, history.stands) = (now.mono_ns, begins);
        history.changes.retain(|at| now.mono_ns.saturating_sub(*at) < WINDOW_NS);
        history.changes.push_back(now.mono_ns);
        if history.changes.len() > CHANGES {
            history.changes.pop_front();
        }
        if let Some(flapping) = &mut history.flapping {
            flapping.changes += 1;
            return Course::Quiet;
        }
        if history.changes.len() < CHANGES {
            return Course::Usual;
        }
        let first = history.changes.front().copied().unwrap_or(now.mono_ns);
        let alert = alert(now, draft, now.mono_ns.saturating_sub(first));
        history.flapping = Some(Flapping { draft: alert.clone(), changes: CHANGES as u64 });
        Course::Begins(Box::new(alert))
    }

    /// Begins in a row.
    pub(super) fn row(&self, fingerprint: &str) -> u32 {
        self.all.get(fingerprint).map_or(0, |history| history.row)
    }

    /// Whether nothing is told of it because it is flapping.
    pub(super) fn is_flapping(&self, fingerprint: &str) -> bool {
        self.all.get(fingerprint).is_some_and(|history| history.flapping.is_some())
    }

    /// Whether an alert is the one that says so of a condition that still flaps.
    pub(super) fn says(&self, draft: &Draft) -> bool {
        self.all.values().filter_map(|history| history.flapping.as_ref()).any(|own| own.draft.id == draft.id)
    }

    /// Whether an alert says so of a condition that has not stood for so long by now: it gets no worse by that.
    pub(super) fn came_lately(&self, id: &str, within_ns: u64, now: Now) -> bool {
        let of_it = |history: &&History| history.flapping.as_ref().is_some_and(|own| own.draft.id == id);
        let stood =
            |history: &History| history.stands && now.mono_ns.saturating_sub(history.last_ns) >= within_ns;
        self.all.values().find(of_it).is_some_and(|history| !stood(history))
    }

    /// It flaps, and is worse than was told of that by now: the alert that says so gets worse with it.
    pub(super) fn raise(&mut self, draft: &Draft) -> Option<Draft> {
        let flapping = self.all.get_mut(&draft.fingerprint)?.flapping.as_mut()?;
        if draft.severity <= flapping.draft.severity {
            return None;
        }
        flapping.draft.severity = draft.severity;
        let message = format!("{}; it keeps coming and going", draft.message);
        let (value, threshold) = (draft.value, draft.threshold);
        Some(Draft { status: Status::Updated, message, value, threshold, ..flapping.draft.clone() })
    }

    /// Ends of flapping.
    pub(super) fn due(&mut self, now: Now) -> Vec<Draft> {
        let mut stable = Vec::new();
        for history in self.all.values_mut() {
            if now.mono_ns.saturating_sub(history.last_ns) >= STABLE_NS
                && let Some(flapping) = history.flapping.take()
            {
                history.changes.clear();
                stable.push(flapping.end(now));
            }
        }
        let old = |history: &History| now.mono_ns.saturating_sub(history.last_ns) >= WINDOW_NS.max(ROW_NS);
        self.all.retain(|_, history| history.flapping.is_some() || !old(history));
        stable
    }

    /// The alert that says so was told to be over.
    pub(super) fn was_told_stable(&mut self, id: &str) {
        for history in self.all.values_mut() {
            if history.flapping.take_if(|flapping| flapping.draft.id == id).is_some() {
                history.changes.clear();
            }
        }
    }

    fn make_room(&mut self, fingerprint: &str) {
        if self.all.len() < MAX_FOLLOWED || self.all.contains_key(fingerprint) {
            return;
        }
        let age = |(_, h): &(&String, &History)| (h.flapping.is_some(), h.last_ns);
        if let Some(key) = self.all.iter().min_by_key(age).map(|(key, _)| key.clone()) {
            self.all.remove(&key);
        }
    }

    /// For a snapshot: the `most` that matter.
    pub(super) fn kept(&self, most: usize) -> Self {
        let mut all: Vec<_> = self.all.iter().collect();
        all.sort_by_key(|(_, h)| std::cmp::Reverse((h.flapping.is_some(), h.last_ns)));
        Self { all: all.into_iter().take(most).map(|(k, h)| (k.clone(), h.clone())).collect() }
    }

    /// Those of an earlier run.
    pub(super) fn resumed(mut self, shift: &Shift) -> Self {
        for history in self.all.values_mut() {
            history.last_ns = shift.mono(history.last_ns);
            history.changes.iter_mut().for_each(|at| *at = shift.mono(*at));
            if let Some(flapping) = &mut history.flapping {
                flapping.draft.started = shift.both(flapping.draft.started);
            }
        }
        self
    }
}

impl Flapping {
    fn end(self, now: Now) -> Draft {
        let (changes, lived) = (self.changes, now.since(self.draft.started) / SECOND);
        let message = format!(
            "{} is stable again: it came and went {changes} times in {}",
            self.draft.phrase,
            span(lived)
        );
        Draft { status: Status::Resolved, ended: Some(now), message, ..self.draft }
    }
}

/// The alert that says so.
fn alert(now: Now, draft: &Draft, window_ns: u64) -> Draft {
    let stable = span(STABLE_NS / SECOND);
    let mut context = serde_json::Map::new();
    context.insert(LEVEL.into(), "flapping".into());
    Draft {
        id: format!("{}-flap", draft.id),
        fingerprint: fingerprint([draft.fingerprint.as_str(), "flapping"]),
        status: Status::Firing,
        severity: draft.severity.min(Severity::Critical),
        message: format!(
            "{} keeps coming and going: {CHANGES} changes in {}; nothing more is told of it until it has not changed \
             for {stable}",
            draft.phrase,
            span(window_ns / SECOND)
        ),
        started: now.at_mono(now.mono_ns - window_ns),
        ended: None,
        context,
        ..draft.clone()
    }
}
