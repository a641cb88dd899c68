//! What became of a log since the last look: nothing is read here, so it may be asked while nobody takes lines.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;

use super::open::{Change, Id, Open};
use super::{Resume, Tail, siblings};

/// Files of one log that are open at once: those that were rotated before they were read, and the newest.
pub(super) const MAX_OPEN: usize = 64;
/// Most bytes of files of one log that stay on disk for it although they were deleted.
pub(super) const MAX_DELETED: u64 = 1 << 30;

impl Tail {
    /// Looks whether the file was renamed, cut or removed, and keeps hold of what is not read. `false`: there is none.
    pub fn look(&mut self) -> io::Result<bool> {
        if self.files.is_empty() {
            return self.start();
        }
        let last = self.files.len() - 1;
        if last > 0 && self.files[0].look()? == Change::Cut {
            self.front_was_cut()?;
        }
        match self.files.back_mut().map_or(Ok(Change::None), Open::look)? {
            Change::Cut => self.follow_cut()?,
            Change::Begun { empty_ns } => self.follow_begin(empty_ns),
            Change::None | Change::More => {}
        }
        match std::fs::metadata(&self.path) {
            Ok(meta) if self.files.back().is_some_and(|back| back.id != (meta.dev(), meta.ino())) => {
                self.follow_new()?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => self.let_go(),
            _ => {}
        }
        self.keep_few();
        Ok(!self.files.is_empty())
    }

    /// Opens the file for the first time, or after it was gone.
    fn start(&mut self) -> io::Result<bool> {
        let found = Open::at(&self.path)?;
        if let Some(resume) = self.resume.take() {
            return self.go_on(resume, found);
        }
        let Some(mut now) = found else {
            // What appears later is news.
            self.skip = false;
            return Ok(false);
        };
        if std::mem::take(&mut self.skip) {
            now.go_to(now.seen.len)?;
        }
        self.files.push_back(now);
        Ok(true)
    }

    /// Where an earlier run stopped: in this file, or in one it was renamed or copied to.
    fn go_on(&mut self, resume: Resume, now: Option<Open>) -> io::Result<bool> {
        let (mark, seen) = resume;
        let mut known: Vec<Id> = now.iter().map(|now| now.id).collect();
        let mut files = VecDeque::new();
        let fits = now.as_ref().map_or(Ok(false), |now| mark.fits(&now.file))?;
        let mut since = seen.map(|seen| seen.mtime_ns);
        if fits && !mark.is_of_empty() {
            since = None;
        } else if !fits {
            if let Some(rest) = siblings::content_of(&self.path, &mark, &known) {
                since = Some(rest.seen.mtime_ns);
                known.push(rest.id);
                files.push_back(rest);
            } else if now.is_none() {
                // It may come back.
                self.resume = Some(resume);
                return Ok(false);
            } else {
                let left = seen.map_or(0, |seen| seen.len.saturating_sub(mark.offset));
                self.counts.lost_bytes += left;
                self.counts.lost_files += 1;
            }
            self.counts.rotations += 1;
        }
        if let Some(since) = since {
            files.extend(siblings::newer(&self.path, since, Some(&mark), &known));
        }
        if let Some(mut now) = now {
            if fits {
                now.go_to(mark.offset)?;
            }
            files.push_back(now);
        }
        self.files = files;
        self.limit_backlog()
    }

    fn limit_backlog(&mut self) -> io::Result<bool> {
        if let Some(open) = self.files.front_mut() {
            let skipped = open.unread().saturating_sub(self.terms.backlog);
            if skipped > 0 {
                self.counts.skipped_bytes += skipped;
                open.go_to(open.offset + skipped)?;
                self.passing = true;
            }
        }
        self.keep_few();
        Ok(!self.files.is_empty())
    }

    /// The file at the path was cut: what was not read of it may be in a copy. Then it begins anew.
    fn follow_cut(&mut self) -> io::Result<()> {
        let Some(mut back) = self.files.pop_back() else { return Ok(()) };
        self.counts.rotations += 1;
        let mut known = self.ids();
        known.push(back.id);
        let (mark, mut since, left) = (back.mark(), back.seen.mtime_ns, back.unread());
        let is_read = self.files.is_empty();
        let copy = siblings::content_of(&self.path, &mark, &known);
        if is_read && copy.is_some() {
            // Read once more from the copy.
            (self.held, self.passing) = (0, false);
        } else if is_read {
            self.torn = true;
        }
        let is_copied = copy.is_some();
        if let Some(copy) = copy {
            since = copy.seen.mtime_ns;
            known.push(copy.id);
            self.files.push_back(copy);
        }
        let between = siblings::newer(&self.path, since, Some(&mark), &known);
        if !is_copied {
            // Of what was not read at all nobody knows how it began: its copy is among the newer ones.
            let copied = between.iter().filter(|_| mark.is_of_empty()).map(|file| file.seen.len).sum();
            let held = if is_read { self.held as u64 } else { 0 };
            self.counts.lost_bytes += left.saturating_sub(held).saturating_sub(copied);
        }
        self.files.extend(between);
        back.begin_anew()?;
        self.files.push_back(back);
        Ok(())
    }

    /// The file at the path was empty, and is not. It may have been written, copied and cut meanwhile, and begun again.
    fn follow_begin(&mut self, empty_ns: i64) {
        let copies = siblings::copies(&self.path, empty_ns, &self.ids());
        if copies.is_empty() {
            return;
        }
        let back = self.files.pop_back();
        self.files.extend(copies);
        self.files.extend(back);
        self.counts.rotations += 1;
    }

    /// A renamed or copied file was cut while it was read: nobody has the rest.
    fn front_was_cut(&mut self) -> io::Result<()> {
        let Some(front) = self.files.front_mut() else { return Ok(()) };
        self.counts.lost_bytes += front.unread();
        self.torn = true;
        front.begin_anew()
    }

    /// Another file is at the path: the one before may be written for a while, and is read to its end first.
    fn follow_new(&mut self) -> io::Result<()> {
        let Some(now) = Open::at(&self.path)? else { return Ok(()) };
        let mut known = self.ids();
        if known.contains(&now.id) {
            return Ok(());
        }
        known.push(now.id);
        self.counts.rotations += 1;
        let since = self.files.back().map_or(i64::MAX, |back| back.seen.mtime_ns);
        // Of several rotations between two looks.
        let between = siblings::newer(&self.path, since, None, &known);
        self.files.extend(between);
        self.files.push_back(now);
        Ok(())
    }

    /// Nothing is at the path: a file without any name that is read and not written any more does not stay on disk for us.
    fn let_go(&mut self) {
        let is_over = |file: &Open| file.unread() == 0 && file.is_quiet() && file.is_deleted();
        if self.files.len() == 1 && self.files.front().is_some_and(is_over) {
            self.files.clear();
        }
    }

    /// Gives up the oldest beyond the limits.
    fn keep_few(&mut self) {
        while self.files.len() > MAX_OPEN || self.deleted() > MAX_DELETED {
            let Some(oldest) = self.files.pop_front() else { return };
            self.counts.lost_bytes += oldest.unread();
            (self.held, self.passing) = (0, false);
        }
    }

    /// Bytes on disk that are there for us alone.
    fn deleted(&self) -> u64 {
        // The one file of a log that is not rotated has a name, or nothing behind it to wait for.
        if self.files.len() < 2 {
            return 0;
        }
        self.files.iter().filter(|file| file.is_deleted()).map(|file| file.seen.len).sum()
    }

    fn ids(&self) -> Vec<Id> {
        self.files.iter().map(|file| file.id).collect()
    }
}
