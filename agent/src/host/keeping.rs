//! A host whose small files stay open from pass to pass: reading one again costs a system call instead of three.

#![expect(
    clippy::disallowed_types,
    reason = "a host is read through a shared reference; one thread takes the lock"
)]

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{FsStat, Host, HostFile, NicDriver, Uname};

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
    known: HashMap<Box<str>, Known>,
    open: usize,
    room: usize,
    pass: u64,
}

/// A path; without a file, nothing was there, or it is opened each time.
struct Known {
    file: Option<Box<dyn HostFile>>,
    /// Pass in which it was last read, and before which it is not looked for again.
    seen: u64,
    not_before: u64,
}

impl Keeping {
    /// The host for one pass. What the pass before did not read is closed.
    pub fn over<'h>(&'h self, host: &'h dyn Host) -> KeepingHost<'h> {
        let mut files = self.files();
        let pass = files.pass;
        files.known.retain(|_, known| known.seen == pass);
        files.open = files.known.values().filter(|known| known.file.is_some()).count();
        files.room = MAX_KEPT.min((host.max_open_files() / SHARE) as usize);
        files.pass += 1;
        drop(files);
        KeepingHost { host, keeping: self }
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn read(&mut self, host: &dyn Host, path: &str, buf: &mut Vec<u8>) -> io::Result<()> {
        let pass = self.pass;
        if let Some(known) = self.known.get_mut(path) {
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
                }
            }
        }
        if self.open >= self.room || (self.known.len() >= MAX_KNOWN && !self.known.contains_key(path)) {
            return host.read(path, buf);
        }
        let opened = host.open(path).and_then(|mut file| file.read(buf).map(|()| file));
        let absent = opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let not_before = if absent { pass + PATIENCE } else { 0 };
        let (file, result) = match opened {
            Ok(file) => (Some(file), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.open += usize::from(file.is_some());
        self.known.insert(path.into(), Known { file, seen: pass, not_before });
        result
    }
}

/// The host of a pass.
pub struct KeepingHost<'h> {
    host: &'h dyn Host,
    keeping: &'h Keeping,
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

    fn has_no_dirs(&self, path: &str) -> bool {
        self.host.has_no_dirs(path)
    }

    fn read_link(&self, path: &str) -> io::Result<String> {
        self.host.read_link(path)
    }

    fn statvfs(&self, path: &str) -> io::Result<FsStat> {
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
        assert_eq!((files.open, files.known.len()), (0, 1));
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
}
