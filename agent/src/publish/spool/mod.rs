//! The spool: what could not be delivered waits on disk, and is sent in order when the server is there.
//!
//! One file a round. So nothing is compacted, a file is whole or torn, what is sent is removed, and what has to go for
//! want of room is removed the same way. Where the disk does not serve (full, read-only, hung), a little waits in memory,
//! and goes to the disk when that serves again.

pub mod disk;
pub mod index;
pub mod record;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::message::{Round, What};
use super::visits::Visits;
use crate::host::{clock, state};
use disk::Trouble;
use index::{Index, Waiting};

/// Older rounds removed from a full disk for the sake of a new one.
const MOST_REMOVED: usize = 16;
/// Files that may be there of rounds that are delivered, at most; further ones are sent again after a restart.
const MOST_STRAYS: usize = 64;

/// Counts since the start, and how things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Rounds that wait.
    pub waiting: u64,
    /// Bytes of them on disk.
    pub bytes: u64,
    /// Rounds of metrics that went for want of room.
    pub dropped_metrics: u64,
    /// Inventories that went for want of room.
    pub dropped_inventory: u64,
    /// Files that were torn or unreadable.
    pub torn: u64,
    /// Why rounds wait in memory only.
    pub trouble: Option<String>,
}

/// The spool.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    visits: Visits,
    limit: u64,
    index: Index,
    /// Rounds the disk did not take.
    held: BTreeMap<u64, Round>,
    /// What an earlier run left is not known yet: nothing is written, for its files must not be replaced.
    unlisted: bool,
    /// Delivered rounds whose files may be there: the disk hung when they were to be removed.
    strays: Vec<(u64, What)>,
    stats: Stats,
}

impl Spool {
    /// The spool in `dir`, of at most `limit` bytes, with what an earlier run left. Never fails: where the disk does not
    /// serve, rounds wait in memory.
    pub async fn open(dir: &Path, limit: u64) -> Self {
        let (index, held, stats) = (Index::default(), BTreeMap::new(), Stats::default());
        let (visits, unlisted, strays, dir) = (Visits::new(dir), limit > 0, Vec::new(), dir.to_owned());
        let mut spool = Self { dir, visits, limit, index, held, unlisted, strays, stats };
        if let Err(why) = spool.list().await {
            spool.trouble(why);
            // Behind whatever is there: nobody has written so many rounds as nanoseconds have passed.
            spool.index.begin_behind(u64::try_from(clock::now().wall_ns).unwrap_or_default());
        }
        spool
    }

    /// Finds what an earlier run left, if that is not done.
    async fn list(&mut self) -> Result<(), String> {
        if self.unlisted {
            let found = self.visit(disk::open).await??;
            self.unlisted = false;
            for found in found {
                let waiting = Waiting { what: found.what, bytes: found.bytes, held: false };
                if !self.index.holds(found.seq) {
                    self.index.insert(found.seq, waiting);
                }
            }
            self.make_room().await;
            self.well();
        }
        Ok(())
    }

    /// Takes a round in; it is on disk when this returns, if the disk serves.
    pub async fn push(&mut self, round: Round) {
        let seq = self.index.next();
        match self.store(seq, &round).await {
            Ok(bytes) => {
                self.index.insert(seq, Waiting { what: round.what, bytes, held: false });
                self.well();
            }
            Err(why) => {
                if self.limit > 0 {
                    self.trouble(why);
                }
                let waiting = Waiting { what: round.what, bytes: round.bytes() as u64, held: true };
                self.index.insert(seq, waiting);
                self.held.insert(seq, round);
            }
        }
        self.make_room().await;
    }

    /// The oldest round and its number; torn ones are dropped and counted.
    pub async fn oldest(&mut self) -> Option<(u64, Round)> {
        loop {
            let (seq, waiting) = self.index.oldest()?;
            if let Some(round) = self.held.get(&seq) {
                return Some((seq, round.clone()));
            }
            let read = self.visit(move |dir| disk::read(dir, seq, waiting.what)).await;
            match read {
                Ok(Ok(content)) => match record::decode(&content) {
                    Some(messages) => return Some((seq, Round { what: waiting.what, messages })),
                    None => self.torn(seq, "is torn or damaged").await,
                },
                Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                    self.torn(seq, "was removed by somebody else").await;
                }
                Ok(Err(error)) if state::is_passing(&error) => {
                    let why = state::trouble("read in", &self.dir, &error);
                    self.trouble(why);
                    return None;
                }
                Ok(Err(error)) => self.torn(seq, &format!("cannot be read: {error}")).await,
                // It hangs: this round is asked for again later.
                Err(why) => {
                    self.trouble(why);
                    return None;
                }
            }
        }
    }

    /// The round of that number is delivered, or will never be.
    pub async fn done(&mut self, seq: u64) {
        self.held.remove(&seq);
        let Some(waiting) = self.index.remove(seq) else { return };
        // A write that was given up may have been done after all.
        if !waiting.held || self.stats.trouble.is_some() {
            self.remove(seq, waiting.what).await;
        }
    }

    /// Removes a file; one that the disk does not let go is removed when it serves again.
    async fn remove(&mut self, seq: u64, what: What) {
        // What cannot be removed is sent again after a restart, under the same ids.
        if self.limit > 0
            && self.visit(move |dir| disk::remove(dir, seq, what)).await.is_err()
            && self.strays.len() < MOST_STRAYS
        {
            self.strays.push((seq, what));
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// How things stand.
    pub fn stats(&self) -> Stats {
        Stats { waiting: self.index.len() as u64, bytes: self.index.on_disk(), ..self.stats.clone() }
    }

    /// What is in memory goes to the disk, if that serves again.
    pub async fn settle(&mut self) {
        if self.limit > 0 && self.list().await.is_err() {
            return;
        }
        for (seq, what) in std::mem::take(&mut self.strays) {
            self.remove(seq, what).await;
        }
        let Some(seq) = self.index.held().next().filter(|_| self.limit > 0) else { return };
        let Some(round) = self.held.remove(&seq) else { return };
        if let Ok(bytes) = self.store(seq, &round).await {
            self.index.insert(seq, Waiting { what: round.what, bytes, held: false });
            self.well();
            self.make_room().await;
        } else {
            self.held.insert(seq, round);
        }
    }

    /// Writes a round, if need be in place of older ones. Returns its bytes.
    async fn store(&mut self, seq: u64, round: &Round) -> Result<u64, String> {
        if self.limit == 0 {
            return Err(String::new());
        }
        self.list().await?;
        let what = round.what;
        let content = record::encode(&round.messages).ok_or("a round is too large for a file")?;
        let bytes = content.len() as u64;
        let content = std::sync::Arc::new(content);
        for _ in 0..=MOST_REMOVED {
            let content = std::sync::Arc::clone(&content);
            let written = self.visit(move |dir| {
                // Somebody may have removed the directory.
                disk::write(dir, seq, what, &content).or_else(|trouble| match disk::open(dir) {
                    Ok(_) if !trouble.full => disk::write(dir, seq, what, &content),
                    _ => Err(trouble),
                })
            });
            let Trouble { full, why } = match written.await? {
                Ok(()) => return Ok(bytes),
                Err(trouble) => trouble,
            };
            // An inventory is not dropped for metrics.
            let least = self.index.least(false).filter(|_| full);
            let least = least.filter(|seq| what == What::Inventory || self.is_metrics(*seq)).ok_or(why)?;
            self.lose(least).await;
        }
        Err(format!("{} is full, however much is removed", self.dir.display()))
    }

    fn is_metrics(&self, seq: u64) -> bool {
        self.index.get(seq).is_some_and(|waiting| waiting.what == What::Metrics)
    }

    async fn make_room(&mut self) {
        while let Some(seq) = self.index.surplus(self.limit) {
            self.lose(seq).await;
        }
    }

    async fn lose(&mut self, seq: u64) {
        match self.index.get(seq).map(|waiting| waiting.what) {
            Some(What::Metrics) => self.stats.dropped_metrics += 1,
            Some(What::Inventory) => self.stats.dropped_inventory += 1,
            None => {}
        }
        self.done(seq).await;
    }

    async fn torn(&mut self, seq: u64, why: &str) {
        self.stats.torn += 1;
        tracing::warn!("round {seq:016x} of the spool {} {why}; it is left out", self.dir.display());
        self.done(seq).await;
    }

    async fn visit<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> Result<T, String> {
        self.visits.visit(job).await
    }

    fn trouble(&mut self, why: String) {
        if self.stats.trouble.is_none() {
            tracing::warn!(
                "{why}; metrics and inventory wait for their server in memory, {} bytes at most",
                index::MAX_HELD
            );
        }
        self.stats.trouble = Some(why);
    }

    fn well(&mut self) {
        if self.held.is_empty() && self.stats.trouble.take().is_some() {
            tracing::info!("the spool {} takes rounds again", self.dir.display());
        }
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
