//! Text for people, and text from outside made harmless.

pub mod word;

use crate::metric::Unit;

/// Replaces control characters (line breaks, ANSI escapes, bidirectional overrides) by `?` and cuts
/// after `max` characters, so that a hostile process name cannot forge lines or colours.
pub fn clean(text: &str, max: usize) -> String {
    let mut out = String::new();
    clean_into(text, max, &mut out);
    out
}

/// [`clean`] into a string that is used again and again.
pub fn clean_into(text: &str, max: usize, out: &mut String) {
    out.clear();
    out.extend(text.chars().take(max).map(|c| if is_hostile(c) { '?' } else { c }));
    if text.chars().nth(max).is_some() {
        out.push('…');
    }
}

fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// A command line out of arguments that end with NUL each: spaces between them; `None` if nothing is left.
pub fn arguments(mut bytes: Vec<u8>) -> Option<String> {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// A size in kB as a person reads it: `512 kB`, `32.0 MiB`, `3.2 GiB`.
pub fn kib(kb: u64) -> String {
    const STEP: f64 = 1024.0;
    let mut value = kb as f64;
    for unit in ["kB", "MiB", "GiB"] {
        if value < STEP {
            return if unit == "kB" { format!("{kb} kB") } else { format!("{value:.1} {unit}") };
        }
        value /= STEP;
    }
    format!("{value:.1} TiB")
}

/// A span of seconds as a person reads it: `41 s`, `12 min 5 s`, `3 h 20 min`, `2 d 4 h`.
pub fn span(secs: u64) -> String {
    let (d, h, m, s) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60, secs % 60);
    match (d, h, m, s) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, 0) => format!("{m} min"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, 0, _) => format!("{h} h"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, 0, _, _) => format!("{d} d"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

/// A value of a metric as a person reads it: `97 %`, `3.2 GiB`, `41 s`.
pub fn with_unit(unit: Unit, value: f64) -> String {
    let kb = |bytes: f64| kib((bytes / 1024.0).max(0.0) as u64);
    match unit {
        Unit::Percent => format!("{} %", number(value)),
        Unit::Bytes => kb(value),
        Unit::BytesPerSecond => format!("{}/s", kb(value)),
        Unit::PerSecond => format!("{}/s", number(value)),
        Unit::Seconds if value >= 60.0 => span(value as u64),
        Unit::Seconds => format!("{} s", number(value)),
        Unit::Hours => format!("{} h", number(value)),
        Unit::Milliseconds => format!("{} ms", number(value)),
        Unit::Celsius => format!("{} °C", number(value)),
        Unit::Watts => format!("{} W", number(value)),
        Unit::Megahertz => format!("{} MHz", number(value)),
        Unit::Gibibytes => format!("{} GiB", number(value)),
        Unit::Count | Unit::Ratio => number(value),
    }
}

/// A number without needless digits: `87`, `91.4`, `0.013`, `1.00e18`.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        // More digits than a double has, and up to 300 of them.
        v if v >= 1e16 => return format!("{value:.2e}"),
        v if v >= 100.0 || v.fract() == 0.0 => 0,
        v if v >= 1.0 => 1,
        v if v >= 0.01 => 3,
        _ => return format!("{value:.2e}"),
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_becomes_harmless() {
        for (input, expect) in [
            ("java", "java"),
            ("a\nb", "a?b"),
            ("\x1b[31mred", "?[31mred"),
            ("\u{202e}evil", "?evil"),
            ("toolongname", "toolongnam…"),
        ] {
            assert_eq!(clean(input, 10), expect, "{input:?}");
        }
    }

    #[test]
    fn spans_and_sizes_read_well() {
        assert_eq!(span(41), "41 s");
        assert_eq!(span(725), "12 min 5 s");
        assert_eq!(span(12_000), "3 h 20 min");
        assert_eq!(kib(512), "512 kB");
        assert_eq!(kib(32 * 1024), "32.0 MiB");
        assert_eq!(kib(3_355_443), "3.2 GiB");
        assert_eq!(number(87.0), "87");
        assert_eq!(number(91.44), "91.4");
        assert_eq!(number(0.0131), "0.013");
        assert_eq!((number(1e308), number(-1e15)), ("1.00e308".to_owned(), "-1000000000000000".to_owned()));
    }
}
