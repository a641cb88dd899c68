//! Parsing of what the kernel writes, on bytes: names in it may be anything, numbers may be missing,
//! cut or larger than they should be. Nothing here fails, and only [`unescape_bytes`] allocates; what is
//! not a number is `None`.

/// Lines without their line breaks; a last line that was cut off is a line.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b'\n').filter(|line| !line.is_empty())
}

/// Words between spaces and tabs.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&b| b == b' ' || b == b'\t').filter(|word| !word.is_empty())
}

/// A decimal number that fits 64 bits, without sign.
pub fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0u64, |value, &digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// A decimal number that fits 63 bits, with or without a minus.
pub fn signed(word: &[u8]) -> Option<i64> {
    match word.strip_prefix(b"-") {
        Some(digits) => i64::try_from(number(digits)?).ok().map(|value| -value),
        None => i64::try_from(number(word)?).ok(),
    }
}

/// A hexadecimal number that fits 64 bits, without prefix.
pub fn hex(word: &[u8]) -> Option<u64> {
    let plain = !word.is_empty() && word.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(word).ok().filter(|_| plain)?;
    u64::from_str_radix(text, 16).ok()
}

/// A decimal number with a fraction, as in `/proc/loadavg`.
pub fn decimal(word: &[u8]) -> Option<f64> {
    let plain = word.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    let text = std::str::from_utf8(word).ok().filter(|_| plain)?;
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The line's first word, and the rest of it.
pub fn key(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|&b| b == b' ' || b == b'\t').unwrap_or(line.len());
    (&line[..end], &line[end..])
}

/// CPU or node numbers as `/sys` lists them, `0-3,8`: how many there are.
pub fn count_of_list(text: &[u8]) -> Option<u64> {
    let mut count = 0u64;
    for range in ranges(text) {
        let (first, last) = range?;
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

/// First and last number of each part of such a list; `None` for a part that is none.
pub fn ranges(text: &[u8]) -> impl Iterator<Item = Option<(u64, u64)>> {
    text.trim_ascii().split(|&b| b == b',').map(|range| {
        let mut ends = range.splitn(2, |&b| b == b'-').map(number);
        let first = ends.next()??;
        Some((first, ends.next().unwrap_or(Some(first))?))
    })
}

/// Finds rows of a table by name, fast where the names come in the table's order.
#[derive(Debug, Default)]
pub struct Cursor {
    next: usize,
}

impl Cursor {
    /// The first row from the cursor on, around the end, that `is` the one, and its place.
    pub fn find_at<T>(
        &mut self,
        table: &'static [T],
        is: impl Fn(&T) -> bool,
    ) -> Option<(usize, &'static T)> {
        let start = self.next.min(table.len());
        let at = (start..table.len()).chain(0..start).find(|&at| is(&table[at]))?;
        self.next = (at + 1) % table.len();
        Some((at, &table[at]))
    }

    /// The same without the place.
    pub fn find<T>(&mut self, table: &'static [T], is: impl Fn(&T) -> bool) -> Option<&'static T> {
        self.find_at(table, is).map(|(_, row)| row)
    }
}

/// Blanks and backslashes of paths are written as `\040` (`mangle`, `fs/proc_namespace.c`).
pub fn unescape(text: &str) -> String {
    String::from_utf8_lossy(&unescape_bytes(text.as_bytes())).into_owned()
}

/// The same for what may hold any byte.
pub fn unescape_bytes(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text;
    while let [first, rest @ ..] = bytes {
        let (byte, after) = match bytes {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), after)
            }
            _ => (*first, rest),
        };
        out.push(byte);
        bytes = after;
    }
    out
}

/// Whether a `/proc/PID/uid_map` maps every user to itself, as outside of user namespaces.
pub fn maps_all_users(uid_map: &str) -> bool {
    uid_map.split_ascii_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (word, expect) in [
            ("0", Some(0)),
            ("42", Some(42)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1a", None),
            ("٣", None),
        ] {
            assert_eq!(number(word.as_bytes()), expect, "{word}");
        }
        for (word, expect) in [
            ("0.54", Some(0.54)),
            ("7", Some(7.0)),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("inf", None),
            ("NaN", None),
            ("-1.0", None),
            ("1e5", None),
        ] {
            assert_eq!(decimal(word.as_bytes()), expect, "{word}");
        }
    }

    #[test]
    fn numbers_with_sign_and_base() {
        for (word, expect) in [
            ("5", Some(5)),
            ("-5", Some(-5)),
            ("--5", None),
            ("-", None),
            ("9223372036854775808", None),
            ("-9223372036854775807", Some(-i64::MAX)),
        ] {
            assert_eq!(signed(word.as_bytes()), expect, "{word}");
        }
        for (word, expect) in [
            ("00022d49", Some(0x22d49)),
            ("fF", Some(255)),
            ("", None),
            ("+1", None),
            ("0x1", None),
            ("11112222333344445", None),
        ] {
            assert_eq!(hex(word.as_bytes()), expect, "{word}");
        }
    }

    #[test]
    fn lists() {
        for (text, expect) in [
            ("0\n", Some(1)),
            ("0-1\n", Some(2)),
            ("0-27,56-83", Some(56)),
            ("0,2,4", Some(3)),
            ("", None),
            ("3-1", None),
            ("0-", None),
            ("a", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(count_of_list(text.as_bytes()), expect, "{text}");
        }
    }

    #[test]
    fn lines_and_words() {
        assert_eq!(lines(b"a\n\nb").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(words(b"  a\t b ").collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(key(b"ctxt 294159"), (&b"ctxt"[..], &b" 294159"[..]));
        assert_eq!(key(b"ctxt"), (&b"ctxt"[..], &b""[..]));
    }

    static NONE: [u8; 0] = [];

    #[test]
    fn the_cursor_finds_rows_in_any_order() {
        static TABLE: [u8; 4] = [1, 2, 3, 4];
        let mut cursor = Cursor::default();
        for wanted in [1, 2, 4, 9, 1, 1, 3] {
            let expect = (wanted <= 4).then_some(wanted);
            assert_eq!(cursor.find(&TABLE, |row| *row == wanted).copied(), expect);
        }
        assert_eq!(cursor.find(&NONE, |_| true), None);
    }

    #[test]
    fn a_user_namespace_is_known_by_its_map() {
        for (map, whole) in [
            ("         0          0 4294967295\n", true),
            ("0 100000 65536\n", false),
            ("", false),
            ("0 0", false),
        ] {
            assert_eq!(maps_all_users(map), whole, "{map:?}");
        }
    }
}
