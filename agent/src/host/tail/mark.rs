//! A place in a file that survives renaming, and by which another file of that name is known for one.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// Bytes at the start of a file by which it is known.
pub(super) const PRINT_BYTES: usize = 256;
/// Bytes before a place by which it is known too: logs may all begin alike.
const BEHIND_BYTES: u64 = 64;

/// What some bytes of a file are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Print {
    hash: u64,
    /// Of so many bytes; 0: not known.
    len: u16,
}

impl Print {
    /// Takes in the first bytes while they are not all known.
    pub(super) fn learn(&mut self, file: &File) -> io::Result<()> {
        if usize::from(self.len) < PRINT_BYTES {
            *self = Self::of(file, 0, PRINT_BYTES)?;
        }
        Ok(())
    }

    /// The bytes before `offset`.
    pub(super) fn before(file: &File, offset: u64) -> io::Result<Self> {
        let len = offset.min(BEHIND_BYTES);
        Self::of(file, offset - len, len as usize)
    }

    /// Whether the file begins otherwise than it did.
    pub(super) fn check(&self, file: &File) -> io::Result<bool> {
        Ok(self.len > 0 && Self::of(file, 0, usize::from(self.len))? != *self)
    }

    /// Whether other bytes stand before `offset` than did.
    pub(super) fn check_before(&self, file: &File, offset: u64) -> io::Result<bool> {
        Ok(self.len > 0 && Self::before(file, offset)? != *self)
    }

    /// Whether anything is known.
    pub(super) fn is_known(&self) -> bool {
        self.len > 0
    }

    fn of(file: &File, at: u64, len: usize) -> io::Result<Self> {
        let mut bytes = [0; PRINT_BYTES];
        let count = file.read_at(&mut bytes[..len], at)?;
        if count == 0 {
            return Ok(Self::default());
        }
        // FNV-1a
        let hash = bytes[..count]
            .iter()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
        Ok(Self { hash, len: count as u16 })
    }

    fn text(&self) -> String {
        format!("{:016x}/{}", self.hash, self.len)
    }

    fn parse(text: &str) -> Option<Self> {
        let (hash, len) = text.split_once('/')?;
        let print = Self { hash: u64::from_str_radix(hash, 16).ok()?, len: len.parse().ok()? };
        let print = if print.is_known() { print } else { Self::default() };
        (usize::from(print.len) <= PRINT_BYTES).then_some(print)
    }
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The file's inode.
    pub inode: u64,
    /// Behind the last byte that was told.
    pub offset: u64,
    /// How it begins.
    pub print: Print,
    /// What stands before the place; in marks of older agents it is not known.
    pub behind: Print,
}

impl Mark {
    /// Whether this is the file, and still as long. One that was empty is known by its inode alone.
    pub(super) fn fits(&self, file: &File) -> io::Result<bool> {
        let same = file.metadata()?.ino() == self.inode;
        Ok(same && (self.is_of_empty() || self.is_content_of(file)?))
    }

    /// Whether nothing was in the file yet.
    pub(super) fn is_of_empty(&self) -> bool {
        self.offset == 0 && !self.print.is_known()
    }

    /// Whether the file begins like this one, is as long, and is the same before the place: it, or a copy of it.
    pub(super) fn is_content_of(&self, file: &File) -> io::Result<bool> {
        Ok(self.print.is_known()
            && file.metadata()?.len() >= self.offset
            && !self.print.check(file)?
            && !self.behind.check_before(file, self.offset)?)
    }

    /// As it is stored.
    pub fn text(&self) -> String {
        let Self { inode, offset, print, behind } = self;
        let behind = if behind.is_known() { format!(" {}", behind.text()) } else { String::new() };
        format!("{inode} {offset} {}{behind}", print.text())
    }

    /// The way back; `None` if it is no such place.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (inode, offset) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let print = Print::parse(words.next()?)?;
        let behind = words.next().map_or(Some(Print::default()), Print::parse)?;
        (words.next().is_none() && u64::from(behind.len) <= BEHIND_BYTES).then_some(Self {
            inode,
            offset,
            print,
            behind,
        })
    }
}
