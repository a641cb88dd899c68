//! What an earlier run left: rows that wait for their series, told by metric and labels.

use std::collections::HashMap;

use super::block::NONE;
use super::{NO_ROW, Row, Store};
use crate::sample::SeriesId;

/// Series of an earlier run at most; further ones are left out and counted.
pub const MAX_KEPT: usize = 16_384;
/// Rows from here on are of an earlier run.
pub(super) const FIRST: u32 = 1 << 31;
/// Room below the boot for moments before it: 18 years.
const BEFORE: u64 = 1 << 59;

/// What a series is told by over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Wire name of the metric.
    pub metric: Box<str>,
    /// Label values, in the order of the metric's labels.
    pub labels: Box<[Box<str>]>,
}

/// A row that waits for its series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptId(u32);

/// All rows that wait.
#[derive(Debug, Default)]
pub(super) struct Kept {
    rows: Vec<Row>,
    by_key: HashMap<Key, u32>,
}

impl Kept {
    pub(super) fn row(&mut self, owner: u32) -> &mut Row {
        &mut self.rows[(owner - FIRST) as usize]
    }

    /// Bytes held, without the texts.
    pub(super) fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>() + self.by_key.capacity() * size_of::<(Key, u32)>()
    }
}

impl Store {
    /// An empty one that may be filled with what an earlier run left, from before the boot too.
    pub fn with_past(capacity: usize) -> Self {
        Self { zero: BEFORE, ..Self::new(capacity) }
    }

    /// The row of an earlier run by this key, a new one if need be; `None` at [`MAX_KEPT`].
    pub fn keep_for(&mut self, key: &Key) -> Option<KeptId> {
        if let Some(id) = self.kept.by_key.get(key) {
            return Some(KeptId(*id));
        }
        if self.kept.rows.len() >= MAX_KEPT {
            return None;
        }
        let id = FIRST + self.kept.rows.len() as u32;
        self.kept.rows.push(NO_ROW);
        self.kept.by_key.insert(key.clone(), id);
        Some(KeptId(id))
    }

    /// Appends a sample of an earlier run; a moment below zero is before the boot.
    pub fn put_back(&mut self, KeptId(id): KeptId, at_ns: i64, value: f64) {
        self.push(id, (self.zero as i64).saturating_add(at_ns).max(0) as u64, value);
    }

    /// A series that has none gets the past that waits for it. Whether there was one.
    pub fn claim(&mut self, id: SeriesId, metric: &str, labels: &[Box<str>]) -> bool {
        if self.kept.by_key.is_empty() {
            return false;
        }
        let key = Key { metric: metric.into(), labels: labels.into() };
        let Some(waiting) = self.kept.by_key.remove(&key) else { return false };
        let index = id.0 as usize;
        if index >= self.rows.len() {
            self.rows.resize(index + 1, NO_ROW);
        }
        self.clear(id.0);
        let row = std::mem::replace(self.kept.row(waiting), NO_ROW);
        let mut block = row.first;
        while let Some(next) = self.pool.at_mut(block).map(|block| {
            block.owner = id.0;
            block.next
        }) {
            block = next;
        }
        if let Some(open) = self.pool.at_mut(row.open).filter(|_| row.open != NONE) {
            open.owner = id.0;
        }
        self.rows[index] = row;
        true
    }

    /// The rows that wait, by their keys.
    pub fn waiting(&self) -> impl Iterator<Item = (&Key, KeptId)> {
        self.kept.by_key.iter().map(|(key, id)| (key, KeptId(*id)))
    }

    /// The samples of a row that waits, as [`Store::stretch`].
    pub fn stretch_waiting(
        &self,
        KeptId(id): KeptId,
        from_ns: i64,
        to_ns: i64,
    ) -> impl Iterator<Item = (i64, f64)> {
        let row = self.kept.rows.get((id - FIRST) as usize).copied().unwrap_or(NO_ROW);
        self.stretch_of(row, from_ns, to_ns)
    }

    /// Gives up what nobody claimed.
    pub fn forget_waiting(&mut self) {
        if self.kept.rows.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.kept.by_key).into_values() {
            self.clear(id);
        }
        // All of them were claimed or cleared.
        self.kept.rows = Vec::new();
    }
}
