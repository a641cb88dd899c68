//! Types a key may have: how each is read, described and shown.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;
use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::changes::Entry;
use super::must::Must;
use super::reader::Reader;
use super::section::Spec;
use crate::alert::Severity;

/// A value and where it stands.
pub(super) type Node<'i> = Spanned<DeValue<'i>>;

/// What a key can hold.
pub(super) trait Value: Sized {
    /// How a default is written in a `section!`.
    type Literal;
    /// The section it is, if it is one.
    const SPEC: Option<&'static Spec> = None;
    /// Whether it may stand any number of times.
    const LIST: bool = false;
    /// Whether it must never be shown.
    const SECRET: bool = false;

    /// What may be written, in words.
    fn form(must: &Must) -> String;
    /// The default.
    fn preset(literal: Self::Literal) -> Self;
    /// As TOML; empty: no value.
    fn show(&self) -> String;
    /// Reads it, or reports what is wrong.
    fn read(node: &Node<'_>, cx: &mut Reader<'_>) -> Option<Self>;
    /// Adds it, or all it is made of, to a list of keys and values.
    fn entries(&self, path: &str, out: &mut Vec<Entry>) {
        out.push(Entry::new(path, self.show()));
    }
    /// Reads it over the default it has so far.
    fn update(&mut self, node: &Node<'_>, cx: &mut Reader<'_>) {
        if let Some(value) = Self::read(node, cx) {
            *self = value;
        }
    }
}

/// A value out of a few words.
pub(super) trait Choice: Sized + Copy + PartialEq + 'static {
    /// All of them: word, value, and the feature it waits for.
    const WORDS: &'static [(&'static str, Self, Option<&'static str>)];
    /// Words for `true` and `false`, where these are accepted.
    const BOOL: Option<(&'static str, &'static str)> = None;
}

impl Choice for Severity {
    const WORDS: &'static [(&'static str, Self, Option<&'static str>)] = &[
        (Self::Info.name(), Self::Info, None),
        (Self::Warn.name(), Self::Warn, None),
        (Self::Critical.name(), Self::Critical, None),
        (Self::Emergency.name(), Self::Emergency, None),
    ];
}

impl<T: Choice> Value for T {
    type Literal = T;

    fn form(_: &Must) -> String {
        let words: Vec<_> = T::WORDS.iter().map(|(word, ..)| format!("\"{word}\"")).collect();
        format!("one of {}", words.join(", "))
    }

    fn preset(literal: T) -> Self {
        literal
    }

    fn show(&self) -> String {
        let word = T::WORDS.iter().find(|(_, value, _)| value == self).map_or("", |(word, ..)| word);
        quote(word)
    }

    fn read(node: &Node<'_>, cx: &mut Reader<'_>) -> Option<Self> {
        let word = match (node.get_ref(), T::BOOL) {
            (DeValue::Boolean(yes), Some(words)) => (if *yes { words.0 } else { words.1 }).to_owned(),
            _ => cx.text(node)?,
        };
        let Some((_, value, later)) = T::WORDS.iter().find(|(known, ..)| *known == word) else {
            cx.bad_word(node, &word, T::WORDS.iter().map(|(known, ..)| *known));
            return None;
        };
        if let Some(feature) = later {
            cx.waits(feature, &word, node);
        }
        Some(*value)
    }
}

impl Value for bool {
    type Literal = bool;

    fn form(_: &Must) -> String {
        "true or false".to_owned()
    }

    fn preset(literal: bool) -> Self {
        literal
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn read(node: &Node<'_>, cx: &mut Reader<'_>) -> Option<Self> {
        node.get_ref().as_bool().or_else(|| cx.wrong_type(node))
    }
}

/// A whole number in its file notation; none: too large for any key.
fn whole(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

macro_rules! whole_numbers {
    ($($ty:ty),+) => { $(
        impl Value for $ty {
            type Literal = $ty;

            fn form(must: &Must) -> String {
                must.number("a whole number")
            }

            fn preset(literal: $ty) -> Self {
                literal
            }

            fn show(&self) -> String {
                self.to_string()
            }

            fn read(node: &Node<'_>, cx: &mut Reader<'_>) -> Option<Self> {
                let Some(number) = node.get_ref().as_integer() else { return cx.wrong_type(node) };
                whole(number)
                    .filter(|&number| cx.must().takes_whole(number))
                    .and_then(|number| Self::try_from(number).ok())
                    .or_else(|| cx.out_of_range(node))
            }
        }
    )+ };
}
whole_numbers!(u16, u32, u64, usize, i64);

impl Value for f64 {
    type Literal = f64;

    fn form(must: &Must) -> String {
        must.number("a number")
    }

    fn preset(literal: f64) -> Self {
        literal
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }

    fn read(node: &Node<'_>, cx: &mut Reader<'_>) -> Option<Self> {
        let number = match node.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => whole(number).map(|number| number as Self),
            _ => return cx.wrong_type(node),
        };
        number.filter(|&number: &Self| cx.must().takes_real(number)).or_else(|| cx.out_of_range(node))
    }
}

impl Value for String {
    type Literal = &'static str;

    fn form(must: &Must) -> String {
        must.text()
    }

    fn preset(literal: &'static str) -> Self {
        literal.to_owned()
    }

    fn show(&self) -> String {
        quote(self)
    }

    fn read(node: &Node<'_>, cx: &mut Reader<'_>) -> Option<Self> {
        cx.judged_text(node)
    }
}

impl Value for PathBuf {
    type Literal = &'static str;

    fn form(must: &Must) -> String {
        match must {
            Must::Anything => "a path".to_owned(),
            other => other.text(),
        }
    }

    fn preset(literal: &'static str) -> Self {
        Self::from(literal)
    }

    fn show(&self) -> String {
        quote(&self.to_string_lossy())
    }

    fn read(node: &Node<'_>, cx: &mut Reader<'_>) -> Option<Self> {
        cx.judged_text(node).map(Self::from)
    }
}

impl Value for SecretString {
    type Literal = &'static str;
    const SECRET: bool = true;

    fn form(must: &Must) -> String {
        must.text()
    }

    fn preset(literal: &'static str) -> Self {
        Self::from(literal)
    }

    fn show(&self) -> String {
        quote("")
    }

    fn entries(&self, path: &str, out: &mut Vec<Entry>) {
        out.push(Entry::secret(path, self));
    }

    fn read(node: &Node<'_>, cx: &mut Reader<'_>) -> Option<Self> {
        cx.judged_text(node).map(Self::from)
    }
}

impl<T: Value> Value for Option<T> {
    type Literal = T::Literal;
    const SECRET: bool = T::SECRET;

    fn form(must: &Must) -> String {
        T::form(must)
    }

    fn preset(literal: T::Literal) -> Self {
        Some(T::preset(literal))
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(String::new, T::show)
    }

    fn entries(&self, path: &str, out: &mut Vec<Entry>) {
        if let Some(value) = self {
            value.entries(path, out);
        }
    }

    fn read(node: &Node<'_>, cx: &mut Reader<'_>) -> Option<Self> {
        T::read(node, cx).map(Some)
    }
}

impl<T: Value> Value for Vec<T>
where
    T::Literal: Copy + 'static,
{
    type Literal = &'static [T::Literal];
    const SPEC: Option<&'static Spec> = T::SPEC;
    const LIST: bool = true;
    const SECRET: bool = T::SECRET;

    fn form(must: &Must) -> String {
        format!("a list; each entry: {}", T::form(must))
    }

    fn preset(literal: &'static [T::Literal]) -> Self {
        literal.iter().map(|&entry| T::preset(entry)).collect()
    }

    fn show(&self) -> String {
        let entries: Vec<_> = self.iter().map(T::show).collect();
        format!("[{}]", entries.join(", "))
    }

    fn entries(&self, path: &str, out: &mut Vec<Entry>) {
        if T::SPEC.is_none() && !T::SECRET {
            return out.push(Entry::new(path, self.show()));
        }
        for (i, value) in self.iter().enumerate() {
            value.entries(&format!("{path}[{}]", i + 1), out);
        }
    }

    fn read(node: &Node<'_>, cx: &mut Reader<'_>) -> Option<Self> {
        let Some(entries) = node.get_ref().as_array() else { return cx.wrong_type(node) };
        cx.few_enough(node, entries.len())?;
        let read = |(i, entry)| cx.within(format!("[{}]", i + 1), |cx| T::read(entry, cx));
        let read: Vec<_> = entries.iter().enumerate().map(read).collect();
        read.into_iter().collect()
    }
}

impl<T: Value> Value for BTreeMap<String, T> {
    type Literal = ();
    const SECRET: bool = T::SECRET;

    fn form(must: &Must) -> String {
        format!("a table of names; each value: {}", T::form(must))
    }

    fn preset((): ()) -> Self {
        Self::new()
    }

    fn show(&self) -> String {
        let entries: Vec<_> = self.iter().map(|(name, value)| format!("{name} = {}", value.show())).collect();
        if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
    }

    fn entries(&self, path: &str, out: &mut Vec<Entry>) {
        for (name, value) in self {
            value.entries(&format!("{path}.{name}"), out);
        }
    }

    fn read(node: &Node<'_>, cx: &mut Reader<'_>) -> Option<Self> {
        let table = cx.table(node)?;
        cx.few_enough(node, table.len())?;
        let mut out = Self::new();
        for (name, value) in table {
            cx.good_name(name);
            let read = cx.within(format!(".{}", name.get_ref()), |cx| T::read(value, cx));
            out.extend(read.map(|value| (name.get_ref().to_string(), value)));
        }
        Some(out)
    }
}

/// Text as a TOML string.
fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}
