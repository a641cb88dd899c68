//! A log file that others write and rotate, read to its end again and again: every line once.
//!
//! A file is known by its inode and hashes of its first bytes and of those before the place. It may be renamed (the
//! writer goes on in the old one until it opens the new), copied and cut (`copytruncate`), cut, removed, or appear
//! later. What is rotated while it is not read yet stays open and is read first. The place survives a restart.

#![expect(clippy::disallowed_methods, reason = "the one reader of files that others rotate")]

pub mod find;
mod look;
mod mark;
pub mod names;
mod open;
mod siblings;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

pub use mark::Mark;
use mark::PRINT_BYTES;
pub use open::Seen;
use open::{Change, Open};

/// Longest line kept, bytes; a longer one is passed over or split, as [`Terms`] say, and counted.
pub const MAX_LINE: usize = 64 << 10;
/// What was not read while nobody did, at most; older lines are passed over.
pub const MAX_BACKLOG: u64 = 256 << 20;
/// Bytes read at a time.
const BLOCK: usize = 256 << 10;

/// How a log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What is there when it is first seen is told, too.
    pub from_start: bool,
    /// Most bytes taken up after nobody read them; older ones are passed over.
    pub backlog: u64,
    /// A line longer than [`MAX_LINE`] is told in parts; else it is passed over.
    pub split: bool,
}

/// Where an earlier run stopped, and how long and how old the file was then, where that is known.
pub type Resume = (Mark, Option<Seen>);

/// The log at a path.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    terms: Terms,
    /// The one that is read, and those that came after it: the last is, or was, at the path.
    files: VecDeque<Open>,
    resume: Option<Resume>,
    /// Begin at the end: what is there now is of before.
    skip: bool,
    buf: Vec<u8>,
    /// Bytes of `buf` that are a line not yet complete.
    held: usize,
    /// The line not yet complete is too long.
    passing: bool,
    /// The line not yet complete never will be.
    torn: bool,
    /// What could not be told.
    pub counts: Counts,
}

/// What a tail did not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines longer than [`MAX_LINE`], or parts of them more than one.
    pub too_long: u64,
    /// Bytes passed over because of [`Terms::backlog`].
    pub skipped_bytes: u64,
    /// Times the file was renamed, cut or replaced.
    pub rotations: u64,
    /// Bytes that were there at a look, and gone before they were read.
    pub lost_bytes: u64,
    /// Files in which an earlier run stopped, and that are no more: what came behind that place is lost, if anything.
    pub lost_files: u64,
}

/// What one read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Some bytes; there may be more.
    More,
    /// The end, for now.
    End,
    /// There is no such file now.
    Absent,
}

/// Whether something is at `path` that is no file: a pipe, a folder.
pub fn is_no_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| !meta.is_file())
}

impl Tail {
    /// The log at `path`, read on from `resume`; without one from its end, and one that appears later from its start.
    pub fn new(path: PathBuf, resume: Option<Mark>) -> Self {
        let terms = Terms { from_start: false, backlog: MAX_BACKLOG, split: false };
        Self::on(path, terms, resume.map(|mark| (mark, None)))
    }

    /// The same on other terms.
    pub fn on(path: PathBuf, terms: Terms, resume: Option<Resume>) -> Self {
        let skip = resume.is_none() && !terms.from_start;
        let (buf, counts, files) = (Vec::new(), Counts::default(), VecDeque::new());
        Self { path, terms, files, resume, skip, buf, held: 0, passing: false, torn: false, counts }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the next run is to go on: before a line that is not complete.
    pub fn mark(&self) -> Option<Mark> {
        self.resume_at().map(|(mark, _)| mark)
    }

    /// The same with what was seen of the file.
    pub fn resume_at(&self) -> Option<Resume> {
        // Before the file was opened: where the run before stopped.
        self.files.front().map(|file| (file.mark(), Some(file.seen))).or(self.resume)
    }

    /// Bytes not told yet, of all its files, as of the last look.
    pub fn unread(&self) -> u64 {
        self.files.iter().map(Open::unread).sum()
    }

    /// Descriptors of its open files, to be waited for, with their devices and inodes.
    pub fn descriptors(&self) -> impl Iterator<Item = (RawFd, (u64, u64))> {
        self.files.iter().map(|file| (file.file.as_raw_fd(), file.id))
    }

    /// How the open file with this inode was at the last look.
    pub fn seen(&self, inode: u64) -> Option<Seen> {
        self.files.iter().find(|file| file.id.1 == inode).map(|file| file.seen)
    }

    /// Whether any file of it is open.
    pub fn is_open(&self) -> bool {
        !self.files.is_empty()
    }

    /// Whether one of its open files has this device and inode.
    pub fn has(&self, id: (u64, u64)) -> bool {
        self.files.iter().any(|file| file.id == id)
    }

    /// Reads the next bytes and gives `each` whole lines in one piece, each with its line break.
    pub fn step(&mut self, each: &mut dyn FnMut(&[u8])) -> io::Result<Step> {
        if !self.look()? {
            return Ok(Step::Absent);
        }
        if std::mem::take(&mut self.torn) {
            self.end_line(each);
        }
        if self.fill(each)? {
            return Ok(Step::More);
        }
        self.follow_rename(each)
    }

    /// Gives back the memory of the last read, but for a line that is not complete.
    pub fn rest(&mut self) {
        self.buf.truncate(self.held);
        self.buf.shrink_to_fit();
    }

    /// At the end of the file that is read: whether the writer has gone on in the next one.
    fn follow_rename(&mut self, each: &mut dyn FnMut(&[u8])) -> io::Result<Step> {
        // Until something is in the new one, its writer may still be in the old one.
        if self.files.iter().skip(1).all(|next| next.seen.len == 0) {
            return Ok(Step::End);
        }
        // What was written between the end of the old one and the begin of the new.
        if self.files[0].look()? == Change::Cut || self.fill(each)? {
            return Ok(Step::More);
        }
        self.end_line(each);
        self.files.pop_front();
        Ok(Step::More)
    }

    /// Reads a block; `false` at the end.
    fn fill(&mut self, each: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let Some(open) = self.files.front_mut() else { return Ok(false) };
        let behind = open.seen.len.saturating_sub(open.offset);
        if behind == 0 {
            return Ok(false);
        }
        let most = usize::try_from(behind).unwrap_or(BLOCK).min(BLOCK);
        self.buf.resize(self.held + most, 0);
        let count = open.file.read_at(&mut self.buf[self.held..], open.offset)?;
        open.offset += count as u64;
        self.buf.truncate(self.held + count);
        if count == 0 {
            return Ok(false);
        }
        self.tell(each);
        let held = self.held;
        self.files.front_mut().map_or(Ok(()), |open| open.told(held))?;
        Ok(true)
    }

    /// Gives away what is complete of the buffer.
    fn tell(&mut self, each: &mut dyn FnMut(&[u8])) {
        let Some(last) = self.buf.iter().rposition(|b| *b == b'\n') else {
            self.held = self.buf.len();
            if self.held > MAX_LINE && self.terms.split {
                self.tell_part(each);
            } else if self.held > MAX_LINE || self.passing {
                self.counts.too_long += u64::from(!self.passing);
                self.passing = true;
                self.held = 0;
            }
            return;
        };
        let begin = if std::mem::take(&mut self.passing) {
            self.buf.iter().position(|b| *b == b'\n').map_or(0, |end| end + 1)
        } else {
            0
        };
        if begin <= last {
            each(&self.buf[begin..=last]);
        }
        self.buf.copy_within(last + 1.., 0);
        self.held = self.buf.len() - last - 1;
    }

    /// Of a line that is too long, what is there: all of it but a character that is not complete.
    fn tell_part(&mut self, each: &mut dyn FnMut(&[u8])) {
        let rest = self.buf.split_off(char_boundary(&self.buf, self.buf.len()));
        self.buf.push(b'\n');
        each(&self.buf);
        self.counts.too_long += 1;
        self.held = rest.len();
        self.buf = rest;
    }

    /// A line without an end never gets one: its file is not written any more.
    fn end_line(&mut self, each: &mut dyn FnMut(&[u8])) {
        let held = std::mem::take(&mut self.held);
        if held > 0 && !self.passing {
            self.buf.truncate(held);
            self.buf.push(b'\n');
            each(&self.buf);
        }
        self.passing = false;
    }
}

/// Whether a file can be read; one that cannot be is an error.
pub fn try_open(path: &Path) -> io::Result<()> {
    Open::at(path)?.map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// When a file was made, Unix time, nanoseconds; none where the filesystem does not tell.
pub fn born_ns(path: &Path) -> Option<i64> {
    born_of(&std::fs::metadata(path).ok()?)
}

fn born_of(meta: &std::fs::Metadata) -> Option<i64> {
    i64::try_from(meta.created().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos()).ok()
}

/// Device and inode of a file.
pub fn id_of(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Where bytes can be cut at or before `at` without tearing a character apart.
pub fn char_boundary(bytes: &[u8], at: usize) -> usize {
    let at = at.min(bytes.len());
    // The last byte that begins a character, if that character is not over.
    let start = (1..=at.min(3)).map(|back| at - back).find(|&i| bytes[i] & 0xc0 != 0x80);
    start.filter(|&i| i > 0 && needs(bytes[i]) > at - i).unwrap_or(at)
}

/// Bytes of the character that begins so.
fn needs(first: u8) -> usize {
    match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    }
}

const _: () = assert!(PRINT_BYTES < BLOCK);

#[cfg(test)]
#[path = "tail_tests.rs"]
mod tests;
