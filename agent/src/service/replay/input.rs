//! The file as lines: unpacked where it is packed, one line in memory at a time, and told by its first bytes what it is.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::rc::Rc;

use crate::host::clock;
use crate::text::clean;
use crate::time::{Now, SECOND};

/// Longest line looked at, bytes: a pass of the largest hosts is a tenth of it. A longer one is passed over.
pub const MAX_LINE: u64 = 4 << 20;
/// Bytes looked at to tell what a file is.
const HEAD: usize = 64 << 10;
/// Lines of a log that may come before the first one that looks like one.
const LOG_LINES: usize = 100;
/// Largest window of packed data, as a power of 2: more than `zstd -19` takes.
const MAX_WINDOW: u32 = 25;
/// First bytes of packed data.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Bytes between two words on how far it is.
const STEP: u64 = 64 << 20;
/// Characters of a line that are shown.
const MAX_SHOWN: usize = 80;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A recording, or readings as JSON lines.
    Json,
    /// `timestamp,value`
    Csv,
    /// Text of the kernel's log, or of syslog.
    Log,
}

/// The lines of a file.
pub struct Input<'i> {
    reader: Box<dyn BufRead + 'i>,
    /// What was read to see what it is.
    kind: Kind,
    number: u64,
    torn: Option<String>,
    buffer: Vec<u8>,
}

/// One line.
pub enum Next<'a> {
    /// Its text, without its end.
    Line(&'a str),
    /// One that cannot be looked at, and why.
    Bad(String),
    /// There are no more.
    End,
}

impl<'i> Input<'i> {
    /// Looks at the first bytes. The error is a sentence without the file's name.
    pub fn open(from: impl BufRead + 'i) -> Result<Self, String> {
        let mut reader = unpacked(from)?;
        let mut head = Vec::new();
        let torn = match reader.by_ref().take(HEAD as u64).read_to_end(&mut head) {
            Err(error) if head.is_empty() => {
                return Err(format!(
                    "it cannot be unpacked: {error}; it is damaged or was cut off: copy it again, or record anew"
                ));
            }
            Err(error) => Some(error.to_string()),
            Ok(_) => None,
        };
        let kind = kind(&head)?;
        let is_whole = torn.is_some();
        let head = io::Cursor::new(head);
        let reader: Box<dyn BufRead + 'i> =
            if is_whole { Box::new(head) } else { Box::new(head.chain(reader)) };
        let torn = torn.map(|error| torn_at(&error));
        Ok(Self { reader, kind, number: 0, torn, buffer: Vec::new() })
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Number of the line that was given last.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What is to be said of its end, if that is missing.
    pub fn torn(&self) -> Option<String> {
        self.torn.clone()
    }

    /// The last line was not whole.
    pub(super) fn tear(&mut self, why: &str) {
        self.torn.get_or_insert_with(|| why.to_owned());
    }

    /// The next line.
    pub fn next_line(&mut self) -> Next<'_> {
        self.buffer.clear();
        let read = self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.buffer);
        if let Err(error) = read {
            self.torn.get_or_insert_with(|| torn_at(&error.to_string()));
            // What came of this line before the end.
            if self.buffer.is_empty() {
                return Next::End;
            }
        }
        if self.buffer.is_empty() {
            return Next::End;
        }
        self.number += 1;
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        } else if self.buffer.len() as u64 == MAX_LINE {
            // An error comes again at the next line.
            let _ = self.reader.skip_until(b'\n');
            return Next::Bad(format!("longer than {} MiB, left out", MAX_LINE >> 20));
        }
        if self.buffer.last() == Some(&b'\r') {
            self.buffer.pop();
        }
        let start = if self.number == 1 && self.buffer.starts_with("\u{feff}".as_bytes()) { 3 } else { 0 };
        if self.kind == Kind::Log && str::from_utf8(&self.buffer).is_err() {
            self.buffer = String::from_utf8_lossy(&self.buffer).into_owned().into_bytes();
        }
        match str::from_utf8(&self.buffer[start..]) {
            Ok(text) => Next::Line(text),
            Err(_) => Next::Bad("is no text (UTF-8), left out".to_owned()),
        }
    }
}

/// The text of a file, unpacked where it is packed. The error is a sentence without the file's name.
pub(super) fn unpacked<'i>(mut from: impl BufRead + 'i) -> Result<Box<dyn BufRead + 'i>, String> {
    let wrong = |error: io::Error| format!("it cannot be read: {error}");
    let first = from.fill_buf().map_err(wrong)?;
    if first.starts_with(&GZIP) {
        return Err("it is packed with gzip: unpack it, or pack it with zstd".to_owned());
    }
    if !first.starts_with(&ZSTD) {
        return Ok(Box::new(from));
    }
    let mut unpacked = zstd::stream::read::Decoder::with_buffer(from).map_err(wrong)?;
    unpacked.window_log_max(MAX_WINDOW).map_err(wrong)?;
    Ok(Box::new(BufReader::with_capacity(1 << 18, unpacked)))
}

fn torn_at(error: &str) -> String {
    format!("the file is torn here ({error}): only what stands before is replayed")
}

fn kind(head: &[u8]) -> Result<Kind, String> {
    if head.contains(&0) {
        return Err("this is binary data: neither a recording, nor CSV, nor a log".to_owned());
    }
    let text = String::from_utf8_lossy(head);
    let mut lines = text.trim_start_matches('\u{feff}').lines().filter(|line| !line.trim().is_empty());
    let Some(first) = lines.clone().next() else {
        return Err("it is empty: there is nothing to replay".to_owned());
    };
    if first.trim_start().starts_with('{') {
        return Ok(Kind::Json);
    }
    // A header, or a first row whose numbers are wrong, is followed by rows.
    if lines.clone().take(3).any(super::csv::is_row) || super::csv::is_header(first) {
        return Ok(Kind::Csv);
    }
    if let Some(columns) = super::csv::more_columns(first) {
        return Err(format!(
            "it is a table of {columns} columns, and one of two is replayed, timestamp,value: cut -d, -f1,2 FILE"
        ));
    }
    if lines.by_ref().take(LOG_LINES).any(super::log::is_log) {
        return Ok(Kind::Log);
    }
    Err(format!(
        "it is neither a recording (JSON lines), nor CSV (timestamp,value), nor a kernel log; its first line is \"{}\". \
         For log text without times use: replay --log FILE",
        clean(first, MAX_SHOWN)
    ))
}

/// How much of a file was read.
pub struct Progress {
    read: Rc<Cell<u64>>,
    start: Now,
    is_shown: bool,
}

/// Counts what is read of a file.
pub struct Counting<R> {
    inner: R,
    read: Rc<Cell<u64>>,
    /// Shown while it is read.
    size: Option<u64>,
    said: u64,
}

impl Progress {
    /// Around a file of this size; `None`: nothing is said while it is read.
    pub fn of<R: Read>(inner: R, size: Option<u64>) -> (Counting<R>, Self) {
        let read = Rc::new(Cell::new(0));
        let progress = Self { read: Rc::clone(&read), start: clock::now(), is_shown: size.is_some() };
        (Counting { inner, read, size, said: 0 }, progress)
    }

    /// All was read: how long it took, and how fast it was; `what` are so many lines, or what else was counted.
    pub fn done(&self, count: u64, what: &str) {
        let line = rate((count, what), self.read.get(), clock::now().since(self.start));
        let end = if self.is_shown && self.read.get() >= STEP { "\n" } else { "" };
        // Nobody may be looking.
        let _ = writeln!(io::stderr(), "{end}{line}");
    }
}

fn rate((count, what): (u64, &str), bytes: u64, ns: u64) -> String {
    let (mib, secs) = (bytes as f64 / f64::from(1 << 20), (ns as f64 / SECOND as f64).max(1e-6));
    let much = if bytes >= STEP { format!(", {:.0} MiB/s", mib / secs) } else { String::new() };
    format!("{mib:.1} MiB in {secs:.2} s: {:.0} {what} a second{much}", count as f64 / secs)
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        let read = self.read.get() + count as u64;
        self.read.set(read);
        if let Some(size) = self.size.filter(|_| read - self.said >= STEP) {
            self.said = read;
            // Nobody may be looking.
            let _ = write!(io::stderr(), "\r{} of {} MiB read", read >> 20, size >> 20);
        }
        Ok(count)
    }
}
