//! How far each log has been turned into alerts, kept over restarts.
//!
//! A position is stored only after the alerts of everything before it are durable. After a kill
//! the log is read on from it, and what had been told already is known again from the outbox.

use std::path::{Path, PathBuf};

use crate::event::{JournalMark, KmsgMark};
use crate::host::state;
use crate::time::{Now, SECOND};
use crate::watch::journal::place::Place;

/// A position with no alert behind it is written at most this often: reading such lines again is harmless.
const LAZY_NS: u64 = 60 * SECOND;

/// A place in a log.
pub trait Mark: Clone + PartialEq + Send + 'static {
    /// File in the data directory.
    const FILE: &'static str;
    /// As it is stored.
    fn text(&self) -> String;
    /// The way back; `None` if it is no such place.
    fn parse(text: &str) -> Option<Self>;
}

impl Mark for KmsgMark {
    const FILE: &'static str = "kmsg-position";

    fn text(&self) -> String {
        self.seq.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        Some(Self { seq: text.parse().ok()? })
    }
}

impl Mark for JournalMark {
    const FILE: &'static str = "journal-position";

    fn text(&self) -> String {
        self.place.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        Place::parse(text).map(|place| Self { place: place.text() })
    }
}

/// A stored position.
#[derive(Debug)]
pub struct Position<M> {
    path: PathBuf,
    boot_id: String,
    written: Option<(M, u64)>,
    latest: Option<M>,
    failing: bool,
}

impl<M: Mark> Position<M> {
    /// The position in `data_dir`, and where to read on if it is of this boot.
    pub fn open(data_dir: &Path, boot_id: &str) -> (Self, Option<M>) {
        let path = data_dir.join(M::FILE);
        let stored = state::read(&path).ok().flatten();
        let mark = stored.as_deref().and_then(|bytes| parse(bytes, boot_id));
        (Self { path, boot_id: boot_id.to_owned(), written: None, latest: None, failing: false }, mark)
    }

    /// Everything up to `mark` is told and durable. Whether that is worth writing now: at once if something
    /// was told (`told`), else now and then.
    pub fn reached(&mut self, mark: M, told: bool, now: Now) -> bool {
        self.latest = Some(mark);
        told || self.written.as_ref().is_none_or(|(_, at)| now.mono_ns.saturating_sub(*at) >= LAZY_NS)
    }

    /// Writes what is not written yet. Returns a sentence when writing begins to fail.
    pub fn write(&mut self, now: Now) -> Option<String> {
        let (path, mark) = (&self.path, self.latest.as_ref()?);
        if self.written.as_ref().is_some_and(|(written, _)| written == mark) {
            return None;
        }
        let result = state::replace(path, format!("{} {}\n", self.boot_id, mark.text()).as_bytes(), 0o600);
        let first = result.is_err() && !self.failing;
        self.failing = result.is_err();
        match result {
            Ok(()) => {
                self.written = Some((mark.clone(), now.mono_ns));
                None
            }
            Err(error) => first.then(|| {
                format!(
                    "{} cannot be written: {error}; after a restart some kernel events may be told twice",
                    path.display()
                )
            }),
        }
    }
}

/// The stored place, if the content is of this boot.
pub fn parse<M: Mark>(bytes: &[u8], boot_id: &str) -> Option<M> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (boot, mark) = text.trim_end().split_once(' ')?;
    // An unreadable boot id is nobody's.
    (boot == boot_id && !boot.is_empty()).then(|| M::parse(mark)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, expect: Option<u64>) {
        assert_eq!(parse(content.as_bytes(), "boot").map(|m: KmsgMark| m.seq), expect, "{content:?}");
    }

    #[test]
    fn a_place_in_the_journal_is_a_cursor_or_a_time() {
        let check = |content: &str, expect: Option<&str>| {
            let place = parse(content.as_bytes(), "boot").map(|m: JournalMark| m.place);
            assert_eq!(place.as_deref(), expect, "{content:?}");
        };
        check(
            "boot s=1dd4;i=63b;b=e712;m=8a12;t=660d;x=c68f\n",
            Some("s=1dd4;i=63b;b=e712;m=8a12;t=660d;x=c68f"),
        );
        check("boot @516.587920", Some("@516.587920"));
        check("boot @516.5879", None);
        check("other @1795328516.587920", None);
        check("boot --file=/etc/shadow", None);
        check("boot @-1", None);
        check("boot @", None);
        check("boot s=1;i=2 --file=x", None);
        check("boot ", None);
        check(&format!("boot s={}", "a".repeat(400)), None);
    }

    #[test]
    fn only_a_position_of_this_boot_counts() {
        check("boot 17\n", Some(17));
        check("other 17\n", None);
        check("boot", None);
        check("boot x\n", None);
        check("", None);
        check("boot 99999999999999999999\n", None);
    }

    #[test]
    fn written_at_once_behind_alerts_and_lazily_otherwise() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let read = || Position::<KmsgMark>::open(dir.path(), "b").1.map(|mark| mark.seq);
        let (mut position, none) = Position::<KmsgMark>::open(dir.path(), "b");
        assert_eq!(none, None);
        let at = |secs: u64| Now { mono_ns: secs * SECOND, wall_ns: 0 };
        let mut reached = |seq, told, secs| {
            if position.reached(KmsgMark { seq }, told, at(secs)) {
                assert_eq!(position.write(at(secs)), None);
            }
            read()
        };
        assert_eq!(reached(1, false, 1), Some(1));
        assert_eq!(reached(2, false, 2), Some(1));
        assert_eq!(reached(3, true, 3), Some(3));
        assert_eq!(reached(4, false, 62), Some(3));
        assert_eq!(reached(5, false, 63), Some(5));
        assert_eq!(reached(6, false, 64), Some(5));
        assert_eq!(position.write(at(65)), None);
        assert_eq!(read(), Some(6));
    }
}
