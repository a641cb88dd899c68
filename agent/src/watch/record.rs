//! One record of `/dev/kmsg`, as the kernel's `Documentation/ABI/testing/dev-kmsg` describes it:
//! `prefix,sequence,time,flags[,…];text`, then lines ` KEY=value`. Parsing borrows and does not allocate.

use std::borrow::Cow;

use memchr::memchr;

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Bytes that are not UTF-8; the kernel escapes them.
    #[error("the record is not text")]
    NotText,
    /// No `;` ends the head.
    #[error("the record has no head")]
    NoHead,
    /// A part of the head is missing or not a number.
    #[error("the record's {0} is not a number")]
    Field(&'static str),
}

/// Whether a record is a whole line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `-`
    Whole,
    /// `c`: a fragment; before 4.10 the first of a line.
    Fragment,
    /// `+`: goes on where the fragment before it ended (before 4.10).
    Next,
}

/// A parsed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// 0 (emergency) to 7 (debug).
    pub priority: u8,
    /// 0 is the kernel. A record written by a process always has another one.
    pub facility: u64,
    /// Grows by one from record to record.
    pub seq: u64,
    /// Microseconds since boot on the kernel's `local_clock`.
    pub time_us: u64,
    /// Whole line or fragment.
    pub part: Part,
    text: &'a str,
    dictionary: &'a str,
}

impl<'a> Record<'a> {
    /// Parses what one `read` of `/dev/kmsg` gave.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let all = std::str::from_utf8(bytes).map_err(|_| RecordError::NotText)?;
        let end = memchr(b';', bytes).ok_or(RecordError::NoHead)?;
        let (head, body) = (&all[..end], &all[end + 1..]);
        let mut fields = head.split(',');
        let prefix = number(&mut fields, "prefix")?;
        let seq = number(&mut fields, "sequence number")?;
        let time_us = number(&mut fields, "time")?;
        let part = match fields.next() {
            Some("c") => Part::Fragment,
            Some("+") => Part::Next,
            _ => Part::Whole,
        };
        let (text, dictionary) = match memchr(b'\n', body.as_bytes()) {
            Some(end) => (&body[..end], &body[end + 1..]),
            None => (body, ""),
        };
        Ok(Self { priority: (prefix & 7) as u8, facility: prefix >> 3, seq, time_us, part, text, dictionary })
    }

    /// Whether the kernel itself said it.
    pub fn from_kernel(&self) -> bool {
        self.facility == 0
    }

    /// The text as it was written: every byte outside printable ASCII, and the backslash, stands there as `\xNN`.
    pub fn written(&self) -> &'a str {
        self.text
    }

    /// The text with `\xNN` undone: any byte may be in it, line breaks included.
    pub fn text(&self) -> Cow<'a, str> {
        unescape(self.text)
    }

    /// Value of a dictionary key (`SUBSYSTEM`, `DEVICE`).
    pub fn value(&self, key: &str) -> Option<Cow<'a, str>> {
        let mut lines = self.dictionary.lines().filter_map(|line| line.strip_prefix(' ')?.split_once('='));
        lines.find(|(name, _)| *name == key).map(|(_, value)| unescape(value))
    }
}

fn number<'a>(fields: &mut impl Iterator<Item = &'a str>, what: &'static str) -> Result<u64, RecordError> {
    fields.next().and_then(|field| field.parse().ok()).ok_or(RecordError::Field(what))
}

/// The kernel writes every byte outside printable ASCII, and the backslash, as `\xNN`
/// (`msg_print_ext_body`, `kernel/printk/printk.c`).
fn unescape(text: &str) -> Cow<'_, str> {
    if memchr(b'\\', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if let Some((byte, after)) = escaped(rest) {
            out.push(byte);
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

fn escaped(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let [b'\\', b'x', high, low, rest @ ..] = bytes else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    Some(((digit(high)? << 4 | digit(low)?) as u8, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Record<'_> {
        Record::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_record_with_dictionary() {
        let r = parse("3,339,5140900,-;nvme nvme0: I/O\n SUBSYSTEM=nvme\n DEVICE=+nvme:a\\x2fb\n");
        assert_eq!((r.priority, r.facility, r.seq, r.time_us, r.part), (3, 0, 339, 5_140_900, Part::Whole));
        assert_eq!(r.text(), "nvme nvme0: I/O");
        assert_eq!(r.value("SUBSYSTEM").as_deref(), Some("nvme"));
        assert_eq!(r.value("DEVICE").as_deref(), Some("+nvme:a/b"));
        assert_eq!(r.value("NONE"), None);
    }

    #[test]
    fn heads_of_all_kernels() {
        for (input, facility, priority, part) in [
            ("6,1,2,-;x", 0, 6, Part::Whole),
            ("0,1,2,c;x", 0, 0, Part::Fragment),
            ("4,1,2,+;x", 0, 4, Part::Next),
            ("6,1,2,-,caller=T12;x", 0, 6, Part::Whole),
            ("12,1,2,-;x", 1, 4, Part::Whole),
            ("30,1,2,-;x", 3, 6, Part::Whole),
            ("6,1,2;x", 0, 6, Part::Whole),
        ] {
            let r = parse(input);
            assert_eq!((r.facility, r.priority, r.part), (facility, priority, part), "{input}");
            assert_eq!(r.text(), "x");
            assert_eq!(r.from_kernel(), facility == 0);
        }
    }

    #[test]
    fn bad_heads_are_errors() {
        for (input, expect) in [
            (&b""[..], RecordError::NoHead),
            (b"6,1,2,-", RecordError::NoHead),
            (b";x", RecordError::Field("prefix")),
            (b"-6,1,2,-;x", RecordError::Field("prefix")),
            (b"6;x", RecordError::Field("sequence number")),
            (b"6,99999999999999999999,2,-;x", RecordError::Field("sequence number")),
            (b"6,1,soon,-;x", RecordError::Field("time")),
            (b"6,1,2,-;\xff", RecordError::NotText),
        ] {
            assert_eq!(Record::parse(input), Err(expect), "{input:?}");
        }
    }

    #[test]
    fn escapes_are_undone_safely() {
        for (input, expect) in [
            ("plain", "plain"),
            ("a\\x0ab", "a\nb"),
            ("back\\x5cslash", "back\\slash"),
            ("\\xc3\\xa9", "é"),
            ("\\xff", "\u{fffd}"),
            ("\\x", "\\x"),
            ("\\x4", "\\x4"),
            ("\\xzz", "\\xzz"),
            ("\\x5cx41", "\\x41"),
        ] {
            assert_eq!(unescape(input), expect, "{input}");
        }
    }

    #[test]
    fn text_without_escapes_is_borrowed() {
        assert!(matches!(parse("6,1,2,-;x").text(), Cow::Borrowed("x")));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(record) = Record::parse(&bytes) {
                let _ = (record.text(), record.value("DEVICE"));
            }
        }

        #[test]
        fn any_text_survives(text in "[ -~]{0,80}") {
            let escaped = text.replace('\\', "\\x5c");
            let line = format!("6,1,2,-;{escaped}\n DEVICE=x\n");
            let record = Record::parse(line.as_bytes()).unwrap();
            prop_assert_eq!(record.text(), text);
        }
    }
}
