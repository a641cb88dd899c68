//! What follows from something that was told already is no alert beside it: it joins the incident of its cause,
//! which is updated with it and closed when the last of it is over.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::compose::Draft;
use super::laws::{Facts, LAWS, Law};
use crate::alert::{NO_CALL, Status};
use crate::text::span;
use crate::time::{Now, SECOND};

/// Causes remembered; beyond it the oldest is forgotten.
pub const MAX_CAUSES: usize = 64;
/// Consequences named with a cause; further ones are counted.
pub const MAX_RELATED: usize = 16;
/// Consequences told apart; beyond it none is counted.
const MAX_KNOWN: usize = 1024;
/// A cause is told again with what followed from it at most this often.
const UPDATE_NS: u64 = 30 * SECOND;

#[derive(Debug)]
struct Cause {
    draft: Draft,
    /// When it was told of.
    at_ns: u64,
    /// `None`: as long as it stands.
    until_ns: Option<u64>,
    laws: Vec<&'static Law>,
    /// Ids of what stands because of it.
    open: BTreeSet<String>,
    named: Vec<String>,
    /// Fingerprints of what was named or counted.
    known: BTreeSet<String>,
    unnamed: u64,
    /// There is something new to tell of it.
    news: bool,
    /// Something was told as part of it.
    was_joined: bool,
    updated_ns: u64,
}

/// All causes.
#[derive(Debug, Default)]
pub struct Causes {
    all: Vec<Cause>,
    forgotten: u64,
}

impl Causes {
    /// The rule whose incident already tells of `draft`; that joins it.
    pub fn of(&mut self, now: Now, draft: &Draft, facts: Facts<'_>) -> Option<String> {
        let cause = self.all.iter_mut().find(|cause| {
            cause.draft.id != draft.id
                && cause.until_ns.is_none_or(|until| now.mono_ns < until)
                && cause.laws.iter().any(|law| {
                    let holds = cause.until_ns.is_none() || now.mono_ns < cause.at_ns + law.secs * SECOND;
                    holds && law.hides(&cause.draft, draft, facts)
                })
        })?;
        cause.join(draft);
        Some(cause.draft.rule.clone())
    }

    /// A draft is about to be told: from now on it explains what follows from it. `standing` is what stands already.
    pub fn note<'a>(
        &mut self,
        now: Now,
        draft: &mut Draft,
        standing: impl Iterator<Item = &'a Draft>,
        facts: Facts<'_>,
    ) {
        if draft.status == Status::Resolved {
            return self.forget(&draft.id);
        }
        if let Some(cause) = self.all.iter_mut().find(|cause| cause.draft.id == draft.id) {
            cause.draft = draft.clone();
            cause.tell_related(draft);
            return;
        }
        let laws: Vec<&Law> = LAWS.iter().filter(|law| law.is_cause(draft)).collect();
        if laws.is_empty() {
            return;
        }
        let secs = laws.iter().map(|law| law.secs).max().unwrap_or(0);
        let until_ns = (!draft.lasts).then(|| now.plus_secs(secs).mono_ns);
        let mut cause = Cause {
            draft: draft.clone(),
            at_ns: now.mono_ns,
            until_ns,
            open: BTreeSet::new(),
            named: Vec::new(),
            known: BTreeSet::new(),
            unnamed: 0,
            news: false,
            was_joined: false,
            updated_ns: now.mono_ns,
            laws,
        };
        // What stood before it and was told for itself is named with it, and ends by itself.
        let laws = cause.laws.clone();
        for other in standing.filter(|o| laws.iter().any(|law| law.hides(draft, o, facts))) {
            cause.name(other);
        }
        cause.tell_related(draft);
        cause.news = false;
        if self.all.len() >= MAX_CAUSES {
            self.all.remove(0);
            self.forgotten += 1;
        }
        self.all.push(cause);
    }

    /// A cause is over.
    pub fn forget(&mut self, id: &str) {
        self.all.retain(|cause| cause.draft.id != id);
    }

    /// What was held back because of a cause is over.
    pub fn over(&mut self, id: &str) {
        for cause in &mut self.all {
            cause.open.remove(id);
        }
    }

    /// Updates of causes with what followed from them, and ends of events all of whose consequences are over.
    pub fn due(&mut self, now: Now, out: &mut Vec<Draft>) {
        for cause in &mut self.all {
            if cause.news && now.mono_ns.saturating_sub(cause.updated_ns) >= UPDATE_NS {
                (cause.news, cause.updated_ns, cause.was_joined) = (false, now.mono_ns, true);
                let mut draft = Draft { status: Status::Updated, ..cause.draft.clone() };
                cause.tell_related(&mut draft);
                draft.context.insert(NO_CALL.into(), true.into());
                out.push(draft);
            }
        }
        let ended = |cause: &mut Cause| {
            cause.until_ns.is_some_and(|until| now.mono_ns >= until) && cause.open.is_empty()
        };
        for cause in self.all.extract_if(.., ended) {
            // An event has no end; one that led to more has.
            if cause.was_joined {
                out.push(cause.end(now));
            }
        }
    }

    /// Causes forgotten because of [`MAX_CAUSES`].
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

impl Cause {
    fn join(&mut self, draft: &Draft) {
        if draft.lasts {
            self.open.insert(draft.id.clone());
        }
        self.name(draft);
    }

    fn name(&mut self, draft: &Draft) {
        if self.known.contains(&draft.fingerprint) || self.known.len() >= MAX_KNOWN {
            return;
        }
        self.known.insert(draft.fingerprint.clone());
        self.news = true;
        if self.named.len() < MAX_RELATED { self.named.push(draft.phrase.clone()) } else { self.unnamed += 1 }
    }

    fn tell_related(&self, draft: &mut Draft) {
        if self.named.is_empty() {
            return;
        }
        draft.context.insert("related".into(), Value::from(self.named.clone()));
        let more = if self.unnamed == 0 { String::new() } else { format!(" and {} more", self.unnamed) };
        draft.message = format!("{}; with it: {}{more}", draft.message, self.named.join(", "));
    }

    fn end(self, now: Now) -> Draft {
        let lived = span(now.since(self.draft.started) / SECOND);
        let message = format!("What followed from it is over after {lived}: {}", self.named.join(", "));
        Draft { status: Status::Resolved, ended: Some(now), message, ..self.draft }
    }
}
