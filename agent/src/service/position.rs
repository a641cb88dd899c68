//! How far the kernel log has been turned into alerts, kept over restarts.
//!
//! The position is stored only after the alerts of everything before it are durable. After a kill
//! the log is read on from it, and what had been told already is known again from the outbox.

use std::path::{Path, PathBuf};

use crate::event::KmsgMark;
use crate::host::state;
use crate::time::{Now, SECOND};

/// File in the data directory.
const FILE: &str = "kmsg-position";
/// A position with no alert behind it is written at most this often: reading such lines again is harmless.
const LAZY_NS: u64 = 60 * SECOND;

/// The stored position.
#[derive(Debug, Default)]
pub struct Position {
    path: PathBuf,
    boot_id: String,
    written: Option<(KmsgMark, u64)>,
    latest: Option<KmsgMark>,
    failing: bool,
}

impl Position {
    /// The position in `data_dir`, and where to read on if it is of this boot.
    pub fn open(data_dir: &Path, boot_id: &str) -> (Self, Option<u64>) {
        let path = data_dir.join(FILE);
        let stored = state::read(&path).ok().flatten();
        let seq = stored.as_deref().and_then(|bytes| parse(bytes, boot_id));
        (Self { path, boot_id: boot_id.to_owned(), ..Self::default() }, seq)
    }

    /// Everything up to `mark` is told and durable. Whether that is worth writing now: at once if something
    /// was told (`told`), else now and then.
    pub fn reached(&mut self, mark: KmsgMark, told: bool, now: Now) -> bool {
        self.latest = Some(mark);
        told || self.written.is_none_or(|(_, at)| now.mono_ns.saturating_sub(at) >= LAZY_NS)
    }

    /// Writes what is not written yet. Returns a sentence when writing begins to fail.
    pub fn write(&mut self, now: Now) -> Option<String> {
        let (path, mark) = (&self.path, self.latest?);
        if self.written.is_some_and(|(written, _)| written == mark) {
            return None;
        }
        let result = state::replace(path, format!("{} {}\n", self.boot_id, mark.seq).as_bytes(), 0o600);
        let first = result.is_err() && !self.failing;
        self.failing = result.is_err();
        match result {
            Ok(()) => {
                self.written = Some((mark, now.mono_ns));
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

/// The stored sequence number, if the content is of this boot.
pub fn parse(bytes: &[u8], boot_id: &str) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (boot, seq) = text.trim_end().split_once(' ')?;
    // An unreadable boot id is nobody's.
    (boot == boot_id && !boot.is_empty()).then(|| seq.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content: &str, expect: Option<u64>) {
        assert_eq!(parse(content.as_bytes(), "boot"), expect, "{content:?}");
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
        let read = || Position::open(dir.path(), "b").1;
        let (mut position, none) = Position::open(dir.path(), "b");
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
