//! Texts for services with a markup of their own and limits on length: what comes from outside is escaped, and what
//! does not fit is cut between characters, with a note that says how much.

/// Room for the note that says what was cut.
const NOTE: usize = 32;

/// How a service reads a text.
#[derive(Clone, Copy)]
pub struct Markup {
    /// Appends a character so that it stands for itself.
    pub escape: fn(char, &mut String),
    /// What a piece of text counts against the limit.
    pub length: fn(&str) -> usize,
    /// Whether the limit is on the text that people see, not on what is sent.
    pub counts_seen: bool,
}

/// Text without markup, counted in UTF-16 units: no service counts less than Unicode characters, and some count these.
pub const PLAIN: Markup = Markup { escape: |c, out| out.push(c), length: utf16, counts_seen: false };

/// The same counted in bytes.
pub const BYTES: Markup = Markup { escape: |c, out| out.push(c), length: str::len, counts_seen: false };

/// Length in UTF-16 units.
pub fn utf16(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

impl Markup {
    /// The whole text, escaped.
    pub fn all(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        text.chars().for_each(|c| (self.escape)(c, &mut out));
        out
    }

    /// The text, escaped, within `max`; what was cut is said at the end.
    pub fn fit(&self, text: &str, max: usize) -> String {
        self.within(text, max).unwrap_or_else(|| self.cut(text, max))
    }

    fn within(&self, text: &str, max: usize) -> Option<String> {
        // Escaping makes nothing shorter.
        ((self.length)(text) <= max)
            .then(|| self.all(text))
            .filter(|escaped| self.counts_seen || (self.length)(escaped) <= max)
    }

    fn cut(&self, text: &str, max: usize) -> String {
        let room = max.saturating_sub(if max > 4 * NOTE { NOTE } else { 1 });
        let (mut out, mut used, mut left) = (String::new(), 0, text.chars());
        let mut buffer = String::new();
        while let Some(c) = left.clone().next() {
            buffer.clear();
            (self.escape)(c, &mut buffer);
            let costs = if self.counts_seen {
                (self.length)(c.encode_utf8(&mut [0; 4]))
            } else {
                (self.length)(&buffer)
            };
            if used + costs > room {
                break;
            }
            used += costs;
            out.push_str(&buffer);
            left.next();
        }
        let note =
            if max > 4 * NOTE { format!("… ({} characters cut)", left.count()) } else { "…".to_owned() };
        note.chars().for_each(|c| (self.escape)(c, &mut out));
        out
    }
}

/// Takes what fits of a row of pieces, each with its length, and how many were left out.
pub fn take_while_they_fit<T>(
    pieces: Vec<(T, usize)>,
    max_pieces: usize,
    mut room: usize,
) -> (Vec<T>, usize) {
    let all = pieces.len();
    let mut taken = Vec::new();
    for (piece, length) in pieces {
        let Some(left) = room.checked_sub(length).filter(|_| taken.len() < max_pieces) else { break };
        room = left;
        taken.push(piece);
    }
    let left_out = all - taken.len();
    (taken, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTML: Markup = Markup {
        escape: |c, out| match c {
            '<' => out.push_str("&lt;"),
            c => out.push(c),
        },
        length: utf16,
        counts_seen: false,
    };
    const SEEN: Markup = Markup { counts_seen: true, ..HTML };

    #[test]
    fn what_does_not_fit_is_cut_and_said() {
        let check = |markup: Markup, text: &str, max, expect: &str| {
            assert_eq!(markup.fit(text, max), expect, "{text} {max}");
        };
        check(PLAIN, "abc", 3, "abc");
        check(PLAIN, "abcd", 3, "ab…");
        check(PLAIN, "😀😀", 4, "😀😀");
        check(PLAIN, "😀😀😀", 4, "😀…");
        check(BYTES, "äää", 6, "äää");
        check(HTML, "<<", 8, "&lt;&lt;");
        check(HTML, "<<<", 8, "&lt;…");
        check(SEEN, "<<<", 3, "&lt;&lt;&lt;");
        check(SEEN, "<<<<", 3, "&lt;&lt;…");
        check(PLAIN, &"x".repeat(1000), 200, &("x".repeat(168) + "… (832 characters cut)"));
        check(PLAIN, "", 0, "");
        check(PLAIN, "x", 0, "…");
    }

    #[test]
    fn whatever_comes_it_stays_within() {
        let text = "<😀é>x".repeat(20_000);
        for max in [1, 2, 3, 64, 128, 129, 150, 4096] {
            for markup in [PLAIN, HTML] {
                let fitted = markup.fit(&text, max);
                assert!(utf16(&fitted) <= max, "{max}: {}", utf16(&fitted));
            }
            let seen = SEEN.fit(&text, max).replace("&lt;", "<");
            assert!(utf16(&seen) <= max, "{max}");
        }
    }

    #[test]
    fn pieces_stop_where_the_room_ends() {
        let pieces = |n| (0..n).map(|i| (i, 10)).collect::<Vec<_>>();
        assert_eq!(take_while_they_fit(pieces(3), 5, 100), (vec![0, 1, 2], 0));
        assert_eq!(take_while_they_fit(pieces(9), 5, 100), (vec![0, 1, 2, 3, 4], 4));
        assert_eq!(take_while_they_fit(pieces(9), 9, 25), (vec![0, 1], 7));
    }
}
