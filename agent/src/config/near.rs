//! The nearest known name, for «did you mean».

use std::cmp::Reverse;

/// Longest word that is compared, characters; comparing costs the product of both lengths.
const LONGEST: usize = 64;

/// The candidate most like `word`, if one is like it at all: one slip in three letters.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length > LONGEST {
        return None;
    }
    candidates
        .map(|name| (strsim::damerau_levenshtein(word, name), Reverse(common_start(word, name)), name))
        .filter(|&(slips, _, name)| slips <= length.max(name.len()).div_ceil(3).max(1))
        .min()
        .map(|(.., name)| name)
}

/// How many letters two words begin alike with; decides between equal numbers of slips.
fn common_start(a: &str, b: &str) -> usize {
    a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_or_none() {
        let known = ["cpu_percent", "memory_percent", "disk_percent", "fd_percent"];
        for (input, expect) in [
            ("cpu_percnt", Some("cpu_percent")),
            ("cup_percent", Some("cpu_percent")),
            ("mem_percent", Some("memory_percent")),
            ("disk-percent", Some("disk_percent")),
            ("", None),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(input, known.into_iter()), expect, "{input:?}");
        }
        assert_eq!(nearest(&"cpu_percent".repeat(100), known.into_iter()), None);
    }
}
