//! How pushing stands, for metrics, `status` and heartbeats. Written by one task each, read by others.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::watch;

use super::backup::Stats;
use crate::notify::SendError;

/// One address of the collector.
#[derive(Debug, Default)]
pub struct Flow {
    /// Bodies that were taken.
    pub taken: AtomicU64,
    /// Bytes of them.
    pub bytes: AtomicU64,
    /// Tries that failed.
    pub failures: AtomicU64,
    /// Of those the last ones, in a row.
    pub failing: AtomicU64,
    /// The sentence of the last one.
    error: watch::Sender<Option<String>>,
}

impl Flow {
    /// Counts a try. Returns how many had failed in a row before.
    pub fn tried(&self, bytes: usize, done: &Result<(), SendError>) -> u64 {
        if let Err(error) = done {
            self.failures.fetch_add(1, Relaxed);
            self.error.send_replace(Some(error.to_string()));
            return self.failing.fetch_add(1, Relaxed);
        }
        self.taken.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.failing.swap(0, Relaxed)
    }

    /// The sentence of the last failure, if there was one.
    pub fn last_error(&self) -> Option<String> {
        self.error.borrow().clone()
    }

    /// 1 while bodies are taken; 0 before the first one and after a failure.
    pub fn up(&self) -> u64 {
        u64::from(self.taken.load(Relaxed) > 0 && self.failing.load(Relaxed) == 0)
    }
}

/// Counters since the start, and how things stand.
#[derive(Debug, Default)]
pub struct State {
    /// Metrics.
    pub metrics: Flow,
    /// Signs of life.
    pub heartbeat: Flow,
    /// Payloads that wait in memory.
    pub waiting: AtomicU64,
    /// Payloads that the server refused while it took others.
    pub refused: AtomicU64,
    /// Payloads given up for want of room.
    pub dropped: AtomicU64,
    /// Backup files.
    pub files: AtomicU64,
    /// Bytes of them.
    pub file_bytes: AtomicU64,
    /// Backup files that could not be read.
    pub unreadable: AtomicU64,
    /// Why payloads wait in memory only.
    trouble: watch::Sender<Option<String>>,
}

impl State {
    /// Takes over how queue and backup stand; `dropped` are those of the queue.
    pub fn stands(&self, waiting: usize, dropped: u64, backup: &Stats) {
        self.waiting.store(waiting as u64, Relaxed);
        self.dropped.store(dropped + backup.dropped, Relaxed);
        self.files.store(backup.files, Relaxed);
        self.file_bytes.store(backup.bytes, Relaxed);
        self.unreadable.store(backup.unreadable, Relaxed);
        self.trouble.send_replace(backup.trouble.clone());
    }

    /// Why payloads wait in memory only.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// What keeps the agent from being healthy: short names of reasons.
    pub fn troubles(&self) -> Vec<&'static str> {
        let fails = |flow: &Flow| flow.failing.load(Relaxed) > 0;
        let troubles = [
            (fails(&self.metrics), "pushed metrics are not taken"),
            (fails(&self.heartbeat), "pushed heartbeats are not taken"),
            (self.trouble().is_some(), "the backup of pushed metrics cannot be written"),
        ];
        troubles.into_iter().filter(|(is, _)| *is).map(|(_, why)| why).collect()
    }
}
