//! The backup: what no longer fits into the queue waits in files, the oldest of which are sent first.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::files::{self, Stamp, Trouble, Unread};
use super::line::Payload;
use crate::publish::visits::Visits;
use crate::time::Now;

/// Files at most, however small.
pub const MAX_FILES: usize = 10_000;
/// Older files removed from a full disk for the sake of a new one.
const MOST_REMOVED: usize = 16;

/// Counts since the start, and how things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Files that wait.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Payloads that went with files for want of room.
    pub dropped: u64,
    /// Files that could not be read.
    pub unreadable: u64,
    /// Why payloads wait in memory only.
    pub trouble: Option<String>,
}

/// The files of a directory.
#[derive(Debug)]
pub struct Backup {
    dir: PathBuf,
    visits: Visits,
    /// Most bytes; 0: there is no backup.
    limit: u64,
    /// Bytes of each file.
    known: BTreeMap<Stamp, u64>,
    /// The one that is being sent.
    loaded: Option<Stamp>,
    /// Bytes of the journal.
    journal: u64,
    /// The journal of an earlier run is not read yet: nothing may be added to it, and it may not go.
    unread: bool,
    /// What lies in `dir` is not known yet.
    unlisted: bool,
    stats: Stats,
}

impl Backup {
    /// In `dir`, of at most `limit` bytes, with what an earlier run left. 0: nothing is kept, and what lies there stays.
    /// Never fails: where the disk does not serve, payloads wait in memory, and what lies there is asked for again.
    pub async fn open(dir: &Path, limit: u64, now: Now) -> (Self, VecDeque<Payload>) {
        let (visits, known, stats) = (Visits::new(dir), BTreeMap::new(), Stats::default());
        let (loaded, journal, is_on) = (None, 0, limit > 0);
        let (unread, unlisted, dir) = (is_on, is_on, dir.to_owned());
        let mut backup = Self { dir, visits, limit, known, loaded, journal, unread, unlisted, stats };
        let left = backup.catch_up(now).await;
        (backup, left)
    }

    /// Finds what an earlier run left, if that is not done. Returns what of it waits in memory from now on: the payloads
    /// of a killed agent, which were in its journal and are no file for want of room.
    pub async fn catch_up(&mut self, now: Now) -> VecDeque<Payload> {
        if self.unlisted {
            match self.visits.visit(files::list).await {
                Ok(Ok(found)) => {
                    self.unlisted = false;
                    // What was written meanwhile is newer.
                    for (stamp, bytes) in found {
                        self.known.entry(stamp).or_insert(bytes);
                    }
                    self.make_room().await;
                }
                Ok(Err(Trouble { why, .. })) | Err(why) => self.trouble(why),
            }
        }
        if self.unread && !self.unlisted { self.recover(now).await } else { VecDeque::new() }
    }

    /// Whether something of an earlier run is still to be found.
    pub const fn is_behind(&self) -> bool {
        self.unread || self.unlisted
    }

    /// What a killed agent had in memory becomes a file; what does not is returned, and stays in the journal.
    async fn recover(&mut self, now: Now) -> VecDeque<Payload> {
        let left = match self.visits.visit(files::noted).await {
            Ok(Ok(left)) => left,
            Ok(Err(Trouble { why, .. })) | Err(why) => {
                self.trouble(why);
                return VecDeque::new();
            }
        };
        self.unread = false;
        self.journal = left.iter().map(|payload| payload.len() as u64 + 1).sum();
        if left.is_empty() {
            return left;
        }
        tracing::info!("{} payloads of an earlier run that was killed are sent now", left.len());
        if !self.save(&left, now).await {
            return left;
        }
        self.forget().await;
        VecDeque::new()
    }

    /// Adds payloads that wait in memory to the journal, for the case that the agent is killed. Whether they are in it.
    pub async fn note(&mut self, payloads: Vec<Payload>) -> bool {
        if self.limit == 0 {
            return true;
        }
        if self.unread {
            return false;
        }
        match self.visits.visit(move |dir| files::note(dir, &payloads)).await {
            Ok(Ok(bytes)) => {
                self.journal = bytes;
                self.well();
                true
            }
            Ok(Err(Trouble { why, .. })) | Err(why) => {
                self.trouble(why);
                false
            }
        }
    }

    /// Nothing that is in the journal waits in memory any more.
    pub async fn forget(&mut self) {
        if self.journal > 0 {
            self.journal = 0;
            // Else it is sent again after a kill.
            let _ = self.visits.visit(files::forget).await;
        }
    }

    /// Bytes of the journal.
    pub const fn journal(&self) -> u64 {
        self.journal
    }

    /// Writes `payloads` into a new file, if need be in place of older ones. False: they have to wait where they are.
    pub async fn save(&mut self, payloads: &VecDeque<Payload>, now: Now) -> bool {
        if self.limit == 0 {
            return false;
        }
        let stamp = next_stamp(local(now), self.known.last_key_value().map(|(stamp, _)| *stamp));
        let payloads: std::sync::Arc<[Payload]> = payloads.iter().cloned().collect();
        for _ in 0..=MOST_REMOVED {
            let taken = std::sync::Arc::clone(&payloads);
            match self.visits.visit(move |dir| files::write(dir, stamp, &taken)).await {
                Ok(Ok(bytes)) => {
                    self.known.insert(stamp, bytes);
                    self.well();
                    self.make_room().await;
                    return true;
                }
                Ok(Err(Trouble { full: true, .. })) if self.lose_oldest().await => {}
                Ok(Err(Trouble { why, .. })) | Err(why) => {
                    self.trouble(why);
                    return false;
                }
            }
        }
        self.trouble(format!("{} is full, however much is removed", self.dir.display()));
        false
    }

    /// Payloads of the oldest file, which is being sent from now on; none if there is none, or the disk hangs.
    pub async fn load(&mut self) -> Option<VecDeque<Payload>> {
        while let Some(stamp) = self.known.keys().next().copied() {
            match self.visits.visit(move |dir| files::read(dir, stamp)).await {
                Ok(Ok(payloads)) if payloads.is_empty() => {
                    self.loaded = Some(stamp);
                    self.done().await;
                }
                Ok(Ok(payloads)) => {
                    self.loaded = Some(stamp);
                    return Some(payloads);
                }
                Ok(Err(Unread::Gone)) => {
                    self.known.remove(&stamp);
                }
                Ok(Err(Unread::Bad(why))) => self.set_aside(stamp, &why).await,
                Ok(Err(Unread::Later(Trouble { why, .. }))) | Err(why) => {
                    self.trouble(why);
                    return None;
                }
            }
        }
        None
    }

    async fn set_aside(&mut self, stamp: Stamp, why: &str) {
        self.stats.unreadable += 1;
        self.known.remove(&stamp);
        let moved = self.visits.visit(move |dir| files::set_aside(dir, stamp)).await;
        let place = moved.ok().and_then(Result::ok);
        let place = place.map_or_else(String::new, |place| format!("; it is {} now", place.display()));
        tracing::warn!(
            "the backup file {} in {} {why}: it is not sent{place}",
            files::name(stamp),
            self.dir.display()
        );
    }

    /// All of the file that was being sent is delivered.
    pub async fn done(&mut self) {
        let Some(stamp) = self.loaded.take() else { return };
        self.known.remove(&stamp);
        // What cannot be removed is sent again after a restart.
        let _ = self.visits.visit(move |dir| files::remove(dir, stamp)).await;
    }

    /// Of the file that was being sent only `rest` is still to be sent.
    pub async fn keep(&mut self, rest: &VecDeque<Payload>) {
        let Some(stamp) = self.loaded.take() else { return };
        let rest: Vec<Payload> = rest.iter().cloned().collect();
        // If not, all of it is sent again.
        let _ = self.visits.visit(move |dir| files::write(dir, stamp, &rest)).await;
    }

    /// Whether a file is being sent.
    pub const fn is_loaded(&self) -> bool {
        self.loaded.is_some()
    }

    /// Whether a file waits to be sent.
    pub fn is_waiting(&self) -> bool {
        self.loaded.is_none() && !self.known.is_empty()
    }

    /// How things stand.
    pub fn stats(&self) -> Stats {
        let bytes = self.known.values().sum();
        Stats { files: self.known.len() as u64, bytes, ..self.stats.clone() }
    }

    async fn make_room(&mut self) {
        while self.known.values().sum::<u64>() > self.limit || self.known.len() > MAX_FILES {
            if !self.lose_oldest().await {
                return;
            }
        }
    }

    /// Removes the oldest file that is not being sent, and counts what was in it; whether there was one.
    async fn lose_oldest(&mut self) -> bool {
        let stamp = self.known.keys().find(|stamp| Some(**stamp) != self.loaded).copied();
        let Some(stamp) = stamp else { return false };
        self.known.remove(&stamp);
        let lost = self.visits.visit(move |dir| {
            let count = files::read(dir, stamp).map_or(0, |payloads| payloads.len() as u64);
            files::remove(dir, stamp).map(|()| count)
        });
        if let Ok(Ok(count)) = lost.await {
            self.stats.dropped += count;
            tracing::warn!("{count} payloads of {} are given up for want of room", files::name(stamp));
        }
        true
    }

    fn trouble(&mut self, why: String) {
        if self.stats.trouble.is_none() {
            tracing::warn!(
                "{why}; what waits for the collector of [push] waits in memory, and the oldest goes first"
            );
        }
        self.stats.trouble = Some(why);
    }

    fn well(&mut self) {
        if self.stats.trouble.take().is_some() {
            tracing::info!("the backup directory {} takes payloads again", self.dir.display());
        }
    }
}

fn local(now: Now) -> DateTime {
    let at = Timestamp::from_nanosecond(i128::from(now.wall_ns)).unwrap_or_default();
    at.to_zoned(jiff::tz::TimeZone::system())
        .datetime()
        .with()
        .subsec_nanosecond(0)
        .build()
        .unwrap_or_default()
}

/// The name of a new file: now, and always behind the newest, whatever the clock does.
fn next_stamp(now: DateTime, newest: Option<Stamp>) -> Stamp {
    let behind = newest.and_then(|newest| newest.checked_add(SignedDuration::from_secs(1)).ok());
    behind.map_or(now, |behind| behind.max(now))
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
