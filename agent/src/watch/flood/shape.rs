//! Shapes of lines: what is left of them without their numbers.
//!
//! Only what is certainly no name is taken for a number: `1234`, `[12.5]`, `pid=7,`, but neither `sda1` nor `0x1f` nor the
//! device `0000:00:11.0`. A shape is known by a hash with a key of its own for each process, so that nobody can write a line that
//! is taken for another one.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use memchr::memchr2_iter;

/// Shapes of lines that are known to be of a flood; further ones are judged by their rule each time.
pub const MAX_SHAPES: usize = 1024;

/// Shapes, and of which kind lines of them are.
#[derive(Debug)]
pub(super) struct Shapes {
    key: u64,
    kinds: HashMap<u64, u64>,
}

impl Default for Shapes {
    fn default() -> Self {
        Self { key: RandomState::new().hash_one(0), kinds: HashMap::new() }
    }
}

impl Shapes {
    pub(super) fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.kinds.clear();
    }

    /// The kind of a line, if lines of its shape are known.
    pub(super) fn get(&self, line: &str) -> Option<u64> {
        self.kinds.get(&shape(self.key, line)).copied()
    }

    /// Lines like this one are of that kind, as long as there is room.
    pub(super) fn add(&mut self, line: &str, kind: u64) {
        if self.kinds.len() < MAX_SHAPES {
            self.kinds.insert(shape(self.key, line), kind);
        }
    }
}

/// A line but for its numbers.
fn shape(key: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let (mut hash, mut begin) = (key, 0);
    for end in memchr2_iter(b' ', b'=', bytes).chain([bytes.len()]) {
        let word = &bytes[begin..end];
        hash = mix(hash, if is_number(word) { NUMBER } else { word.len() as u64 });
        if !is_number(word) {
            for eight in word.chunks(8) {
                let mut block = [0; 8];
                block[..eight.len()].copy_from_slice(eight);
                hash = mix(hash, u64::from_le_bytes(block));
            }
        }
        begin = end + 1;
    }
    hash
}

/// Stands for a number, where otherwise the length of a word stands.
const NUMBER: u64 = u64::MAX;

/// Both halves of the product with an odd constant (2^64 over the golden ratio), as wyhash and its kin do it.
fn mix(hash: u64, block: u64) -> u64 {
    let product = u128::from(hash ^ block) * 0x9E37_79B9_7F4A_7C15;
    (product as u64) ^ (product >> 64) as u64 ^ hash.rotate_left(23)
}

fn is_number(word: &[u8]) -> bool {
    // Most words are none by their first letter.
    if word.first().is_none_or(u8::is_ascii_alphabetic) {
        return false;
    }
    matches!(bare(word), [b'0'..=b'9', rest @ ..] if rest.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'.')))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a shape is, word by word.
    fn words(text: &str) -> Vec<&[u8]> {
        let words = text.as_bytes().split(|byte| matches!(byte, b' ' | b'='));
        words.map(|word| if is_number(word) { b"0" } else { word }).collect()
    }

    proptest! {
        #[test]
        fn shapes_are_the_same_if_the_words_are(one in "[a1. =]{0,20}", other in "[a1. =]{0,20}", cut in 0..20_usize) {
            let begin = one.get(..cut).unwrap_or(&one);
            for other in [&other, begin, &format!("{begin} 1"), &one.replace('1', "111")] {
                let same = shape(7, &one) == shape(7, other);
                prop_assert_eq!(same, words(&one) == words(other), "{:?} {:?}", one, other);
            }
        }
    }
}
