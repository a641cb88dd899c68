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
    /// Bytes of text that the file may not have yet, and that take no more room than that.
    pending: u64,
    max_bytes: u64,
    /// Something reached the file and can be read there.
    has_some: bool,
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
            _ => cannot(&name, &error),
        };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(wrong)?;
        let bytes = Rc::new(Cell::new(0));
        let file = Counted(file, Rc::clone(&bytes));
        let sink = if path.extension().is_some_and(|end| end == "zst") {
            let mut packed = Encoder::new(file, LEVEL).map_err(wrong)?;
            // One wrong byte is seen when it is read.
            packed.include_checksum(true).map_err(wrong)?;
            Sink::Packed(Box::new(packed))
        } else {
            Sink::Plain(BufWriter::with_capacity(1 << 16, file))
        };
        Ok(Self { name, sink, bytes, pending: 0, max_bytes, has_some: false })
    }

    /// Whether there is room for `text`; the last line is not counted.
    pub(super) fn has_room(&self, text: &str) -> bool {
        self.bytes.get() + self.pending + text.len() as u64 <= self.max_bytes
    }

    /// Appends whole lines.
    pub(super) fn append(&mut self, text: &str) -> Result<(), String> {
        let before = self.bytes.get();
        let done = match &mut self.sink {
            Sink::Plain(file) => file.write_all(text.as_bytes()),
            Sink::Packed(file) => file.write_all(text.as_bytes()),
        };
        let kept = if self.bytes.get() == before { self.pending } else { 0 };
        self.pending = kept + text.len() as u64;
        done.map_err(|error| self.wrong(&error))
    }

    /// What was appended can be read from now on, whatever happens to this process.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        let done = match &mut self.sink {
            Sink::Plain(file) => file.flush(),
            Sink::Packed(file) => file.flush(),
        };
        self.pending = 0;
        self.has_some |= done.is_ok();
        done.map_err(|error| self.wrong(&error))
    }

    /// Ends the file; its size in bytes.
    pub(super) fn finish(self) -> Result<u64, String> {
        let Self { name, sink, bytes, has_some, .. } = self;
        let file = match sink {
            Sink::Plain(file) => file.into_inner().map_err(io::IntoInnerError::into_error),
            Sink::Packed(file) => file.finish(),
        };
        file.and_then(|file| file.0.sync_all()).map_err(|error| cannot_go_on(&name, &error, has_some))?;
        Ok(bytes.get())
    }

    fn wrong(&self, error: &io::Error) -> String {
        cannot_go_on(&self.name, error, self.has_some)
    }
}

/// What cannot be written, why, and what to do about it.
fn cannot(name: &str, error: &io::Error) -> String {
    let help = match error.kind() {
        io::ErrorKind::NotFound => "; make its directory first, or name a file elsewhere",
        io::ErrorKind::PermissionDenied => "; name a file where you may write, or run it as root",
        io::ErrorKind::ReadOnlyFilesystem => "; name a file on a filesystem that is mounted writable",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space there, or name a file on another filesystem"
        }
        _ => "; name a file elsewhere",
    };
    format!("{name} cannot be written: {error}{help}")
}

/// The same of a file that was begun.
fn cannot_go_on(name: &str, error: &io::Error, has_some: bool) -> String {
    let left = if has_some { "what it has can be replayed" } else { "nothing is in it, remove it" };
    format!("{}; {left}", cannot(name, error))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::event::Source;
    use crate::service::recording::{Header, VERSION, write};
    use crate::service::replay::{Options, run};
    use crate::time::Now;

    /// A file that ends at its limit is whole, no larger than wished, and not much smaller.
    fn check(name: &str, max_bytes: u64) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(name);
        let mut out = Out::create(&path, max_bytes).expect("made");
        let at = Now { mono_ns: 1_000_000_000, wall_ns: 1_795_000_000_000_000_000 };
        let mut text = String::new();
        let witnesses = crate::engine::incident::Witnesses { oom: vec![Source::Ebpf], io_error: Vec::new() };
        let (agent, hostname, boot_id) = ("0".into(), "h".into(), "b".into());
        let header = Header {
            version: VERSION,
            agent,
            hostname,
            boot_id,
            utc_offset_secs: 0,
            witnesses,
            beside_journal: false,
            at,
        };
        write::header(&header, &mut text);
        out.append(&text).expect("written");
        let (mut lines, mut random) = (0_u64, 7_u64);
        loop {
            text.clear();
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let record =
                format!("6,{lines},{lines},-;{random:x}{:x}", random.rotate_left(17).wrapping_mul(31));
            write::log(at.plus_secs(lines / 1000), record.as_bytes(), &mut text);
            if !out.has_room(&text) {
                break;
            }
            out.append(&text).expect("written");
            lines += 1;
            if lines % 1000 == 0 {
                out.flush().expect("flushed");
            }
        }
        text.clear();
        write::end("full", &mut text);
        out.append(&text).expect("written");
        let told = out.finish().expect("ended");
        let size = std::fs::metadata(&path).expect("there").len();
        assert_eq!(told, size);
        let end = text.len() as u64 + 64;
        assert!(size <= max_bytes + end && size + (256 << 10) >= max_bytes, "{name}: {size} of {max_bytes}");

        let (bytes, mut said) = (std::fs::read(&path).expect("read"), Vec::new());
        let options = Options { json: true, ends: false };
        let done =
            run(&Config::default(), &bytes[..], options, Vec::new(), &mut |line| said.push(line.to_owned()));
        assert!(done.is_ok(), "{name}");
        assert_eq!(said, [format!("0 readings and {lines} events: 0 alerts")], "{name}");
    }

    #[test]
    fn what_cannot_be_written_says_why_and_what_to_do() {
        let dir = tempfile::tempdir().expect("a directory");
        let create = |path: &Path| Out::create(path, 1 << 20).err().expect("an error");
        let said = create(&dir.path().join("nowhere/x"));
        assert!(
            said.contains("nowhere/x cannot be written: No such file") && said.contains("make its directory")
        );
        assert!(create(dir.path()).contains("exists already; name another file"));
        // A disk that fills up before anything was written, and after.
        for (flushed, left) in
            [(false, "; nothing is in it, remove it"), (true, "; what it has can be replayed")]
        {
            let bytes = Rc::new(Cell::new(0));
            let full = OpenOptions::new().write(true).open("/dev/full").expect("there");
            let sink = Sink::Plain(BufWriter::with_capacity(16, Counted(full, Rc::clone(&bytes))));
            let name = "x".to_owned();
            let mut out = Out { name, sink, bytes, pending: 0, max_bytes: 1 << 20, has_some: false };
            if flushed {
                out.flush().expect("nothing to write");
            }
            let said = out.append("a line that is longer than the buffer\n").expect_err("it is full");
            assert!(said.starts_with("x cannot be written: No space left on device"), "{said}");
            assert!(said.contains("; free space there") && said.ends_with(left), "{said}");
        }
    }

    #[test]
    fn a_recording_ends_at_its_limit_and_is_replayed() {
        check("a.rec", 1 << 20);
        check("a.zst", 1 << 20);
        check("b.zst", 64 << 10);
    }
}
