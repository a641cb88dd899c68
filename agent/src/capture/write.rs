//! A record as text in the notation of [`crate::host::fixture`].

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::host::recorder::Record;
use crate::text::clean;

/// Bytes of one line of hexadecimal.
const HEX_LINE: usize = 40;

/// Outside text as a part of one header line.
pub fn line(text: &str) -> String {
    clean(text, 4096).replace(char::is_whitespace, "_")
}

/// The record as text.
pub fn fixture(record: &Record) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for (path, content) in &record.files {
        match content {
            Ok(content) => file(&mut text, path, content),
            Err(errno) => drop(writeln!(text, "//- error {} {errno}", line(path))),
        }
    }
    for (path, target) in &record.links {
        let _ = writeln!(text, "//- {} -> {}", line(path), line(target));
    }
    for name in empty_names(record) {
        let _ = writeln!(text, "//- {}", line(&name));
    }
    for (path, stat) in &record.filesystems {
        let path = line(path);
        let _ = match stat {
            Ok(s) => writeln!(
                text,
                "//- statvfs {path} total={} free={} avail={} inodes={} ifree={}{}",
                s.total_bytes,
                s.free_bytes,
                s.available_bytes,
                s.inodes,
                s.inodes_free,
                if s.read_only { " ro" } else { "" }
            ),
            Err(errno) => writeln!(text, "//- statvfs {path} error={errno}"),
        };
    }
    for (name, nic) in &record.nics {
        let _ = writeln!(text, "//- nic {} {} {}", line(name), line(&nic.driver), clean(&nic.firmware, 64));
    }
    match &record.clock {
        Some(Ok(c)) => {
            let synced = if c.synchronized { " synced" } else { "" };
            let (offset, ppm) = (c.offset_ns, c.frequency_ppm);
            let (max, est) = (c.max_error_us, c.estimated_error_us);
            let _ = writeln!(text, "//- clock offset={offset} max={max} est={est} ppm={ppm}{synced}");
        }
        Some(Err(errno)) => drop(writeln!(text, "//- clock error={errno}")),
        None => {}
    }
    for socket in &record.sockets {
        let (state, address) = (socket.state.name(), std::net::SocketAddr::new(socket.address, socket.port));
        let (queued, max, inode) = (socket.queued, socket.queue_max, socket.inode);
        let _ = writeln!(text, "//- tcp {state} {address} queued={queued} max={max} inode={inode}");
    }
    for (command, printed) in &record.printed {
        let _ = writeln!(text, "//- command {}", clean(command, 4096));
        body(&mut text, printed);
    }
    text
}

fn file(text: &mut String, path: &str, content: &[u8]) {
    let path = line(path);
    match std::str::from_utf8(content) {
        Ok(content) if is_plain(content) => {
            let _ = writeln!(text, "//- {path}");
            body(text, content);
        }
        _ => {
            let _ = writeln!(text, "//- hex {path}");
            for bytes in content.chunks(HEX_LINE) {
                for byte in bytes {
                    let _ = write!(text, "{byte:02x}");
                }
                text.push('\n');
            }
        }
    }
}

/// Whether it can stand there as it is: a line of it may look like a header.
fn is_plain(content: &str) -> bool {
    let is_header = |line: &str| line.starts_with("//-") || line.starts_with("//=");
    !content.lines().any(is_header)
        && !content.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
        && (content.is_empty() || content.ends_with('\n'))
}

fn body(text: &mut String, content: &str) {
    for line in content.lines() {
        let marked = line.starts_with("//-") || line.starts_with("//=");
        text.push_str(if marked { " " } else { "" });
        text.push_str(line);
        text.push('\n');
    }
}

/// Names that a directory has, and of which nothing else was read: an empty file stands for each, below a directory `.`.
fn empty_names(record: &Record) -> BTreeSet<String> {
    let known: Vec<&String> = record.files.keys().chain(record.links.keys()).collect();
    let mut sorted = known;
    sorted.sort_unstable();
    let mut names = BTreeSet::new();
    for (dir, entries) in &record.dirs {
        let below = format!("{}/", dir.trim_end_matches('/'));
        let at = sorted.partition_point(|known| known.as_str() < below.as_str());
        if entries.is_empty() && !sorted.get(at).is_some_and(|known| known.starts_with(&below)) {
            names.insert(format!("{below}."));
        }
        for entry in entries {
            let path = format!("{}/{entry}", dir.trim_end_matches('/'));
            let below = format!("{path}/");
            let at = sorted.partition_point(|known| known.as_str() < path.as_str());
            let is_known = sorted.get(at).is_some_and(|known| **known == path)
                || sorted[at..]
                    .iter()
                    .take_while(|known| known.starts_with(&path))
                    .any(|k| k.starts_with(&below));
            let has_names = record.dirs.contains_key(&path);
            if !is_known && !has_names {
                names.insert(if record.subdirs.contains(&path) { format!("{path}/.") } else { path });
            }
        }
    }
    names
}
