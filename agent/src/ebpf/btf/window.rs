//! A small piece of a large file.

use super::{BtfError, Source};

/// Bytes held while the whole file is passed over.
const WIDE: usize = 64 << 10;
/// Bytes held while single types are looked up.
const NARROW: usize = 8 << 10;

/// The part of the file that is in memory.
pub(super) struct Window<S> {
    source: S,
    buffer: Box<[u8]>,
    /// Where in the file the buffer begins.
    start: u64,
    filled: usize,
    /// How much is fetched at once.
    width: usize,
}

impl<S: Source> Window<S> {
    pub(super) fn new(source: S) -> Self {
        let buffer = vec![0; WIDE].into_boxed_slice();
        Self { source, buffer, start: 0, filled: 0, width: WIDE }
    }

    /// From now on only single types are wanted.
    pub(super) fn narrow(&mut self) {
        self.width = NARROW;
    }

    /// `length` bytes from `at` on.
    pub(super) fn bytes(&mut self, at: u64, length: usize) -> Result<&[u8], BtfError> {
        if self.held(at).len() < length {
            self.fetch(at)?;
        }
        self.held(at).get(..length).ok_or(BtfError::Cut { at })
    }

    /// What can be had from `at` on, up to the width of the window; at least one byte.
    pub(super) fn piece(&mut self, at: u64) -> Result<&[u8], BtfError> {
        if self.held(at).is_empty() {
            self.fetch(at)?;
        }
        let piece = self.held(at);
        if piece.is_empty() { Err(BtfError::Cut { at }) } else { Ok(piece) }
    }

    /// Moves the window to begin at `at`.
    pub(super) fn fetch(&mut self, at: u64) -> Result<(), BtfError> {
        (self.start, self.filled) = (at, 0);
        while self.filled < self.width {
            let read =
                self.source.read_at(at + self.filled as u64, &mut self.buffer[self.filled..self.width])?;
            if read == 0 {
                break;
            }
            self.filled += read.min(self.width - self.filled);
        }
        Ok(())
    }

    /// Words of 32 bits from `at` on.
    pub(super) fn words<const N: usize>(&mut self, at: u64) -> Result<[u32; N], BtfError> {
        let mut words = [0; N];
        let bytes = self.bytes(at, N * 4)?;
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*bytes);
        }
        Ok(words)
    }

    fn held(&self, at: u64) -> &[u8] {
        let skip = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.buffer[..self.filled].get(skip..)).unwrap_or_default()
    }
}
