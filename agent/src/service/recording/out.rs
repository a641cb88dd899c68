//! The file of a recording: made anew, packed if its name says so, no larger than wished.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;

use zstd::stream::write::Encoder;

/// How hard it is packed: 3 is the library's own default.
const LEVEL: i32 = 3;

/// Counts the bytes that reach the file.
struct Counted(File, Rc<Cell<u64>>);

enum Sink {
    Plain(BufWriter<Counted>),
    Packed(Box<Encoder<'static, Counted>>),
}

/// The file.
pub(super) struct Out {
    name: String,
    sink: Sink,
    bytes: Rc<Cell<u64>>,
    max_bytes: u64,
}

impl Out {
    /// Makes the file; one that is there already is left alone. Only its owner may read it: names of processes are in it.
    #[expect(clippy::disallowed_methods, reason = "a file that the user names, made here and nowhere else")]
    pub(super) fn create(path: &Path, max_bytes: u64) -> Result<Self, String> {
        let name = path.display().to_string();
        let wrong = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{name} exists already; name another file, nothing is overwritten")
            }
            _ => format!("{name} cannot be written: {error}"),
        };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(wrong)?;
        let bytes = Rc::new(Cell::new(0));
        let file = Counted(file, Rc::clone(&bytes));
        let sink = if path.extension().is_some_and(|end| end == "zst") {
            Sink::Packed(Box::new(Encoder::new(file, LEVEL).map_err(wrong)?))
        } else {
            Sink::Plain(BufWriter::with_capacity(1 << 16, file))
        };
        Ok(Self { name, sink, bytes, max_bytes })
    }

    /// Whether there is room for `text`; the last line is not counted.
    pub(super) fn has_room(&self, text: &str) -> bool {
        let pending = match &self.sink {
            Sink::Plain(buffer) => buffer.buffer().len(),
            Sink::Packed(_) => 0,
        };
        self.bytes.get() + (pending + text.len()) as u64 <= self.max_bytes
    }

    /// Appends whole lines.
    pub(super) fn append(&mut self, text: &str) -> Result<(), String> {
        let done = match &mut self.sink {
            Sink::Plain(file) => file.write_all(text.as_bytes()),
            Sink::Packed(file) => file.write_all(text.as_bytes()),
        };
        done.map_err(|error| self.wrong(&error))
    }

    /// What was appended can be read from now on, whatever happens to this process.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        let done = match &mut self.sink {
            Sink::Plain(file) => file.flush(),
            Sink::Packed(file) => file.flush(),
        };
        done.map_err(|error| self.wrong(&error))
    }

    /// Ends the file; its size in bytes.
    pub(super) fn finish(self) -> Result<u64, String> {
        let Self { name, sink, bytes, .. } = self;
        let file = match sink {
            Sink::Plain(file) => file.into_inner().map_err(io::IntoInnerError::into_error),
            Sink::Packed(file) => file.finish(),
        };
        file.and_then(|file| file.0.sync_all())
            .map_err(|error| format!("{name} cannot be written: {error}"))?;
        Ok(bytes.get())
    }

    fn wrong(&self, error: &io::Error) -> String {
        format!("{} cannot be written: {error}; what it has can be replayed", self.name)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1.set(self.1.get() + count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
