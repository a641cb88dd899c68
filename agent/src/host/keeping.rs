//! A host whose small files stay open from pass to pass: reading one again costs a system call instead of three.

#![expect(
    clippy::disallowed_types,
    reason = "a host is read through a shared reference; one thread takes the lock"
)]

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FsStat, Host, HostDir, HostFile, NicDriver, Uname};

/// Files that stay open at most, by each that keeps some …
const MAX_KEPT: usize = 512;
/// … and at most one in so many that the agent may have open.
const SHARE: u64 = 8;
/// Paths remembered, those of files that are not there included.
const MAX_KNOWN: usize = 16_384;
/// Passes for which a file that was not there is taken to be still not there.
const PATIENCE: u64 = 30;

/// What stays open.
#[derive(Default)]
pub struct Keeping {
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    slots: Vec<Option<Known>>,
    free: Vec<usize>,
    by_path: HashMap<Arc<str>, usize>,
    /// Slot of the file that was read last.
    newest: usize,
    open: usize,
    /// Files that may stay open; asked for once.
    room: Option<usize>,
    pass: u64,
    /// In this pass a file that was open could not be read any more.
    lost: bool,
}

/// A path; without a file, nothing was there, or it is opened each time.
struct Known {
    path: Arc<str>,
    file: Option<Box<dyn HostFile>>,
    /// Pass in which it was last read, and before which it is not looked for again.
    seen: u64,
    not_before: u64,
    /// Slot of the file that was read after it the last time.
    next: usize,
}

impl Keeping {
    /// The host for one pass. What the pass before did not read is closed.
    pub fn over<'h>(&'h self, host: &'h dyn Host) -> KeepingHost<'h> {
        let mut files = self.files();
        files.close_unread();
        files.room.get_or_insert_with(|| MAX_KEPT.min((host.max_open_files() / SHARE) as usize));
        files.pass += 1;
        files.lost = false;
        drop(files);
        KeepingHost { host, keeping: self }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn close_unread(&mut self) {
        let Self { slots, free, by_path, open, pass, .. } = self;
        for (slot, place) in slots.iter_mut().enumerate() {
            if let Some(known) = place.take_if(|known| known.seen != *pass) {
                *open -= usize::from(known.file.is_some());
                by_path.remove(&known.path);
                free.push(slot);
            }
        }
    }

    fn at(&mut self, slot: usize) -> Option<&mut Known> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// The same files are read in the same order pass after pass: the one that followed the last time is the likely one.
    fn find(&mut self, path: &str) -> Option<usize> {
        let newest = self.newest;
        let likely = self.at(newest).map(|known| known.next);
        let likely = likely.filter(|&slot| self.at(slot).is_some_and(|known| *known.path == *path));
        let slot = likely.or_else(|| self.by_path.get(path).copied())?;
        if likely.is_none() {
            self.follow(slot);
        }
        self.newest = slot;
        Some(slot)
    }

    /// This one comes after the newest.
    fn follow(&mut self, slot: usize) {
        let newest = self.newest;
        self.at(newest).into_iter().for_each(|known| known.next = slot);
    }

    fn keep(&mut self, known: Known) {
        self.open += usize::from(known.file.is_some());
        let path = Arc::clone(&known.path);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(known);
        self.by_path.insert(path, slot);
        self.follow(slot);
        self.newest = slot;
    }

    fn read(&mut self, host: &dyn Host, path: &str, buf: &mut Vec<u8>) -> io::Result<()> {
        let pass = self.pass;
        let found = self.find(path);
        if let Some(known) = found.and_then(|slot| self.at(slot)) {
            known.seen = pass;
            match &mut known.file {
                None if pass < known.not_before => return Err(io::ErrorKind::NotFound.into()),
                None => {}
                Some(file) => {
                    if file.read(buf).is_ok() {
                        return Ok(());
                    }
                    // Gone; there may be another one by this name.
                    known.file = None;
                    self.open -= 1;
                    self.lost = true;
                }
            }
        }
        if self.open >= self.room.unwrap_or_default() || (found.is_none() && self.by_path.len() >= MAX_KNOWN)
        {
            return host.read(path, buf);
        }
        let opened = host.open(path).and_then(|mut file| file.read(buf).map(|()| file));
        let absent = opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let not_before = if absent { pass + PATIENCE } else { 0 };
        let (file, result) = match opened {
            Ok(file) => (Some(file), Ok(())),
            Err(error) => (None, Err(error)),
        };
        if let Some(known) = found.and_then(|slot| self.at(slot)) {
            known.not_before = not_before;
            let opened = usize::from(file.is_some());
            known.file = file;
            self.open += opened;
        } else {
            self.keep(Known { path: path.into(), file, seen: pass, not_before, next: 0 });
        }
        result
    }
}

/// The host of a pass.
pub struct KeepingHost<'h> {
    host: &'h dyn Host,
    keeping: &'h Keeping,
}

impl KeepingHost<'_> {
    /// Whether something that was open was gone when it was to be read again.
    pub fn has_lost(&self) -> bool {
        self.keeping.files().lost
    }
}

impl Host for KeepingHost<'_> {
    fn read(&self, path: &str, buf: &mut Vec<u8>) -> io::Result<()> {
        self.keeping.files().read(self.host, path, buf)
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn HostFile>> {
        self.host.open(path)
    }

    fn list(&self, path: &str, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.host.list(path, each)
    }

    fn list_dirs(&self, path: &str, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.host.list_dirs(path, each)
    }

    fn count_dirs(&self, path: &str) -> Option<u64> {
        self.host.count_dirs(path)
    }

    fn open_dir(&self, path: &str) -> io::Result<Box<dyn HostDir>> {
        self.host.open_dir(path)
    }

    fn read_link(&self, path: &str) -> io::Result<String> {
        self.host.read_link(path)
    }

    fn statvfs(&self, path: &Path) -> io::Result<FsStat> {
        self.host.statvfs(path)
    }

    fn nic_driver(&self, interface: &str) -> io::Result<NicDriver> {
        self.host.nic_driver(interface)
    }

    fn uname(&self) -> Uname {
        self.host.uname()
    }

    fn max_open_files(&self) -> u64 {
        self.host.max_open_files()
    }

    fn shared(&self) -> Arc<dyn Host> {
        self.host.shared()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;
    use crate::host::read_text;

    #[test]
    fn files_come_and_go() {
        let host = FixtureHost::default();
        let keeping = Keeping::default();
        let pass = |path: &str| read_text(&keeping.over(&host), path).ok();
        host.set("/a", "1");
        assert_eq!(pass("/a").as_deref(), Some("1"));
        host.set("/a", "2");
        assert_eq!(pass("/a").as_deref(), Some("2"));
        assert_eq!(keeping.files().open, 1);
        host.remove("/a");
        assert_eq!(pass("/a"), None);
        host.set("/a", "3");
        // Not looked for at each pass, but after some.
        let after = (1..100).find(|_| pass("/a").is_some());
        assert_eq!(after, Some(PATIENCE as i32));
        assert_eq!(pass("/b"), None);
        assert_eq!(keeping.files().open, 1, "/a was not read in the pass before the last");
        pass("/b");
        let files = keeping.files();
        assert_eq!((files.open, files.by_path.len()), (0, 1));
    }

    #[test]
    fn only_so_many_stay_open() {
        let host = FixtureHost::default();
        let keeping = Keeping::default();
        (0..200).for_each(|nth| host.set(&format!("/{nth}"), nth.to_string()));
        for _ in 0..2 {
            let kept = keeping.over(&host);
            for nth in 0..200 {
                assert_eq!(read_text(&kept, &format!("/{nth}")).unwrap(), nth.to_string());
            }
        }
        assert_eq!(keeping.files().open as u64, host.max_open_files() / SHARE);
    }

    #[test]
    fn any_order_will_do() {
        let host = FixtureHost::default();
        let keeping = Keeping::default();
        for name in ["a", "b", "c", "d"] {
            host.set(&format!("/{name}"), name);
        }
        for order in ["abcd", "abcd", "dcba", "bd", "abcd", "acacbdx", "x", "", "dd", "xyzabcd", "dcbazyx"] {
            let kept = keeping.over(&host);
            for name in order.chars() {
                let found = read_text(&kept, &format!("/{name}")).ok();
                assert_eq!(found, (name < 'x').then(|| name.to_string()), "{order}");
            }
        }
        assert_eq!(keeping.files().open, 4);
    }
}
