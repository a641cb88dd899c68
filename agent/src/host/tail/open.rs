//! A file of a log, open: whatever becomes of its name.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::mark::{Mark, Print};

/// Which file it is: device and inode.
pub(super) type Id = (u64, u64);

/// How a file was when it was last looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Bytes.
    pub len: u64,
    /// When it was last written, Unix time, nanoseconds.
    pub mtime_ns: i64,
}

impl Seen {
    pub(super) fn of(meta: &Metadata) -> Self {
        let mtime_ns = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
        Self { len: meta.len(), mtime_ns }
    }
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) file: File,
    pub(super) id: Id,
    /// Behind the last byte read.
    pub(super) offset: u64,
    /// Behind the last byte told: where the next run goes on.
    pub(super) place: u64,
    print: Print,
    /// What stands before `place`.
    behind: Print,
    pub(super) seen: Seen,
    /// Looks in a row that found nothing new.
    quiet: u8,
}

/// What became of a file since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// More was written.
    More,
    /// It was empty at the last look, since `empty_ns` (Unix time, nanoseconds).
    Begun {
        /// Since then.
        empty_ns: i64,
    },
    /// It is shorter than it was, or begins otherwise.
    Cut,
}

/// So many looks make a file one that nobody writes.
const QUIET: u8 = 4;

impl Open {
    /// A regular file, not waited for; `None` where there is none.
    pub(super) fn at(path: &Path) -> io::Result<Option<Self>> {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let file = match File::options().read(true).custom_flags(flags.bits() as i32).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
        }
        let mut print = Print::default();
        print.learn(&file)?;
        let (id, seen) = ((meta.dev(), meta.ino()), Seen::of(&meta));
        Ok(Some(Self { file, id, offset: 0, place: 0, print, behind: Print::default(), seen, quiet: 0 }))
    }

    /// To be read from here on.
    pub(super) fn go_to(&mut self, offset: u64) -> io::Result<()> {
        (self.offset, self.place) = (offset, offset);
        self.behind = Print::before(&self.file, offset)?;
        Ok(())
    }

    /// Everything read is told but the last `held` bytes.
    pub(super) fn told(&mut self, held: usize) -> io::Result<()> {
        self.place = self.offset - held as u64;
        self.print.learn(&self.file)?;
        self.behind = Print::before(&self.file, self.place)?;
        Ok(())
    }

    /// How it begins and where the next run goes on.
    pub(super) fn mark(&self) -> Mark {
        Mark { inode: self.id.1, offset: self.place, print: self.print, behind: self.behind }
    }

    /// Looks at it again. When it was cut, what was seen stays as it was.
    pub(super) fn look(&mut self) -> io::Result<Change> {
        let seen = Seen::of(&self.file.metadata()?);
        if seen == self.seen {
            self.quiet = self.quiet.saturating_add(1);
            return Ok(Change::None);
        }
        let cut = seen.len < self.offset
            || self.print.check(&self.file)?
            || self.behind.check_before(&self.file, self.place)?;
        self.quiet = 0;
        if cut {
            return Ok(Change::Cut);
        }
        let before = std::mem::replace(&mut self.seen, seen);
        let was_empty = !self.print.is_known();
        self.print.learn(&self.file)?;
        Ok(if was_empty { Change::Begun { empty_ns: before.mtime_ns } } else { Change::More })
    }

    /// It was cut and begins anew.
    pub(super) fn begin_anew(&mut self) -> io::Result<()> {
        (self.print, self.behind) = (Print::default(), Print::default());
        (self.offset, self.place) = (0, 0);
        self.seen = Seen::of(&self.file.metadata()?);
        self.print.learn(&self.file)
    }

    /// Whether nothing was written for some looks.
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet >= QUIET
    }

    /// Bytes that are there and not told.
    pub(super) fn unread(&self) -> u64 {
        self.seen.len.saturating_sub(self.place)
    }

    /// Whether its last name is gone.
    pub(super) fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.nlink() == 0)
    }

    /// Whether it begins like `other` did: a copy, however long.
    pub(super) fn begins_like(&self, other: &Mark) -> bool {
        other.print.is_known() && !other.print.check(&self.file).unwrap_or(true)
    }
}
