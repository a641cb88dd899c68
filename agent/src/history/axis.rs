//! Moments that many series share: all series of a collector are read at the same ones.
//!
//! A frame whose moments were written before says where they are instead of writing them again. They lie in blocks of
//! their own, which count the frames that need them and go with the last of these.

use super::Store;
use super::block::{NONE, Pool};
use super::frame::{self, Moments};
use super::pack::FRAME;

/// Moments of frames that are remembered, so that others can share them. With more collectors than this some are written
/// again.
const RECENT: usize = 32;
/// Fewer moments than this are not worth sharing.
const FEW: usize = 8;

/// Moments that were written lately.
#[derive(Clone, Copy, Debug)]
struct Axis {
    times: [u64; FRAME],
    count: usize,
    place: Place,
}

/// Where moments are, and the earliest and latest of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) block: u32,
    pub(super) offset: u16,
    pub(super) span: (u64, u64),
}

/// What was written lately, and the block that has room for more.
#[derive(Debug)]
pub(super) struct Axes {
    recent: Vec<Axis>,
    oldest: usize,
    block: u32,
}

impl Axes {
    pub(super) fn new() -> Self {
        Self { recent: Vec::with_capacity(RECENT), oldest: 0, block: NONE }
    }

    pub(super) fn bytes(&self) -> usize {
        self.recent.capacity() * size_of::<Axis>()
    }

    fn find(&self, times: &[u64]) -> Option<Place> {
        let last = times.len() - 1;
        let is_it = |axis: &&Axis| {
            axis.times[last] == times[last] && axis.count == times.len() && axis.times[..=last] == *times
        };
        self.recent.iter().find(is_it).map(|axis| axis.place)
    }

    fn remember(&mut self, times: &[u64], place: Place) {
        let mut axis = Axis { times: [0; FRAME], count: times.len(), place };
        axis.times[..times.len()].copy_from_slice(times);
        if self.recent.len() < RECENT {
            self.recent.push(axis);
        } else {
            self.recent[self.oldest] = axis;
            self.oldest = (self.oldest + 1) % RECENT;
        }
    }
}

impl Store {
    /// A place where these moments are, counted as needed. `None`: they are best kept with their frame.
    pub(super) fn share(&mut self, times: &[u64]) -> Option<Place> {
        if times.len() < FEW {
            return None;
        }
        let place = match self.axes.find(times) {
            Some(place) => place,
            None => self.write_axis(times)?,
        };
        self.pool.at_mut(place.block)?.owner += 1;
        Some(place)
    }

    fn write_axis(&mut self, times: &[u64]) -> Option<Place> {
        let written = add(&mut self.pool, self.axes.block, times).or_else(|| {
            let full = std::mem::replace(&mut self.axes.block, NONE);
            self.free_if_unneeded(full);
            let block = self.take(0)?;
            self.axes.block = block;
            add(&mut self.pool, block, times)
        })?;
        self.axes.remember(times, written);
        Some(written)
    }

    /// One frame less needs the moments in this block.
    pub(super) fn unshare(&mut self, block: u32) {
        if let Some(axes) = self.pool.at_mut(block) {
            axes.owner = axes.owner.saturating_sub(1);
        }
        self.free_if_unneeded(block);
    }

    fn free_if_unneeded(&mut self, id: u32) {
        if id != self.axes.block && self.pool.at(id).is_some_and(|block| block.owner == 0) {
            self.axes.recent.retain(|axis| axis.place.block != id);
            self.axes.oldest = 0;
            self.pool.give(id);
        }
    }

    /// Gives a block of frames back, and the moments that nobody else needs.
    pub(super) fn release(&mut self, id: u32) {
        let mut at = 0;
        while let Some(block) = self.pool.at(id) {
            let frames = block.data.get(at..usize::from(block.used)).unwrap_or_default();
            let Some(head) = frame::head(frames) else { break };
            at += head.len;
            if let Moments::At(axis, _) = head.moments {
                self.unshare(axis);
            }
        }
        self.pool.give(id);
    }
}

/// Writes moments into a block of them. Its owner is the number of frames that need it.
fn add(pool: &mut Pool, id: u32, times: &[u64]) -> Option<Place> {
    let block = pool.at_mut(id)?;
    if block.used == 0 {
        (block.base, block.owner) = (*times.first()?, 0);
    }
    let offset = block.used;
    let written = frame::write_moments(times, block.base, block.data.get_mut(usize::from(offset)..)?)?;
    block.used += written.len as u16;
    Some(Place { block: id, offset, span: written.span })
}
