//! A flood of like lines becomes one event: the first ones of a window pass, the others are counted and told together at
//! its end, with the first and the last of them. Pure.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::rules::cut;
use crate::event::{Event, LogMatch, MAX_LINE, Repeats, Source, What};
use crate::time::{MILLI, Now, SECOND};

/// Length of a window.
pub const WINDOW_NS: u64 = 10 * SECOND;
/// Like lines of a window that are told one by one.
pub const BURST: u32 = 100;
/// Lines of a window that are told one by one in all.
pub const MAX_PASSED: u32 = 1000;
/// Kinds of like lines told apart; further ones of a rule are taken for like ones.
pub const MAX_KINDS: usize = 256;

/// Shapes of lines that are known to be of a flood; further ones are judged by their rule each time.
pub const MAX_SHAPES: usize = 1024;

/// Lets lines through, or counts them.
#[derive(Debug, Default)]
pub struct Flood {
    kinds: HashMap<u64, Kind>,
    /// Kinds that are held back, by the shape of their lines.
    shapes: HashMap<u64, u64>,
    passed: u32,
    began_ns: u64,
}

#[derive(Debug, Default)]
struct Kind {
    passed: u32,
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    at: Now,
    source: Source,
    last: LogMatch,
    count: u64,
    first: String,
    first_ns: u64,
    last_ns: u64,
}

impl Flood {
    /// Counts a line that is like one that was held back, but for numbers: its rule would say the same of it. Whether it did.
    pub fn again(&mut self, text: &str, at: Now, now: Now) -> bool {
        if self.shapes.is_empty() {
            return false;
        }
        let kind = self.shapes.get(&shape(text)).and_then(|key| self.kinds.get_mut(key));
        let Some(held) = kind.and_then(|kind| kind.held.as_mut()) else { return false };
        held.count += 1;
        (held.last_ns, held.at) = (now.mono_ns, at);
        held.last.line.clear();
        held.last.line.push_str(cut(text, MAX_LINE));
        true
    }

    /// Takes what a rule found; gives it back if it is to be told by itself.
    pub fn pass(&mut self, event: Event, now: Now) -> Option<Event> {
        let What::Log(found) = &event.what else { return Some(event) };
        if self.kinds.is_empty() {
            (self.began_ns, self.passed) = (now.mono_ns, 0);
        }
        let mut key = kind_of(found);
        if self.kinds.len() >= MAX_KINDS && !self.kinds.contains_key(&key) {
            key = hash(&[found.rule.as_str()]);
        }
        let kind = self.kinds.entry(key).or_default();
        if kind.passed < BURST && self.passed < MAX_PASSED {
            kind.passed += 1;
            self.passed += 1;
            return Some(event);
        }
        let What::Log(found) = event.what else { return None };
        // The number is what matters in an Xid.
        if self.shapes.len() < MAX_SHAPES && !found.fields.iter().any(|(name, _)| is_code(name)) {
            self.shapes.insert(shape(&found.line), key);
        }
        match &mut kind.held {
            Some(held) => {
                held.count += 1;
                (held.last, held.last_ns, held.at) = (*found, now.mono_ns, event.at);
            }
            None => {
                kind.held = Some(Held {
                    at: event.at,
                    source: event.source,
                    count: 1,
                    first: found.line.clone(),
                    last: *found,
                    first_ns: now.mono_ns,
                    last_ns: now.mono_ns,
                });
            }
        }
        None
    }

    /// When something that was held back is due, monotonic nanoseconds.
    pub fn due_ns(&self) -> Option<u64> {
        let holds = self.kinds.values().any(|kind| kind.held.is_some());
        holds.then_some(self.began_ns + WINDOW_NS)
    }

    /// Tells what was held back if its window is over, or in any case at the `end`.
    pub fn due(&mut self, now: Now, end: bool, out: &mut Vec<Event>) {
        if self.kinds.is_empty() || !end && now.mono_ns < self.began_ns + WINDOW_NS {
            return;
        }
        self.shapes.clear();
        let mut held: Vec<Held> = self.kinds.drain().filter_map(|(_, kind)| kind.held).collect();
        held.sort_by_key(|held| held.first_ns);
        out.extend(held.into_iter().map(Held::event));
    }
}

impl Held {
    fn event(self) -> Event {
        let Self { at, source, mut last, count, first, first_ns, last_ns } = self;
        if count > 1 {
            last.fields.retain(|(name, value)| is_place(name, value));
            last.repeats = Some(Box::new(Repeats { count, millis: (last_ns - first_ns) / MILLI, first }));
        }
        Event { at, source, historic: false, what: What::Log(Box::new(last)) }
    }
}

/// Lines of one rule about one thing; where a rule reads nothing of the kind, lines with the same words.
fn kind_of(found: &LogMatch) -> u64 {
    let mut hasher = DefaultHasher::new();
    found.rule.hash(&mut hasher);
    let mut places = 0;
    for (name, value) in found.fields.iter().filter(|(name, value)| is_place(name, value)) {
        (name, value).hash(&mut hasher);
        places += 1;
    }
    if places == 0 {
        for word in found.line.split_whitespace().filter(|w| !w.contains(|c: char| c.is_ascii_digit())) {
            word.hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// Whether a field says which thing it is about: no process number, address or count, but any code of an error.
fn is_place(name: &str, value: &str) -> bool {
    let is_number =
        value.trim_start_matches("0x").bytes().all(|b| b.is_ascii_hexdigit() || b == b'.' || b == b'-');
    is_code(name) || !is_number
}

/// Whether the number in a field is a name.
fn is_code(name: &str) -> bool {
    matches!(name, "xid" | "sxid")
}

/// A line but for its numbers. Only what is certainly no name is taken for one: `1234`, `[12.5]`, `pid=7,`, but neither
/// `sda1` nor `0x1f` nor the device `0000:00:11.0`.
fn shape(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    for word in text.as_bytes().split(|byte| matches!(byte, b' ' | b'=')) {
        let is_number = matches!(bare(word), [b'0'..=b'9', rest @ ..]
            if rest.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.')));
        hasher.write(if is_number { b"0" } else { word });
        hasher.write_u8(b' ');
    }
    hasher.finish()
}

/// A word without the brackets and marks around it.
fn bare(mut word: &[u8]) -> &[u8] {
    while let [b'(' | b'[' | b'{' | b'<' | b'#', rest @ ..] = word {
        word = rest;
    }
    while let [rest @ .., b')' | b']' | b'}' | b'>' | b',' | b';' | b':' | b'.'] = word {
        word = rest;
    }
    word
}

fn hash(parts: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(rule: &str, line: &str, fields: &[(&str, &str)]) -> Event {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let found = LogMatch { rule: rule.into(), line: line.into(), fields, ..LogMatch::default() };
        Event { at: Now::default(), source: Source::Kmsg, historic: false, what: What::Log(Box::new(found)) }
    }

    fn at(millis: u64) -> Now {
        Now { mono_ns: SECOND + millis * MILLI, wall_ns: 0 }
    }

    /// Sends lines, one a millisecond; how many passed, and what was told at the end of the window.
    fn check(count: u64, make: impl Fn(u64) -> Event, passed: usize, told: &[(u64, &str, &str)]) {
        let mut flood = Flood::default();
        let got = (0..count).filter_map(|n| flood.pass(make(n), at(n))).count();
        assert_eq!(got, passed);
        assert_eq!(flood.due_ns().is_some(), !told.is_empty());
        let mut out = Vec::new();
        flood.due(at(9_999), false, &mut out);
        assert!(out.is_empty());
        flood.due(at(10_000), false, &mut out);
        let got: Vec<_> = out
            .iter()
            .map(|event| {
                let What::Log(found) = &event.what else { panic!("{event:?}") };
                let repeats = found.repeats.as_deref().cloned().unwrap_or_default();
                (repeats.count, repeats.first, found.line.clone())
            })
            .collect();
        let expect: Vec<_> = told.iter().map(|(n, a, b)| (*n, (*a).to_owned(), (*b).to_owned())).collect();
        assert_eq!(got, expect);
        assert_eq!(flood.due_ns(), None);
    }

    #[test]
    fn few_lines_pass() {
        check(100, |n| event("a", &format!("line {n}"), &[]), 100, &[]);
    }

    #[test]
    fn a_flood_is_told_with_its_count_first_and_last_line() {
        check(5000, |n| event("a", &format!("line {n}"), &[]), 100, &[(4900, "line 100", "line 4999")]);
        let numbered = |n: u64| event("a", "x", &[("pid", &n.to_string()), ("task", "java")]);
        check(5000, numbered, 100, &[(4900, "x", "x")]);
    }

    /// After a flood of `first`: whether `then` is counted without its rule.
    fn again(first: &str, fields: &[(&str, &str)], then: &str, expect: bool) {
        let mut flood = Flood::default();
        assert!(!flood.again(first, at(0), at(0)));
        for n in 0..=BURST {
            assert_eq!(flood.pass(event("a", first, fields), at(u64::from(n))).is_some(), n < BURST);
        }
        assert_eq!(flood.again(then, at(500), at(500)), expect, "{first:?} {then:?}");
        let mut out = Vec::new();
        flood.due(at(10_000), false, &mut out);
        let What::Log(told) = &out[0].what else { panic!("{out:?}") };
        let count = told.repeats.as_ref().map_or(1, |repeats| repeats.count);
        assert_eq!((count, told.line.as_str()), if expect { (2, then) } else { (1, first) });
        // The next window begins anew.
        assert!(!flood.again(first, at(11_000), at(11_000)));
    }

    #[test]
    fn what_differs_in_numbers_alone_is_counted_without_its_rule() {
        again("sector 12 of sda", &[], "sector 4711 of sda", true);
        again("[12.5] pid=7, (x) 1", &[("pid", "7")], "[0.25] pid=123, (x) 22", true);
        again("error on sda1", &[("device", "sda1")], "error on sda2", false);
        again("0000:00:11.0: error", &[], "0000:00:12.0: error", false);
        again("host 1:0:0:0 reset", &[], "host 2:0:0:0 reset", false);
        again("code 0x1f", &[], "code 0x2f", false);
        again("a b", &[], "ab", false);
        again("a 1", &[], "a", false);
        again("", &[], "x", false);
        again("Xid (PCI:0000:3b:00): 79, x", &[("xid", "79")], "Xid (PCI:0000:3b:00): 48, x", false);
    }

    #[test]
    fn another_place_or_other_words_are_no_part_of_it() {
        let two = |n: u64| {
            event(
                "a",
                &format!("of {}", n % 2),
                &[("device", if n.is_multiple_of(2) { "sda" } else { "sdb" })],
            )
        };
        check(400, two, 200, &[(100, "of 0", "of 0"), (100, "of 1", "of 1")]);
        check(200, |n| event("a", if n.is_multiple_of(2) { "yes" } else { "no" }, &[]), 200, &[]);
    }

    #[test]
    fn kinds_and_lines_are_limited() {
        let mut flood = Flood::default();
        let passed = (0..100_000_u64)
            .filter_map(|n| flood.pass(event("a", "x", &[("device", &format!("disk-{n}"))]), at(0)))
            .count();
        assert_eq!((passed, flood.kinds.len()), (MAX_KINDS + BURST as usize, MAX_KINDS + 1));
        let mut out = Vec::new();
        flood.due(at(0), true, &mut out);
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn one_line_that_was_held_back_is_told_as_it_is() {
        check(101, |n| event("a", &format!("line {n}"), &[]), 100, &[(0, "", "line 100")]);
    }
}
