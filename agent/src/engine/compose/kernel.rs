//! Alerts of kernel-log lines.

use std::collections::BTreeMap;

use super::{Context, Draft, fingerprint};
use crate::alert::Severity;
use crate::engine::events;
use crate::event::{Event, LogMatch, Repeats, Source};
use crate::text::{clean, span};

const MAX_NAME: usize = 64;
const MAX_TEXT: usize = 300;
/// Labels that say where it is, the first of them that a line has.
const PLACES: &[&str] = &["device", "gpu", "mount", "interface"];
const NOT_PROVEN: &str = "read in a syslog file, where any program may write";

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
    c.put_if("what_to_do", Some(found.advice).filter(|advice| !advice.is_empty()));
    c.put_if("not_proven", (event.source == Source::Syslog).then_some(NOT_PROVEN));
    let flood = found.repeats.as_deref().map(|repeats| {
        c.put("lines_count", Some(repeats.count))
            .put("lines_per_second", Some(rate(repeats)))
            .put("first_line", Some(clean(repeats.first.trim_end(), MAX_TEXT)));
        let secs = span((repeats.millis / 1000).max(1));
        format!("{} more lines like this within {secs}, the last: ", repeats.count)
    });
    let value = found.repeats.as_ref().map_or(1.0, |repeats| repeats.count as f64);
    // The first emergency of each place goes at once; anything milder is grouped wherever it is.
    let place = PLACES.iter().find_map(|name| labels.get(*name));
    let place = place.filter(|_| found.severity == Severity::Emergency).cloned().unwrap_or_default();
    Draft {
        rule: found.rule.clone(),
        place,
        noun: "kernel-log alerts".into(),
        phrase: clean(&whole, 80),
        severity: found.severity,
        metric: events::LOG_EVENTS.name.into(),
        value,
        message: format!("{}: {}{line}", found.meaning, flood.unwrap_or_default()),
        labels,
        fingerprint: print,
        context: c.done(),
        ..Draft::of(event, id)
    }
}

/// Lines a second of a flood.
fn rate(repeats: &Repeats) -> u64 {
    (repeats.count * 1000).div_ceil(repeats.millis.max(1000))
}

/// What stays the same when a line is written again: numbers, addresses and times do not.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;
    use crate::event::What;
    use crate::time::Now;

    fn print(rule: &str, line: &str, fields: &[(&str, &str)]) -> String {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let found = LogMatch {
            rule: rule.into(),
            severity: Severity::Warn,
            meaning: String::new(),
            line: line.into(),
            fields,
            ..LogMatch::default()
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
    fn a_flood_says_how_many_and_the_first_and_last_line() {
        let repeats = Some(Box::new(Repeats { count: 9000, millis: 4500, first: "line 1".into() }));
        let found = LogMatch {
            rule: "r".into(),
            meaning: "it is bad".into(),
            line: "line 9000".into(),
            advice: "do",
            repeats,
            ..LogMatch::default()
        };
        let what = What::Log(Box::new(found.clone()));
        let event = Event { at: Now::default(), source: Source::Syslog, historic: false, what };
        let draft = log(&event, &found, String::new());
        assert_eq!(draft.message, "it is bad: 9000 more lines like this within 4 s, the last: line 9000");
        assert_eq!((draft.value, draft.context["lines_per_second"].as_u64()), (9000.0, Some(2000)));
        assert_eq!(
            (draft.context["first_line"].as_str(), draft.context["what_to_do"].as_str()),
            (Some("line 1"), Some("do"))
        );
        assert!(draft.context["not_proven"].as_str().is_some_and(|text| text.contains("any program")));
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
