//! What stands over a restart.

use serde::{Deserialize, Serialize};

use super::super::compose::Draft;
use super::super::quiet::laws::Facts;
use super::super::quiet::silence::Silences;
use super::super::series::SeriesTable;
use super::super::shift::Shift;
use super::flap::Flaps;
use super::{Board, Standing};
use crate::alert::Severity;
use crate::time::Now;

/// Alerts kept, the worst and oldest first; histories of flapping as many.
pub const MAX_KEPT: usize = 512;

/// What of the board is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Alerts that stand.
    pub standing: Vec<Standing>,
    silences: Silences,
    flaps: Flaps,
}

impl Kept {
    /// Half as much: the file would be too large.
    pub fn halve(&mut self) {
        self.standing.truncate(self.standing.len() / 2);
        self.flaps = Flaps::default();
    }

    /// Of these nobody will remember that they wait to be told.
    pub fn untell(&mut self, ids: &[&str], why: &str) {
        for entry in self.standing.iter_mut().filter(|entry| ids.contains(&entry.draft.id.as_str())) {
            (entry.told, entry.held) = (None, Some(why.to_owned()));
        }
    }

    /// Whether it has this one.
    pub fn has(&self, id: &str) -> bool {
        self.standing.iter().any(|entry| entry.draft.id == id)
    }
}

impl Standing {
    fn kept(&self) -> Self {
        let Self { ref draft, ref held, told, raised, critical_ns } = *self;
        Self { draft: draft.with_context(|_| false), held: held.clone(), told, raised, critical_ns }
    }
}

impl Board {
    /// For a snapshot; `is_grouped` says that a message waits in a group, which is not kept.
    pub fn kept(&self, is_grouped: impl Fn(&str) -> bool) -> Kept {
        let mut standing: Vec<&Standing> = self.standing.values().filter(|entry| entry.draft.lasts).collect();
        let rank = |entry: &&Standing| {
            (entry.told.is_none(), std::cmp::Reverse(entry.draft.severity), entry.draft.started)
        };
        standing.sort_by_key(rank);
        let mut kept = Kept {
            standing: standing.into_iter().take(MAX_KEPT).map(Standing::kept).collect(),
            silences: self.silences.clone(),
            flaps: self.flaps.kept(MAX_KEPT),
        };
        for entry in &mut kept.standing {
            if is_grouped(&entry.draft.id) {
                (entry.told, entry.held) = (None, Some("grouped".to_owned()));
            }
        }
        kept
    }

    /// Whether it stands.
    pub fn has(&self, id: &str) -> bool {
        self.standing.contains_key(id)
    }

    /// From a snapshot.
    pub fn resume(&mut self, now: Now, kept: Kept, shift: &Shift) {
        let Kept { standing, mut silences, flaps } = kept;
        for mut entry in standing {
            entry.draft.started = shift.both(entry.draft.started);
            entry.critical_ns = entry.critical_ns.map(|ns| shift.mono(ns));
            self.standing.insert(entry.draft.id.clone(), entry);
        }
        silences.iter_mut().for_each(|silence| silence.until_ns = shift.mono(silence.until_ns));
        self.silences = silences;
        self.flaps = flaps.resumed(shift);
        // What was told explains again what follows from it.
        let told: Vec<Draft> =
            self.standing.values().filter(|e| e.told.is_some()).map(|e| e.draft.clone()).collect();
        let table = SeriesTable::default();
        for mut draft in told {
            self.causes.note(now, &mut draft, std::iter::empty(), Facts { table: &table });
        }
    }

    /// An alert of an earlier run that was told after the snapshot was made; `level` without what it was raised by.
    pub fn was_told(&mut self, draft: Draft, level: Option<Severity>) {
        let Some(entry) = self.standing.get_mut(&draft.id) else {
            self.standing.insert(draft.id.clone(), Standing::told(&draft));
            return;
        };
        (entry.told, entry.held) = (Some(draft.severity), None);
        if level.is_none_or(|level| level < draft.severity) && draft.severity > entry.draft.severity {
            entry.raised = Some(draft.severity);
        }
        let Draft { severity, value, threshold, message, .. } = draft;
        entry.draft = Draft { severity, value, threshold, message, ..entry.draft.clone() };
    }

    /// The same of one that was told with others in a summary.
    pub fn was_told_in_summary(&mut self, id: &str) {
        if let Some(entry) = self.standing.get_mut(id).filter(|entry| entry.told.is_none()) {
            (entry.told, entry.held) = (Some(entry.draft.severity), None);
        }
    }

    /// It was told to be over after the snapshot was made.
    pub fn forget(&mut self, id: &str) {
        self.standing.remove(id);
        self.flaps.was_told_stable(id);
    }
}
