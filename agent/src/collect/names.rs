//! The names in a directory, looked at for change at every pass without keeping them.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::io;

use super::CollectError;
use super::kept::{Absence, failure};
use crate::host::{Host, HostDir};
use crate::time::Now;

/// A directory that is listed at each pass, and stays open.
pub struct KeptDir {
    path: Cow<'static, str>,
    open: Option<Box<dyn HostDir>>,
}

impl KeptDir {
    /// Opened at the first look.
    pub fn new(path: impl Into<Cow<'static, str>>) -> Self {
        Self { path: path.into(), open: None }
    }

    /// As [`Host::list_nodes`].
    ///
    /// # Errors
    /// The host's.
    pub fn list_nodes(&mut self, host: &dyn Host, each: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        if self.open.is_none() {
            match host.open_dir(&self.path) {
                Ok(open) => self.open = Some(open),
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    return host.list_nodes(&self.path, each);
                }
                Err(error) => return Err(error),
            }
        }
        let mut any = false;
        let noted = &mut |name: &str, node| {
            any = true;
            each(name, node);
        };
        let result = self.open.as_mut().map_or(Ok(()), |open| open.list_nodes(noted));
        if any {
            return result;
        }
        // It may have been taken away, and another one have its name.
        self.open = None;
        host.list_nodes(&self.path, each)
    }
}

/// One directory.
pub struct Names {
    dir: KeptDir,
    hasher: RandomState,
    seen: Option<u64>,
    absent: Absence,
}

impl Names {
    /// Not looked at yet.
    pub fn new(dir: impl Into<Cow<'static, str>>) -> Self {
        Self { dir: KeptDir::new(dir), hasher: RandomState::new(), seen: None, absent: Absence::default() }
    }

    /// Whether there are other names than in the pass before, or others bear them; so in the first.
    pub fn changed(&mut self, host: &dyn Host) -> Result<bool, CollectError> {
        let mut sum = 0u64;
        // The order of a directory is not certain, so the sum of the hashes.
        let each = &mut |name: &str, node| sum = sum.wrapping_add(self.hasher.hash_one((name, node)));
        match self.dir.list_nodes(host, each) {
            Ok(()) => Ok(self.seen.replace(sum) != Some(sum)),
            Err(error) => {
                self.seen = None;
                Err(failure(&self.dir.path, &error))
            }
        }
    }

    /// The same of a directory that most hosts lack: one that was not there is looked for again after ten seconds.
    pub fn changed_since(&mut self, host: &dyn Host, now: Now) -> Result<bool, CollectError> {
        if self.absent.is_young(now) {
            return Err(CollectError::Absent { path: self.dir.path.clone().into_owned() });
        }
        let result = self.changed(host);
        self.absent.note(matches!(result, Err(CollectError::Absent { .. })), now);
        result
    }

    /// The directory.
    pub fn dir(&self) -> &str {
        &self.dir.path
    }

    /// The names now, in order.
    pub fn list(&self, host: &dyn Host) -> Vec<String> {
        list(host, &self.dir.path)
    }
}

/// Names in a directory, in order; none where there is no such directory.
pub fn list(host: &dyn Host, dir: &str) -> Vec<String> {
    let mut names = Vec::new();
    // What cannot be listed has nothing in it.
    let _ = host.list(dir, &mut |name| names.push(name.to_owned()));
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    #[test]
    fn changes_are_seen_once() {
        let host = FixtureHost::parse("//- /a/1\n//- /a/2\n//- denied /b\n").unwrap();
        let mut names = Names::new("/a");
        let mut look = || names.changed(&host);
        assert_eq!((look(), look()), (Ok(true), Ok(false)));
        host.set("/a/3", "");
        assert_eq!((look(), look()), (Ok(true), Ok(false)));
        host.remove("/a/3");
        host.remove("/a/2");
        host.set("/a/3", "");
        assert_eq!((look(), look()), (Ok(true), Ok(false)), "another one in its place");
        host.apply("//- /a/3 -> ../x\n//- /a/4 -> ../y\n").unwrap();
        assert_eq!((look(), look()), (Ok(true), Ok(false)));
        host.apply("//- /a/3 -> ../y\n//- /a/4 -> ../x\n").unwrap();
        assert_eq!((look(), look()), (Ok(true), Ok(false)), "they exchanged their names");
        host.remove("/a");
        assert!(matches!(look(), Err(CollectError::Absent { .. })));
        host.set("/a/3", "");
        assert_eq!((look(), look()), (Ok(true), Ok(false)), "gone meanwhile");
        assert_eq!((names.changed(&host), names.list(&host)), (Ok(false), vec!["3".to_owned()]));
        assert!(matches!(Names::new("/b").changed(&host), Err(CollectError::Denied { .. })));
    }
}
