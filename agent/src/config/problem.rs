//! Problems as an operator reads them: place, line, caret, what is wrong, what to do.

use std::fmt;
use std::ops::Range;

use super::reader::Finding;
use crate::text::clean;

/// Most problems that are looked at closely; the others are counted.
pub(super) const MOST_KEPT: usize = 1000;

/// Most problems that are shown; the others are counted.
const MOST_SHOWN: usize = 100;

/// Characters of a line shown before and after the place.
const BEFORE: usize = 60;
const AFTER: usize = 100;

/// One thing wrong with the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line, with secrets masked, cut around the place.
    pub source: String,
    /// Characters of `source` it is about.
    pub caret: Range<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

/// Everything that is wrong with a file, by place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// Name of the file.
    pub file: String,
    /// The problems, at most a hundred.
    pub list: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
}

impl Problems {
    /// `dropped` problems were counted only.
    pub(super) fn new(
        file: &str,
        text: &str,
        mut findings: Vec<Finding>,
        mut secrets: Vec<Range<usize>>,
        dropped: usize,
    ) -> Self {
        findings.sort_by_key(|finding| finding.at.start);
        secrets.sort_by_key(|secret| secret.start);
        let more = findings.len().saturating_sub(MOST_SHOWN) + dropped;
        findings.truncate(MOST_SHOWN);
        let lines = Lines::new(text);
        let list = findings.into_iter().map(|finding| lines.problem(finding, &secrets)).collect();
        Self { file: clean(file, 200), list, more }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.list {
            let Problem { line, column, source, caret, what, fix } = problem;
            let gutter = " ".repeat(line.to_string().len());
            let indent = " ".repeat(caret.start);
            let carets = "^".repeat(caret.len().max(1));
            writeln!(f, "{}:{line}:{column}: {what}", self.file)?;
            writeln!(f, " {line} | {source}")?;
            writeln!(f, " {gutter} | {indent}{carets}")?;
            writeln!(f, " {gutter} = {fix}\n")?;
        }
        match self.list.len() + self.more {
            1 => write!(f, "1 problem in {}.", self.file),
            all if self.more > 0 => {
                write!(f, "{all} problems in {}; {} are shown.", self.file, self.list.len())
            }
            all => write!(f, "{all} problems in {}.", self.file),
        }
    }
}

impl std::error::Error for Problems {}

/// A text and where its lines begin.
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    /// Number of the line a byte is in, from 1.
    pub(super) fn number(&self, at: usize) -> usize {
        self.starts.partition_point(|&start| start <= at)
    }

    /// Bytes of a line, by number, without its break.
    pub(super) fn range(&self, number: usize) -> Range<usize> {
        let start = self.starts[number - 1];
        let end = self.starts.get(number).map_or(self.text.len(), |next| next - 1);
        let line = self.text[start..end].trim_end_matches('\r');
        start..start + line.len()
    }

    fn problem(&self, finding: Finding, secrets: &[Range<usize>]) -> Problem {
        let Finding { at, what, fix } = finding;
        let start = self.text.floor_char_boundary(at.start);
        let line = self.number(start);
        let range = self.range(line);
        let start = start.min(range.end);
        let end = self.text.floor_char_boundary(at.end).clamp(start, range.end);
        let column = self.text[range.start..start].chars().count() + 1;
        let (source, caret) = self.excerpt(&range, start..end, secrets);
        Problem { line, column, source, caret, what, fix }
    }

    /// The part of a line around a place, harmless and without secrets, and where in it the place is.
    fn excerpt(
        &self,
        line: &Range<usize>,
        at: Range<usize>,
        secrets: &[Range<usize>],
    ) -> (String, Range<usize>) {
        let left = self.text[line.start..at.start].char_indices().rev().nth(BEFORE - 1);
        let from = left.map_or(line.start, |(i, _)| line.start + i);
        let right = self.text[at.start..line.end].char_indices().nth(AFTER);
        let to = right.map_or(line.end, |(i, _)| at.start + i);

        let mut out = String::from(if from > line.start { "…" } else { "" });
        let mut caret = Range { start: None, end: None };
        let mut length = out.chars().count();
        let mut masked = None;
        let mut comment = Comment::default();
        for (i, c) in self.text[from..to].char_indices().map(|(i, c)| (from + i, c)) {
            let secret = secret_at(secrets, i);
            if secret.is_none() || secret != masked {
                if i >= at.start {
                    caret.start.get_or_insert(length);
                }
                if i >= at.end {
                    caret.end.get_or_insert(length);
                }
            }
            if i >= at.end && comment.begins(c) {
                break;
            }
            let shown = match secret {
                None => harmless(c),
                Some(_) if secret == masked => continue,
                Some(_) => "***".to_owned(),
            };
            masked = secret.or(masked);
            length += shown.chars().count();
            out.push_str(&shown);
        }
        let start = caret.start.unwrap_or(length);
        let end = caret.end.unwrap_or(length).max(start);
        out.truncate(out.trim_end().len());
        out.push_str(if to < line.end { "…" } else { "" });
        (out, start..end)
    }
}

/// Finds the comment at the end of a line; it is not shown, for it may hold the secret of yesterday.
#[derive(Default)]
struct Comment {
    quote: Option<char>,
    escaped: bool,
}

impl Comment {
    /// Whether a comment begins with this character, the next one of the line.
    fn begins(&mut self, c: char) -> bool {
        match self.quote {
            None if c == '#' => return true,
            None if c == '"' || c == '\'' => self.quote = Some(c),
            Some('"') if self.escaped => self.escaped = false,
            Some('"') if c == '\\' => self.escaped = true,
            Some(quote) if c == quote => self.quote = None,
            _ => {}
        }
        false
    }
}

fn harmless(c: char) -> String {
    if c == '\t' { " ".to_owned() } else { clean(c.encode_utf8(&mut [0; 4]), 1) }
}

/// Number of the secret a byte belongs to.
fn secret_at(secrets: &[Range<usize>], at: usize) -> Option<usize> {
    let after = secrets.partition_point(|secret| secret.start <= at);
    let last = after.checked_sub(1)?;
    secrets[last].contains(&at).then_some(last)
}
