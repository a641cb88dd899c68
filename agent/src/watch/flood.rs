//! A flood of like lines becomes one event: the first ones of a window pass, the others are counted and told together at
//! its end, with the first and the last of them. Pure.

mod shape;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::rules::{Hits, Others, RuleSet, cut};
use crate::event::{Event, LogMatch, Lost, MAX_LINE, Repeats, Source, What};
use crate::time::{MILLI, Now, SECOND};
pub use shape::MAX_SHAPES;
use shape::Shapes;

/// Length of a window.
pub const WINDOW_NS: u64 = 10 * SECOND;
/// Like lines of a window that are told one by one.
pub const BURST: u32 = 100;
/// Lines of a window that are told one by one in all.
pub const MAX_PASSED: u32 = 1000;
/// Kinds of like lines told apart; further ones of a rule are taken for like ones.
pub const MAX_KINDS: usize = 256;

/// Lines of a window in which one rule finds something, and as many again in which it finds what is worse than it is by itself.
pub const MAX_TOLD: u16 = 2000;
/// Further lines of a window in which rules that have used that up may find something, all together: 0.7 % of a core. Of those
/// beyond it is only known that they may be for a rule.
pub const MAX_SHARED: u32 = 10_000;
/// Lines of a window about which each pattern of the user is asked by itself, where there are up to [`CHEAP_OWN`].
pub const MAX_ASKED_OWN: u32 = 50_000;
/// With more patterns than this it is as many lines fewer: each is asked about each line.
pub const CHEAP_OWN: u32 = 10;

/// Lets lines through, or counts them.
#[derive(Debug)]
pub struct Flood {
    source: Source,
    /// By rule: the lines in which it found something, and of them those beyond its share that may be worse.
    told: Vec<[u16; 2]>,
    shared: u32,
    asked_own: u32,
    /// By pattern of the user: the lines in which it found something, and whether it has had its share.
    told_own: Vec<u16>,
    tired: Vec<bool>,
    others: Others,
    /// Lines that nobody was asked about.
    unjudged: u64,
    kinds: HashMap<u64, Kind>,
    /// Kinds that are held back, by the shape of their lines.
    shapes: Shapes,
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
    /// Of lines from there.
    pub fn of(source: Source) -> Self {
        Self {
            source,
            told: Vec::new(),
            shared: 0,
            asked_own: 0,
            told_own: Vec::new(),
            tired: Vec::new(),
            others: Others::default(),
            unjudged: 0,
            kinds: HashMap::new(),
            shapes: Shapes::default(),
            passed: 0,
            began_ns: 0,
        }
    }

    /// Of the rules whose literals are in a line those that are asked about it, and whether any is left out because it has had
    /// its share of the window. Each has its own: a flood for one hides nothing from the others. `worse`: whether a rule may
    /// find the line worse than others of its kind, for which there is a share of its own.
    pub fn asked(&mut self, hits: Hits, worse: impl Fn(usize) -> bool, now: Now) -> (Hits, bool) {
        self.begin(now);
        let Self { told, shared, .. } = self;
        let left = hits.only(|rule| {
            let [all, bad] = told.get(rule).copied().unwrap_or_default();
            all < MAX_TOLD || *shared < MAX_SHARED || bad < MAX_TOLD && worse(rule)
        });
        (left, left.rules().count() < hits.rules().count())
    }

    /// Counts a line as not judged: none of the rules that were asked wants it, and one was left out.
    pub fn left_out(&mut self) {
        self.unjudged = self.unjudged.saturating_add(1);
    }

    /// A rule matched.
    pub fn matched(&mut self, rule: usize) {
        if self.told.len() <= rule {
            self.told.resize(rule + 1, [0; 2]);
        }
        let [all, bad] = &mut self.told[rule];
        if *all < MAX_TOLD {
            *all += 1;
        } else if self.shared < MAX_SHARED {
            self.shared += 1;
        } else {
            *bad = bad.saturating_add(1);
        }
    }

    /// What the patterns of the user find in a line. When all of them were asked about as many lines as they may be, those that found
    /// [`MAX_TOLD`] lines are asked no more, and the others by one look at each line: a flood for one hides nothing from them.
    pub fn own(&mut self, rules: &RuleSet, line: &str, now: Now) -> Vec<LogMatch> {
        self.begin(now);
        let mut found = Vec::new();
        let mut numbers = Vec::new();
        let mut tell = |nth: usize, one: LogMatch| {
            numbers.push(nth);
            found.push(one);
        };
        if self.asked_own < MAX_ASKED_OWN {
            let cost = u32::try_from(rules.customs()).unwrap_or(u32::MAX).div_ceil(CHEAP_OWN).max(1);
            self.asked_own = self.asked_own.saturating_add(cost);
            rules.find_custom_but(&[], line, &mut tell);
        } else if rules.may_want(&mut self.others, &self.tired, line) == Some(true) {
            rules.find_custom_but(&self.tired, line, &mut tell);
        }
        if numbers.is_empty() && self.asked_own >= MAX_ASKED_OWN {
            self.unjudged = self.unjudged.saturating_add(1);
        }
        for nth in numbers {
            self.found_own(nth);
        }
        found
    }

    fn found_own(&mut self, nth: usize) {
        if self.told_own.len() <= nth {
            self.told_own.resize(nth + 1, 0);
            self.tired.resize(nth + 1, false);
        }
        self.told_own[nth] = self.told_own[nth].saturating_add(1);
        self.tired[nth] = self.told_own[nth] >= MAX_TOLD;
    }

    /// A window begins, unless one goes on.
    fn begin(&mut self, now: Now) {
        if !self.is_open() {
            (self.began_ns, self.passed) = (now.mono_ns, 0);
        }
    }

    fn is_open(&self) -> bool {
        !self.kinds.is_empty() || !self.told.is_empty() || self.asked_own > 0
    }

    /// Counts a line that is like one that was held back, but for numbers: its rule would say the same of it. Whether it did.
    pub fn again(&mut self, text: &str, at: Now, now: Now) -> bool {
        if self.shapes.is_empty() {
            return false;
        }
        let kind = self.shapes.get(text).and_then(|key| self.kinds.get_mut(&key));
        let Some(held) = kind.and_then(|kind| kind.held.as_mut()) else { return false };
        held.count += 1;
        (held.last_ns, held.at) = (now.mono_ns, at);
        held.last.line.clear();
        held.last.line.push_str(cut(text, MAX_LINE));
        true
    }

    /// Takes what a rule found; gives it back if it is to be told by itself. `by_shape`: of lines that differ from it in numbers
    /// alone the same would be found, and nothing else.
    pub fn pass(&mut self, event: Event, by_shape: bool, now: Now) -> Option<Event> {
        let What::Log(found) = &event.what else { return Some(event) };
        self.begin(now);
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
        // The number is what matters in an Xid; and what was cut off may matter.
        if by_shape && found.line.len() < MAX_LINE && !found.fields.iter().any(|(name, _)| is_code(name)) {
            self.shapes.add(&found.line, key);
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
        let holds = self.unjudged > 0 || self.kinds.values().any(|kind| kind.held.is_some());
        holds.then_some(self.began_ns + WINDOW_NS)
    }

    /// Tells what was held back if its window is over, or in any case at the `end`.
    pub fn due(&mut self, now: Now, end: bool, out: &mut Vec<Event>) {
        if !self.is_open() || !end && now.mono_ns < self.began_ns + WINDOW_NS {
            return;
        }
        self.shapes.clear();
        self.told.clear();
        self.told_own.fill(0);
        self.tired.fill(false);
        (self.shared, self.asked_own) = (0, 0);
        let count = std::mem::take(&mut self.unjudged);
        if count > 0 {
            let what = What::Lost(Lost { part: self.source.name(), count, reason: "flood" });
            out.push(Event { at: now, source: self.source, historic: false, what });
        }
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

fn hash(parts: &[&str]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[path = "flood_tests.rs"]
mod tests;
