//! What speaking remembers over a restart, and what it holds back.

use serde::{Deserialize, Serialize};

use super::super::compose::Draft;
use super::super::shift::Shift;
use super::{Manners, Repeat, Speaker, Summaries};
use crate::alert::{CLOSES, ONLY_MESSAGE, Severity, Status, TOLD_IN};
use crate::time::Now;

/// What of the context of an end says how it is told, and what else is over with it.
const STEERS: [&str; 3] = [ONLY_MESSAGE, CLOSES, TOLD_IN];

/// Fingerprints kept over a restart: those told last.
const MAX_KEPT: usize = 1024;

/// What was told a while ago.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptRepeat {
    fingerprint: String,
    told_ns: u64,
    severity: Severity,
    held: u64,
    waiting: Option<Draft>,
}

impl KeptRepeat {
    /// Id of the condition that waits to be told.
    pub fn waiting(&self) -> Option<&str> {
        self.waiting.as_ref().filter(|draft| draft.lasts).map(|draft| draft.id.as_str())
    }
}

impl Speaker {
    /// Other manners from now on; what is held back stays held back.
    pub fn reload(&mut self, manners: Manners) {
        self.manners = manners;
        self.repeats_due_ns = 0;
    }

    /// Why a message of this incident has not come out: `repeated` or `grouped`.
    pub fn holds(&self, id: &str) -> Option<&'static str> {
        let grouped = || self.groups.values().flat_map(|group| &group.held).any(|draft| draft.id == id);
        if self.silent.contains(id) { Some("repeated") } else { grouped().then_some("grouped") }
    }

    /// An earlier run told this incident, perhaps after the snapshot that still has it wait.
    pub fn was_told(&mut self, id: &str) {
        if self.silent.remove(id) {
            self.repeats.values_mut().for_each(|repeat| drop(repeat.waiting.take_if(|draft| draft.id == id)));
        }
    }

    /// Remembers that an earlier run told this fingerprint.
    pub fn remember(&mut self, fingerprint: String, severity: Severity, told_ns: u64) {
        if let Some(known) = self.repeats.get_mut(&fingerprint) {
            if known.told_ns < told_ns {
                (known.told_ns, known.severity) = (told_ns, severity);
            }
            return;
        }
        self.repeats.insert(fingerprint, Repeat { told_ns, severity, held: 0, waiting: None });
    }

    /// For a snapshot.
    pub fn kept(&self) -> Vec<KeptRepeat> {
        let mut all: Vec<_> = self.repeats.iter().collect();
        all.sort_by_key(|(_, repeat)| std::cmp::Reverse((repeat.waiting.is_some(), repeat.told_ns)));
        let kept = |(fingerprint, repeat): (&String, &Repeat)| KeptRepeat {
            fingerprint: fingerprint.clone(),
            told_ns: repeat.told_ns,
            severity: repeat.severity,
            held: repeat.held,
            waiting: repeat.waiting.as_ref().map(|draft| draft.with_context(|_| false)),
        };
        all.into_iter().take(MAX_KEPT).map(kept).collect()
    }

    /// Ends that wait to be told with others, for a snapshot: what they end is known there no more.
    pub fn ends(&self) -> Vec<Draft> {
        let held = self.groups.values().flat_map(|group| &group.held).chain(&self.owed);
        let ends = held.filter(|draft| draft.lasts && draft.status == Status::Resolved).take(MAX_KEPT);
        // Of the context what matters for how it is told.
        ends.map(|draft| draft.with_context(|key| STEERS.contains(&key))).collect()
    }

    /// From one.
    pub fn owe(&mut self, mut ends: Vec<Draft>, shift: &Shift) {
        for draft in &mut ends {
            draft.started = shift.both(draft.started);
        }
        self.owed = ends;
    }

    pub(super) fn tell_owed(&mut self, now: Now, out: &mut Vec<Draft>) {
        for draft in std::mem::take(&mut self.owed) {
            self.group(now, draft, out);
        }
    }

    /// An earlier run told this end, perhaps after the snapshot that still has it wait.
    pub fn end_was_told(&mut self, id: &str) {
        self.owed.retain(|draft| draft.id != id);
    }

    /// Summaries that stand, for a snapshot.
    pub fn summaries(&self) -> Summaries {
        self.summaries.clone()
    }

    /// From one.
    pub fn resume(&mut self, kept: Vec<KeptRepeat>, summaries: Summaries, shift: &Shift) {
        self.summaries = summaries;
        for KeptRepeat { fingerprint, told_ns, severity, held, mut waiting } in kept {
            if let Some(draft) = &mut waiting {
                draft.started = shift.both(draft.started);
                if draft.lasts {
                    self.silent.insert(draft.id.clone());
                }
            }
            let repeat =
                Repeat { told_ns: shift.mono(told_ns), severity, held, waiting: waiting.map(Box::new) };
            self.repeats.insert(fingerprint, repeat);
        }
        self.repeats_due_ns = 0;
    }
}
