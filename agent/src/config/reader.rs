//! Walks a parsed file along the table of keys and collects everything there is to say about it.

mod complaints;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::env::{Lack, Lookup, expand, lacks};
use super::must::{Flaw, Known, Must};
use super::problem::MOST_KEPT;
use super::section::{Key, Spec};
use super::value::{Node, Value};
use crate::text::clean;

pub(super) use complaints::MOVED;

/// Longest path of a key in a message, characters.
const LONGEST_PATH: usize = 120;

/// One thing that is wrong, by place in the text.
pub(super) struct Finding {
    /// Bytes of the text it is about.
    pub at: Range<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub fix: String,
}

/// Keys in the file that have no effect, for one reason.
#[derive(Default)]
pub(super) struct Idle {
    /// Where the first stands.
    pub at: usize,
    /// Their paths.
    pub keys: BTreeSet<String>,
}

/// The state of a walk.
pub(super) struct Reader<'a> {
    env: Lookup<'a>,
    known: Known<'a>,
    root: &'static Spec,
    path: String,
    here: Here,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many more problems there are.
    pub dropped: usize,
    /// Places in the text that must not be shown.
    pub secrets: Vec<Range<usize>>,
    /// Keys of features not built yet, by feature.
    pub later: BTreeMap<&'static str, Idle>,
    /// Keys of cargo features this build lacks, by feature.
    pub absent: BTreeMap<&'static str, Idle>,
    /// What works and is unwise, by place in the text.
    pub advice: Vec<(usize, String)>,
    /// Paths of all keys in the file.
    pub given: BTreeSet<String>,
    /// Keys whose values are in files that cannot be read, where that is no problem.
    pub lacking: Vec<Lack>,
}

/// What holds for the section being read.
#[derive(Clone, Copy, Default)]
pub(super) struct Here {
    key: Option<&'static Key>,
    later: Option<&'static str>,
    feature: Option<&'static str>,
    off: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(env: Lookup<'a>, known: Known<'a>, root: &'static Spec) -> Self {
        Self {
            env,
            known,
            root,
            path: String::new(),
            here: Here::default(),
            findings: Vec::new(),
            dropped: 0,
            secrets: Vec::new(),
            later: BTreeMap::new(),
            absent: BTreeMap::new(),
            advice: Vec::new(),
            given: BTreeSet::new(),
            lacking: Vec::new(),
        }
    }

    /// Begins a section. A section switched off warns of nothing.
    pub(super) fn enter(&mut self, spec: &'static Spec, table: &DeTable<'_>) -> Here {
        let off = table.get("enabled").is_some_and(|node| {
            matches!(node.get_ref(), DeValue::Boolean(false)) || node.get_ref().as_str() == Some("off")
        });
        let here = Here {
            key: self.here.key,
            later: spec.later.or(self.here.later),
            feature: spec.feature.or(self.here.feature),
            off: off || self.here.off,
        };
        std::mem::replace(&mut self.here, here)
    }

    /// Ends a section: what it needs must be there, unless it is switched off.
    pub(super) fn leave(&mut self, before: Here, spec: &'static Spec, node: &Node<'_>, table: &DeTable<'_>) {
        self.here = before;
        let switch = table.get("enabled");
        let on = switch.is_some_and(|node| node.get_ref().as_bool() == Some(true));
        if spec.key("enabled").is_some() && !on {
            return;
        }
        let at = switch.map_or_else(|| node.span(), Spanned::span);
        for name in spec.needs.iter().filter(|name| is_empty(table, name)) {
            self.missing(&at, name);
        }
    }

    fn may_be_empty(&self) -> bool {
        self.here.key.is_some_and(|key| matches!((key.default)().as_str(), "\"\"" | ""))
    }

    /// Reads one key into its field.
    pub(super) fn key<T: Value>(
        &mut self,
        spec: &'static Spec,
        name: &Spanned<DeString<'_>>,
        node: &Node<'_>,
        field: &mut T,
    ) {
        let Some(key) = spec.key(name.get_ref()) else { return };
        self.within(format!(".{}", key.name), |cx| {
            cx.note(key, name.span().start);
            if key.secret {
                cx.hide(node, true);
            }
            let before = cx.here.key.replace(key);
            field.update(node, cx);
            cx.here.key = before;
        });
    }

    /// Remembers that a key is there, and whether it has an effect.
    fn note(&mut self, key: &'static Key, at: usize) {
        self.given.insert(self.path.clone());
        if key.section.is_some() || self.here.off {
            return;
        }
        if let Some(feature) = key.later.or(self.here.later) {
            let path = self.path.clone();
            idle(&mut self.later, feature, &path, at);
        } else if let Some(feature) = key.feature.or(self.here.feature).filter(|feature| !compiled(feature)) {
            let path = self.path.clone();
            idle(&mut self.absent, feature, &path, at);
        }
    }

    /// Notes a word whose feature is not built yet.
    pub(super) fn waits(&mut self, feature: &'static str, word: &str, node: &Node<'_>) {
        if !self.here.off {
            let path = format!("{} = \"{word}\"", list_name(&self.path));
            idle(&mut self.later, feature, &path, node.span().start);
        }
    }

    /// Does something one step further down the path.
    pub(super) fn within<R>(&mut self, step: impl AsRef<str>, act: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.path.len();
        let step = step.as_ref();
        self.path.push_str(if length == 0 { step.trim_start_matches('.') } else { step });
        let out = act(self);
        self.path.truncate(length);
        out
    }

    /// Path of what is being read, harmless.
    pub(super) fn place(&self) -> String {
        clean(&self.path, LONGEST_PATH)
    }

    /// The condition on what is being read.
    pub(super) fn must(&self) -> Must {
        self.here.key.map_or(Must::Anything, |key| key.must)
    }

    /// Labels of a metric, if they are known.
    pub(super) fn labels_of(&self, metric: &str) -> Option<&'a [&'a str]> {
        let at = self.known.metrics.iter().position(|known| *known == metric)?;
        self.known.labels.get(at).copied()
    }

    /// Whether further problems are only counted.
    fn is_full(&self) -> bool {
        self.findings.len() >= MOST_KEPT
    }

    /// Adds a problem.
    pub(super) fn finding(&mut self, at: Range<usize>, what: impl Into<String>, fix: impl Into<String>) {
        if self.is_full() {
            self.dropped += 1;
            return;
        }
        self.findings.push(Finding { at, what: what.into(), fix: fix.into() });
    }

    /// Warns of what works and is unwise.
    pub(super) fn advise(&mut self, at: usize, text: String) {
        self.advice.push((at, text));
    }

    fn flaw(&mut self, at: Range<usize>, flaw: Flaw) {
        let what = format!("`{}` {}", self.place(), flaw.what);
        self.finding(at, what, flaw.fix);
    }

    /// Keeps a value out of every message. Of a value whose meaning is not known only texts are hidden,
    /// unless `all`.
    pub(super) fn hide(&mut self, node: &Node<'_>, all: bool) {
        match node.get_ref() {
            DeValue::Table(table) => table.iter().for_each(|(_, node)| self.hide(node, all)),
            DeValue::Array(list) => list.iter().for_each(|node| self.hide(node, all)),
            DeValue::String(_) => self.secrets.push(node.span()),
            _ if all => self.secrets.push(node.span()),
            _ => {}
        }
    }

    /// The table a value is, or a problem.
    pub(super) fn table<'n, 'i>(&mut self, node: &'n Node<'i>) -> Option<&'n DeTable<'i>> {
        node.get_ref().as_table().or_else(|| self.wrong_type(node))
    }

    /// The text a value is, with its variables replaced, or a problem.
    pub(super) fn text(&mut self, node: &Node<'_>) -> Option<String> {
        let text = match node.get_ref() {
            DeValue::String(text) => text,
            DeValue::Integer(number) if matches!(self.must(), Must::Id) => return Some(number.to_string()),
            _ => return self.wrong_type(node),
        };
        if self.known.alone
            && let Some(from) = lacks(text, self.env, self.known.variables)
        {
            self.lacking.push(Lack { key: self.place(), from: clean(from, LONGEST_PATH) });
            return None;
        }
        match expand(text, self.env) {
            Ok(text) => Some(text.into_owned()),
            Err(flaw) => {
                self.flaw(node.span(), flaw);
                None
            }
        }
    }

    /// The same for a text with a condition. An empty one is fine where empty is the default.
    pub(super) fn judged_text(&mut self, node: &Node<'_>) -> Option<String> {
        let text = self.text(node)?;
        if node.get_ref().as_str() == Some("") && self.may_be_empty() {
            return Some(text);
        }
        match self.must().judge(&text, self.known) {
            Ok(()) => Some(text),
            Err(flaw) => {
                self.flaw(node.span(), flaw);
                None
            }
        }
    }
}

/// Whether a key is missing, or written without a value.
pub(super) fn is_empty(table: &DeTable<'_>, name: &str) -> bool {
    table.get(name).is_none_or(|node| match node.get_ref() {
        DeValue::String(text) => text.is_empty(),
        DeValue::Array(list) => list.is_empty(),
        _ => false,
    })
}

fn idle(map: &mut BTreeMap<&'static str, Idle>, feature: &'static str, path: &str, at: usize) {
    let entry = map.entry(feature).or_insert_with(|| Idle { at, ..Idle::default() });
    entry.at = entry.at.min(at);
    entry.keys.insert(list_name(path).to_owned());
}

/// One name for all entries of a list.
fn list_name(path: &str) -> &str {
    path.split_once('[').map_or(path, |(list, _)| list)
}

/// The cargo features sections belong to, and whether each is in this build.
const FEATURES: &[(&str, bool)] = &[
    ("ebpf", cfg!(feature = "ebpf")),
    ("nats", cfg!(feature = "nats")),
    ("prometheus", cfg!(feature = "prometheus")),
    ("sqlite", cfg!(feature = "sqlite")),
];

fn compiled(feature: &str) -> bool {
    FEATURES.contains(&(feature, true))
}
