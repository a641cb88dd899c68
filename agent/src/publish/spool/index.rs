//! What waits, and what goes first when there is no room. Pure.
//!
//! Metrics go before inventories, and of each the oldest goes first: of what describes the present, the newest counts.

use std::collections::BTreeMap;

use crate::publish::message::What;

/// Rounds that wait at most, on disk and in memory together.
pub const MAX_ROUNDS: usize = 100_000;
/// Bytes of rounds that wait in memory, because the disk does not take them.
pub const MAX_HELD: u64 = 2 << 20;
/// A file takes at least so much of a disk.
const BLOCK: u64 = 4096;

/// One round that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What it tells.
    pub what: What,
    /// Its bytes.
    pub bytes: u64,
    /// Whether it is in memory only.
    pub held: bool,
}

impl Waiting {
    fn room(&self) -> u64 {
        if self.held { self.bytes } else { self.bytes.next_multiple_of(BLOCK) }
    }
}

/// All of them, by number; numbers only grow.
#[derive(Debug, Default)]
pub struct Index {
    waiting: BTreeMap<u64, Waiting>,
    last: u64,
    on_disk: u64,
    in_memory: u64,
}

impl Index {
    /// The number of the next round.
    pub fn next(&self) -> u64 {
        self.last.saturating_add(1)
    }

    /// Whether a round has that number.
    pub fn holds(&self, seq: u64) -> bool {
        self.waiting.contains_key(&seq)
    }

    /// Numbers begin behind `seq`.
    pub fn begin_behind(&mut self, seq: u64) {
        self.last = self.last.max(seq);
    }

    /// Takes a round in.
    pub fn insert(&mut self, seq: u64, waiting: Waiting) {
        self.remove(seq);
        self.last = self.last.max(seq);
        *self.sum(waiting.held) += waiting.room();
        self.waiting.insert(seq, waiting);
    }

    /// Forgets a round.
    pub fn remove(&mut self, seq: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&seq)?;
        *self.sum(waiting.held) -= waiting.room();
        Some(waiting)
    }

    /// A round.
    pub fn get(&self, seq: u64) -> Option<Waiting> {
        self.waiting.get(&seq).copied()
    }

    fn sum(&mut self, held: bool) -> &mut u64 {
        if held { &mut self.in_memory } else { &mut self.on_disk }
    }

    /// The one that is sent next.
    pub fn oldest(&self) -> Option<(u64, Waiting)> {
        self.waiting.first_key_value().map(|(seq, waiting)| (*seq, *waiting))
    }

    /// Rounds in memory only, oldest first.
    pub fn held(&self) -> impl Iterator<Item = u64> {
        self.waiting.iter().filter(|(_, waiting)| waiting.held).map(|(seq, _)| *seq)
    }

    /// Rounds that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Bytes on disk, as the disk counts them.
    pub fn on_disk(&self) -> u64 {
        self.on_disk
    }

    /// The next one to go where there is too little room for all: none while there is enough. `limit` is that of the
    /// disk, bytes.
    pub fn surplus(&self, limit: u64) -> Option<u64> {
        if self.on_disk > limit {
            return self.least(false);
        }
        if self.in_memory > MAX_HELD {
            return self.least(true);
        }
        if self.waiting.len() > MAX_ROUNDS { self.least(false).or_else(|| self.least(true)) } else { None }
    }

    /// The least important: the oldest metrics, else the oldest inventory.
    pub fn least(&self, held: bool) -> Option<u64> {
        let here = || self.waiting.iter().filter(|(_, waiting)| waiting.held == held);
        let metrics = here().find(|(_, waiting)| waiting.what == What::Metrics);
        metrics.or_else(|| here().next()).map(|(seq, _)| *seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(rounds: &[(u64, What, u64, bool)]) -> Index {
        let mut index = Index::default();
        for (seq, what, bytes, held) in rounds {
            index.insert(*seq, Waiting { what: *what, bytes: *bytes, held: *held });
        }
        index
    }
    use What::{Inventory as I, Metrics as M};

    #[test]
    fn the_oldest_metrics_go_first_and_inventories_last() {
        let check = |rounds: &[(u64, What, u64, bool)], limit: u64, expect: &[u64]| {
            let mut index = index(rounds);
            let mut gone = Vec::new();
            while let Some(seq) = index.surplus(limit) {
                index.remove(seq);
                gone.push(seq);
            }
            assert_eq!(gone, expect, "{rounds:?} in {limit}");
        };
        let four = [(1, I, 100, false), (2, M, 100, false), (3, M, 100, false), (4, I, 100, false)];
        check(&four, 4 * BLOCK, &[]);
        check(&four, 3 * BLOCK, &[2]);
        check(&four, 2 * BLOCK, &[2, 3]);
        check(&four, BLOCK, &[2, 3, 1]);
        check(&four, 0, &[2, 3, 1, 4]);
        check(&[], 0, &[]);
        check(&[(1, M, BLOCK + 1, false)], 2 * BLOCK, &[]);
        check(&[(1, M, BLOCK + 1, false)], 2 * BLOCK - 1, &[1]);
        // Memory has a limit of its own, whatever the disk's.
        check(&[(1, I, MAX_HELD, true), (2, M, 1, true), (3, M, 9, false)], 1 << 30, &[2]);
        check(&[(1, I, MAX_HELD, true), (2, I, 1, true)], 1 << 30, &[1]);
    }

    #[test]
    fn sums_follow_what_comes_and_goes() {
        let mut index = index(&[(7, M, 1, false), (9, I, 5000, false), (8, M, 10, true)]);
        assert_eq!((index.len(), index.on_disk(), index.next()), (3, 3 * BLOCK, 10));
        assert_eq!(index.oldest().map(|(seq, _)| seq), Some(7));
        assert_eq!(index.held().collect::<Vec<_>>(), [8]);
        index.insert(7, Waiting { what: M, bytes: 9000, held: false });
        assert_eq!(index.on_disk(), 5 * BLOCK, "replaced, not added");
        for seq in [7, 8, 9, 7] {
            index.remove(seq);
        }
        assert!(index.is_empty() && index.on_disk() == 0 && index.surplus(0).is_none());
        assert_eq!(index.next(), 10, "numbers only grow");
        index.insert(u64::MAX, Waiting { what: M, bytes: 0, held: false });
        assert_eq!(index.next(), u64::MAX);
    }
}
