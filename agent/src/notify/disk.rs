//! The outbox file's side of the worker: one visit to the disk at a time, on a blocking thread, with everything
//! that has gathered meanwhile. A disk that fails or hangs costs durability, never an alert's way out.

use super::journal::{Job, Journal, Keep, rewrite_job};
use super::ledger::{Entry, Ledger, MAX_UNSTORED, Seq, Slot};
use super::record::{Mark, Outcome, Place};
use super::stats::OutboxStats;
use crate::time::{Now, SECOND};
use std::borrow::Cow;
use std::fs::File;
use std::future::pending;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

/// After so long without an answer of the disk nobody waits for it any more, seconds.
pub(super) const PATIENCE_SECS: u64 = 2;
/// Pause before a failing disk is tried again, seconds.
pub(super) const RETRY_SECS: u64 = 10;

/// A finished visit.
#[derive(Debug)]
pub(super) struct Visit {
    journal: Journal,
    rewrite: bool,
    alerts: usize,
    result: Result<Vec<(Seq, Place)>, String>,
}

/// The file and what waits for it.
#[derive(Debug)]
pub(super) struct Disk {
    /// Here unless a visit has it.
    journal: Option<Journal>,
    visit: Option<JoinHandle<Visit>>,
    /// When the visit began.
    since: Now,
    reader: Option<Arc<File>>,
    /// Alerts to be written.
    fresh: Vec<Seq>,
    marks: Vec<Mark<'static>>,
    /// Who wants to know about `fresh`.
    waiters: Vec<oneshot::Sender<bool>>,
    /// Who wants to know about the visit.
    riders: Vec<oneshot::Sender<bool>>,
    retry_ns: u64,
    stats: OutboxStats,
}

impl Disk {
    /// With what [`super::journal::Outbox::open`] left.
    pub(super) fn new(journal: Journal, torn: u64, trouble: Option<String>, now: Now) -> Self {
        if let Some(why) = &trouble {
            say_trouble(why);
        }
        let stats = OutboxStats {
            path: journal.path().display().to_string(),
            bytes: journal.len(),
            torn,
            trouble,
            ..OutboxStats::default()
        };
        Self {
            reader: journal.reader(),
            journal: Some(journal),
            visit: None,
            since: now,
            fresh: Vec::new(),
            marks: Vec::new(),
            waiters: Vec::new(),
            riders: Vec::new(),
            retry_ns: now.plus_secs(RETRY_SECS).mono_ns,
            stats,
        }
    }

    /// The file to read alerts from.
    pub(super) fn reader(&self) -> Option<Arc<File>> {
        self.reader.clone()
    }

    /// Alerts to be written; `done` hears whether they are on disk.
    pub(super) fn write(&mut self, seqs: impl Iterator<Item = Seq>, done: oneshot::Sender<bool>) {
        let before = self.fresh.len();
        self.fresh.extend(seqs);
        self.stats.accepted += (self.fresh.len() - before) as u64;
        self.waiters.push(done);
    }

    /// What became of an alert.
    pub(super) fn mark(&mut self, seq: Seq, slot: Slot, outcome: Outcome, ledger: &Ledger) {
        let channel = Cow::Owned(ledger.name(slot).to_owned());
        self.marks.push(Mark { seq, channel, outcome });
    }

    /// Whether everything is written, or cannot be.
    pub(super) fn is_idle(&self) -> bool {
        self.visit.is_none() && self.fresh.is_empty() && self.marks.is_empty()
    }

    /// Begins a visit if there is something to do and the disk is free.
    pub(super) fn start(&mut self, now: Now, ledger: &mut Ledger) {
        if self.visit.is_some() {
            return;
        }
        let Some(journal) = self.journal.take_if(|j| !j.is_broken() || now.mono_ns >= self.retry_ns) else {
            return self.give_up();
        };
        if !journal.is_broken() && self.is_idle() {
            self.journal = Some(journal);
            // Somebody may have asked for nothing to be written.
            return answer(&mut self.waiters, true);
        }
        let job = self.job(&journal, now, ledger);
        self.riders.append(&mut self.waiters);
        self.since = now;
        self.visit = Some(spawn_blocking(move || visit(journal, &job)));
    }

    fn job(&mut self, journal: &Journal, now: Now, ledger: &mut Ledger) -> Job {
        let (fresh, marks) = (std::mem::take(&mut self.fresh), std::mem::take(&mut self.marks));
        ledger.forget_told(now);
        if journal.is_broken() || journal.wants_compaction(ledger.live_bytes()) {
            return rewrite_job(ledger);
        }
        let keep = |seq| ledger.get(seq).and_then(|entry| Keep::of(seq, entry));
        let alerts = fresh.into_iter().filter_map(keep).collect();
        Job { names: ledger.all_names().to_vec(), alerts, marks, rewrite: false }
    }

    /// Nothing can be written now; a later rewrite takes all in.
    fn give_up(&mut self) {
        self.fresh.clear();
        self.marks.clear();
        answer(&mut self.waiters, false);
    }

    /// The end of the visit; waits for ever when there is none. May be dropped and called again.
    pub(super) async fn visited(&mut self) -> Result<Visit, JoinError> {
        match &mut self.visit {
            Some(visit) => visit.await,
            None => pending().await,
        }
    }

    /// Takes in a finished visit. Returns alerts that turned out to be unreadable.
    pub(super) fn finish(
        &mut self,
        now: Now,
        visit: Result<Visit, JoinError>,
        ledger: &mut Ledger,
    ) -> Vec<(Seq, Entry)> {
        self.visit = None;
        let Ok(Visit { journal, rewrite, alerts, result }) = visit else {
            // A panic in there: without its file the outbox goes on in memory.
            self.trouble("the outbox stopped working; restart the agent".to_owned());
            answer(&mut self.riders, false);
            return Vec::new();
        };
        (self.reader, self.stats.bytes) = (journal.reader(), journal.len());
        self.journal = Some(journal);
        answer(&mut self.riders, result.is_ok());
        match result {
            Ok(places) => self.written(&places, rewrite, alerts, ledger),
            Err(why) => {
                self.retry_ns = now.plus_secs(RETRY_SECS).mono_ns;
                self.trouble(why);
                Vec::new()
            }
        }
    }

    fn written(
        &mut self,
        places: &[(Seq, Place)],
        rewrite: bool,
        alerts: usize,
        ledger: &mut Ledger,
    ) -> Vec<(Seq, Entry)> {
        self.stats.commits += u64::from(alerts > 0);
        if let Some(why) = self.stats.trouble.take() {
            tracing::info!(earlier = %why, "alerts are written to the outbox again");
        }
        if rewrite {
            self.stats.compactions += 1;
            return ledger.moved(places);
        }
        ledger.stored(places);
        Vec::new()
    }

    /// Says once that alerts are in memory only.
    fn trouble(&mut self, why: String) {
        if self.stats.trouble.is_none() {
            say_trouble(&why);
        }
        self.stats.trouble = Some(why);
    }

    /// Lets nobody wait for a disk that hangs.
    pub(super) fn check_patience(&mut self, now: Now) {
        if self.visit.is_some() && now.since(self.since) >= PATIENCE_SECS * SECOND {
            answer(&mut self.riders, false);
            answer(&mut self.waiters, false);
            if self.stats.trouble.is_none() {
                let path = &self.stats.path;
                let why = format!("the disk has not answered for {PATIENCE_SECS} s on {path}; see dmesg");
                self.trouble(why);
            }
        }
    }

    /// When to look here again, nanoseconds of the monotonic clock.
    pub(super) fn wake(&self) -> u64 {
        let broken = self.journal.as_ref().is_some_and(Journal::is_broken);
        let waiting = !self.riders.is_empty() || !self.waiters.is_empty();
        match (&self.visit, broken) {
            (Some(_), _) if waiting => self.since.plus_secs(PATIENCE_SECS).mono_ns,
            (None, true) => self.retry_ns,
            (Some(_) | None, _) => u64::MAX,
        }
    }

    /// What the status page shows.
    pub(super) fn stats(&self, ledger: &Ledger) -> OutboxStats {
        let unstored = ledger.iter().filter(|(_, e)| e.place.is_none()).count() as u64;
        let used_percent = ledger.used_percent();
        OutboxStats { alerts: ledger.len() as u64, used_percent, unstored, ..self.stats.clone() }
    }

    /// An alert was dropped at a limit.
    pub(super) fn dropped(&mut self, lost: &[(Seq, Entry)]) {
        self.stats.dropped += lost.len() as u64;
    }

    /// A template could not be filled in. Returns whether it is the first time.
    pub(super) fn template_error(&mut self) -> bool {
        self.stats.template_errors += 1;
        self.stats.template_errors == 1
    }
}

fn say_trouble(why: &str) {
    tracing::warn!(
        %why,
        "alerts are delivered, but kept in memory only (at most {MAX_UNSTORED}): a restart would lose those waiting"
    );
}

fn visit(mut journal: Journal, job: &Job) -> Visit {
    let result = journal.run(job);
    Visit { journal, rewrite: job.rewrite, alerts: job.alerts.len(), result }
}

fn answer(who: &mut Vec<oneshot::Sender<bool>>, durable: bool) {
    for waiter in who.drain(..) {
        // Whoever asked may have gone.
        let _ = waiter.send(durable);
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
