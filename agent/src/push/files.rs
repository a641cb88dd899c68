//! The backup files: `retry_backup_YYYYmmdd_HHMMSS.json`, each an array of payloads, one a line. All of it blocks.

#![expect(clippy::disallowed_methods, reason = "the one owner of the backup files")]

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use serde_json::value::RawValue;

use super::line::Payload;
use crate::host::state;

/// Largest file that is read, bytes; ours have a quarter of it and a little more.
pub const MAX_FILE: u64 = 16 << 20;

/// When a file was begun, local time: its name, and its place in the order.
pub type Stamp = DateTime;

const HEAD: &str = "retry_backup_";
const FORM: &str = "%Y%m%d_%H%M%S";

fn path(dir: &Path, stamp: Stamp) -> PathBuf {
    dir.join(format!("{HEAD}{}.json", stamp.strftime(FORM)))
}

fn parse(name: &str) -> Option<Stamp> {
    let digits = name.strip_prefix(HEAD)?.strip_suffix(".json")?;
    // What is padded in another way is not ours.
    DateTime::strptime(FORM, digits).ok().filter(|_| digits.len() == 15)
}

/// Why a visit failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// There is no room: removing something helps.
    pub full: bool,
    /// A sentence.
    pub why: String,
}

fn trouble(what: &str, dir: &Path, error: &io::Error) -> Trouble {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    Trouble { full, why: state::trouble(what, dir, error).replace("agent.data_dir", "push.backup_dir") }
}

/// Files in `dir` and their bytes; none where it does not exist. What a crash left half-written is removed.
pub fn list(dir: &Path) -> Result<Vec<(Stamp, u64)>, Trouble> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| trouble("use", dir, &error))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| trouble("use", dir, &error))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if name.starts_with(HEAD) && Path::new(name).extension().is_some_and(|last| last == "tmp") {
            // It costs its room only.
            let _ = fs::remove_file(entry.path());
        } else if let (Some(stamp), Ok(meta)) = (parse(name), entry.metadata()) {
            found.push((stamp, meta.len()));
        }
    }
    Ok(found)
}

/// Writes a file; when this returns it survives a crash. Returns its bytes. What cannot be written whole leaves nothing.
pub fn write(dir: &Path, stamp: Stamp, payloads: &[Payload]) -> Result<u64, Trouble> {
    let path = path(dir, stamp);
    let aside = path.with_extension("tmp");
    let write = || -> io::Result<u64> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        let mut file = BufWriter::new(file);
        let (mut before, mut bytes) = ("[\n", "\n]\n".len());
        for payload in payloads {
            file.write_all(before.as_bytes())?;
            file.write_all(payload)?;
            bytes += before.len() + payload.len();
            before = ",\n";
        }
        file.write_all(b"\n]\n")?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_data()?;
        fs::rename(&aside, &path)?;
        Ok(bytes as u64)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&aside);
        trouble("write to", dir, &error)
    })
}

/// Why a file was not read.
#[derive(Debug, PartialEq, Eq)]
pub enum Unread {
    /// Somebody took it away.
    Gone,
    /// It will never be read; why, in words that follow its name.
    Bad(String),
    /// Not now: the fault is not the file's.
    Later(Trouble),
}

/// Reads a file.
pub fn read(dir: &Path, stamp: Stamp) -> Result<VecDeque<Payload>, Unread> {
    let mut content = Vec::new();
    let read =
        File::open(path(dir, stamp)).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut content));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unread::Gone),
        Err(error) if state::is_passing(&error) => {
            return Err(Unread::Later(trouble("read in", dir, &error)));
        }
        Err(error) => return Err(Unread::Bad(format!("cannot be read: {error}"))),
        Ok(_) if content.len() as u64 > MAX_FILE => {
            return Err(Unread::Bad(format!("has more than {MAX_FILE} bytes")));
        }
        Ok(_) => {}
    }
    let payloads: Result<Vec<&RawValue>, _> = serde_json::from_slice(&content);
    // Serde's words may quote what it read.
    let payloads = payloads.map_err(|_| Unread::Bad("is no array of JSON".to_owned()))?;
    Ok(payloads.into_iter().map(|payload| payload.get().as_bytes().to_vec()).collect())
}

/// Removes a file.
pub fn remove(dir: &Path, stamp: Stamp) -> io::Result<()> {
    state::remove(&path(dir, stamp))
}

/// Puts a file that cannot be used aside, where it is in nobody's way; returns its new name.
pub fn set_aside(dir: &Path, stamp: Stamp) -> io::Result<PathBuf> {
    state::set_aside(&path(dir, stamp))
}

/// What waits in memory, one payload a line: nothing but a kill ever reads it.
const JOURNAL: &str = "retry_queue.jsonl";

/// Adds payloads to the journal; when this returns they survive a crash. Returns its bytes.
pub fn note(dir: &Path, payloads: &[Payload]) -> Result<u64, Trouble> {
    let write = || -> io::Result<u64> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(dir.join(JOURNAL))?;
        let before = file.metadata()?.len();
        let lines = [payloads.join(&b'\n').as_slice(), b"\n"].concat();
        let written = file.write_all(&lines).and_then(|()| file.sync_data());
        // Half a line would spoil the next one.
        written.or_else(|error| file.set_len(before).and(Err(error)))?;
        Ok(before + lines.len() as u64)
    };
    write().map_err(|error| trouble("write to", dir, &error))
}

/// Payloads of the journal; what is no JSON is left out. Without it nothing waited.
pub fn noted(dir: &Path) -> Result<VecDeque<Payload>, Trouble> {
    let mut content = Vec::new();
    match File::open(dir.join(JOURNAL)).and_then(|file| file.take(MAX_FILE).read_to_end(&mut content)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        read => read.map_err(|error| trouble("read the journal in", dir, &error))?,
    };
    let lines = content.split(|byte| *byte == b'\n');
    let whole = lines.filter(|line| serde_json::from_slice::<&RawValue>(line).is_ok());
    Ok(whole.map(<[u8]>::to_vec).collect())
}

/// Removes the journal.
pub fn forget(dir: &Path) -> io::Result<()> {
    state::remove(&dir.join(JOURNAL))
}

/// Name of a file, for messages.
pub fn name(stamp: Stamp) -> String {
    path(Path::new(""), stamp).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::datetime;

    #[test]
    fn a_file_is_an_array_of_payloads_and_comes_back_as_it_was() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a/backup");
        assert_eq!(list(&dir), Ok(vec![]));
        let stamp = datetime(2026, 2, 3, 4, 5, 6, 0);
        let payloads: Vec<Payload> = vec![br#"{"b":1.50, "a":[]}"#.to_vec(), "{\"é\":\"\\n\"}".into()];
        let bytes = write(&dir, stamp, &payloads).unwrap();
        let file = dir.join("retry_backup_20260203_040506.json");
        assert_eq!(fs::metadata(&file).unwrap().len(), bytes);
        let whole: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(whole, serde_json::json!([{ "b": 1.5, "a": [] }, { "é": "\n" }]));
        assert_eq!(read(&dir, stamp), Ok(payloads.into()));
        for stranger in
            ["retry_backup_2026023_040506.json", "retry_backup_20260203_046106.json", "notes.json"]
        {
            fs::write(dir.join(stranger), "x").unwrap();
        }
        fs::write(dir.join("retry_backup_20260203_040507.tmp"), "half").unwrap();
        assert_eq!(list(&dir), Ok(vec![(stamp, bytes)]));
        assert!(!dir.join("retry_backup_20260203_040507.tmp").exists() && dir.join("notes.json").exists());
        remove(&dir, stamp).unwrap();
        remove(&dir, stamp).unwrap();
        assert_eq!(read(&dir, stamp), Err(Unread::Gone));
    }

    #[test]
    fn the_journal_survives_half_a_line() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("backup");
        assert_eq!(noted(&dir), Ok(VecDeque::new()));
        forget(&dir).unwrap_or_default();
        let lines = |from: &[&str]| from.iter().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>();
        assert_eq!(note(&dir, &lines(&["{\"a\":1}", "[2]"])), Ok(12));
        assert_eq!(note(&dir, &lines(&["3"])), Ok(14));
        let mut file = OpenOptions::new().append(true).open(dir.join(JOURNAL)).unwrap();
        file.write_all(b"{\"a\":\n\n\xff\n{\"b\"").unwrap();
        assert_eq!(noted(&dir), Ok(lines(&["{\"a\":1}", "[2]", "3"]).into()));
        assert_eq!(list(&dir), Ok(vec![]), "it is no backup file");
        forget(&dir).unwrap();
        forget(&dir).unwrap();
        assert_eq!(noted(&dir), Ok(VecDeque::new()));
    }

    #[test]
    fn a_file_of_another_kind_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let stamp = datetime(2026, 2, 3, 4, 5, 6, 0);
        let check = |content: &[u8], expect: Result<usize, &str>| {
            fs::write(path(dir.path(), stamp), content).unwrap();
            match (read(dir.path(), stamp), expect) {
                (Ok(payloads), Ok(expect)) => assert_eq!(payloads.len(), expect),
                (Err(Unread::Bad(why)), Err(expect)) => assert!(why.contains(expect), "{why}"),
                (got, expect) => panic!("{got:?}, expected {expect:?}"),
            }
        };
        check(b"[]", Ok(0));
        check(b" [ {} ,1]", Ok(2));
        check(b"", Err("no array"));
        check(b"{}", Err("no array"));
        check(b"[{\"a\":1},{\"a\"", Err("no array"));
        check(b"[\xff]", Err("no array"));
        check(&vec![b'['; MAX_FILE as usize + 1], Err("more than"));
        let aside = set_aside(dir.path(), stamp).unwrap();
        assert!(aside.ends_with("retry_backup_20260203_040506.bad") && list(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn trouble_names_the_place_and_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("file");
        fs::write(&dir, "x").unwrap();
        assert!(list(&dir).unwrap_err().why.contains("cannot use"));
        let trouble = write(&dir, datetime(2026, 2, 3, 4, 5, 6, 0), &[]).unwrap_err();
        assert!(!trouble.full && trouble.why.contains("cannot write to"), "{trouble:?}");
        let full = super::trouble("write to", &dir, &io::ErrorKind::StorageFull.into());
        assert!(full.full && full.why.ends_with("free space on that filesystem"), "{full:?}");
    }
}
