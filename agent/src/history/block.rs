//! Blocks of one size out of one pool.

use super::pack::FRAME;

/// Stands for no block.
pub(super) const NONE: u32 = u32::MAX;
/// Bytes for samples in a block.
pub(super) const ROOM: usize = 980;
/// Blocks that are allocated together: 64 KiB.
const CHUNK: usize = 64;

/// A kilobyte: samples as they came (an open block), or frames.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// Moment that its frames count from.
    pub(super) base: u64,
    /// Earliest and latest moment in its frames.
    pub(super) span: (u64, u64),
    /// The next one of the series.
    pub(super) next: u32,
    /// Those closed before and after it, of all series.
    pub(super) closed: (u32, u32),
    /// Series.
    pub(super) owner: u32,
    /// Bytes with frames in them.
    pub(super) used: u16,
    /// Samples in its frames.
    pub(super) samples: u16,
    pub(super) data: [u8; ROOM],
}

const EMPTY: Block = Block {
    base: 0,
    span: (u64::MAX, 0),
    next: NONE,
    closed: (NONE, NONE),
    owner: NONE,
    used: 0,
    samples: 0,
    data: [0; ROOM],
};
const _: () = assert!(size_of::<Block>() == 1024 && FRAME * 16 <= ROOM);

impl Block {
    /// Keeps a sample as it is, as the `nth` one.
    pub(super) fn put(&mut self, nth: usize, at_ns: u64, value: f64) {
        let place = self.data.as_chunks_mut::<8>().0;
        place[2 * nth] = at_ns.to_le_bytes();
        place[2 * nth + 1] = value.to_le_bytes();
    }

    /// The first `count` samples as they came.
    pub(super) fn get(&self, count: usize, times: &mut [u64; FRAME], values: &mut [f64; FRAME]) {
        let pairs = self.data.as_chunks::<16>().0.iter().take(count);
        for ((pair, time), value) in pairs.zip(times).zip(values) {
            let [at, was] = pair.as_chunks::<8>().0 else { return };
            *time = u64::from_le_bytes(*at);
            *value = f64::from_le_bytes(*was);
        }
    }
}

/// All blocks: given, free, and the order in which full ones were closed.
#[derive(Debug)]
pub(super) struct Pool {
    chunks: Vec<Box<[Block]>>,
    /// Blocks in the chunks that were given out at least once.
    made: u32,
    most: u32,
    free: u32,
    closed: (u32, u32),
}

impl Pool {
    pub(super) fn new(most: usize) -> Self {
        let most = most.min(NONE as usize - 1) as u32;
        Self { chunks: Vec::new(), made: 0, most, free: NONE, closed: (NONE, NONE) }
    }

    pub(super) fn at(&self, id: u32) -> Option<&Block> {
        self.chunks.get(id as usize / CHUNK)?.get(id as usize % CHUNK)
    }

    pub(super) fn at_mut(&mut self, id: u32) -> Option<&mut Block> {
        self.chunks.get_mut(id as usize / CHUNK)?.get_mut(id as usize % CHUNK)
    }

    /// A block for a series, unless the ceiling is reached.
    pub(super) fn take(&mut self, owner: u32) -> Option<u32> {
        let id = if self.free == NONE {
            if self.made >= self.most {
                return None;
            }
            if self.made as usize == self.chunks.len() * CHUNK {
                self.chunks.push(vec![EMPTY; CHUNK].into_boxed_slice());
            }
            self.made += 1;
            self.made - 1
        } else {
            let id = self.free;
            self.free = self.at(id).map_or(NONE, |block| block.next);
            id
        };
        let block = self.at_mut(id)?;
        let data = block.data;
        *block = Block { owner, data, ..EMPTY };
        Some(id)
    }

    /// Takes a block back.
    pub(super) fn give(&mut self, id: u32) {
        self.unlink(id);
        let free = self.free;
        if let Some(block) = self.at_mut(id) {
            block.next = free;
            self.free = id;
        }
    }

    /// A block is full: it is the newest of those that may be given up.
    pub(super) fn close(&mut self, id: u32) {
        let last = self.closed.1;
        if let Some(block) = self.at_mut(id) {
            block.closed = (last, NONE);
        }
        match self.at_mut(last) {
            Some(block) => block.closed.1 = id,
            None => self.closed.0 = id,
        }
        self.closed.1 = id;
    }

    /// The block that was closed longest ago.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.closed.0 != NONE).then_some(self.closed.0)
    }

    fn unlink(&mut self, id: u32) {
        let Some(block) = self.at_mut(id) else { return };
        let (before, after) = std::mem::replace(&mut block.closed, (NONE, NONE));
        if before == NONE && self.closed.0 != id {
            return;
        }
        match self.at_mut(before) {
            Some(block) => block.closed.1 = after,
            None => self.closed.0 = after,
        }
        match self.at_mut(after) {
            Some(block) => block.closed.0 = before,
            None => self.closed.1 = before,
        }
    }

    /// Blocks in use.
    #[cfg(test)]
    pub(super) fn given(&self) -> usize {
        let free = std::iter::successors(Some(self.free), |id| Some(self.at(*id)?.next));
        self.made as usize - free.take_while(|id| *id != NONE).count()
    }

    /// Bytes held, free blocks included.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.len() * CHUNK * size_of::<Block>() + self.chunks.capacity() * size_of::<Box<[Block]>>()
    }
}
