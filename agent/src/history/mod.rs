//! The last day of every series, compressed, under one ceiling.
//!
//! A series writes its samples as they come into an open block. When that is full they become a frame of some ten to a few
//! hundred bytes (`frame`) in the series' newest block, and a block that is full is closed. All blocks are of one size and
//! come from one pool, so that nothing is allocated once it has grown. Whole numbers are exact; of all others at least five
//! significant digits are kept, of moments a hundredth of the usual step.
//!
//! At the ceiling the block that was closed longest ago goes, whosever it is: the past gets shorter for all alike, and a
//! series that never changes, which costs nearly nothing, keeps its own. What goes early is counted.
//!
//! Over a restart it goes as chunks (`chunk`), which are read back as rows that wait for their series (`kept`).

mod axis;
mod block;
mod bytes;
pub mod chunk;
mod frame;
mod kept;
mod pack;
mod read;
#[cfg(test)]
mod tests;
mod value;

pub use kept::{KeptId, Key, MAX_KEPT};
pub use read::{Range, Summary};

use crate::sample::SeriesId;
use axis::{Axes, Place};
use block::{Block, NONE, Pool, ROOM};
use kept::Kept;
use pack::FRAME;

/// Blocks of all series together: 18 MiB.
pub const MAX_BLOCKS: usize = 18 << 10;

/// A series' blocks.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// Oldest block with frames.
    first: u32,
    /// Newest block with frames: not closed.
    last: u32,
    /// Block with samples as they came.
    open: u32,
    /// Samples in it.
    opened: u32,
    /// Samples in frames.
    samples: u32,
}

const NO_ROW: Row = Row { first: NONE, last: NONE, open: NONE, opened: 0, samples: 0 };

/// History of all series.
#[derive(Debug)]
pub struct Store {
    rows: Vec<Row>,
    /// Rows of an earlier run, until their series come.
    kept: Kept,
    /// Added to every moment inside, so that those before the boot have room below.
    zero: u64,
    pool: Pool,
    axes: Axes,
    capacity: usize,
    evicted: u64,
    refused: u64,
}

impl Store {
    /// An empty store that keeps at least the newest `capacity` samples a series, and at most a block more.
    pub fn new(capacity: usize) -> Self {
        Self::with_ceiling(capacity, MAX_BLOCKS)
    }

    /// The same with another ceiling, in blocks of 1 KiB.
    pub fn with_ceiling(capacity: usize, max_blocks: usize) -> Self {
        Self {
            rows: Vec::new(),
            kept: Kept::default(),
            zero: 0,
            pool: Pool::new(max_blocks),
            axes: Axes::new(),
            capacity,
            evicted: 0,
            refused: 0,
        }
    }

    /// Appends a sample: some writes, and each `FRAME` samples one frame.
    pub fn append(&mut self, id: SeriesId, at_ns: u64, value: f64) {
        let index = id.0 as usize;
        if index >= self.rows.len() {
            self.rows.resize(index + 1, NO_ROW);
        }
        self.push(id.0, at_ns.wrapping_add(self.zero), value);
    }

    /// The same for any row; `at` is a moment inside.
    fn push(&mut self, owner: u32, at: u64, value: f64) {
        if self.row(owner).open == NONE {
            let Some(block) = self.take(owner) else {
                self.refused += 1;
                return;
            };
            self.row(owner).open = block;
        }
        let row = if owner < kept::FIRST { &mut self.rows[owner as usize] } else { self.kept.row(owner) };
        if let Some(block) = self.pool.at_mut(row.open) {
            block.put(row.opened as usize, at, value);
            row.opened += 1;
        }
        if row.opened as usize == FRAME {
            self.seal(owner);
        }
    }

    /// The row of a series, or one that waits for its series.
    fn row(&mut self, owner: u32) -> &mut Row {
        if owner < kept::FIRST { &mut self.rows[owner as usize] } else { self.kept.row(owner) }
    }

    /// Drops a series' history.
    pub fn forget(&mut self, id: SeriesId) {
        if (id.0 as usize) < self.rows.len() {
            self.clear(id.0);
        }
    }

    fn clear(&mut self, owner: u32) {
        let Row { mut first, open, .. } = std::mem::replace(self.row(owner), NO_ROW);
        while let Some(next) = self.pool.at(first).map(|block| block.next) {
            self.release(first);
            first = next;
        }
        self.pool.give(open);
    }

    /// A block; at the ceiling one that another series gives up. `None` where nobody has one to give.
    fn take(&mut self, owner: u32) -> Option<u32> {
        if let Some(id) = self.pool.take(owner) {
            return Some(id);
        }
        let victim = self.pool.at(self.pool.oldest()?)?.owner;
        self.drop_first(victim);
        self.evicted += 1;
        self.pool.take(owner)
    }

    /// A series gives its oldest block back.
    fn drop_first(&mut self, owner: u32) {
        let first = self.row(owner).first;
        let Some(block) = self.pool.at(first) else { return };
        let row = if owner < kept::FIRST { &mut self.rows[owner as usize] } else { self.kept.row(owner) };
        row.samples -= u32::from(block.samples);
        let gone = std::mem::replace(&mut row.first, block.next);
        if gone == row.last {
            (row.first, row.last) = (NONE, NONE);
        }
        self.release(gone);
    }

    /// Makes frames of the open block.
    fn seal(&mut self, id: u32) {
        let (mut times, mut values) = ([0; FRAME], [0.0; FRAME]);
        let row = self.row(id);
        row.opened = 0;
        let open = row.open;
        if let Some(block) = self.pool.at(open) {
            block.get(FRAME, &mut times, &mut values);
        }
        self.keep(id, &times, &values);
        while {
            let row = *self.row(id);
            let oldest = self.pool.at(row.first).map_or(0, |block| usize::from(block.samples));
            row.first != row.last && row.samples as usize >= self.capacity + oldest
        } {
            self.drop_first(id);
        }
    }

    /// Adds a frame to the newest block, or to a new one; samples that fill more than a block make two.
    fn keep(&mut self, id: u32, times: &[u64], values: &[f64]) {
        let shared = self.share(times);
        if self.put(id, times, values, shared) {
            self.row(id).samples += times.len() as u32;
            return;
        }
        if let Some(place) = shared {
            self.unshare(place.block);
        }
        let half = times.len() / 2;
        if half > 0 && self.row(id).last != NONE {
            self.keep(id, &times[..half], &values[..half]);
            self.keep(id, &times[half..], &values[half..]);
        }
    }

    /// Whether a frame had room, in the newest block or in a new one.
    fn put(&mut self, id: u32, times: &[u64], values: &[f64], shared: Option<Place>) -> bool {
        let last = self.row(id).last;
        if self.pool.at_mut(last).is_some_and(|block| add(block, times, values, shared)) {
            return true;
        }
        let new = self.begin(id).and_then(|new| self.pool.at_mut(new));
        new.is_some_and(|block| add(block, times, values, shared))
    }

    /// Closes a series' newest block and begins another. Where there is none to be had, the newest begins anew.
    fn begin(&mut self, id: u32) -> Option<u32> {
        let last = self.row(id).last;
        if self.pool.at(last).is_some_and(|block| block.used > 0) {
            self.pool.close(last);
        } else if last != NONE {
            return Some(last);
        }
        let Some(new) = self.take(id) else {
            // Nobody has a closed block, so this series has none but its open one.
            self.refused += FRAME as u64;
            return None;
        };
        let row = self.row(id);
        // The block that made room may have been this series' last.
        let before = std::mem::replace(&mut row.last, new);
        if row.first == NONE {
            row.first = new;
        } else if let Some(block) = self.pool.at_mut(before) {
            block.next = new;
        }
        Some(new)
    }

    /// Bytes held: blocks in use and free ones, and the table of series.
    pub fn bytes(&self) -> usize {
        self.pool.bytes()
            + self.axes.bytes()
            + self.rows.capacity() * size_of::<Row>()
            + self.kept.bytes()
            + size_of::<Self>()
    }

    /// Blocks given up because of the common ceiling, before their series was at its own capacity.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Samples that were not kept, since all blocks were open ones of other series.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

/// Adds a frame to a block, if it has room.
fn add(block: &mut Block, times: &[u64], values: &[f64], shared: Option<Place>) -> bool {
    if block.used == 0 {
        block.base = times.first().copied().unwrap_or_default();
    }
    let room = block.data.get_mut(usize::from(block.used)..ROOM).unwrap_or_default();
    let Some(written) = frame::write(times, values, block.base, shared, room) else { return false };
    block.used += written.len as u16;
    block.samples += times.len() as u16;
    block.span = (block.span.0.min(written.span.0), block.span.1.max(written.span.1));
    true
}
