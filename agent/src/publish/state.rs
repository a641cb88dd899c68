//! How publishing stands, for metrics, heartbeats and `status`. Written by one task, read by others.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::watch;

use super::message::What;
use super::spool::Stats;
use crate::notify::SendError;

/// Counters since the start, and how things stand.
#[derive(Debug, Default)]
pub struct State {
    /// 1 while the last try succeeded; 0 before the first one and after a failure.
    pub up: AtomicU64,
    /// Messages of metrics delivered.
    pub metrics: AtomicU64,
    /// Inventories delivered.
    pub inventory: AtomicU64,
    /// Bytes of bodies delivered.
    pub bytes: AtomicU64,
    /// Tries that failed.
    pub failures: AtomicU64,
    /// Messages too large for the server that could not be made smaller.
    pub too_large: AtomicU64,
    /// Rounds that wait.
    pub waiting: AtomicU64,
    /// Bytes of them on disk.
    pub spool_bytes: AtomicU64,
    /// Rounds of metrics dropped for want of room.
    pub dropped_metrics: AtomicU64,
    /// Inventories dropped for want of room.
    pub dropped_inventory: AtomicU64,
    /// Damaged files of the spool.
    pub torn: AtomicU64,
    /// 1 while the disk does not take rounds.
    pub in_memory: AtomicU64,
    /// The sentence of the last failure.
    error: watch::Sender<Option<String>>,
}

impl State {
    /// Counts what was delivered.
    pub fn delivered(&self, what: What, messages: u64, bytes: u64) {
        let count = match what {
            What::Metrics => &self.metrics,
            What::Inventory => &self.inventory,
        };
        count.fetch_add(messages, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        self.up.store(1, Relaxed);
    }

    /// Counts a try that failed.
    pub fn failed(&self, error: &SendError) {
        self.failures.fetch_add(1, Relaxed);
        self.up.store(0, Relaxed);
        self.error.send_replace(Some(error.to_string()));
    }

    /// The sentence of the last failure, if there was one.
    pub fn last_error(&self) -> Option<String> {
        self.error.borrow().clone()
    }

    /// Takes over how the spool stands.
    pub fn spooled(&self, stats: &Stats) {
        let Stats { waiting, bytes, dropped_metrics, dropped_inventory, torn, trouble } = stats;
        let pairs = [
            (&self.waiting, *waiting),
            (&self.spool_bytes, *bytes),
            (&self.dropped_metrics, *dropped_metrics),
            (&self.dropped_inventory, *dropped_inventory),
            (&self.torn, *torn),
            (&self.in_memory, u64::from(trouble.is_some())),
        ];
        for (counter, value) in pairs {
            counter.store(value, Relaxed);
        }
    }

    /// What keeps the agent from being healthy: short names of reasons.
    pub fn troubles(&self) -> Vec<&'static str> {
        let dropped = self.dropped_metrics.load(Relaxed) + self.dropped_inventory.load(Relaxed);
        let troubles = [
            (self.failures.load(Relaxed) > 0 && self.up.load(Relaxed) == 0, "metrics do not reach NATS"),
            (self.in_memory.load(Relaxed) > 0, "the spool is in memory only"),
            (dropped > 0 && self.waiting.load(Relaxed) > 0, "the spool is full: metrics are dropped"),
        ];
        troubles.into_iter().filter(|(is, _)| *is).map(|(_, why)| why).collect()
    }
}
