//! What speaking remembers over a restart, and what it holds back.

use serde::{Deserialize, Serialize};

use super::super::compose::Draft;
use super::super::shift::Shift;
use super::{Manners, Repeat, Speaker};
use crate::alert::Severity;

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

    /// For a snapshot.
    pub fn kept(&self) -> Vec<KeptRepeat> {
        let mut all: Vec<_> = self.repeats.iter().collect();
        all.sort_by_key(|(_, repeat)| std::cmp::Reverse((repeat.waiting.is_some(), repeat.told_ns)));
        let kept = |(fingerprint, repeat): (&String, &Repeat)| KeptRepeat {
            fingerprint: fingerprint.clone(),
            told_ns: repeat.told_ns,
            severity: repeat.severity,
            held: repeat.held,
            waiting: repeat.waiting.clone().map(|draft| Draft { context: serde_json::Map::new(), ..draft }),
        };
        all.into_iter().take(MAX_KEPT).map(kept).collect()
    }

    /// From one.
    pub fn resume(&mut self, kept: Vec<KeptRepeat>, shift: &Shift) {
        for KeptRepeat { fingerprint, told_ns, severity, held, mut waiting } in kept {
            if let Some(draft) = &mut waiting {
                draft.started = shift.both(draft.started);
                if draft.lasts {
                    self.silent.insert(draft.id.clone());
                }
            }
            let repeat = Repeat { told_ns: shift.mono(told_ns), severity, held, waiting };
            self.repeats.insert(fingerprint, repeat);
        }
        self.repeats_due_ns = 0;
    }
}
