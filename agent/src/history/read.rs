//! Reading history.

use super::block::{Block, NONE};
use super::frame::Frame;
use super::{Row, Store};
use crate::sample::SeriesId;
use crate::time::SECOND;

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

/// Samples of a series, in the order they came: moment (monotonic nanoseconds) and value.
///
/// Blocks outside of the asked stretch are not looked into, and of frames outside of it the values are not unpacked.
#[derive(Clone)]
pub struct Range<'a> {
    store: &'a Store,
    from: u64,
    to: u64,
    /// Block whose frames are read, and how far.
    block: Option<&'a Block>,
    used: usize,
    /// Blocks still to read.
    next: u32,
    open: u32,
    opened: usize,
    frame: Frame,
    nth: usize,
}

impl Store {
    /// The samples of a series from `from_ns` to `to_ns`, both included.
    pub fn range(&self, id: SeriesId, from_ns: u64, to_ns: u64) -> Range<'_> {
        let row = self.rows.get(id.0 as usize).copied().unwrap_or(super::NO_ROW);
        self.within(row, from_ns.saturating_add(self.zero), to_ns.saturating_add(self.zero))
    }

    /// The samples of a series from `from_ns` to `to_ns`, both included; moments below zero are those before the boot.
    pub fn stretch(&self, id: SeriesId, from_ns: i64, to_ns: i64) -> impl Iterator<Item = (i64, f64)> {
        self.stretch_of(self.rows.get(id.0 as usize).copied().unwrap_or(super::NO_ROW), from_ns, to_ns)
    }

    pub(super) fn stretch_of(&self, row: Row, from_ns: i64, to_ns: i64) -> impl Iterator<Item = (i64, f64)> {
        let inside = |ns: i64| (self.zero as i64).saturating_add(ns).max(0) as u64;
        self.within(row, inside(from_ns), inside(to_ns)).map(|(at, value)| (at as i64, value))
    }

    fn within(&self, row: Row, from: u64, to: u64) -> Range<'_> {
        Range {
            store: self,
            from,
            to,
            block: None,
            used: 0,
            next: row.first,
            open: row.open,
            opened: row.opened as usize,
            frame: Frame::empty(),
            nth: 0,
        }
    }

    /// The values of a series since `from_ns`, oldest first.
    pub fn since(&self, id: SeriesId, from_ns: u64) -> impl Iterator<Item = f64> {
        self.range(id, from_ns, u64::MAX).map(|(_, value)| value)
    }

    /// The samples of a series since `from_ns`, oldest first: seconds since then, and value.
    pub fn points(&self, id: SeriesId, from_ns: u64) -> impl Iterator<Item = (f64, f64)> + Clone {
        let secs = move |at: u64| at.saturating_sub(from_ns) as f64 / SECOND as f64;
        self.range(id, from_ns, u64::MAX).map(move |(at, value)| (secs(at), value))
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
}

impl Iterator for Range<'_> {
    type Item = (u64, f64);

    #[inline]
    fn next(&mut self) -> Option<(u64, f64)> {
        loop {
            while self.nth < self.frame.count {
                let sample = (self.frame.times[self.nth], self.frame.values[self.nth]);
                self.nth += 1;
                if self.from <= sample.0 && sample.0 <= self.to {
                    return Some((sample.0.wrapping_sub(self.store.zero), sample.1));
                }
            }
            self.refill()?;
        }
    }

    fn fold<B, F: FnMut(B, (u64, f64)) -> B>(mut self, start: B, mut take: F) -> B {
        let (mut so_far, zero) = (start, self.store.zero);
        loop {
            let nth = self.nth.min(self.frame.count);
            let times = &self.frame.times[nth..self.frame.count];
            for (&at, &value) in times.iter().zip(&self.frame.values[nth..self.frame.count]) {
                if self.from <= at && at <= self.to {
                    so_far = take(so_far, (at.wrapping_sub(zero), value));
                }
            }
            if self.refill().is_none() {
                return so_far;
            }
        }
    }
}

impl Range<'_> {
    /// Fills the frame; `None` at the end. It may come out empty.
    fn refill(&mut self) -> Option<()> {
        self.nth = 0;
        self.frame.count = 0;
        let (from, to) = (self.from, self.to);
        if let Some(block) = self.block {
            let data = block.data.get(self.used..usize::from(block.used)).unwrap_or_default();
            let wanted = |times: &[u64]| times.iter().any(|time| from <= *time && *time <= to);
            // A block is written by this store only, so that a frame is always one.
            match self.frame.read(data, block.base, &self.store.pool, wanted) {
                Some(len) if len > 0 => self.used += len,
                _ => self.block = None,
            }
            return Some(());
        }
        if let Some(block) = self.store.pool.at(self.next) {
            self.next = block.next;
            self.used = 0;
            self.block = (block.span.0 <= to && block.span.1 >= from).then_some(block);
            return Some(());
        }
        let block = self.store.pool.at(std::mem::replace(&mut self.open, NONE))?;
        block.get(self.opened, &mut self.frame.times, &mut self.frame.values);
        self.frame.count = self.opened;
        Some(())
    }
}
