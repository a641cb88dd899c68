//! Files by paths and patterns: in any part of a path `*` stands for any text and `?` for one character.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::names;
use crate::host::glob::Globs;

/// Folders looked into for one set of patterns.
pub const MAX_FOLDERS: usize = 256;
/// Names looked at in one folder.
const MAX_NAMES: usize = 16_384;

/// What is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Files, and paths without a pattern whether or not they are there.
    pub files: BTreeSet<PathBuf>,
    /// Folders in which more may appear.
    pub folders: BTreeSet<PathBuf>,
    /// Files beyond the limit.
    pub left_out: u64,
}

/// Whether a path is a pattern.
pub fn is_pattern(path: &Path) -> bool {
    path.as_os_str().as_bytes().iter().any(|b| matches!(b, b'*' | b'?'))
}

/// Whether a path is, or fits, a pattern.
pub fn fits(path: &Path, pattern: &Path) -> bool {
    Globs::new(&[pattern.to_string_lossy()]).matches(&path.to_string_lossy())
}

/// What fits the patterns, `most` files of it. Packed files are no text, and a rotated file is read as its log.
///
/// A rotated file is known by the name of its log, if that is among them or `is_known`.
pub fn find(patterns: &[PathBuf], most: usize, is_known: &dyn Fn(&Path) -> bool) -> Found {
    let mut found = Found::default();
    let mut fits = BTreeSet::new();
    for pattern in patterns {
        if is_pattern(pattern) {
            expand(pattern, &mut found.folders, &mut fits);
        } else {
            found.folders.extend(pattern.parent().map(Path::to_owned));
            found.files.insert(pattern.clone());
        }
    }
    let is_rotated = |path: &PathBuf| {
        let base = path.file_name().and_then(|name| names::before_rotation(&name.to_string_lossy()));
        base.is_some_and(|base| {
            let base = path.with_file_name(base);
            fits.contains(&base) || found.files.contains(&base) || is_known(&base)
        })
    };
    let logs: Vec<PathBuf> = fits.iter().filter(|path| !is_rotated(path)).cloned().collect();
    for path in logs {
        if found.files.contains(&path) {
            continue;
        }
        if found.files.len() < most {
            found.files.insert(path);
        } else {
            found.left_out += 1;
        }
    }
    found
}

/// Walks down a pattern, part by part.
fn expand(pattern: &Path, folders: &mut BTreeSet<PathBuf>, fits: &mut BTreeSet<PathBuf>) {
    let mut bases = vec![PathBuf::new()];
    let mut parts = pattern.components().peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let name = match part {
            Component::Normal(name) if is_pattern(Path::new(name)) => name.to_string_lossy().into_owned(),
            plain => {
                for base in &mut bases {
                    base.push(plain);
                }
                if is_last {
                    fits.extend(bases.drain(..).filter(|path| path.is_file()));
                }
                continue;
            }
        };
        let mut next = Vec::new();
        for base in bases {
            if folders.len() >= MAX_FOLDERS {
                break;
            }
            list(&base, &name, is_last, &mut next);
            folders.insert(base);
        }
        bases = next;
    }
    fits.extend(bases);
}

/// What in a folder fits: files where it is the last part, else folders.
fn list(folder: &Path, pattern: &str, files: bool, into: &mut Vec<PathBuf>) {
    let glob = Globs::new(&[pattern]);
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten().take(MAX_NAMES) {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        // A hidden file only where it is meant.
        let hidden = text.starts_with('.') && !pattern.starts_with('.');
        if hidden || !glob.matches(&text) || (files && names::is_packed(&text)) {
            continue;
        }
        let path = entry.path();
        let is_wanted = if files { path.is_file() } else { path.is_dir() };
        if is_wanted {
            into.push(path);
        }
    }
}
