//! The outbox file: alerts survive a crash, a restart and a network that is away for days.
//!
//! `data_dir/outbox/alerts.log` only grows until it is compacted, which writes `alerts.new` and renames it. This
//! file is the only part of `notify` that touches the disk; all of it blocks, so it runs aside.

#![expect(clippy::disallowed_methods, reason = "the outbox has its one owner here")]

use super::ledger::{Entry, Ledger, MAX_RECENT, Seq, Set};
use super::record::{self, Mark, Place, Record, Stored};
use crate::alert::Alert;
use crate::host::state;
use crate::time::Now;
use rustix::fs::{FlockOperation, OFlags, flock};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest file, bytes. It is compacted then; of live alerts there are at most
/// [`super::ledger::MAX_BYTES`].
pub const MAX_FILE: u64 = 16 << 20;
/// A smaller file is not worth compacting, bytes.
const COMPACT_MIN: u64 = 256 << 10;

/// An alert to be written.
#[derive(Debug)]
pub struct Keep {
    /// Its number.
    pub seq: Seq,
    /// When it was accepted, Unix seconds.
    pub at: i64,
    /// Channels that still have to tell it.
    pub due: Set,
    /// Channels that have told it.
    pub told: Set,
    /// In memory, or else at its place in the present file.
    pub text: Text,
}

/// Where the text of an alert is.
#[derive(Debug)]
pub enum Text {
    /// In memory.
    Held(Arc<Alert>),
    /// In the file.
    At(Place),
}

impl Keep {
    /// What is to be written of an entry; nothing if its text is nowhere.
    pub fn of(seq: Seq, entry: &Entry) -> Option<Self> {
        let text = match (&entry.held, entry.place) {
            (Some(alert), _) => Text::Held(Arc::clone(alert)),
            (None, Some(place)) => Text::At(place),
            (None, None) => return None,
        };
        Some(Self { seq, at: entry.at, due: entry.due, told: entry.told, text })
    }
}

/// What one visit to the disk does.
#[derive(Debug, Default)]
pub struct Job {
    /// Names of the slots in the sets.
    pub names: Vec<String>,
    /// New alerts; with `rewrite` all alerts.
    pub alerts: Vec<Keep>,
    /// What became of alerts.
    pub marks: Vec<Mark<'static>>,
    /// Write a new file that replaces the present one.
    pub rewrite: bool,
}

/// The file.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    /// The directory, locked against a second agent.
    lock: Option<File>,
    file: Option<Arc<File>>,
    end: u64,
    /// An earlier file could not be read; it is put aside rather than replaced.
    unread: bool,
    /// Only a new file helps: the present one failed, is damaged or gone.
    broken: bool,
    /// Another process held the lock when last asked.
    in_use: bool,
}

/// What the file held.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Alerts that somebody still has to be told.
    pub undelivered: usize,
    /// The newest alerts, told or not, oldest first; at most [`MAX_RECENT`].
    pub recent: Vec<Arc<Alert>>,
    /// Damaged places that were cut out.
    pub torn: u64,
    /// Why alerts are kept in memory only.
    pub warning: Option<String>,
    /// That is so because another agent holds the directory, perhaps one that is about to end.
    pub in_use: bool,
}

/// Ledger and file together.
#[derive(Debug)]
pub struct Outbox {
    /// What is known of each alert.
    pub ledger: Ledger,
    /// Their texts.
    pub journal: Journal,
}

impl Outbox {
    /// Opens `data_dir/outbox`. Never fails: where the disk does not serve, alerts are kept in memory, and
    /// writing is tried again later.
    pub fn open(data_dir: &Path, now: Now) -> (Self, Recovered) {
        let mut journal = Journal {
            dir: data_dir.join("outbox"),
            lock: None,
            file: None,
            end: 0,
            unread: true,
            broken: true,
            in_use: false,
        };
        let mut ledger = Ledger::default();
        let mut found = Recovered::default();
        let entered = journal.enter();
        found.in_use = entered.is_err() && journal.in_use;
        let outcome = entered.and_then(|()| journal.recover(&mut ledger, &mut found, now));
        ledger.forget_told(now);
        let lost = ledger.enforce().len();
        found.undelivered = ledger.iter().filter(|(_, e)| !e.due.is_empty()).count();
        found.warning = outcome.and_then(|()| journal.settle_in(&mut ledger)).err();
        if lost > 0 {
            tracing::warn!(lost, "the outbox held more alerts than it may; the least important were dropped");
        }
        (Self { ledger, journal }, found)
    }
}

impl Journal {
    /// Where it lies.
    pub fn path(&self) -> PathBuf {
        self.dir.join("alerts.log")
    }

    /// The open file, to read alerts from. A rewrite leaves it readable at the old places.
    pub fn reader(&self) -> Option<Arc<File>> {
        self.file.clone()
    }

    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        self.end
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.end == 0
    }

    /// Whether the next job has to be a rewrite.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether so much of the file is dead that a rewrite pays.
    pub fn wants_compaction(&self, live: u64) -> bool {
        self.end > MAX_FILE || self.end > COMPACT_MIN && self.end > live * 2
    }

    /// Does a job; returns where the alerts now lie. After an error only a rewrite is accepted.
    pub fn run(&mut self, job: &Job) -> Result<Vec<(Seq, Place)>, String> {
        let result = if job.rewrite { self.rewrite(job) } else { self.append(job) };
        self.broken = result.is_err();
        result
    }

    fn append(&mut self, job: &Job) -> Result<Vec<(Seq, Place)>, String> {
        let path = self.path();
        let file = self.file.clone().filter(|_| !self.broken).ok_or("the file has to be written anew")?;
        let mut buf = Vec::new();
        let mut places = Vec::with_capacity(job.alerts.len());
        for keep in &job.alerts {
            let place = put(keep, &job.names, Some(&file), self.end + buf.len() as u64, &mut buf);
            places.extend(place.map(|p| (keep.seq, p)));
        }
        for mark in &job.marks {
            record::encode(&Record::Mark(mark.clone()), &mut buf);
        }
        let written = file.write_all_at(&buf, self.end).and_then(|()| {
            // Marks may be lost with the power: a second delivery is the worst that follows.
            if job.alerts.is_empty() { Ok(()) } else { file.sync_data() }
        });
        let vanished = || io::Error::new(io::ErrorKind::NotFound, "it was deleted");
        let linked = file.metadata().and_then(|m| if m.nlink() == 0 { Err(vanished()) } else { Ok(()) });
        if let Err(error) = written.and(linked) {
            // Half a record at the end would be cut at the next start anyway; a failure here changes nothing.
            let _ = file.set_len(self.end);
            return Err(state::trouble("write", &path, &error));
        }
        self.end += buf.len() as u64;
        Ok(places)
    }

    fn rewrite(&mut self, job: &Job) -> Result<Vec<(Seq, Place)>, String> {
        self.enter()?;
        let (path, new) = (self.path(), self.dir.join("alerts.new"));
        if self.unread && path.exists() {
            let aside = self.dir.join("alerts.unread");
            fs::rename(&path, &aside).map_err(|e| state::trouble("put aside", &path, &e))?;
            tracing::warn!(
                "{} could not be read and is now {}; to have its alerts sent, stop the agent and rename it back",
                path.display(),
                aside.display()
            );
        }
        let Copied { file, end, places } = self.copy(&new, job).map_err(|e| {
            // Its bytes are needed elsewhere; if it cannot go, the next rewrite replaces it.
            let _ = fs::remove_file(&new);
            state::trouble("write", &new, &e)
        })?;
        fs::rename(&new, &path).map_err(|e| state::trouble("replace", &path, &e))?;
        // Without this the rename, and with it every later alert, could be undone by a power cut.
        self.lock
            .as_ref()
            .map_or(Ok(()), File::sync_all)
            .map_err(|e| state::trouble("sync", &self.dir, &e))?;
        (self.file, self.end, self.unread) = (Some(Arc::new(file)), end, false);
        Ok(places)
    }

    fn copy(&self, new: &Path, job: &Job) -> io::Result<Copied> {
        let file = options().create(true).truncate(true).open(new)?;
        let mut out = BufWriter::new(&file);
        let (mut buf, mut end, mut places) = (Vec::new(), 0, Vec::with_capacity(job.alerts.len()));
        for keep in &job.alerts {
            buf.clear();
            let place = put(keep, &job.names, self.file.as_deref(), end, &mut buf);
            places.extend(place.map(|p| (keep.seq, p)));
            out.write_all(&buf)?;
            end += buf.len() as u64;
        }
        out.flush()?;
        drop(out);
        file.sync_all()?;
        Ok(Copied { file, end, places })
    }

    /// Makes and locks the directory.
    fn enter(&mut self) -> Result<(), String> {
        let linked = |dir: &File| dir.metadata().is_ok_and(|m| m.nlink() > 0);
        if self.lock.take_if(|dir| !linked(dir)).is_none() && self.lock.is_some() {
            return Ok(());
        }
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|e| state::trouble("make", &self.dir, &e))?;
        let dir = File::open(&self.dir).map_err(|e| state::trouble("open", &self.dir, &e))?;
        // A program that is just being started holds our files until it runs.
        let is_held = |pause| {
            std::thread::sleep(std::time::Duration::from_millis(pause));
            flock(&dir, FlockOperation::NonBlockingLockExclusive).is_err()
        };
        self.in_use = [0, 5, 20].into_iter().all(is_held);
        if self.in_use {
            let why = "is in use by another sysops-agent; stop it or set another agent.data_dir";
            return Err(format!("{} {why}", self.dir.display()));
        }
        self.lock = Some(dir);
        Ok(())
    }

    /// Reads the file, if there is one.
    fn recover(&mut self, ledger: &mut Ledger, found: &mut Recovered, now: Now) -> Result<(), String> {
        let path = self.path();
        let writable = options().open(&path);
        let file = writable.as_ref().ok().map_or_else(|| File::open(&path), File::try_clone);
        let file = match file {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.unread = false;
                return Ok(());
            }
            other => other.map_err(|e| state::trouble("read", &path, &e))?,
        };
        let mut recent = VecDeque::new();
        // Twice what a healthy file can have; more is not ours.
        let reader = BufReader::new((&file).take(2 * MAX_FILE));
        let scan = record::scan(reader, |place, record| match record {
            Record::Alert(stored) => recover_alert(ledger, &mut recent, place, stored, now),
            Record::Mark(mark) => {
                if let Some(slot) = ledger.slot(&mark.channel) {
                    ledger.settle(mark.seq, slot, mark.outcome);
                }
            }
        });
        found.torn = scan.damaged;
        found.recent = recent.into();
        self.broken = scan.damaged > 0 || !scan.clean_end;
        (self.file, self.end, self.unread) = (Some(Arc::new(file)), scan.len, false);
        writable.map(|_| ()).map_err(|e| state::trouble("write", &path, &e))
    }

    /// Cuts damage out of the file and makes a first one where there is none.
    fn settle_in(&mut self, ledger: &mut Ledger) -> Result<(), String> {
        if !self.broken && !self.wants_compaction(ledger.live_bytes()) {
            return Ok(());
        }
        let places = self.run(&rewrite_job(ledger))?;
        ledger.moved(&places);
        Ok(())
    }
}

/// A new file.
struct Copied {
    file: File,
    end: u64,
    places: Vec<(Seq, Place)>,
}

/// The job that writes everything into a new file.
pub fn rewrite_job(ledger: &Ledger) -> Job {
    let alerts = ledger.iter().filter_map(|(seq, entry)| Keep::of(seq, entry)).collect();
    Job { names: ledger.all_names().to_vec(), alerts, marks: Vec::new(), rewrite: true }
}

/// The alert `seq` at a place of the file; none if it is damaged.
pub fn read(file: &File, seq: Seq, place: Place) -> Option<Alert> {
    let mut buf = vec![0; place.len as usize];
    file.read_exact_at(&mut buf, place.offset).ok()?;
    match record::decode(&buf)? {
        Record::Alert(stored) if stored.seq == seq => Some(stored.alert.into_owned()),
        Record::Alert(_) | Record::Mark(_) => None,
    }
}

fn recover_alert(
    ledger: &mut Ledger,
    recent: &mut VecDeque<Arc<Alert>>,
    place: Place,
    stored: Stored<'static>,
    now: Now,
) {
    let Stored { seq, at, due, told, alert } = stored;
    let mut entry = Entry::recovered(&alert, place, at, now);
    entry.due = ledger.set(due.iter().map(AsRef::as_ref));
    entry.told = ledger.set(told.iter().map(AsRef::as_ref));
    ledger.insert(seq, entry);
    if recent.len() == MAX_RECENT {
        recent.pop_front();
    }
    recent.push_back(Arc::new(alert.into_owned()));
}

/// Appends one alert to `buf`, which will lie at `base` plus its length; tells where.
fn put(keep: &Keep, names: &[String], from: Option<&File>, base: u64, buf: &mut Vec<u8>) -> Option<Place> {
    let loaded;
    let alert = match &keep.text {
        Text::Held(alert) => alert.as_ref(),
        Text::At(place) => {
            loaded = read(from?, keep.seq, *place)?;
            &loaded
        }
    };
    let list = |set: Set| set.slots().filter_map(|slot| slot.of(names)).map(Into::into).collect();
    let stored = Stored {
        seq: keep.seq,
        at: keep.at,
        due: list(keep.due),
        told: list(keep.told),
        alert: record::fit(alert),
    };
    let before = buf.len();
    record::encode(&Record::Alert(stored), buf);
    let len = (buf.len() - before).checked_sub(1)? as u32;
    Some(Place { offset: base, len })
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(OFlags::NOFOLLOW.bits() as i32);
    options
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
