//! Alerts of kernel-log lines.

use std::collections::BTreeMap;

use super::{Context, Draft, fingerprint};
use crate::engine::events;
use crate::event::{Event, LogMatch};
use crate::text::clean;

const MAX_NAME: usize = 64;
const MAX_TEXT: usize = 300;

/// The alert of a kernel-log line.
pub fn log(event: &Event, found: &LogMatch, id: String) -> Draft {
    // A record may hold several lines.
    let whole = found.line.trim_end().replace('\n', " ");
    let line = clean(&whole, MAX_TEXT);
    let mut labels = BTreeMap::from([("rule".to_owned(), found.rule.clone())]);
    labels.extend(found.fields.iter().map(|(k, v)| (k.clone(), clean(v, MAX_NAME))));
    // Where a rule reads nothing out of a line, only its words tell one fault from another.
    let words = if found.fields.is_empty() { words(&line) } else { Vec::new() };
    let print = fingerprint(labels.values().map(String::as_str).chain(words));
    let mut c = Context::default();
    c.put("line", Some(line.clone())).put("kernel_time_ns", Some(event.at.mono_ns));
    Draft {
        rule: found.rule.clone(),
        noun: "kernel-log alerts".into(),
        phrase: clean(&whole, 80),
        severity: found.severity,
        metric: events::LOG_EVENTS.name.into(),
        message: format!("{}: {line}", found.meaning),
        labels,
        fingerprint: print,
        context: c.done(),
        ..Draft::of(event, id)
    }
}

/// What stays the same when a line is written again: numbers, addresses and times do not.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;
    use crate::event::{Source, What};
    use crate::time::Now;

    fn print(rule: &str, line: &str, fields: &[(&str, &str)]) -> String {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let found = LogMatch {
            rule: rule.into(),
            severity: Severity::Warn,
            meaning: String::new(),
            line: line.into(),
            fields,
        };
        let what = What::Log(Box::new(found.clone()));
        let event = Event { at: Now::default(), source: Source::Kmsg, historic: false, what };
        log(&event, &found, String::new()).fingerprint
    }

    /// Whether two lines of one rule are told as one.
    fn check(one: &str, other: &str, fields: &[(&str, &str)], expect: bool) {
        assert_eq!(print("r", one, fields) == print("r", other, fields), expect, "{one:?} {other:?}");
    }

    #[test]
    fn lines_without_fields_are_told_apart_by_their_words() {
        check(
            "BUG: Bad page state in process a  pfn:1a2b",
            "BUG: Bad page state in process a  pfn:77",
            &[],
            true,
        );
        check("BUG: Bad page state in process a", "BUG: scheduling while atomic", &[], false);
        check("lost 7 in 0x1f at ffff8881", "lost 9 in 0x2e at ffff9992", &[], true);
        check("", "", &[], true);
        check("9 9", "7", &[], true);
        check("\u{1b}[31mred", "\u{1b}[32mred", &[], true);
        // What is read out of a line decides where something is.
        check("disk a failed", "disk a failed again", &[("device", "a")], true);
        assert_ne!(print("r", "x", &[("device", "a")]), print("r", "x", &[("device", "b")]));
        assert_ne!(print("r", "x", &[]), print("q", "x", &[]));
    }
}
