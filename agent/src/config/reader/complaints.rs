//! What the reader says about what it finds.

use std::collections::BTreeSet;
use std::ops::Range;

use regex::Regex;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::{LONGEST_PATH, Reader};
use crate::config::must::Must;
use crate::config::near;
use crate::config::section::{Key, Spec};
use crate::config::value::Node;
use crate::text::clean;

/// Most entries of one list or table of names.
const MOST_ENTRIES: usize = 1000;

/// Keys of the older agent of the same collector API, and where each went.
pub(in crate::config) const MOVED: &[(&str, &str)] = &[
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

impl Reader<'_> {
    /// Reports that the section here lacks a key.
    pub(in crate::config) fn missing(&mut self, at: &Range<usize>, name: &str) {
        let form = self.section_key(name).map_or_else(String::new, |key| (key.form)(&key.must));
        let what = format!("`{}` needs `{name}`, which is missing or empty.", self.place());
        let or = match self.section_key("enabled") {
            Some(_) => "or set `enabled = false`",
            None => "or remove the entry",
        };
        self.finding(at.clone(), what, format!("Add `{name}`, {form}, {or}."));
    }

    fn section_key(&self, name: &str) -> Option<&'static Key> {
        self.here.key?.section?.key(name)
    }

    /// Reports a value of another type.
    pub(in crate::config) fn wrong_type<T>(&mut self, node: &Node<'_>) -> Option<T> {
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
        let quoted = match node.get_ref().as_str() {
            Some(text) if text.parse::<f64>().is_ok() || text.parse::<bool>().is_ok() => {
                "Remove the quotes. "
            }
            _ => "",
        };
        let fix = format!("{quoted}{}", self.write_instead());
        self.finding(node.span(), what, fix);
        None
    }

    /// Reports a number beyond its range.
    pub(in crate::config) fn out_of_range<T>(&mut self, node: &Node<'_>) -> Option<T> {
        let what = format!("`{}` is out of range.", self.place());
        let fix = self.write_instead();
        self.finding(node.span(), what, fix);
        None
    }

    /// Reports a word that is none of the choices.
    pub(in crate::config) fn bad_word(
        &mut self,
        node: &Node<'_>,
        word: &str,
        words: impl Iterator<Item = &'static str>,
    ) {
        let what = format!("`{}` is none of the words it can be.", self.place());
        let near =
            near::nearest(word, words).map_or_else(String::new, |near| format!("Did you mean \"{near}\"? "));
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
    pub(in crate::config) fn few_enough(&mut self, node: &Node<'_>, count: usize) -> Option<()> {
        if count <= MOST_ENTRIES {
            return Some(());
        }
        let what = format!("`{}` has {count} entries.", self.place());
        self.finding(node.span(), what, format!("Keep it to at most {MOST_ENTRIES}."));
        None
    }

    /// Checks the name of an entry in a table of names.
    pub(in crate::config) fn good_name(&mut self, name: &Spanned<DeString<'_>>) {
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
    pub(in crate::config) fn distinct(&mut self, table: &DeTable<'_>, list: &str, name: &str) {
        let Some(entries) = table.get(list).and_then(|node| node.get_ref().as_array()) else { return };
        let mut seen = BTreeSet::new();
        for entry in entries.iter().filter_map(|entry| entry.get_ref().get(name)) {
            if entry.get_ref().as_str().is_some_and(|text| !seen.insert(text)) {
                let what = format!("`{}.{list}` has two entries of this name.", self.place());
                self.finding(entry.span(), what, format!("Give each entry a `{name}` of its own."));
            }
        }
    }

    /// Reports tables of a list that have the name of a kernel-log rule: one could not be told from the other.
    pub(in crate::config) fn no_rules(&mut self, table: &DeTable<'_>, list: &str, name: &str) {
        let Some(entries) = table.get(list).and_then(|node| node.get_ref().as_array()) else { return };
        for entry in entries.iter().filter_map(|entry| entry.get_ref().get(name)) {
            if entry.get_ref().as_str().is_some_and(|text| self.known.rules.contains(&text)) {
                let what =
                    format!("`{}.{list}` has an entry with the name of a built-in rule.", self.place());
                self.finding(
                    entry.span(),
                    what,
                    format!("Give it a `{name}` of its own (docs/LOG-RULES.md)."),
                );
            }
        }
    }

    /// Reports a list that is too long, and entries whose pattern matches an empty line.
    pub(in crate::config) fn selective(&mut self, table: &DeTable<'_>, list: &str, name: &str, most: usize) {
        let Some(node) = table.get(list) else { return };
        let Some(entries) = node.get_ref().as_array() else { return };
        if entries.len() > most {
            let what = format!("`{}.{list}` has {} entries, {most} may be.", self.place(), entries.len());
            self.finding(node.span(), what, "Join some with `|`: each runs on every line.");
        }
        for entry in entries.iter().filter_map(|entry| entry.get_ref().get(name)) {
            let pattern = entry.get_ref().as_str().filter(|text| !text.is_empty());
            if pattern.and_then(|text| Regex::new(text).ok()).is_some_and(|regex| regex.is_match("")) {
                let what = format!(
                    "A `{name}` of `{}.{list}` matches an empty line, and so every line.",
                    self.place()
                );
                self.finding(entry.span(), what, "Make a part of it obligatory: `a+` instead of `a*`.");
            }
        }
    }

    /// Reports keys of a table that are no such name.
    pub(in crate::config) fn known_keys(&mut self, table: &DeTable<'_>, list: &str, must: Must) {
        let Some(entries) = table.get(list).and_then(|node| node.get_ref().as_table()) else { return };
        for (name, _) in entries {
            if let Err(flaw) = must.judge(name.get_ref(), self.known) {
                self.within(format!(".{list}.{}", name.get_ref()), |cx| cx.flaw(name.span(), flaw));
            }
        }
    }

    /// Reports a key that does not exist, with where it may belong.
    pub(in crate::config) fn unknown(
        &mut self,
        spec: &'static Spec,
        name: &Spanned<DeString<'_>>,
        node: &Node<'_>,
    ) {
        if self.is_full() {
            self.hide(node, true);
            return self.finding(name.span(), "", "");
        }
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
        let old = |old: &&(&str, &str)| {
            old.0 == path || old.0.strip_prefix(&path).is_some_and(|rest| rest.starts_with('.'))
        };
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
