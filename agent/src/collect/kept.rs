//! A file of the host that a collector reads at every pass.

use std::borrow::Cow;
use std::io;

use super::CollectError;
use crate::host::parse::{number, signed};
use crate::host::{Host, HostFile};
use crate::time::{Now, SECOND};

/// Path, open file and reused buffer.
pub struct Kept {
    path: Cow<'static, str>,
    file: Option<Box<dyn HostFile>>,
    buf: Vec<u8>,
    /// When [`Self::seldom`] read it, monotonic nanoseconds.
    read_ns: Option<u64>,
    absent: Absence,
}

/// For how long a setting is taken to be as it was, and what is not there to be still not there.
const SELDOM_NS: u64 = 10 * SECOND;

/// When something was seen not to be there: at a pass each second most hosts lack the same things again and again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Absence {
    seen_ns: Option<u64>,
}

impl Absence {
    /// It was not there a moment ago.
    pub fn is_young(self, now: Now) -> bool {
        self.seen_ns.is_some_and(|seen| now.mono_ns.saturating_sub(seen) < SELDOM_NS)
    }

    /// Remembers whether it is there.
    pub fn note(&mut self, is_absent: bool, now: Now) {
        self.seen_ns = is_absent.then_some(now.mono_ns);
    }
}

impl Kept {
    /// Opened at the first read.
    pub const fn new(path: &'static str) -> Self {
        Self {
            path: Cow::Borrowed(path),
            file: None,
            buf: Vec::new(),
            read_ns: None,
            absent: Absence { seen_ns: None },
        }
    }

    /// The same for a path that is known at run time only.
    pub const fn at(path: String) -> Self {
        Self {
            path: Cow::Owned(path),
            file: None,
            buf: Vec::new(),
            read_ns: None,
            absent: Absence { seen_ns: None },
        }
    }

    /// The content now. After an error the file is opened anew.
    pub fn read(&mut self, host: &dyn Host) -> Result<&[u8], CollectError> {
        match self.try_read(host) {
            Ok(()) => Ok(&self.buf),
            Err(error) => {
                self.file = None;
                Err(failure(&self.path, &error))
            }
        }
    }

    /// The content now of what most hosts lack: one that was not there is looked for again after ten seconds.
    pub fn rare(&mut self, host: &dyn Host, now: Now) -> Result<&[u8], CollectError> {
        if self.absent.is_young(now) {
            return Err(CollectError::Absent { path: self.path.clone().into_owned() });
        }
        let result = self.read(host).map(|_| ());
        self.absent.note(matches!(result, Err(CollectError::Absent { .. })), now);
        result.map(|()| &*self.buf)
    }

    /// The content of what seldom changes, a setting: as it was at most ten seconds ago.
    pub fn seldom(&mut self, host: &dyn Host, now: Now) -> Result<&[u8], CollectError> {
        if self.read_ns.is_none_or(|read| now.mono_ns.saturating_sub(read) >= SELDOM_NS) {
            self.read_ns = None;
            self.read(host)?;
            self.read_ns = Some(now.mono_ns);
        }
        Ok(&self.buf)
    }

    /// The content of a file of which the kernel tells when it changes: read when it does, when the caller has reason to doubt,
    /// and after ten seconds, for it does not tell everything.
    pub fn told(&mut self, host: &dyn Host, now: Now, doubt: bool) -> Result<&[u8], CollectError> {
        // Asked before it is read: what comes in between is told the next time.
        let differs = self.file.as_mut().is_none_or(|file| file.may_differ());
        if differs || doubt {
            self.read_ns = None;
        }
        self.seldom(host, now)
    }

    fn try_read(&mut self, host: &dyn Host) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(host.open(&self.path)?);
        }
        let Self { file, buf, .. } = self;
        file.as_mut().map_or(Ok(()), |file| file.read(buf))
    }

    /// The one number it holds; `None` if it holds none or cannot be read.
    pub fn number(&mut self, host: &dyn Host) -> Option<u64> {
        number(self.read(host).ok()?.trim_ascii())
    }

    /// The same with a sign.
    pub fn signed(&mut self, host: &dyn Host) -> Option<i64> {
        signed(self.read(host).ok()?.trim_ascii())
    }

    /// Its path on the host.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The content is not what it should be.
    pub fn parse_error(&self, why: &str) -> CollectError {
        CollectError::Parse { path: self.path.clone().into_owned(), why: why.to_owned() }
    }
}

/// What an error of the system means to a collector.
pub fn failure(path: &str, error: &io::Error) -> CollectError {
    use rustix::io::Errno;
    let path = path.to_owned();
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    match (error.kind(), errno) {
        (io::ErrorKind::PermissionDenied, _) => {
            CollectError::Denied { path, needs: "CAP_DAC_READ_SEARCH or root" }
        }
        // Switched off at boot (pressure), or a device that went away.
        (io::ErrorKind::NotFound, _) | (_, Some(Errno::OPNOTSUPP | Errno::NODEV | Errno::NOTDIR)) => {
            CollectError::Absent { path }
        }
        _ => CollectError::Read { path, error: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    #[test]
    fn errors_are_told_apart_and_got_over() {
        let host = FixtureHost::parse(
            "//- denied /a\n//- error /b 95\n//- error /c 5\n//- error /d 1\n//- /e\nfine\n",
        )
        .unwrap();
        let words = |path| Kept::new(path).read(&host).unwrap_err().to_string();
        assert_eq!(words("/a"), "/a may not be read: it needs CAP_DAC_READ_SEARCH or root");
        assert_eq!(words("/b"), "/b does not exist on this host");
        assert_eq!(words("/none"), "/none does not exist on this host");
        assert_eq!(words("/c"), "/c cannot be read: Input/output error (os error 5)");
        assert!(matches!(Kept::new("/d").read(&host), Err(CollectError::Denied { .. })));

        let mut kept = Kept::new("/e");
        assert_eq!(kept.read(&host).unwrap(), b"fine\n");
        host.remove("/e");
        assert!(kept.read(&host).is_err());
        host.set("/e", "again");
        assert_eq!(kept.read(&host).unwrap(), b"again");
        for (content, number, signed) in
            [(" 42\n", Some(42), Some(42)), ("-1\n", None, Some(-1)), ("", None, None), ("x", None, None)]
        {
            host.set("/e", content);
            assert_eq!((kept.number(&host), kept.signed(&host)), (number, signed), "{content}");
        }
        assert_eq!(Kept::at("/none".to_owned()).number(&host), None);
    }

    #[test]
    fn settings_are_read_now_and_then() {
        let host = FixtureHost::parse("//- /a\n1\n").unwrap();
        let mut kept = Kept::new("/a");
        let mut look = |secs| number(kept.seldom(&host, Now::default().plus_secs(secs)).ok()?.trim_ascii());
        assert_eq!(look(5), Some(1));
        host.set("/a", "2");
        assert_eq!((look(5), look(14), look(15), look(16)), (Some(1), Some(1), Some(2), Some(2)));
        host.remove("/a");
        assert_eq!((look(24), look(25), look(26)), (Some(2), None, None));
        host.set("/a", "3");
        assert_eq!(look(27), Some(3), "what failed is tried at once");
    }

    /// Reads its count of readings.
    struct Telling(u8, std::sync::Arc<std::sync::atomic::AtomicBool>);
    impl HostFile for Telling {
        fn read(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
            self.0 += 1;
            *buf = vec![b'0' + self.0];
            Ok(())
        }
        fn may_differ(&mut self) -> bool {
            self.1.swap(false, std::sync::atomic::Ordering::Relaxed)
        }
    }

    #[test]
    fn what_the_kernel_tells_of_is_read_when_it_does() {
        let (host, news) = (FixtureHost::default(), std::sync::Arc::default());
        let mut kept = Kept::new("/a");
        kept.file = Some(Box::new(Telling(0, std::sync::Arc::clone(&news))));
        let mut look = |secs, is_told: bool, doubt| {
            news.store(is_told, std::sync::atomic::Ordering::Relaxed);
            kept.told(&host, Now::default().plus_secs(secs), doubt).unwrap()[0] - b'0'
        };
        assert_eq!((look(1, false, false), look(2, false, false)), (1, 1));
        assert_eq!((look(3, true, false), look(4, false, false)), (2, 2), "told");
        assert_eq!((look(5, false, true), look(6, false, false)), (3, 3), "doubted");
        assert_eq!(
            (look(14, false, false), look(15, false, false), look(16, false, false)),
            (3, 4, 4),
            "old"
        );
    }

    #[test]
    fn what_is_not_there_is_looked_for_now_and_then() {
        let host = FixtureHost::default();
        let mut kept = Kept::new("/a");
        let mut look = |secs| number(kept.rare(&host, Now::default().plus_secs(secs)).ok()?.trim_ascii());
        assert_eq!(look(5), None);
        host.set("/a", "1");
        assert_eq!((look(14), look(15)), (None, Some(1)));
        host.set("/a", "2");
        assert_eq!(look(15), Some(2), "what is there is read each time");
    }
}
