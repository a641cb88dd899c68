//! A search for all literals of the rules at once, in one pass.
//!
//! Of each literal `stride` pieces of four bytes are noted, one behind the other, where they are least likely in other text. So a
//! text is looked through for noted pieces only at each `stride`th byte (a load, a multiplication, a look into 16 KiB of bits):
//! wherever a literal stands, one of its pieces is hit. There the literal is compared in place. That finds what an
//! Aho-Corasick automaton would (a test holds the two against each other), several times faster and in a thirtieth of its
//! memory: an automaton of some 300 literals does not stay in the caches.

/// Length of a piece, bytes.
const PIECE: usize = 4;
/// Largest stride.
const MAX_STRIDE: usize = 3;
/// Slots for pieces: of 300 literals one slot in 150 is taken.
const SLOT_BITS: u32 = 17;
/// Words of slots.
const WORDS: usize = 1 << (SLOT_BITS - 6);

/// Literals that are searched for, whatever their case.
#[derive(Debug)]
pub(super) struct Search {
    slots: Box<[u64; WORDS]>,
    /// Slots that are taken in the words before each.
    ranks: Box<[u16; WORDS]>,
    /// Of each slot that is taken: where its places begin.
    starts: Box<[u16]>,
    places: Box<[Place]>,
    literals: Box<[(Box<[u8]>, u8)]>,
    stride: usize,
}

/// Where a piece stands in a literal.
#[derive(Clone, Copy, Debug)]
struct Place {
    slot: u32,
    literal: u16,
    /// Bytes of the literal before the piece.
    before: u16,
}

impl Search {
    /// For lower-case literals, each with its owner (below 128). The error names one that is too short.
    pub(super) fn new<'a>(literals: impl IntoIterator<Item = (&'a str, u8)>) -> Result<Self, String> {
        let boxed = |(text, owner): (&str, u8)| (text.as_bytes().into(), owner);
        let literals: Box<[(Box<[u8]>, u8)]> = literals.into_iter().map(boxed).collect();
        let shortest = literals.iter().map(|(literal, _)| literal.len()).min().unwrap_or(usize::MAX);
        let (Some(spare), true) = (shortest.checked_sub(PIECE), literals.len() < 4096) else {
            return Err(format!("fewer than 4096 texts of at least {PIECE} bytes can be searched for"));
        };
        let stride = spare.saturating_add(1).min(MAX_STRIDE);
        let mut places = Vec::new();
        for (n, (literal, _)) in literals.iter().enumerate() {
            places.extend(pieces(literal, n as u16, stride));
        }
        places.sort_by_key(|place| place.slot);
        let mut slots = Box::new([0_u64; WORDS]);
        let mut starts = Vec::new();
        for (at, place) in places.iter().enumerate() {
            let (word, bit) = (place.slot as usize / 64, 1 << (place.slot % 64));
            if slots[word] & bit == 0 {
                slots[word] |= bit;
                starts.push(at as u16);
            }
        }
        starts.push(places.len() as u16);
        let mut ranks = Box::new([0_u16; WORDS]);
        let mut taken = 0;
        for (rank, word) in ranks.iter_mut().zip(slots.iter()) {
            *rank = taken;
            taken += word.count_ones() as u16;
        }
        Ok(Self { slots, ranks, starts: starts.into(), places: places.into(), literals, stride })
    }

    /// Owners of the literals that are in the text, a bit each.
    pub(super) fn owners(&self, text: &[u8]) -> u128 {
        let mut all = 0;
        self.each(text, |_, owners| {
            all |= owners;
            false
        });
        all
    }

    /// A place in the first literal of the text, or of the first few that overlap.
    pub(super) fn first(&self, text: &[u8]) -> Option<usize> {
        let mut first = None;
        self.each(text, |at, owners| {
            first = (owners != 0).then_some(at);
            owners != 0
        });
        first
    }

    /// Calls `tell` with each place of a noted piece and the owners of the literals there, until it says that it is enough.
    #[inline]
    fn each(&self, text: &[u8], mut tell: impl FnMut(usize, u128) -> bool) {
        let mut at = 0;
        while let Some(piece) = text.get(at..at + PIECE) {
            let slot = slot(piece);
            let (word, bit) = (slot as usize / 64 % WORDS, 1_u64 << (slot % 64));
            if self.slots[word] & bit != 0 && tell(at, self.of_piece(text, at, word, bit)) {
                return;
            }
            at += self.stride;
        }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        let literals: usize = self.literals.iter().map(|one| size_of_val(one) + one.0.len()).sum();
        let tables = size_of_val(&*self.slots) + size_of_val(&*self.ranks);
        tables + size_of_val(&*self.starts) + size_of_val(&*self.places) + literals
    }

    /// Owners of the literals that stand where a noted piece is.
    #[cold]
    fn of_piece(&self, text: &[u8], at: usize, word: usize, bit: u64) -> u128 {
        let nth = usize::from(self.ranks[word]) + (self.slots[word] & (bit - 1)).count_ones() as usize;
        let mut owners = 0;
        for place in &self.places[usize::from(self.starts[nth])..usize::from(self.starts[nth + 1])] {
            let (literal, owner) = &self.literals[usize::from(place.literal)];
            let from = at.checked_sub(usize::from(place.before));
            let there = from.and_then(|from| text.get(from..from + literal.len()));
            if there.is_some_and(|there| there.eq_ignore_ascii_case(literal)) {
                owners |= 1 << owner;
            }
        }
        owners
    }
}

/// The pieces of a literal that are noted.
fn pieces(literal: &[u8], nth: u16, stride: usize) -> impl Iterator<Item = Place> {
    let likeliness = |from: &usize| -> u32 {
        let pieces = literal[*from..].windows(PIECE).take(stride);
        pieces.map(|piece| piece.iter().map(|byte| weight(*byte)).sum::<u32>().pow(2)).sum()
    };
    let last = (literal.len() + 1).saturating_sub(PIECE + stride);
    let from = (0..=last).min_by_key(likeliness).unwrap_or(0);
    let place = move |(n, piece)| Place { slot: slot(piece), literal: nth, before: (from + n) as u16 };
    literal[from..].windows(PIECE).take(stride).enumerate().map(place)
}

/// Slot of a piece of [`PIECE`] bytes. Upper and lower case share one; so do a few other bytes, at the price of a comparison.
fn slot(piece: &[u8]) -> u32 {
    let piece = u32::from_le_bytes([piece[0], piece[1], piece[2], piece[3]]) | 0x2020_2020;
    // The multiplier of Fibonacci hashing (2^32 over the golden ratio): its upper bits depend on all four bytes.
    piece.wrapping_mul(0x9E37_79B1) >> (32 - SLOT_BITS)
}

/// How often one meets a byte, roughly: by the letters of English and what stands in every log line.
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
#[path = "search_tests.rs"]
mod tests;
