//! Walks a parsed file along the table of keys and collects everything there is to say about it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::env::{Lookup, expand};
use super::must::{Flaw, Known, Must};
use super::near;
use super::section::{Key, Spec};
use super::value::{Node, Value};
use crate::text::clean;

/// Most entries of one list or table of names.
const MOST_ENTRIES: usize = 1000;

/// Longest path of a key in a message, characters.
const LONGEST_PATH: usize = 120;

/// Keys of the older agent of the same collector API, and where each went.
pub(super) const MOVED: &[(&str, &str)] = &[
    ("uuid", "push.agent_id"),
    ("interval", "push.interval_secs"),
    ("http_server", "http"),
    ("api.server", "push.metrics_url"),
    ("api.heartbeat", "push.heartbeat_url"),
    ("api.log", "push.log_url"),
    ("api.auth_key", "push.auth_key"),
    ("collectors", "collector.enabled and collector.disabled; collectors.log: log_shipper"),
    ("storage.file_backup", "push.backup_enabled and push.backup_dir"),
];

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
    /// Places in the text that must not be shown.
    pub secrets: Vec<Range<usize>>,
    /// Keys of features not built yet, by feature.
    pub later: BTreeMap<&'static str, Idle>,
    /// Keys of cargo features this build lacks, by feature.
    pub absent: BTreeMap<&'static str, Idle>,
    /// Paths of all keys in the file.
    pub given: BTreeSet<String>,
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
            secrets: Vec::new(),
            later: BTreeMap::new(),
            absent: BTreeMap::new(),
            given: BTreeSet::new(),
        }
    }

    /// Begins a section. A section switched off warns of nothing.
    pub(super) fn enter(&mut self, spec: &'static Spec, table: &DeTable<'_>) -> Here {
        let off = table.get("enabled").is_some_and(|node| node.get_ref().as_bool() == Some(false));
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

    /// Reports that the section here lacks a key.
    pub(super) fn missing(&mut self, at: &Range<usize>, name: &str) {
        let form = self.section_key(name).map_or_else(String::new, |key| (key.form)(&key.must));
        let what = format!("`{}` needs `{name}`, which is missing or empty.", self.place());
        self.finding(at.clone(), what, format!("Add `{name}` ({form}), or remove the section."));
    }

    fn section_key(&self, name: &str) -> Option<&'static Key> {
        self.here.key?.section?.key(name)
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
        } else if let Some(feature) = self.here.feature.filter(|feature| !compiled(feature)) {
            let path = self.path.clone();
            idle(&mut self.absent, feature, &path, at);
        }
    }

    /// Notes a value whose feature is not built yet.
    pub(super) fn waits(&mut self, feature: &'static str, node: &Node<'_>) {
        if !self.here.off {
            let path = self.path.clone();
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

    /// Adds a problem.
    pub(super) fn finding(&mut self, at: Range<usize>, what: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding { at, what: what.into(), fix: fix.into() });
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
        let empty_is_fine = self.here.key.is_some_and(|key| matches!((key.default)().as_str(), "\"\"" | ""));
        if text.is_empty() && empty_is_fine {
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

    /// Reports a value of another type.
    pub(super) fn wrong_type<T>(&mut self, node: &Node<'_>) -> Option<T> {
        let kind = match node.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a decimal point",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        if self.here.key.is_none_or(|key| key.section.is_some()) {
            self.hide(node, true);
        }
        let what = format!("`{}` cannot be {kind}.", self.place());
        let fix = self.write_instead();
        self.finding(node.span(), what, fix);
        None
    }

    /// Reports a number beyond its range.
    pub(super) fn out_of_range<T>(&mut self, node: &Node<'_>) -> Option<T> {
        let what = format!("`{}` is out of range.", self.place());
        let fix = self.write_instead();
        self.finding(node.span(), what, fix);
        None
    }

    /// Reports a word that is none of the choices.
    pub(super) fn bad_word(
        &mut self,
        node: &Node<'_>,
        word: &str,
        words: impl Iterator<Item = &'static str>,
    ) {
        let what = format!("`{}` is none of the words it can be.", self.place());
        let near = near::nearest(word, words).map_or_else(String::new, |near| format!("Did you mean \"{near}\"? "));
        let fix = format!("{near}{}", self.write_instead());
        self.finding(node.span(), what, fix);
    }

    fn write_instead(&self) -> String {
        let Some(key) = self.here.key else { return "Write a table.".to_owned() };
        if key.section.is_some() {
            let brackets = if key.list { ("[[", "]]") } else { ("[", "]") };
            return format!("Begin the section with a line {}{}{}.", brackets.0, self.place(), brackets.1);
        }
        let (form, default) = ((key.form)(&key.must), (key.default)());
        let example = match default.as_str() {
            "" | "\"\"" | "[]" | "{}" => String::new(),
            long if long.len() > 60 => String::new(),
            default => format!(", for example `{} = {default}`", key.name),
        };
        format!("Write {form}{example}.")
    }

    /// Reports a list or table with too many entries.
    pub(super) fn few_enough(&mut self, node: &Node<'_>, count: usize) -> Option<()> {
        if count <= MOST_ENTRIES {
            return Some(());
        }
        let what = format!("`{}` has {count} entries.", self.place());
        self.finding(node.span(), what, format!("Keep it to at most {MOST_ENTRIES}."));
        None
    }

    /// Checks the name of an entry in a table of names.
    pub(super) fn good_name(&mut self, name: &Spanned<DeString<'_>>) {
        let text = name.get_ref();
        let letter = |c: char| c == '_' || c.is_ascii_alphanumeric();
        let (fits, fix) = match self.must() {
            Must::Labels => (
                text.chars().all(letter) && !text.starts_with(|c: char| c.is_ascii_digit()),
                "Names of labels are letters, digits and `_`, and do not begin with a digit.",
            ),
            _ => (
                text.chars().all(|c| c == '-' || letter(c)),
                "Names of headers are letters, digits, `-` and `_`.",
            ),
        };
        if !fits || text.is_empty() || text.len() > 100 {
            let what = format!("`{}` has an entry with a name that cannot be used.", self.place());
            self.finding(name.span(), what, fix);
        }
    }

    /// Reports tables of a list that have the same name.
    pub(super) fn distinct(&mut self, table: &DeTable<'_>, list: &str, name: &str) {
        let Some(entries) = table.get(list).and_then(|node| node.get_ref().as_array()) else { return };
        let mut seen = BTreeSet::new();
        for entry in entries.iter().filter_map(|entry| entry.get_ref().get(name)) {
            if entry.get_ref().as_str().is_some_and(|text| !seen.insert(text)) {
                let what = format!("`{}.{list}` has two entries of this name.", self.place());
                self.finding(entry.span(), what, format!("Give each entry a `{name}` of its own."));
            }
        }
    }

    /// Reports a key that does not exist, with where it may belong.
    pub(super) fn unknown(&mut self, spec: &'static Spec, name: &Spanned<DeString<'_>>, node: &Node<'_>) {
        let word = name.get_ref();
        let near = near::nearest(word, spec.keys.iter().map(|key| key.name));
        let like_secret = near.and_then(|near| spec.key(near)).is_some_and(|key| key.secret)
            || ["pass", "token", "key", "secret"].iter().any(|part| word.contains(part));
        self.hide(node, like_secret);
        let shown = clean(word, LONGEST_PATH);
        let section = self.place();
        let what = match (section.as_str(), node.get_ref()) {
            ("", DeValue::Table(_)) => format!("There is no section [{shown}]."),
            ("", _) => format!("`{shown}` is not a key outside of a section."),
            (_, DeValue::Table(_)) => format!("There is no section [{section}.{shown}]."),
            _ => format!("`{shown}` is not a key of [{section}]."),
        };
        let fix = self.moved(word).or_else(|| near.map(|near| format!("Did you mean `{near}`?")));
        let fix = fix.or_else(|| self.elsewhere(word)).unwrap_or_else(|| keys_of(spec));
        self.finding(name.span(), what, fix);
    }

    /// Where a key of the older agent went.
    fn moved(&self, word: &str) -> Option<String> {
        let path = if self.path.is_empty() { word.to_owned() } else { format!("{}.{word}", self.path) };
        let old = |old: &&(&str, &str)| old.0 == path || old.0.strip_prefix(&path).is_some_and(|rest| rest.starts_with('.'));
        let to: Vec<_> = MOVED.iter().filter(old).map(|(_, to)| *to).collect();
        (!to.is_empty()).then(|| format!("It is {} here.", to.join(", ")))
    }

    /// Sections that do have a key of this name.
    fn elsewhere(&self, word: &str) -> Option<String> {
        let mut places = Vec::new();
        self.root.walk("", &mut |path, key, spec| {
            if spec.key(word).is_some() {
                places.push(if key.list { format!("[[{path}]]") } else { format!("[{path}]") });
            }
        });
        let more = places.len().saturating_sub(4);
        places.truncate(4);
        let more = if more > 0 { " and others" } else { "" };
        (!places.is_empty()).then(|| format!("There is one in {}{more}.", places.join(", ")))
    }
}

fn keys_of(spec: &Spec) -> String {
    let names: Vec<_> = spec.keys.iter().map(|key| key.name).collect();
    match names.len() {
        0..=20 => format!("Known are {}.", names.join(", ")),
        _ => "docs/CONFIGURATION.md lists all keys.".to_owned(),
    }
}

fn is_empty(table: &DeTable<'_>, name: &str) -> bool {
    table.get(name).is_none_or(|node| match node.get_ref() {
        DeValue::String(text) => text.is_empty(),
        DeValue::Array(list) => list.is_empty(),
        _ => false,
    })
}

fn idle(map: &mut BTreeMap<&'static str, Idle>, feature: &'static str, path: &str, at: usize) {
    let entry = map.entry(feature).or_insert_with(|| Idle { at, ..Idle::default() });
    entry.at = entry.at.min(at);
    // One name stands for a list, however long it is.
    entry.keys.insert(path.split('[').next().unwrap_or(path).to_owned());
}

/// Whether a cargo feature is in this build.
fn compiled(feature: &str) -> bool {
    match feature {
        "ebpf" => cfg!(feature = "ebpf"),
        "gpu" => cfg!(feature = "gpu"),
        "nats" => cfg!(feature = "nats"),
        "prometheus" => cfg!(feature = "prometheus"),
        "sqlite" => cfg!(feature = "sqlite"),
        _ => true,
    }
}
