//! The spool's files: one a round, `NUMBER.metrics` or `NUMBER.inventory`, written aside and renamed. All of it blocks.

#![expect(clippy::disallowed_methods, reason = "the one owner of the spool's files")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::record::MAX_FILE;
use crate::host::state;
use crate::publish::message::What;

/// A file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub seq: u64,
    /// What it tells.
    pub what: What,
    /// Its bytes.
    pub bytes: u64,
}

fn path(dir: &Path, seq: u64, what: What) -> PathBuf {
    dir.join(format!("{seq:016x}.{}", what.name()))
}

fn parse(name: &str) -> Option<(u64, What)> {
    let (seq, what) = name.split_once('.')?;
    Some((u64::from_str_radix(seq, 16).ok().filter(|_| seq.len() == 16)?, What::parse(what)?))
}

/// Makes the directory if need be, and lists what is in it. What a crash left half-written is removed; what is not the
/// spool's stays.
pub fn open(dir: &Path) -> Result<Vec<Found>, String> {
    let failed = |error: io::Error| state::trouble("use", dir, &error);
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if Path::new(name).extension().is_some_and(|last| last == "tmp") {
            // It costs its room only, and the next one of that number replaces it.
            let _ = fs::remove_file(entry.path());
        } else if let (Some((seq, what)), Ok(meta)) = (parse(name), entry.metadata()) {
            found.push(Found { seq, what, bytes: meta.len() });
        }
    }
    Ok(found)
}

/// Writes a round; when this returns it survives a crash of the agent. What cannot be written whole leaves nothing behind.
pub fn write(dir: &Path, seq: u64, what: What, content: &[u8]) -> Result<(), Trouble> {
    let (path, aside) = (path(dir, seq, what), dir.join(format!("{seq:016x}.tmp")));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&aside, &path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&aside);
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        Trouble { full, why: state::trouble("write to", dir, &error) }
    })
}

/// Why a round was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// There is no room: removing something helps.
    pub full: bool,
    /// A sentence.
    pub why: String,
}

/// Reads a round.
pub fn read(dir: &Path, seq: u64, what: What) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    // More than this is no file of ours, and its checksum will be wrong.
    File::open(path(dir, seq, what))?.take(MAX_FILE as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}

/// Removes a round.
pub fn remove(dir: &Path, seq: u64, what: What) -> io::Result<()> {
    match fs::remove_file(path(dir, seq, what)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_and_go_and_strangers_stay() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a/spool");
        assert_eq!(open(&dir), Ok(vec![]));
        write(&dir, 17, What::Metrics, b"one").unwrap();
        write(&dir, 0xfff, What::Inventory, b"three").unwrap();
        for stranger in ["notes", "11.metrics", "0000000000000011.other", "000000000000001g.metrics"] {
            fs::write(dir.join(stranger), "x").unwrap();
        }
        fs::write(dir.join("0000000000000012.tmp"), "half").unwrap();
        let mut found = open(&dir).unwrap();
        found.sort_by_key(|found| found.seq);
        let expect = [(17, What::Metrics, 3), (0xfff, What::Inventory, 5)];
        assert_eq!(found, expect.map(|(seq, what, bytes)| Found { seq, what, bytes }));
        assert!(!dir.join("0000000000000012.tmp").exists() && dir.join("notes").exists());
        assert_eq!(read(&dir, 17, What::Metrics).unwrap(), b"one");
        remove(&dir, 17, What::Metrics).unwrap();
        remove(&dir, 17, What::Metrics).unwrap();
        assert!(read(&dir, 17, What::Metrics).is_err());
    }

    #[test]
    fn trouble_is_a_sentence_that_names_the_place() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("file");
        fs::write(&dir, "x").unwrap();
        assert!(open(&dir).unwrap_err().contains("file"), "{:?}", open(&dir));
        let trouble = write(&dir, 1, What::Metrics, b"x").unwrap_err();
        assert!(!trouble.full && trouble.why.contains("cannot write to"), "{trouble:?}");
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(state::trouble("write to", &dir, &full).ends_with("free space on that filesystem"));
    }
}
