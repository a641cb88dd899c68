//! How far each log has been turned into alerts, kept over restarts.
//!
//! A position is stored only after the alerts of everything before it are durable. After a kill
//! the log is read on from it, and what had been told already is known again from the outbox.

use std::path::{Path, PathBuf};

use crate::event::{JournalMark, KmsgMark, SyslogMark};
use crate::host::state;
use crate::host::tail;
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
    /// Which file it is a place in: a place in one that is rotated away is soon no place at all.
    fn file(&self) -> Option<&str> {
        None
    }
}

/// How far the kernel log is told, and how many kills of the kernel's own count are accounted for by then. In one file:
/// a count older than its place would tell kills once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KmsgPlace {
    /// In the log.
    pub mark: KmsgMark,
    /// Of `oom_kill` in `/proc/vmstat`, where it was read.
    pub kills: Option<u64>,
}

impl Mark for KmsgPlace {
    const FILE: &'static str = "kmsg-position";

    fn text(&self) -> String {
        let seq = self.mark.seq;
        self.kills.map_or_else(|| seq.to_string(), |kills| format!("{seq} {kills}"))
    }

    fn parse(text: &str) -> Option<Self> {
        let (seq, kills) = text.split_once(' ').map_or((text, None), |(seq, kills)| (seq, Some(kills)));
        let kills = kills.map(str::parse).transpose().ok()?;
        Some(Self { mark: KmsgMark { seq: seq.parse().ok()? }, kills })
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

impl Mark for SyslogMark {
    const FILE: &'static str = "syslog-position";

    fn text(&self) -> String {
        self.place.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        tail::Mark::parse(text).map(|mark| Self { place: mark.text().into() })
    }

    fn file(&self) -> Option<&str> {
        self.place.split(' ').next()
    }
}

/// In place of the boot's id: a file is the same over boots.
pub const ANY_BOOT: &str = "file";

/// A stored position.
#[derive(Debug)]
pub struct Position<M> {
    path: PathBuf,
    boot_id: String,
    written: Option<(M, u64)>,
    latest: Option<M>,
    failing: bool,
    /// There is one of this boot on disk.
    stored: bool,
}

impl<M: Mark> Position<M> {
    /// The position in `data_dir`, and where to read on if it is of this boot.
    pub fn open(data_dir: &Path, boot_id: &str) -> (Self, Option<M>) {
        let path = data_dir.join(M::FILE);
        let stored = state::read(&path).ok().flatten();
        let mark = stored.as_deref().and_then(|bytes| parse(bytes, boot_id));
        let (boot_id, stored) = (boot_id.to_owned(), mark.is_some());
        (Self { path, boot_id, written: None, latest: None, failing: false, stored }, mark)
    }

    /// Everything up to `mark` is told and durable. Whether that is worth writing now: at once if something
    /// was told (`told`) or it is in another file, else now and then.
    pub fn reached(&mut self, mark: M, told: bool, now: Now) -> bool {
        let is_due = |(written, at): &(M, u64)| {
            written.file() != mark.file() || now.mono_ns.saturating_sub(*at) >= LAZY_NS
        };
        let is_worth = told || self.written.as_ref().is_none_or(is_due);
        self.latest = Some(mark);
        is_worth
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
                self.stored = true;
                None
            }
            Err(error) => first.then(|| {
                let then = if self.stored {
                    "after a restart the log is read on from an older place, and some events may be told twice"
                } else {
                    "after a restart the log is read from its end on, and what happened while the agent did not run \
                     is not told"
                };
                format!("{} cannot be written: {error}; {then}", path.display())
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
        let place = parse(content.as_bytes(), "boot");
        assert_eq!(place.map(|place: KmsgPlace| place.mark.seq), expect, "{content:?}");
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
        check("boot 17 4\n", Some(17));
        check("boot 17 x\n", None);
        check("boot 17 4 4\n", None);
        check("other 17\n", None);
        check("boot", None);
        check("boot x\n", None);
        check("", None);
        check("boot 99999999999999999999\n", None);
    }

    #[test]
    fn written_at_once_behind_alerts_and_lazily_otherwise() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let read = || Position::<KmsgPlace>::open(dir.path(), "b").1.map(|place| place.mark.seq);
        let (mut position, none) = Position::<KmsgPlace>::open(dir.path(), "b");
        assert_eq!(none, None);
        let at = |secs: u64| Now { mono_ns: secs * SECOND, wall_ns: 0 };
        let mut reached = |seq, told, secs| {
            if position.reached(KmsgPlace { mark: KmsgMark { seq }, kills: None }, told, at(secs)) {
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

    #[test]
    fn a_place_in_another_file_is_written_at_once() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (mut position, _) = Position::<SyslogMark>::open(dir.path(), ANY_BOOT);
        let at = |secs: u64| Now { mono_ns: secs * SECOND, wall_ns: 0 };
        let place = |text: &str| SyslogMark { place: text.into() };
        assert!(position.reached(place("7 100 0/0"), false, at(1)));
        assert_eq!(position.write(at(1)), None);
        assert!(!position.reached(place("7 200 0/0"), false, at(2)));
        assert!(position.reached(place("8 0 0/0"), false, at(3)));
    }

    #[test]
    fn the_count_of_kills_stands_beside_the_place() {
        for kills in [None, Some(0), Some(u64::MAX)] {
            let place = KmsgPlace { mark: KmsgMark { seq: 7 }, kills };
            assert_eq!(KmsgPlace::parse(&place.text()), Some(place));
        }
    }

    #[test]
    fn what_follows_from_a_place_that_cannot_be_written_is_told() {
        let at = Now { mono_ns: 1, wall_ns: 0 };
        let place = KmsgPlace { mark: KmsgMark { seq: 7 }, kills: None };
        let dir = tempfile::tempdir().expect("a temporary directory");
        let told = |stored: Option<&str>| {
            let home = dir.path().join(if stored.is_some() { "a" } else { "b" });
            std::fs::create_dir(&home).expect("a directory");
            stored.inspect(|text| std::fs::write(home.join("kmsg-position"), text).expect("a file"));
            let (mut position, _) = Position::open(&home, "boot");
            std::fs::remove_dir_all(&home).expect("it is there");
            position.reached(place, true, at);
            position.write(at).expect("a sentence")
        };
        assert!(told(Some("boot 5\n")).contains("told twice"));
        assert!(told(None).contains("while the agent did not run is not told"));
    }
}
