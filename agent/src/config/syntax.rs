//! Files that are not TOML. Without a parse nobody knows which text is a secret, so a line is shown only as
//! far as every key on it is known to be harmless.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::Error;

use super::Config;
use super::problem::{Lines, MOST_KEPT, Problems};
use super::reader::Finding;
use super::section::{Key, Spec};
use crate::text::clean;

/// The parser's errors as problems, the first of each line.
pub(super) fn problems(text: &str, file: &str, errors: &[Error]) -> Problems {
    let lines = Lines::new(text);
    let mut findings = Vec::new();
    let mut secrets = Vec::new();
    let mut seen = BTreeSet::new();
    for error in errors {
        let at = error.span().unwrap_or(0..0);
        let start = text.floor_char_boundary(at.start);
        let line = lines.number(start);
        if !seen.insert(line) || findings.len() >= MOST_KEPT {
            continue;
        }
        let line = lines.range(line);
        secrets.push(line.start + harmless(&text[line.clone()])..line.end);
        findings.push(finding(error, at, text.len()));
    }
    let dropped = seen.len() - findings.len();
    Problems::new(file, text, findings, secrets, dropped)
}

fn finding(error: &Error, at: Range<usize>, end: usize) -> Finding {
    let message = clean(error.message(), 200);
    let what = format!("This is not TOML: {message}.");
    let fix = match error.message() {
        text if text.contains("duplicate key") => "Keep one of them; a section stands only once in a file.",
        text if text.contains("recursion limit") => {
            "Nothing here is nested that deep; look for brackets that do not close."
        }
        text if text.contains("must be quoted") => {
            "Write a value after the `=`; text stands between \" and \"."
        }
        text if text.contains("string") || text.contains("quote") => {
            "Put text between \" and \", on one line; write `\\\\` for a `\\` in it."
        }
        _ if at.start >= end => "The file ends too early; look for a bracket or quote that does not close.",
        _ => "A line is [section], `key = value` or # comment; text stands between quotes.",
    };
    Finding { at, what, fix: fix.to_owned() }
}

/// How many bytes of a line may be shown. Comments may hold secrets too.
fn harmless(line: &str) -> usize {
    let line = line.split('#').next().unwrap_or_default();
    let is_header = |c: char| c.is_ascii_alphanumeric() || "_-.[] \t".contains(c);
    if line.trim().is_empty() {
        return line.len();
    }
    if line.trim_start().starts_with('[') && !line.contains('=') {
        let header = &line[..line.find(|c| !is_header(c)).unwrap_or(line.len())];
        let path = header.trim_matches(['[', ']', ' ', '\t']);
        return if all_known(path) { header.len() } else { 0 };
    }
    let mut shown = 0;
    for (at, _) in line.match_indices('=') {
        let (name_at, name, path) = key_before(&line[..at]);
        // Before the first key stands nothing but brackets, or this is the inside of some text.
        if shown == 0 && !all_known(path) {
            return 0;
        }
        match Exposure::of(name) {
            // A second `=` of a harmless key.
            _ if name.is_empty() && shown > 0 => {}
            Exposure::Harmless => shown = line.len(),
            Exposure::Secret => return at + 1 + line[at + 1..].len() - line[at + 1..].trim_start().len(),
            Exposure::Unknown => return name_at,
        }
    }
    shown
}

/// Whether a dotted path consists of names of keys and sections.
fn all_known(path: &str) -> bool {
    path.split('.').all(|part| Exposure::of(part) != Exposure::Unknown)
}

/// Where the name that ends a text begins, the name, and the dotted path it ends.
fn key_before(text: &str) -> (usize, &str, &str) {
    let end = text.trim_end_matches([' ', '\t', '"', '\'']);
    let name = end.rsplit(|c: char| c != '_' && !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    (end.len() - name.len(), name, end.trim_start_matches([' ', '\t', '"', '\'', '{', '[', ',']))
}

/// What a value may give away, by the name of its key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Exposure {
    Harmless,
    Secret,
    Unknown,
}

impl Exposure {
    fn of(name: &str) -> Self {
        let mut found = Self::Unknown;
        let mut look = |spec: &Spec| {
            if let Some(key) = spec.key(name) {
                let worse = found == Self::Secret || gives_away(key);
                found = if worse { Self::Secret } else { Self::Harmless };
            }
        };
        look(Config::KEYS);
        Config::KEYS.walk("", &mut |_, _, spec| look(spec));
        found
    }
}

fn gives_away(key: &Key) -> bool {
    key.secret || key.section.is_some_and(|section| section.keys.iter().any(gives_away))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_a_line_only_as_far_as_its_keys_are_known() {
        fn check(line: &str, shown: &str) {
            assert_eq!(&line[..harmless(line)], shown, "{line:?}");
        }
        check("", "");
        check("  ", "  ");
        check("[alerting.discord", "[alerting.discord");
        check("[alerting.hunter2", "");
        check("[ \"nats://u:p@host\" ]", "");
        check("cpu_percent = # hunter2", "cpu_percent = ");
        check("cpu_percent = = 90", "cpu_percent = = 90");
        check("password = hunter2", "password = ");
        check("alerting.webhook.url = \"https://", "alerting.webhook.url = ");
        check("\"password\" = hunter2", "\"password\" = ");
        check("docker = { enabled = maybe }", "docker = { enabled = maybe }");
        check("discord = { enabled = true, webhook_url = x", "discord = ");
        check("{ timeout_secs = 5, password = hunter2", "{ timeout_secs = 5, password = ");
        check("{ timeout_secs = 5, passwrd = hunter2", "{ timeout_secs = 5, ");
        check("passwrd = hunter2", "");
        check("hunter2", "");
        check("\"hunter2==\",", "");
        check("//host/hunter2?level=1\"", "");
        check("hunter2.url = 5", "");
        check("hunter2 url = 5", "");
        check("hunter2=", "");
        check("log_level = info", "log_level = info");
    }
}
