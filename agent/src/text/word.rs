//! Words out of the program's own tables that come back from a file, as recordings have them: a device's `op`, the
//! meaning of a fault. In the program they live for ever; so does the one copy of each that is made here. Their number
//! has a limit, since a file may say anything.
//!
//! For `#[serde(deserialize_with = "…")]`; [`Word`] instead of `&'static str`, since serde wants to borrow the latter.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A text of the program.
pub type Word = &'static str;

/// Different words that are taken in at most, and bytes of one.
pub const MAX_WORDS: usize = 2048;
const MAX_BYTES: usize = 1024;

thread_local! {
    static WORDS: RefCell<BTreeSet<Word>> = const { RefCell::new(BTreeSet::new()) };
}

/// The word; `None` where it is too long or there are too many.
pub fn word(text: &str) -> Option<Word> {
    WORDS.with_borrow_mut(|words| {
        if let Some(known) = words.get(text) {
            return Some(*known);
        }
        if words.len() >= MAX_WORDS || text.len() > MAX_BYTES {
            return None;
        }
        let new: Word = Box::leak(text.into());
        words.insert(new);
        Some(new)
    })
}

fn known<E: Error>(text: &str) -> Result<Word, E> {
    word(text).ok_or_else(|| E::custom("a word that is too long, or one too many"))
}

/// A field of one word.
pub fn one<'de, D: Deserializer<'de>>(from: D) -> Result<Word, D::Error> {
    known(&String::deserialize(from)?)
}

/// A field that may be missing.
pub fn maybe<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Word>, D::Error> {
    Option::<String>::deserialize(from)?.map(|text| known(&text)).transpose()
}

/// Words with something each.
pub fn each<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Vec<(Word, T)>, D::Error> {
    let list = Vec::<(String, T)>::deserialize(from)?;
    list.into_iter().map(|(text, with)| Ok((known(&text)?, with))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_kept_once_and_not_without_limit() {
        let first = word("read").expect("room");
        assert!(std::ptr::eq(first, word("read").expect("known")));
        assert_eq!(word(&"x".repeat(MAX_BYTES + 1)), None);
        let taken = (0..2 * MAX_WORDS).filter(|n| word(&format!("word {n}")).is_some()).count();
        assert_eq!(taken, MAX_WORDS - 1);
        assert_eq!(word("read"), Some("read"), "what is known stays");
    }
}
