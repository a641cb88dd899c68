//! Files of history: `data_dir/history/NUMBER.ring`, each a head and chunks behind one another, all of it checked.
//!
//! ```text
//! SYSOPSH1 │ length, CRC-32, chunk │ length, CRC-32, chunk │ …
//! ```
//!
//! They are only ever appended to, and go whole when what is in them is too old. What a crash left half-written at the
//! end of one is not read, and another one is begun. All of it blocks.

#![expect(clippy::disallowed_methods, reason = "the one owner of the files of history")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::history::chunk::Loader;
use crate::host::state;

/// Directory below `data_dir`.
pub const DIR: &str = "history";
/// All files together, bytes; the oldest go first.
pub const MAX_BYTES: u64 = 64 << 20;
/// A file from which on another one is begun, bytes.
const FULL: u64 = 1 << 20;
/// Of a longer file the rest is not read: it is none of ours.
const MAX_FILE: u64 = 16 << 20;
/// Files that the kept time is divided into.
const PARTS: i64 = 24;
const MAGIC: &[u8; 8] = b"SYSOPSH1";
/// Length and checksum.
const HEAD: usize = 8;

/// A file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    seq: u64,
    bytes: u64,
    /// When its newest chunk was saved, Unix nanoseconds; 0: it has none.
    newest: i64,
}

/// The files.
#[derive(Debug)]
pub struct Segments {
    dir: PathBuf,
    span_ns: i64,
    /// Oldest first.
    known: Vec<Known>,
    /// The one that is appended to, and when it was begun.
    current: Option<(File, i64)>,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Files with chunks.
    pub files: usize,
    /// Files that end before their end, or are none of ours.
    pub torn: usize,
    /// When the newest chunk was saved, Unix nanoseconds.
    pub newest: i64,
}

impl Segments {
    /// Those in `dir`, which is made if need be; what is in them goes to `loader`. History is kept for `span_ns`.
    pub fn open(dir: &Path, span_ns: u64, loader: &mut Loader<'_>) -> Result<(Self, Found), String> {
        let failed = |error: io::Error| state::trouble("use", dir, &error);
        DirBuilder::new().recursive(true).mode(0o750).create(dir).map_err(failed)?;
        let span_ns = span_ns.min(i64::MAX as u64) as i64;
        let mut segments = Self { dir: dir.to_owned(), span_ns, known: Vec::new(), current: None };
        let found = segments.read(loader).map_err(failed)?;
        Ok((segments, found))
    }

    /// Reads what is in `dir` into `loader`, and changes nothing there.
    pub fn peek(dir: &Path, loader: &mut Loader<'_>) -> io::Result<Found> {
        let (dir, known) = (dir.to_owned(), Vec::new());
        Self { dir, span_ns: i64::MAX, known, current: None }.read(loader)
    }

    fn read(&mut self, loader: &mut Loader<'_>) -> io::Result<Found> {
        let mut found = Found::default();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let seq = name.to_str().and_then(|name| name.strip_suffix(".ring")).filter(|seq| seq.len() == 16);
            if let Some(seq) = seq.and_then(|seq| u64::from_str_radix(seq, 16).ok()) {
                self.known.push(Known { seq, bytes: 0, newest: 0 });
            }
        }
        self.known.sort_by_key(|known| known.seq);
        for at in 0..self.known.len() {
            let mut content = Vec::new();
            let file = File::open(self.path(self.known[at].seq));
            // One that cannot be read is as good as torn.
            let read = file.and_then(|file| file.take(MAX_FILE).read_to_end(&mut content));
            let (newest, whole) = load(&content, loader);
            self.known[at] = Known { bytes: content.len() as u64, newest, ..self.known[at] };
            found.files += usize::from(newest > 0);
            found.torn += usize::from(read.is_err() || !whole);
            found.newest = found.newest.max(newest);
        }
        Ok(found)
    }

    fn path(&self, seq: u64) -> PathBuf {
        self.dir.join(format!("{seq:016x}.ring"))
    }

    /// Whether the next chunk begins another file, so that all series have to be named in it.
    pub fn begins(&self, wall_ns: i64) -> bool {
        let full = self.known.last().is_none_or(|last| last.bytes >= FULL);
        let old = |begun: i64| !(0..self.span_ns / PARTS).contains(&wall_ns.saturating_sub(begun));
        self.current.as_ref().is_none_or(|(_, begun)| full || old(*begun))
    }

    /// Appends a chunk, saved at `wall_ns`; `begin` says what [`Segments::begins`] said of it. When this returns it
    /// survives a crash of the machine. After an error another file is begun.
    pub fn append(&mut self, chunk: &[u8], begin: bool, wall_ns: i64) -> Result<u64, String> {
        if begin {
            self.current = None;
        }
        let written = self.write(chunk, wall_ns);
        if written.is_err() {
            self.abandon();
        }
        let written = written.map_err(|error| state::trouble("write to", &self.dir, &error))?;
        self.prune(wall_ns);
        Ok(written)
    }

    fn write(&mut self, chunk: &[u8], wall_ns: i64) -> io::Result<u64> {
        let len = u32::try_from(chunk.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut record = Vec::with_capacity(MAGIC.len() + HEAD + chunk.len());
        if self.current.is_none() {
            // Somebody may have removed the directory.
            DirBuilder::new().recursive(true).mode(0o750).create(&self.dir)?;
            let seq = self.known.last().map_or(1, |last| last.seq.saturating_add(1));
            let mut options = OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o640).open(self.path(seq))?;
            self.known.push(Known { seq, bytes: 0, newest: 0 });
            self.current = Some((file, wall_ns));
            record.extend(MAGIC);
        }
        record.extend(len.to_le_bytes());
        record.extend(crc32fast::hash(chunk).to_le_bytes());
        record.extend(chunk);
        let (Some((file, _)), Some(last)) = (&mut self.current, self.known.last_mut()) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        file.write_all(&record)?;
        file.sync_data()?;
        (last.bytes, last.newest) = (last.bytes + record.len() as u64, wall_ns);
        Ok(record.len() as u64)
    }

    /// The file that could not be written is left as it was before; one with nothing in it goes.
    fn abandon(&mut self) {
        let (Some((file, _)), Some(last)) = (self.current.take(), self.known.last().copied()) else { return };
        // What is torn is not read either.
        let _ = file.set_len(last.bytes);
        if last.bytes == 0 && fs::remove_file(self.path(last.seq)).is_ok() {
            self.known.pop();
        }
    }

    /// Removes what is too old, and the oldest while all is too much.
    fn prune(&mut self, wall_ns: i64) {
        while let [oldest, _, ..] = self.known[..] {
            let all: u64 = self.known.iter().map(|known| known.bytes).sum();
            let old = oldest.newest < wall_ns.saturating_sub(self.span_ns);
            if !old && all <= MAX_BYTES {
                return;
            }
            match fs::remove_file(self.path(oldest.seq)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return,
                _ => drop(self.known.remove(0)),
            }
        }
    }

    /// The next chunk begins another file.
    pub fn end(&mut self) {
        self.current = None;
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.known.iter().map(|known| known.bytes).sum()
    }
}

/// When the newest chunk was saved, and whether all of the file is chunks.
fn load(content: &[u8], loader: &mut Loader<'_>) -> (i64, bool) {
    loader.segment();
    let mut newest = 0;
    let Some(mut rest) = content.strip_prefix(MAGIC) else { return (0, false) };
    while let Some((head, after)) = rest.split_first_chunk::<HEAD>() {
        let [a, b, c, d, crc @ ..] = *head;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        let Some((chunk, after)) = after.split_at_checked(len) else { return (newest, false) };
        if crc32fast::hash(chunk) != u32::from_le_bytes(crc) {
            return (newest, false);
        }
        let Some(saved) = loader.chunk(chunk) else { return (newest, false) };
        newest = saved.wall_ns.max(newest);
        rest = after;
    }
    (newest, rest.is_empty())
}

#[cfg(test)]
#[path = "segments_tests.rs"]
mod tests;
