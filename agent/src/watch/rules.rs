//! Rules over kernel-log lines: the built-in [`catalogue`] and the user's patterns in one engine.
//!
//! A line is first searched for all literals of the catalogue at once; only a rule whose literal is there runs its
//! expression, which is compiled at its first use. A line that nobody wants costs one quick pass over its bytes and no
//! allocation. User patterns have no literals and run on every line.

mod grade;
mod own;
mod quoted;
mod search;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::bytes::{Captures, Regex, RegexBuilder};

use super::catalogue;
use super::{hang_text, oom_text};
use crate::alert::Severity;
use crate::event::{LogMatch, MAX_LINE};
use own::Candidates;
pub use own::{Custom, MAX_CUSTOM, Others, check_pattern};
use search::Search;

/// A built-in rule.
#[derive(Debug)]
pub struct Rule {
    /// Name in alerts and in the configuration.
    pub id: &'static str,
    /// What it is about.
    pub class: Class,
    /// How bad.
    pub severity: Severity,
    /// What it means, in one line.
    pub meaning: &'static str,
    /// What to do about it.
    pub action: &'static str,
    /// Where the text is written: file and function of the kernel, or the driver.
    pub origin: &'static str,
    /// What in a line makes it better or worse than `severity`.
    pub grade: Grade,
    /// What switches it off, or who else tells of it.
    pub kind: Kind,
    /// Lower-case texts of which one is in every line that matches; case does not matter.
    pub literals: &'static [&'static str],
    /// Expression over bytes; named groups become fields, digits at the end of a name left out.
    pub pattern: &'static str,
    /// Lines that must match.
    pub hits: &'static [&'static str],
    /// Lines that must not match, the nearer the better.
    pub misses: &'static [&'static str],
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// GPUs and the switches between them.
    Gpu,
    /// Memory.
    Memory,
    /// Processors, heat, clocks, firmware.
    Processor,
    /// PCI Express, interrupts, USB.
    Bus,
    /// Filesystems.
    Filesystem,
    /// Disks, controllers, paths, arrays.
    Disk,
    /// Links, adapters, tables.
    Network,
    /// The kernel itself.
    Kernel,
    /// Processes.
    Process,
}

impl Class {
    /// All, in the order of the catalogue.
    pub const ALL: [Self; 9] = [
        Self::Gpu,
        Self::Memory,
        Self::Processor,
        Self::Bus,
        Self::Filesystem,
        Self::Disk,
        Self::Network,
        Self::Kernel,
        Self::Process,
    ];

    /// As a heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Gpu => "GPU",
            Self::Memory => "Memory",
            Self::Processor => "Processor, heat, clock, firmware",
            Self::Bus => "PCI Express, interrupts, USB",
            Self::Filesystem => "Filesystem",
            Self::Disk => "Disk, controller, path, array",
            Self::Network => "Network",
            Self::Kernel => "Kernel",
            Self::Process => "Process",
        }
    }
}

/// What makes a line better or worse than its rule says.
#[derive(Clone, Copy, Debug)]
pub enum Grade {
    /// Nothing.
    Fixed,
    /// Field, value and how bad it is then; the first that fits counts.
    Fields(&'static [(&'static str, &'static str, Severity)]),
    /// The table of Xids, by the field `xid`.
    Xid,
}

/// What is special about a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Plain,
    /// Off when `log_analyzer.gpu_xid_monitoring` is.
    Gpu,
    /// Several lines are put together elsewhere ([`super::oom_text`], [`super::hang_text`]); one line is no event.
    Assembled,
}

/// Longest value of a field, bytes.
pub(super) const MAX_FIELD: usize = 128;
/// Fields that a pattern may give an event; further groups are left out.
const MAX_FIELDS: usize = 12;

/// What of the catalogue is wanted, and how it is rated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// The GPU rules too.
    pub gpu: bool,
    /// Ids of rules that are off.
    pub disabled: &'a [String],
    /// Ids of rules and how bad they are here, whatever a line says.
    pub severity: Option<&'a BTreeMap<String, Severity>>,
}

/// Stands for what is put together of several lines, where a number of a rule is wanted.
const ASSEMBLED: u8 = 127;

/// Whose literals are in a line.
#[derive(Clone, Copy, Debug)]
pub struct Hits(u128);

impl Hits {
    /// Whether neither a rule wants the line nor [`super::oom_text`] or [`super::hang_text`], unless they are in the middle
    /// of something.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Numbers of the rules whose literals are there.
    pub fn rules(self) -> impl Iterator<Item = usize> {
        let mut left = self.0 & !(1 << ASSEMBLED);
        std::iter::from_fn(move || {
            let rule = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            (rule < usize::from(ASSEMBLED)).then_some(rule)
        })
    }

    /// Without the rules of which `wanted` does not hold.
    pub(super) fn only(self, wanted: impl Fn(usize) -> bool) -> Self {
        Self(self.rules().filter(|rule| wanted(*rule)).fold(0, |all, rule| all | 1 << rule))
    }

    /// Of these rules.
    #[cfg(test)]
    pub(super) fn of(rules: &[u8]) -> Self {
        Self(rules.iter().fold(0, |all, rule| all | 1 << rule))
    }

    /// Whether what is put together of several lines may begin with it.
    pub fn opens(self) -> bool {
        self.0 & 1 << ASSEMBLED != 0
    }
}

/// All rules that are on.
#[derive(Debug)]
pub struct RuleSet {
    literals: Search,
    built_in: Vec<Lazy>,
    custom: Vec<(String, Severity, Regex)>,
    candidates: Option<Candidates>,
}

#[derive(Debug)]
struct Lazy {
    rule: &'static Rule,
    /// The user's word on how bad it is.
    rated: Option<Severity>,
    regex: OnceLock<Option<Regex>>,
}

impl RuleSet {
    /// The catalogue (without the GPU rules unless `gpu`) and the user's patterns. The error names every
    /// pattern that cannot be used, one sentence each.
    pub fn new(custom: &[Custom<'_>], gpu: bool) -> Result<Self, String> {
        Self::chosen(custom, Choice { gpu, ..Choice::default() })
    }

    /// What is chosen of the catalogue, and the user's patterns. Errors as of [`RuleSet::new`].
    pub fn chosen(custom: &[Custom<'_>], choice: Choice<'_>) -> Result<Self, String> {
        let is_on = |rule: &&Rule| {
            let kind = rule.kind == Kind::Plain || choice.gpu && rule.kind == Kind::Gpu;
            kind && !choice.disabled.iter().any(|id| id == rule.id)
        };
        let rated = |rule: &Rule| choice.severity.and_then(|all| all.get(rule.id)).copied();
        let lazy = |rule: &'static Rule| Lazy { rule, rated: rated(rule), regex: OnceLock::new() };
        let built_in: Vec<Lazy> = catalogue::rules().filter(|rule| is_on(rule)).map(lazy).collect();
        let of_rule = |(i, lazy): (usize, &Lazy)| lazy.rule.literals.iter().map(move |text| (*text, i as u8));
        let assembled = oom_text::OPENINGS.iter().chain(hang_text::OPENINGS).map(|text| (*text, ASSEMBLED));
        let literals = Search::new(built_in.iter().enumerate().flat_map(of_rule).chain(assembled))?;
        let candidates = Candidates::of(custom);
        Ok(Self { literals, built_in, custom: own::compile(custom)?, candidates })
    }

    /// How many patterns of the user there are.
    pub fn customs(&self) -> usize {
        self.custom.len()
    }

    /// Whether there are patterns of the user.
    pub fn has_custom(&self) -> bool {
        !self.custom.is_empty()
    }

    /// Calls `tell` for each line of the block, with its line break, that a pattern of the user may want: by a search of
    /// the whole block, where that is possible.
    pub fn candidates<'a>(&self, block: &'a [u8], tell: &mut dyn FnMut(&'a [u8])) {
        match &self.candidates {
            _ if self.custom.is_empty() => {}
            Some(candidates) => candidates.lines(block, tell),
            None => block.split_inclusive(|byte| *byte == b'\n').for_each(tell),
        }
    }

    /// Bytes that the search for literals takes.
    pub fn literal_bytes(&self) -> usize {
        self.literals.bytes()
    }

    /// Calls `tell` for the first built-in rule that wants the line, and for every user pattern.
    pub fn find(&self, line: &str, tell: &mut dyn FnMut(LogMatch)) {
        self.find_built_in(line, tell);
        self.find_custom(line, tell);
    }

    /// What of the catalogue is in a line.
    pub fn hits(&self, line: &[u8]) -> Hits {
        Hits(self.literals.owners(line))
    }

    /// Where the first of what is in a text is seen.
    pub fn first_hit(&self, text: &[u8]) -> Option<usize> {
        self.literals.first(text)
    }

    /// Calls `tell` for the first built-in rule that wants the line.
    pub fn find_built_in(&self, line: &str, tell: &mut dyn FnMut(LogMatch)) {
        self.find_hit(self.hits(line.as_bytes()), line, tell);
    }

    /// The same, of a line with these hits; gives the number of the rule.
    pub fn find_hit(&self, hits: Hits, line: &str, tell: &mut dyn FnMut(LogMatch)) -> Option<usize> {
        let mut own = None;
        for rule in hits.rules() {
            let lazy = &self.built_in[rule];
            // Only `captures` allocates.
            if let Some(regex) = lazy.regex()
                && regex.is_match(line.as_bytes())
                && let Some(captures) = regex.captures(line.as_bytes())
                && own.get_or_insert_with(|| self.own_words(line)).is_of(rule, captures.get_match().start())
            {
                tell(lazy.found(line, regex, &captures));
                return Some(rule);
            }
        }
        None
    }

    fn own_words(&self, line: &str) -> OwnWords {
        let end = quoted::begin(line);
        let hits = if end == line.len() { Hits(u128::MAX) } else { self.hits(&line.as_bytes()[..=end]) };
        OwnWords { end, hits }
    }

    /// Whether the rule may find a line worse than others of its kind, as far as its text says without its expression.
    pub fn may_be_worse(&self, rule: usize, line: &str) -> bool {
        let rule = self.built_in.get(rule).filter(|lazy| lazy.rated.is_none());
        rule.is_some_and(|lazy| lazy.rule.grade.may_be_worse(lazy.rule.severity, line.as_bytes()))
    }

    /// Calls `tell` for every user pattern that wants the line.
    pub fn find_custom(&self, line: &str, tell: &mut dyn FnMut(LogMatch)) {
        self.find_custom_but(&[], line, &mut |_, found| tell(found));
    }

    /// The same without those that `tired` names; with the number of the pattern.
    pub fn find_custom_but(&self, tired: &[bool], line: &str, tell: &mut dyn FnMut(usize, LogMatch)) {
        for (nth, (name, severity, regex)) in self.custom.iter().enumerate() {
            if !tired.get(nth).is_some_and(|is| *is)
                && regex.is_match(line.as_bytes())
                && let Some(captures) = regex.captures(line.as_bytes())
            {
                let found = LogMatch {
                    rule: name.clone(),
                    severity: *severity,
                    meaning: "matches a pattern of your own".to_owned(),
                    line: cut(line, MAX_LINE).to_owned(),
                    fields: fields(regex, &captures),
                    ..LogMatch::default()
                };
                tell(nth, found);
            }
        }
    }

    /// Whether a user pattern that `tired` does not name may want the line: one quick look, however many they are. `None` where
    /// they are too large for that.
    pub fn may_want(&self, others: &mut Others, tired: &[bool], line: &str) -> Option<bool> {
        others.may_want(&self.custom, tired, line)
    }
}

/// What of a line the kernel says itself, and does not repeat.
struct OwnWords {
    end: usize,
    hits: Hits,
}

impl OwnWords {
    /// Whether what a rule found at `start` begins there, and one of the rule's literals is there.
    fn is_of(&self, rule: usize, start: usize) -> bool {
        start <= self.end && self.hits.0 & 1 << rule != 0
    }
}

impl Lazy {
    fn regex(&self) -> Option<&Regex> {
        let compile = || RegexBuilder::new(self.rule.pattern).unicode(false).build().ok();
        self.regex.get_or_init(compile).as_ref()
    }

    fn found(&self, line: &str, regex: &Regex, captures: &Captures<'_>) -> LogMatch {
        let Rule { id, severity, meaning, action, grade, .. } = self.rule;
        let fields = fields(regex, captures);
        let mut found = LogMatch {
            rule: (*id).to_owned(),
            severity: *severity,
            meaning: (*meaning).to_owned(),
            advice: action,
            line: cut(line, MAX_LINE).to_owned(),
            fields,
            repeats: None,
        };
        grade.apply(&mut found);
        found.severity = self.rated.unwrap_or(found.severity);
        found
    }
}

/// What a pattern read out of a line.
fn fields(regex: &Regex, captures: &Captures<'_>) -> Vec<(String, String)> {
    let field = |name: &str| {
        let value = String::from_utf8_lossy(captures.name(name)?.as_bytes());
        // A name may stand once in an expression: `device2` is another place for `device`.
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
        Some((name.to_owned(), cut(&value, MAX_FIELD).to_owned()))
    };
    regex.capture_names().flatten().filter_map(field).take(MAX_FIELDS).collect()
}

/// At most `max` bytes of a text.
pub(super) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests;
