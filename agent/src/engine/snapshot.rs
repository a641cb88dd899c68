//! What the engine knows beyond a restart: plain data, with a version, bounded.
//!
//! What stands goes on under its id, told or held back; what was only on its way goes on.

use serde::{Deserialize, Serialize};

use super::Engine;
use super::absent::Absences;
use super::board;
use super::condition::{Condition, Firing};
use super::disk::KeptDisk;
use super::owners::Resumed;
use super::remember::Saved;
use super::shift::Shift;
use super::speak::{KeptRepeat, Summaries};
use crate::alert::Alert;
use crate::time::{Now, SECOND};

/// Form of a snapshot; another one is not read.
pub const VERSION: u32 = 1;
/// Largest snapshot, bytes of JSON.
pub const MAX_BYTES: usize = 1 << 20;
/// Least time between two snapshots when nothing was told.
const PACE_NS: u64 = 5 * SECOND;
/// How long an alert, or the history, of an earlier run waits for its series to come again: 15 min.
pub(super) const UNCLAIMED_NS: u64 = 900 * SECOND;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    version: u32,
    boot_id: String,
    saved: Now,
    conditions: Vec<KeptCondition>,
    absences: Vec<(String, String, Firing)>,
    disks: Vec<KeptDisk>,
    board: board::Kept,
    repeats: Vec<KeptRepeat>,
    #[serde(default)]
    summaries: Summaries,
    /// Of events.
    #[serde(default)]
    told: Vec<Alert>,
    /// What was about to be told, of what stands no more.
    #[serde(default)]
    ends: Vec<super::Draft>,
    /// The message told last.
    #[serde(default)]
    last_told: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct KeptCondition {
    fingerprint: String,
    condition: Condition,
    id: String,
    told: bool,
}

impl Snapshot {
    /// Itself, without its least part as long as it does not fit; `None` when nothing of it does.
    pub fn fitting(mut self, fits: impl Fn(&Self) -> bool) -> Option<Self> {
        while !fits(&self) {
            if self.repeats.len() + self.conditions.len() + self.board.standing.len() == 0 {
                return None;
            }
            let waiting: Vec<&str> = self.repeats.iter().filter_map(KeptRepeat::waiting).collect();
            self.board.untell(&waiting, "repeated");
            self.repeats.clear();
            self.told.clear();
            self.ends.truncate(self.ends.len() / 2);
            self.conditions.truncate(self.conditions.len() / 2);
            self.board.halve();
        }
        Some(self)
    }

    /// As it is written.
    #[cfg(test)]
    pub fn encode(self) -> Vec<u8> {
        let json = |snapshot: &Self| serde_json::to_vec(snapshot).expect("plain data");
        self.fitting(|snapshot| json(snapshot).len() <= MAX_BYTES)
            .map_or_else(Vec::new, |fitting| json(&fitting))
    }

    /// The way back.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn decode(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let torn = |error: serde_json::Error| format!("cannot be read ({error})");
        let Head { version } = serde_json::from_slice(json).map_err(torn)?;
        if version != VERSION {
            return Err(format!("has the form {version}, and this program knows {VERSION}"));
        }
        serde_json::from_slice(json).map_err(torn)
    }
}

/// When a snapshot is due.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Something changed that is worth keeping.
    pub changed: bool,
    /// Something was told or ended.
    pub told: bool,
    made_ns: u64,
}

impl Pace {
    pub(super) fn is_due(&mut self, now: Now) -> bool {
        let waited = now.mono_ns.saturating_sub(self.made_ns) >= PACE_NS;
        let due = self.told || self.changed && waited;
        if due {
            *self = Self { changed: false, told: false, made_ns: now.mono_ns };
        }
        due
    }
}

impl Engine {
    /// What is to be kept, as of `now`.
    pub fn snapshot(&self, now: Now) -> Snapshot {
        let board = self.board.kept(|id| self.speaker.holds(id) == Some("grouped"));
        let goes_on = |id: &str| !self.board.has(id) || board.has(id);
        let kept = |(fingerprint, condition, id): (String, Condition, String)| {
            let told = goes_on(&id);
            KeptCondition { fingerprint, condition, id, told }
        };
        let conditions = self.judge.kept(&self.settings.rules, &self.table);
        let mut disks = self.disks.kept();
        disks.retain(|disk| goes_on(&disk.id));
        let mut absences = self.absences.kept();
        absences.retain(|(_, id, _)| goes_on(id));
        Snapshot {
            version: VERSION,
            boot_id: self.settings.identity.boot_id.clone(),
            saved: now,
            conditions: conditions.into_iter().map(kept).collect(),
            absences,
            disks,
            repeats: self.speaker.kept(),
            summaries: self.speaker.summaries(),
            told: self.told.kept(),
            ends: self.speaker.ends(),
            last_told: self.last_told.clone(),
            board,
        }
    }

    /// Goes on where an earlier run was.
    pub fn resume(&mut self, snapshot: Snapshot, now: Now) {
        let same_boot = !snapshot.boot_id.is_empty() && snapshot.boot_id == self.settings.identity.boot_id;
        let shift = Shift::new(snapshot.saved, same_boot, now);
        for KeptCondition { fingerprint, condition, id, told } in snapshot.conditions {
            self.judge.resume(fingerprint, condition.resumed(told, &shift), id);
        }
        for (fingerprint, id, firing) in snapshot.absences {
            if Absences::is_known(&self.settings.absences, &fingerprint) {
                self.absences.resume(fingerprint, id, shift.firing(firing));
            }
        }
        for mut disk in snapshot.disks {
            disk.started = shift.both(disk.started);
            self.disks.resume(now, disk);
        }
        self.board.resume(now, snapshot.board, &shift);
        self.speaker.resume(snapshot.repeats, snapshot.summaries, &shift);
        self.speaker.owe(snapshot.ends, &shift);
        snapshot.told.iter().for_each(|alert| self.told.note(alert));
        self.remember(&snapshot.told, now);
        self.resumed = Some(Resumed::default());
        self.last_told.clone_from(&snapshot.last_told);
        self.resumed_from = Some(Saved { at: snapshot.saved, last: snapshot.last_told });
    }
}
