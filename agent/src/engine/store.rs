//! Bounded history: the last samples of every gauge, in blocks under one ceiling.
//!
//! A sample is 8 bytes (seconds since the store's start, value as `f32`: 7 digits). A series holds
//! at most `capacity` samples; all series together at most [`MAX_BLOCKS`] blocks. At the ceiling a
//! series pays with its own oldest block; a series that has only one takes the oldest block of
//! the longest. What is evicted early is counted.

use std::collections::VecDeque;

use crate::sample::SeriesId;
use crate::time::SECOND;

/// Samples in a block: 1 KiB.
const BLOCK: usize = 128;
/// Blocks of all series together: 8 MiB.
pub const MAX_BLOCKS: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    secs: u32,
    value: f32,
}

#[derive(Debug, Default)]
struct Row {
    blocks: VecDeque<Vec<Point>>,
}

/// History of all series.
#[derive(Debug)]
pub struct Store {
    rows: Vec<Row>,
    spare: Vec<Vec<Point>>,
    blocks: usize,
    capacity_blocks: usize,
    max_blocks: usize,
    start_ns: u64,
    evicted: u64,
}

/// What a stretch of history looked like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Samples in it.
    pub samples: usize,
    /// Oldest value.
    pub first: f64,
    /// Least value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
    /// Mean of the values.
    pub mean: f64,
}

impl Store {
    /// An empty store that keeps `capacity` samples a series, rounded up to whole blocks.
    pub fn new(capacity: usize, start_ns: u64) -> Self {
        Self::with_ceiling(capacity, start_ns, MAX_BLOCKS)
    }

    fn with_ceiling(capacity: usize, start_ns: u64, max_blocks: usize) -> Self {
        let capacity_blocks = capacity.div_ceil(BLOCK).max(1);
        let (rows, spare) = (Vec::new(), Vec::new());
        Self { rows, spare, blocks: 0, capacity_blocks, max_blocks, start_ns, evicted: 0 }
    }

    /// Appends a sample. O(1) but for the moments at the ceiling.
    pub fn append(&mut self, id: SeriesId, at_ns: u64, value: f64) {
        let index = id.0 as usize;
        if index >= self.rows.len() {
            self.rows.resize_with(index + 1, Row::default);
        }
        let secs = (at_ns.saturating_sub(self.start_ns) / SECOND).min(u64::from(u32::MAX)) as u32;
        let full = self.rows[index].blocks.back().is_none_or(|b| b.len() >= BLOCK);
        if full {
            let block = self.room_for(index);
            self.rows[index].blocks.push_back(block);
        }
        if let Some(block) = self.rows[index].blocks.back_mut() {
            block.push(Point { secs, value: value as f32 });
        }
    }

    fn room_for(&mut self, index: usize) -> Vec<Point> {
        let own = self.rows[index].blocks.len();
        let at_ceiling = self.blocks >= self.max_blocks;
        let victim = if own >= self.capacity_blocks.max(2) || (at_ceiling && own > 1) {
            Some(index)
        } else if at_ceiling {
            (0..self.rows.len()).max_by_key(|&i| self.rows[i].blocks.len())
        } else {
            None
        };
        if at_ceiling && own < self.capacity_blocks {
            self.evicted += 1;
        }
        if let Some(mut block) = victim.and_then(|v| self.rows[v].blocks.pop_front()) {
            block.clear();
            return block;
        }
        self.blocks += 1;
        self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK))
    }

    /// Drops a series' history.
    pub fn forget(&mut self, id: SeriesId) {
        let Some(row) = self.rows.get_mut(id.0 as usize) else { return };
        for mut block in row.blocks.drain(..) {
            block.clear();
            self.blocks -= 1;
            self.spare.push(block);
        }
        self.spare.truncate(64);
    }

    /// The samples of a series since `from_ns`, oldest first.
    pub fn since(&self, id: SeriesId, from_ns: u64) -> impl Iterator<Item = f64> {
        self.points(id, from_ns).map(|(_, value)| value)
    }

    /// The same with their moments, seconds since the store's start.
    pub fn points(&self, id: SeriesId, from_ns: u64) -> impl Iterator<Item = (f64, f64)> + Clone {
        let from = (from_ns.saturating_sub(self.start_ns) / SECOND) as u32;
        let row = self.rows.get(id.0 as usize);
        row.into_iter()
            .flat_map(|r| r.blocks.iter())
            .skip_while(move |b| b.last().is_some_and(|p| p.secs < from))
            .flatten()
            .filter(move |p| p.secs >= from)
            .map(|p| (f64::from(p.secs), f64::from(p.value)))
    }

    /// Summary of a series since `from_ns`.
    pub fn summary(&self, id: SeriesId, from_ns: u64) -> Option<Summary> {
        let mut values = self.since(id, from_ns);
        let first = values.next()?;
        let start = Summary { samples: 1, first, min: first, max: first, mean: first };
        let sum = values.fold(start, |s, v| Summary {
            samples: s.samples + 1,
            first,
            min: s.min.min(v),
            max: s.max.max(v),
            mean: s.mean + v,
        });
        Some(Summary { mean: sum.mean / sum.samples as f64, ..sum })
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        (self.blocks + self.spare.len()) * BLOCK * size_of::<Point>()
    }

    /// Blocks given up because of the common ceiling, before a series was at its own capacity.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(store: &mut Store, id: u32, n: u64) {
        for i in 0..n {
            store.append(SeriesId(id), i * SECOND, i as f64);
        }
    }

    #[test]
    fn keeps_the_newest_up_to_capacity() {
        let mut store = Store::new(256, 0);
        fill(&mut store, 0, 1000);
        let kept: Vec<f64> = store.since(SeriesId(0), 0).collect();
        assert!(kept.len() >= 128 && kept.len() <= 256, "{}", kept.len());
        assert_eq!(kept.last(), Some(&999.0));
        assert!(kept.windows(2).all(|w| (w[1] - w[0] - 1.0).abs() < 1e-6));
        assert_eq!(store.evicted(), 0);
    }

    #[test]
    fn ceiling_is_shared_and_counted() {
        let mut store = Store::with_ceiling(100_000, 0, 4);
        fill(&mut store, 0, 128 * 10);
        assert_eq!(store.bytes(), 4 * 1024);
        fill(&mut store, 1, 10);
        assert_eq!(store.bytes(), 4 * 1024, "the newcomer took a block of the longest");
        assert_eq!(store.since(SeriesId(1), 0).count(), 10);
        assert_eq!(store.evicted(), 7);
        store.forget(SeriesId(0));
        assert_eq!(store.since(SeriesId(0), 0).count(), 0);
    }

    #[test]
    fn summaries_cover_the_asked_stretch() {
        let mut store = Store::new(1000, 0);
        fill(&mut store, 0, 300);
        let s = store.summary(SeriesId(0), 290 * SECOND).expect("samples");
        assert_eq!((s.samples, s.first, s.min, s.max, s.mean), (10, 290.0, 290.0, 299.0, 294.5));
        assert_eq!(store.summary(SeriesId(7), 0), None);
    }
}
