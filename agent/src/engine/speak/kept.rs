//! What speaking remembers over a restart, and what it holds back.

use serde::{Deserialize, Serialize};

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
}

impl Speaker {
    /// Other manners from now on; what is held back stays held back.
    pub fn reload(&mut self, manners: Manners) {
        self.manners = manners;
    }

    /// Why a message of this incident has not come out: `repeated` or `grouped`.
    pub fn holds(&self, id: &str) -> Option<&'static str> {
        let grouped = || self.groups.values().flat_map(|group| &group.held).any(|draft| draft.id == id);
        if self.silent.contains(id) { Some("repeated") } else { grouped().then_some("grouped") }
    }

    /// For a snapshot.
    pub fn kept(&self) -> Vec<KeptRepeat> {
        let mut all: Vec<_> = self.repeats.iter().collect();
        all.sort_by_key(|(_, repeat)| std::cmp::Reverse(repeat.told_ns));
        let kept = |(fingerprint, repeat): (&String, &Repeat)| KeptRepeat {
            fingerprint: fingerprint.clone(),
            told_ns: repeat.told_ns,
            severity: repeat.severity,
            held: repeat.held,
        };
        all.into_iter().take(MAX_KEPT).map(kept).collect()
    }

    /// From one.
    pub fn resume(&mut self, kept: Vec<KeptRepeat>, shift: &Shift) {
        for KeptRepeat { fingerprint, told_ns, severity, held } in kept {
            let repeat = Repeat { told_ns: shift.mono(told_ns), severity, held, waiting: None };
            self.repeats.insert(fingerprint, repeat);
        }
    }
}
