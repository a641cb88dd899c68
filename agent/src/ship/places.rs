//! The places in the files as they are stored: a line each, under a checksum of its own. Pure.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::host::tail::{Mark, Resume, Seen};

/// Places kept, at most.
pub const MAX_PLACES: usize = 512;
/// Bytes of them; what does not fit is left out, and such a file is read as one that was never seen.
const MAX_BYTES: usize = 900 << 10;

/// What is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// When, Unix time, nanoseconds.
    pub at_ns: i64,
    /// Path, place, and what was seen of the file.
    pub files: Vec<(PathBuf, Resume)>,
    /// Lines that are damaged.
    pub torn: u64,
}

/// As they are stored.
pub fn encode(at_ns: i64, files: &[(PathBuf, Resume)]) -> Vec<u8> {
    let mut out = String::new();
    put(&mut out, &format!("at {at_ns}"));
    for (path, (mark, seen)) in files.iter().take(MAX_PLACES) {
        let seen = seen.unwrap_or(Seen { len: mark.offset, mtime_ns: i64::MAX });
        let line = format!("in {} {} {} {}", escape(path), seen.len, seen.mtime_ns, mark.text());
        if out.len() + line.len() > MAX_BYTES {
            break;
        }
        put(&mut out, &line);
    }
    out.into_bytes()
}

fn put(out: &mut String, line: &str) {
    let _ = writeln!(out, "{} {line}", sum(line.as_bytes()));
}

/// What a line is stored behind.
pub fn sum(line: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(line))
}

/// The way back: what is whole is used.
pub fn decode(bytes: &[u8]) -> Places {
    let mut places = Places::default();
    for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let whole = std::str::from_utf8(line).ok().and_then(checked);
        let known = match whole.and_then(|line| line.split_once(' ')) {
            Some(("at", at)) => at.parse().map(|at| places.at_ns = at).is_ok(),
            Some(("in", rest)) if places.files.len() < MAX_PLACES => {
                place(rest).map(|place| places.files.push(place)).is_some()
            }
            _ => false,
        };
        places.torn += u64::from(!known);
    }
    places
}

fn checked(line: &str) -> Option<&str> {
    let (sum, line) = line.split_once(' ')?;
    (sum == self::sum(line.as_bytes())).then_some(line)
}

fn place(text: &str) -> Option<(PathBuf, Resume)> {
    let mut words = text.splitn(4, ' ');
    let path = unescape(words.next()?)?;
    let (len, mtime_ns) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let mark = Mark::parse(words.next()?)?;
    Some((path, (mark, Some(Seen { len, mtime_ns }))))
}

/// A path without blanks, line breaks and what is not ASCII.
fn escape(path: &Path) -> String {
    let mut out = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02x}");
        }
    }
    out
}

fn unescape(text: &str) -> Option<PathBuf> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &after[2..];
        } else {
            out.push(byte);
            rest = after;
        }
    }
    (!out.is_empty()).then(|| PathBuf::from(OsString::from_vec(out)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &[u8], mark: &str) -> (PathBuf, Resume) {
        let seen = Seen { len: 99, mtime_ns: -5 };
        (PathBuf::from(OsString::from_vec(path.to_vec())), (Mark::parse(mark).unwrap(), Some(seen)))
    }

    fn files() -> Vec<(PathBuf, Resume)> {
        vec![
            file(b"/var/log/syslog", "7 9 00000000000000ff/12 000000000000000a/9"),
            file(b"/a b\n%/\xff\xfe \x1b[2J\xc3\xbc", "1 0 0000000000000000/0"),
            file(&b"/long".repeat(800), "18446744073709551615 18446744073709551615 0000000000000001/256"),
        ]
    }

    #[test]
    fn hostile_names_come_back() {
        let places = decode(&encode(-7, &files()));
        assert_eq!(places, Places { at_ns: -7, files: files(), torn: 0 });
        assert!(encode(-7, &files()).is_ascii());
    }

    #[test]
    fn what_is_torn_costs_its_line_only() {
        let whole = encode(5, &files());
        for cut in 0..whole.len() {
            let places = decode(&whole[..cut]);
            assert!(places.torn <= 1, "{cut}");
            assert!(places.files.iter().zip(files()).all(|(read, was)| *read == was), "{cut}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x11;
            let places = decode(&bytes);
            assert!(places.torn >= 1, "{at}");
            assert!(places.files.iter().all(|place| files().contains(place)), "{at}");
            assert!(places.files.len() + 2 >= files().len(), "{at}");
        }
    }

    #[test]
    fn too_many_are_left_out() {
        let many: Vec<_> =
            (0..2 * MAX_PLACES).map(|n| file(format!("/{n}").as_bytes(), "1 2 0000000000000000/0")).collect();
        assert_eq!(decode(&encode(0, &many)).files, many[..MAX_PLACES]);
        let large: Vec<_> = (0..600).map(|_| file(&[0xff; 4000], "1 2 0000000000000000/0")).collect();
        let bytes = encode(0, &large);
        assert!(bytes.len() <= MAX_BYTES && decode(&bytes).torn == 0, "{}", bytes.len());
    }
}
