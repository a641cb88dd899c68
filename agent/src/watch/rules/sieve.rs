//! A sieve before the search for literals: says of most lines that no literal can be in them, several times faster than
//! the search. Of each literal one piece of four bytes is noted, the one least likely in other text; a line is looked
//! through for pieces that were noted.

/// Length of a piece, bytes; shorter literals have none.
const PIECE: usize = 4;
/// Slots for pieces: 16 KiB of bits stay in the first cache, and of 250 literals one slot in 500 is taken.
const SLOT_BITS: u32 = 17;

/// Which pieces were noted.
#[derive(Debug)]
pub(super) struct Sieve {
    slots: Box<[u64]>,
    /// A literal has no piece: nothing can be ruled out.
    blunt: bool,
}

impl Sieve {
    /// For these literals, in whatever case they may stand in a line.
    pub(super) fn new<'a>(literals: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sieve = Self { slots: vec![0; 1 << (SLOT_BITS - 6)].into(), blunt: false };
        for literal in literals {
            match literal.as_bytes().windows(PIECE).min_by_key(|piece| likeliness(piece)) {
                Some(piece) => {
                    let (word, bit) = slot(piece);
                    sieve.slots[word] |= bit;
                }
                None => sieve.blunt = true,
            }
        }
        sieve
    }

    /// Whether a literal may be in the line; if not, none is.
    pub(super) fn may_hold(&self, line: &[u8]) -> bool {
        self.blunt
            || line.windows(PIECE).any(|piece| {
                let (word, bit) = slot(piece);
                self.slots[word] & bit != 0
            })
    }
}

/// Word and bit of a piece of [`PIECE`] bytes. Upper and lower case share one; so do a few other bytes, at the price of a
/// search in vain.
fn slot(piece: &[u8]) -> (usize, u64) {
    let piece = u32::from_le_bytes([piece[0], piece[1], piece[2], piece[3]]) | 0x2020_2020;
    // The multiplier of Fibonacci hashing (2^32 over the golden ratio): its upper bits depend on all four bytes.
    let hash = piece.wrapping_mul(0x9E37_79B1) >> (32 - SLOT_BITS);
    ((hash >> 6) as usize, 1 << (hash & 63))
}

/// How often one meets such a piece, roughly: by the letters of English and what stands in every log line.
fn likeliness(piece: &[u8]) -> u32 {
    piece.iter().map(|byte| weight(*byte)).sum()
}

fn weight(byte: u8) -> u32 {
    match byte.to_ascii_lowercase() {
        b' ' | b'e' | b't' => 12,
        b'a' | b'i' | b'n' | b'o' | b'r' | b's' | b'0'..=b'9' => 9,
        b'c' | b'd' | b'l' | b'm' | b'p' | b'u' => 6,
        b'b' | b'f' | b'g' | b'h' | b'v' | b'w' | b'y' | b':' | b'.' => 4,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::watch::catalogue;

    #[test]
    fn what_is_there_is_never_missed() {
        let check = |literals: &[&str], line: &[u8], expect: bool| {
            assert_eq!(
                Sieve::new(literals.iter().copied()).may_hold(line),
                expect,
                "{literals:?} in {line:?}"
            );
        };
        check(&["nvrm:"], b"NVRM: Xid (PCI:0000:3b:00): 79", true);
        check(&["nvrm:"], b"xNvRm:", true);
        check(&["nvrm:"], b"nvr m:", false);
        check(&["nvrm:"], b"nvr", false);
        check(&["nvrm:"], b"", false);
        check(&["nvrm:"], b"\xff\xfenvrm:\0", true);
        check(&["read-only", "link is up"], b"eth0: link is up", true);
        check(&["read-only", "link is up"], b"eth0: port was up", false);
        check(&[], b"anything", false);
        // Nothing can be noted of it.
        check(&["abc"], b"xyz", true);
        check(&["abc"], b"", true);
    }

    #[test]
    fn the_catalogue_is_fit_for_it() {
        let sieve = Sieve::new(catalogue::rules().flat_map(|rule| rule.literals).copied());
        assert!(!sieve.blunt, "a literal of fewer than {PIECE} bytes lets every line through");
        for rule in catalogue::rules() {
            assert!(rule.hits.iter().all(|line| sieve.may_hold(line.as_bytes())), "{}", rule.id);
        }
        let taken: u32 = sieve.slots.iter().map(|word| word.count_ones()).sum();
        assert!(taken <= 1 << (SLOT_BITS - 8), "{taken} slots of {}", 1 << SLOT_BITS);
    }

    proptest! {
        #[test]
        fn every_literal_is_found_in_any_line(
            literals in prop::collection::vec("[a-z :(\\-]{4,12}", 1..40),
            at in any::<prop::sample::Index>(),
            before in prop::collection::vec(any::<u8>(), 0..40),
            after in prop::collection::vec(any::<u8>(), 0..40),
            upper in any::<bool>(),
        ) {
            let sieve = Sieve::new(literals.iter().map(String::as_str));
            let literal = at.get(&literals);
            let literal = if upper { literal.to_uppercase() } else { literal.clone() };
            let line = [&before[..], literal.as_bytes(), &after[..]].concat();
            prop_assert!(sieve.may_hold(&line));
        }
    }
}
