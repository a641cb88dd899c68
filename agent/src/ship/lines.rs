//! Lines as they are sent. Pure.

use serde::Serialize;

use crate::host::tail::{MAX_LINE, char_boundary};

/// What lines lost of their form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Cuts through lines longer than [`MAX_LINE`]: all of the line is sent, in parts.
    pub split: u64,
    /// Lines with bytes that are not UTF-8: each sort of them is sent as U+FFFD.
    pub not_utf8: u64,
}

/// The lines of some bytes, the last one with its line break, too.
pub fn take(bytes: &[u8], each: &mut dyn FnMut(String), changed: &mut Changed) {
    let all = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    for line in all.split(|b| *b == b'\n') {
        let mut rest = line.strip_suffix(b"\r").unwrap_or(line);
        while rest.len() > MAX_LINE {
            let (part, more) = rest.split_at(char_boundary(rest, MAX_LINE));
            each(text(part, changed));
            changed.split += 1;
            rest = more;
        }
        each(text(rest, changed));
    }
}

fn text(line: &[u8], changed: &mut Changed) -> String {
    let text = String::from_utf8_lossy(line);
    changed.not_utf8 += u64::from(matches!(text, std::borrow::Cow::Owned(_)));
    text.into_owned()
}

/// What is posted.
pub fn body<'a>(agent_id: &str, lines: impl Iterator<Item = &'a str>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Body<'a> {
        agent_id: &'a str,
        lines: Vec<&'a str>,
    }
    // Text and a list of texts: there is nothing in it that could not be written.
    serde_json::to_vec(&Body { agent_id, lines: lines.collect() }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expect: &[&str], split: u64, not_utf8: u64) {
        let (mut lines, mut changed) = (Vec::new(), Changed::default());
        take(bytes, &mut |line| lines.push(line), &mut changed);
        assert_eq!(lines, expect);
        assert_eq!((changed.split, changed.not_utf8), (split, not_utf8));
    }

    #[test]
    fn lines_of_all_sorts() {
        check(b"a\nb\n", &["a", "b"], 0, 0);
        check(b"a\n\nb", &["a", "", "b"], 0, 0);
        check(b"\n", &[""], 0, 0);
        check(b"a\r\nb\r\r\n", &["a", "b\r"], 0, 0);
        check("größer\n".as_bytes(), &["größer"], 0, 0);
        check(b"caf\xe9 \xff\xfe\n\x00\x1b[2J\n", &["caf\u{fffd} \u{fffd}\u{fffd}", "\0\u{1b}[2J"], 0, 1);
        let long = "x".repeat(MAX_LINE);
        check(format!("{long}\n").as_bytes(), &[&long], 0, 0);
        check(format!("{long}y\nz\n").as_bytes(), &[&long, "y", "z"], 1, 0);
        check(format!("{long}{long}y").as_bytes(), &[&long, &long, "y"], 2, 0);
        // No character is torn apart.
        let odd = format!("{}{}", "x".repeat(MAX_LINE - 1), "ü");
        check(odd.as_bytes(), &[&odd[..MAX_LINE - 1], "ü"], 1, 0);
        check(&vec![0x80; MAX_LINE + 1], &["\u{fffd}".repeat(MAX_LINE).as_str(), "\u{fffd}"], 1, 2);
    }

    #[test]
    fn a_body_is_json_whatever_is_in_a_line() {
        let lines = ["plain", "\"\\\n\0\u{1b}", "größe"];
        let body = body("id-1", lines.into_iter());
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(read, serde_json::json!({ "agent_id": "id-1", "lines": lines }));
    }
}
