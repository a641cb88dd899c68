//! Lines of Prometheus' text and of `OpenMetrics`: what is escaped, and how a number is written.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>

use std::fmt::Write;

use super::accept::Format;

/// Units that `OpenMetrics` names, by the end of a family's name.
const UNITS: [&str; 7] = ["seconds", "bytes", "percent", "ratio", "celsius", "watts", "hertz"];
/// Whole numbers up to here are written as such.
const WHOLE: f64 = 9e15;

/// A label's name and its value, not escaped.
pub(super) type Label<'a> = (&'a str, &'a str);

/// Writes one page.
pub(super) struct Page<'a> {
    out: &'a mut String,
    format: Format,
    /// On every line.
    constant: &'a [(String, String)],
}

impl<'a> Page<'a> {
    /// Begins an empty page in `out`.
    pub(super) fn begin(out: &'a mut String, format: Format, constant: &'a [(String, String)]) -> Self {
        out.clear();
        Self { out, format, constant }
    }

    /// Ends it.
    pub(super) fn end(self) {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
    }

    /// What a family is: `kind` is `counter`, `gauge`, `histogram` or `unknown`.
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let open = self.format == Format::OpenMetrics;
        // There a counter's family has the name without `_total`.
        let family =
            if open && kind == "counter" { name.strip_suffix("_total").unwrap_or(name) } else { name };
        let kind = if kind == "unknown" && !open { "untyped" } else { kind };
        self.words(&["# HELP ", family, " "]);
        escape(help, open, self.out);
        self.words(&["\n# TYPE ", family, " ", kind, "\n"]);
        if let Some(unit) = unit(family).filter(|_| open) {
            self.words(&["# UNIT ", family, " ", unit, "\n"]);
        }
    }

    /// One line. A label of the agent's gives way to one of the same name.
    pub(super) fn sample<'b>(
        &mut self,
        name: &[&str],
        labels: &(impl Iterator<Item = Label<'b>> + Clone),
        value: f64,
    ) {
        self.words(name);
        let mut first = true;
        for (name, value) in labels.clone() {
            label(name, value, &mut first, self.out);
        }
        for (name, value) in
            self.constant.iter().filter(|(own, _)| labels.clone().all(|(name, _)| name != own))
        {
            label(name, value, &mut first, self.out);
        }
        self.out.push_str(if first { " " } else { "} " });
        number(value, self.out);
        self.out.push('\n');
    }

    fn words(&mut self, words: &[&str]) {
        for word in words {
            self.out.push_str(word);
        }
    }
}

fn label(name: &str, value: &str, first: &mut bool, out: &mut String) {
    out.push(if std::mem::take(first) { '{' } else { ',' });
    out.push_str(name);
    out.push_str("=\"");
    escape(value, true, out);
    out.push('"');
}

/// `sysops_disk_read_bytes` -> `bytes`.
fn unit(family: &str) -> Option<&'static str> {
    let (_, last) = family.rsplit_once('_')?;
    UNITS.into_iter().find(|unit| *unit == last)
}

/// A label's value, or a help text.
fn escape(text: &str, quotes: bool, out: &mut String) {
    let special = |text: &str| {
        if quotes {
            memchr::memchr3(b'\\', b'\n', b'"', text.as_bytes())
        } else {
            memchr::memchr2(b'\\', b'\n', text.as_bytes())
        }
    };
    let mut rest = text;
    while let Some(at) = special(rest) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'\n' => "\\n",
            b'"' => "\\\"",
            _ => "\\\\",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

pub(super) fn number(value: f64, out: &mut String) {
    if value.abs() < WHOLE && value.fract() == 0.0 {
        return whole(value as i64, out);
    }
    // Writing to a string does not fail.
    let _ = if value.is_finite() {
        write!(out, "{value}")
    } else if value.is_nan() {
        write!(out, "NaN")
    } else {
        write!(out, "{}", if value > 0.0 { "+Inf" } else { "-Inf" })
    };
}

/// Nine of ten values are whole: without the machinery of formatting.
fn whole(value: i64, out: &mut String) {
    let (mut digits, mut at, mut rest) = ([0; 20], 20, value.unsigned_abs());
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push('-');
    }
    out.push_str(str::from_utf8(&digits[at..]).unwrap_or_default());
}

/// A name that Prometheus takes for a label: `[a-zA-Z_][a-zA-Z0-9_]*`, and not one of its own (`__…`).
pub(super) fn label_name(name: &str) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = name.chars().map(word).collect();
    let name = name.trim_start_matches("__");
    let bad = name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit());
    if bad { format!("_{name}") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_values_stay_on_their_line() {
        let check = |value: &str, expect: &str| {
            let mut out = String::new();
            Page::begin(&mut out, Format::Text, &[]).sample(&["x"], &[("l", value)].into_iter(), 1.0);
            assert_eq!(out, format!("x{{l=\"{expect}\"}} 1\n"), "{value:?}");
        };
        check("", "");
        check("plain", "plain");
        check("a\"b", "a\\\"b");
        check("\\", "\\\\");
        check("\\n", "\\\\n");
        check("a\nb", "a\\nb");
        check("\"} 1\nevil{x=\"", "\\\"} 1\\nevil{x=\\\"");
        check("\n# EOF\n", "\\n# EOF\\n");
        check("\r\t\u{0}\u{1b}[2J", "\r\t\u{0}\u{1b}[2J");
        check("\u{202e}é😀{}=,", "\u{202e}é😀{}=,");
    }

    #[test]
    fn numbers_are_written_whole_where_they_are() {
        let check = |value: f64, expect: &str| {
            let mut out = String::new();
            number(value, &mut out);
            assert_eq!(out, expect);
            assert!(
                value.is_nan()
                    || out.parse::<f64>().is_ok_and(|read| read.to_bits() == (value + 0.0).to_bits())
            );
        };
        check(0.0, "0");
        check(-0.0, "0");
        check(-3.0, "-3");
        check(10.0, "10");
        check(8_999_999_999_999_999.0, "8999999999999999");
        check(-8_999_999_999_999_999.0, "-8999999999999999");
        check(1.5, "1.5");
        check(0.1 + 0.2, "0.30000000000000004");
        check(270_532_608_000.0, "270532608000");
        check(1e-7, "0.0000001");
        check(1e16, "10000000000000000");
        check(f64::NAN, "NaN");
        check(f64::INFINITY, "+Inf");
        check(f64::NEG_INFINITY, "-Inf");
    }

    #[test]
    fn families_say_what_they_are() {
        let check = |format, name: &str, kind: &str, expect: &str| {
            let mut out = String::new();
            Page::begin(&mut out, format, &[]).family(name, kind, "A \\ \"b\"\nc.");
            assert_eq!(out, expect);
        };
        check(
            Format::Text,
            "a_bytes_total",
            "counter",
            "# HELP a_bytes_total A \\\\ \"b\"\\nc.\n# TYPE a_bytes_total counter\n",
        );
        check(
            Format::OpenMetrics,
            "a_bytes_total",
            "counter",
            "# HELP a_bytes A \\\\ \\\"b\\\"\\nc.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n",
        );
        check(Format::OpenMetrics, "a", "unknown", "# HELP a A \\\\ \\\"b\\\"\\nc.\n# TYPE a unknown\n");
        check(Format::Text, "a", "unknown", "# HELP a A \\\\ \"b\"\\nc.\n# TYPE a untyped\n");
    }

    #[test]
    fn labels_of_the_agent_give_way() {
        let constant = [("env".to_owned(), "a\"b".to_owned()), ("cpu".to_owned(), "no".to_owned())];
        let mut out = String::new();
        let mut page = Page::begin(&mut out, Format::Text, &constant);
        page.sample(&["x"], &[("cpu", "0")].into_iter(), 1.0);
        page.sample(&["y", "_z"], &[].into_iter(), 2.5);
        assert_eq!(out, "x{cpu=\"0\",env=\"a\\\"b\"} 1\ny_z{env=\"a\\\"b\",cpu=\"no\"} 2.5\n");
        for (name, expect) in
            [("env", "env"), ("a-b.c", "a_b_c"), ("9", "_9"), ("", "_"), ("__name__", "name__")]
        {
            assert_eq!(label_name(name), expect);
        }
    }
}
