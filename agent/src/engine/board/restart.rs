//! What stands over a restart.

use serde::{Deserialize, Serialize};

use super::super::quiet::silence::Silences;
use super::super::shift::Shift;
use super::flap::Flaps;
use super::{Board, Standing};

/// Alerts kept, the worst and oldest first; histories of flapping as many.
pub const MAX_KEPT: usize = 512;

/// What of the board is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// Alerts that were told and stand.
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
}

impl Board {
    /// For a snapshot; `is_held` says that a message has not come out yet. What was not told is not kept: it will be
    /// found anew.
    pub fn kept(&self, is_held: impl Fn(&str) -> bool) -> Kept {
        let told =
            |entry: &&Standing| entry.draft.lasts && entry.told.is_some() && !is_held(entry.public_id());
        let mut standing: Vec<&Standing> = self.standing.values().filter(told).collect();
        standing.sort_by_key(|entry| (std::cmp::Reverse(entry.draft.severity), entry.draft.started));
        let without_context = |entry: &Standing| {
            let mut entry = entry.clone();
            entry.draft.context.clear();
            entry
        };
        Kept {
            standing: standing.into_iter().take(MAX_KEPT).map(without_context).collect(),
            silences: self.silences.clone(),
            flaps: self.flaps.kept(MAX_KEPT),
        }
    }

    /// Whether a condition's alert waits to be told.
    pub fn is_untold(&self, id: &str, is_held: impl Fn(&str) -> bool) -> bool {
        self.standing.get(id).is_some_and(|entry| entry.told.is_none() || is_held(entry.public_id()))
    }

    /// From a snapshot.
    pub fn resume(&mut self, kept: Kept, shift: &Shift) {
        let Kept { standing, mut silences, flaps } = kept;
        for mut entry in standing {
            entry.draft.started = shift.both(entry.draft.started);
            entry.critical_ns = entry.critical_ns.map(|ns| shift.mono(ns));
            self.standing.insert(entry.draft.id.clone(), entry);
        }
        silences.iter_mut().for_each(|silence| silence.until_ns = shift.mono(silence.until_ns));
        self.silences = silences;
        self.flaps = flaps.resumed(shift);
    }

    /// An alert of an earlier run that was told after the snapshot was made.
    pub fn resume_one(&mut self, entry: Standing) {
        self.standing.insert(entry.draft.id.clone(), entry);
    }

    /// It was told to be over after the snapshot was made.
    pub fn forget(&mut self, id: &str) {
        self.standing.retain(|key, entry| key != id && entry.public_id() != id);
    }
}
