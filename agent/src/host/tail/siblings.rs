//! Files beside a log that hold what was its content: renamed, or copied before it was cut.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::born_of;
use super::mark::Mark;
use super::names;
use super::open::{Id, Open, Seen};

/// Files beside the log that are looked through for the rest of it.
pub(super) const MAX_SIBLINGS: usize = 64;
/// Names in its folder that are looked at for that.
const MAX_NAMES: usize = 16_384;

/// A file beside the log.
struct Sibling {
    path: PathBuf,
    name: String,
    id: Id,
    seen: Seen,
    /// When it was made, where the filesystem tells.
    born_ns: Option<i64>,
}

/// The file that `mark` is a place in, or else a copy of it; none of those that are `known`.
pub(super) fn content_of(path: &Path, mark: &Mark, known: &[Id]) -> Option<Open> {
    let all = beside(path, known);
    let same = all.iter().filter(|file| file.id.1 == mark.inode);
    let same = same.filter_map(open).find(|file| mark.fits(&file.file).unwrap_or(false));
    let copy = || all.iter().filter_map(open).find(|file| mark.is_content_of(&file.file).unwrap_or(false));
    let mut found = same.or_else(copy)?;
    found.go_to(mark.offset).ok().map(|()| found)
}

/// Rotated files that were written after `since_ns` (Unix time) and are no copy of what `mark` is in: the oldest first.
pub(super) fn newer(path: &Path, since_ns: i64, mark: Option<&Mark>, known: &[Id]) -> Vec<Open> {
    let name = real(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let all = beside(path, known);
    let later = all.iter().rev().filter(|file| {
        file.seen.mtime_ns > since_ns && file.seen.len > 0 && names::is_rotated_of(&file.name, &name)
    });
    let opened = later.filter_map(open);
    opened.filter(|file| !mark.is_some_and(|mark| file.begins_like(mark))).collect()
}

/// Rotated files that were made and written after `since_ns`.
pub(super) fn copies(path: &Path, since_ns: i64, known: &[Id]) -> Vec<Open> {
    let name = real(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let all = beside(path, known);
    let later = all.iter().rev().filter(|file| {
        let is_new = file.born_ns.is_some_and(|born| born > since_ns) && file.seen.mtime_ns > since_ns;
        is_new && file.seen.len > 0 && names::is_rotated_of(&file.name, &name)
    });
    later.filter_map(open).collect()
}

fn open(file: &Sibling) -> Option<Open> {
    Open::at(&file.path).ok().flatten().filter(|opened| opened.id == file.id)
}

/// Those whose names say that they may be, the newest first.
fn beside(path: &Path, known: &[Id]) -> Vec<Sibling> {
    let mut all = list(path, known).unwrap_or_default();
    all.sort_by_key(|file| std::cmp::Reverse(file.seen.mtime_ns));
    all.truncate(MAX_SIBLINGS);
    all
}

/// Where the file itself is: behind a link it is rotated there.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn list(path: &Path, known: &[Id]) -> io::Result<Vec<Sibling>> {
    let real = real(path);
    let (Some(folder), Some(name)) = (real.parent(), real.file_name()) else { return Ok(Vec::new()) };
    let name = name.to_string_lossy();
    let akin = |other: &OsString| names::is_akin(&other.to_string_lossy(), &name);
    let entries = std::fs::read_dir(folder)?.flatten().take(MAX_NAMES);
    let files = entries.filter(|entry| akin(&entry.file_name())).filter_map(|entry| {
        let meta = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let (name, id) = (entry.file_name().to_string_lossy().into_owned(), (meta.dev(), meta.ino()));
        Some(Sibling { path: entry.path(), name, id, seen: Seen::of(&meta), born_ns: born_of(&meta) })
    });
    Ok(files.filter(|file| !known.contains(&file.id)).collect())
}
