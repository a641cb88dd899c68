//! One line of `/proc/PID/stat`.

use crate::host::parse::{number, words};

/// What the agent uses of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatLine<'a> {
    /// Field 1.
    pub pid: u32,
    /// Field 2 without its parentheses; any bytes.
    pub comm: &'a [u8],
    /// Field 3: state letter.
    pub state: u8,
    /// Fields 14 and 15: user and system time, clock ticks.
    pub cpu_ticks: u64,
    /// Field 20.
    pub threads: u64,
    /// Field 22: clock ticks from boot to start.
    pub start_ticks: u64,
    /// Field 23, bytes.
    pub virtual_bytes: u64,
    /// Field 24, pages.
    pub rss_pages: u64,
}

impl<'a> StatLine<'a> {
    /// The name ends at the last `)` of the line: it may itself hold spaces, parentheses and line breaks.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let open = line.iter().position(|&b| b == b'(')?;
        let close = line.iter().rposition(|&b| b == b')').filter(|&close| close > open)?;
        let pid = number(line[..open].trim_ascii())?;
        let mut rest = words(line[close + 1..].trim_ascii());
        let state = *rest.next()?.first()?;
        // Fields 4 to 24.
        let mut fields = [b"" as &[u8]; 21];
        for field in &mut fields {
            *field = rest.next()?;
        }
        let field = |n: usize| number(fields[n - 4]);
        Some(Self {
            pid: u32::try_from(pid).ok()?,
            comm: &line[open + 1..close],
            state,
            cpu_ticks: field(14)?.saturating_add(field(15)?),
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            // Signed in the kernel, and below zero for a moment on some.
            rss_pages: field(24).unwrap_or(0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str =
        "9174 9174 6799 0 -1 4194304 97 0 0 0 30 12 0 0 20 0 3 0 110189 3133440 382 1844 1 2 3";

    #[test]
    fn names_are_hostile() {
        for (comm, expect) in [
            ("cat", "cat"),
            ("tmux: server", "tmux: server"),
            ("a) R 1 (b", "a) R 1 (b"),
            ("((sd-pam))", "((sd-pam))"),
            ("", ""),
            (") S 1 2 3", ") S 1 2 3"),
            ("x\ny", "x\ny"),
        ] {
            let line = format!("9180 ({comm}) D {REST}\n");
            let stat = StatLine::parse(line.as_bytes()).unwrap();
            assert_eq!(stat.comm, expect.as_bytes());
            assert_eq!((stat.pid, stat.state, stat.cpu_ticks, stat.threads), (9180, b'D', 42, 3));
            assert_eq!((stat.start_ticks, stat.virtual_bytes, stat.rss_pages), (110_189, 3_133_440, 382));
        }
        let line = [b"1 (\xff\xfe) S ", REST.as_bytes()].concat();
        assert_eq!(StatLine::parse(&line).unwrap().comm, b"\xff\xfe");
    }

    #[test]
    fn what_is_not_such_a_line_is_none() {
        let whole = format!("1 (a) S {REST}");
        let cut = whole.rfind(" 382").unwrap();
        for line in ["", "1", "1 (a", "1 a) S", ") 1 (", "1 (a)", "1 (a) S", "x (a) S 1", &whole[..cut]] {
            assert_eq!(StatLine::parse(line.as_bytes()), None, "{line}");
        }
        for line in [format!("99999999999 (a) S {REST}"), format!("-1 (a) S {REST}")] {
            assert_eq!(StatLine::parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(StatLine::parse(whole.replace(" 382 ", " -1 ").as_bytes()).unwrap().rss_pages, 0);
    }
}
