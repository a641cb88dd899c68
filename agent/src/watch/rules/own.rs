//! Patterns of the user: judged when the configuration is, compiled with limits.

use memchr::{memchr, memrchr};
use regex::bytes::{Regex, RegexBuilder};
use regex_automata::meta;
use regex_automata::util::syntax;

use crate::alert::Severity;

/// A pattern of the user.
#[derive(Clone, Copy, Debug)]
pub struct Custom<'a> {
    /// Name in alerts.
    pub name: &'a str,
    /// Expression.
    pub pattern: &'a str,
    /// How bad.
    pub severity: Severity,
}

/// Compiled size of one user pattern, bytes; refused beyond it.
const MAX_PATTERN: usize = 1 << 20;
/// Compiled size of all of them as one, bytes; beyond it each line is looked at by itself.
const MAX_TOGETHER: usize = 8 << 20;
/// User patterns at most.
pub const MAX_CUSTOM: usize = crate::config::MAX_CUSTOM_PATTERNS;

/// Whether a user pattern can be used; the error is a sentence.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    compile_one(pattern).map(|_| ())
}

/// All patterns, or every reason why one cannot be used.
pub(super) fn compile(custom: &[Custom<'_>]) -> Result<Vec<(String, Severity, Regex)>, String> {
    if custom.len() > MAX_CUSTOM {
        return Err(format!(
            "{} custom patterns are too many: each runs on every line, {MAX_CUSTOM} may",
            custom.len()
        ));
    }
    let mut out = Vec::new();
    let mut errors = Vec::new();
    for Custom { name, pattern, severity } in custom {
        match compile_one(pattern) {
            Ok(regex) => out.push(((*name).to_owned(), *severity, regex)),
            Err(error) => errors.push(format!("custom pattern {name:?}: {error}")),
        }
    }
    if errors.is_empty() { Ok(out) } else { Err(errors.join("; ")) }
}

/// All patterns at once, for a whole block: finds the lines that any of them may want.
#[derive(Debug)]
pub(super) struct Candidates(meta::Regex);

impl Candidates {
    /// None where a pattern says where in the text of a line it stands: a line of a file has a head before its text.
    /// Borders of words are the same in both, since the text begins behind a blank.
    pub(super) fn of(custom: &[Custom<'_>]) -> Option<Self> {
        let syntax = syntax::Config::new().utf8(false);
        let mut all = Vec::with_capacity(custom.len());
        for Custom { pattern, .. } in custom {
            let parsed = syntax::parse_with(pattern, &syntax).ok()?;
            if parsed.properties().look_set().contains_anchor() {
                return None;
            }
            all.push(parsed);
        }
        let limits = meta::Config::new().utf8_empty(false).nfa_size_limit(Some(MAX_TOGETHER));
        meta::Builder::new().configure(limits).build_many_from_hir(&all).ok().map(Self)
    }

    /// Calls `tell` for each line of the block, with its line break, that may be wanted.
    pub(super) fn lines<'a>(&self, block: &'a [u8], tell: &mut dyn FnMut(&'a [u8])) {
        let mut rest = block;
        while let Some(found) = self.0.find(rest) {
            let begin = memrchr(b'\n', &rest[..found.start()]).map_or(0, |at| at + 1);
            let end = memchr(b'\n', &rest[found.start()..]).map_or(rest.len(), |at| found.start() + at + 1);
            tell(&rest[begin..end]);
            rest = &rest[end..];
        }
    }
}

/// The patterns that have not had their share of a window, as one expression over the text of a line.
#[derive(Debug, Default)]
pub struct Others {
    /// Of which it was made: those that had, by number.
    tired: Vec<bool>,
    /// `None`: not made yet, or too large.
    together: Option<meta::Regex>,
}

impl Others {
    /// Whether one of the patterns that `tired` does not name may want the line; `None` when that would take too long.
    pub(super) fn may_want(
        &mut self,
        all: &[(String, Severity, Regex)],
        tired: &[bool],
        line: &str,
    ) -> Option<bool> {
        if self.together.is_none() || self.tired != tired {
            tired.clone_into(&mut self.tired);
            self.together = together(all, tired);
        }
        self.together.as_ref().map(|together| together.is_match(line))
    }
}

fn together(all: &[(String, Severity, Regex)], tired: &[bool]) -> Option<meta::Regex> {
    let syntax = syntax::Config::new().utf8(false);
    let others = all.iter().enumerate().filter(|(nth, _)| !tired.get(*nth).is_some_and(|is| *is));
    let others: Option<Vec<_>> =
        others.map(|(_, (.., regex))| syntax::parse_with(regex.as_str(), &syntax).ok()).collect();
    let limits = meta::Config::new().utf8_empty(false).nfa_size_limit(Some(MAX_TOGETHER));
    meta::Builder::new().configure(limits).build_many_from_hir(&others?).ok()
}

fn compile_one(pattern: &str) -> Result<Regex, String> {
    let regex = RegexBuilder::new(pattern).size_limit(MAX_PATTERN).dfa_size_limit(MAX_PATTERN).build();
    let regex = regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            format!("{pattern:?} compiles to more than {MAX_PATTERN} bytes; make its repetitions smaller")
        }
        other => format!("{pattern:?} is not an expression: {}", one_line(&other.to_string())),
    })?;
    if regex.is_match(b"") {
        return Err(format!("{pattern:?} matches an empty line, so it would match every line"));
    }
    Ok(regex)
}

/// The reason alone, of an error that also draws the pattern with a caret below it.
fn one_line(error: &str) -> String {
    error.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or(error).to_owned()
}
