//! What waits for the collector, in order. Pure.
//!
//! ```text
//! oldest backup file (old) ─► queue (new) ◄─ newest payload
//!      └─ next: the first of them, behind those that were passed over
//! ```
//!
//! A payload that the server refuses (400, 413) blocks nobody for ever: the one behind it is tried, and if that one is
//! taken, the refusal was about the payload, which is given up. If not, it was about the server, and all of them wait.

use std::collections::VecDeque;

/// A body, as it was made.
pub type Payload = Vec<u8>;

/// Bytes of payloads in the queue from which it goes to a backup file, however few they are.
pub const MAX_BYTES: usize = 4 << 20;
/// Refused payloads in a row after which the server is held to be unwell, not they.
pub const MAX_PASSED: usize = 8;

/// The line.
#[derive(Debug)]
pub struct Line {
    /// Those of a backup file.
    old: VecDeque<Payload>,
    /// Those that wait in memory only.
    new: VecDeque<Payload>,
    /// Bytes of `new`.
    bytes: usize,
    /// Payloads in `new` from which it is full.
    most: usize,
    /// The first so many were refused since one was taken.
    passed: usize,
    /// The first so many of `new` are in the journal.
    noted: usize,
}

impl Line {
    /// Nobody waits; `most` payloads may do so in memory.
    pub fn new(most: usize) -> Self {
        Self { old: VecDeque::new(), new: VecDeque::new(), bytes: 0, most: most.max(1), passed: 0, noted: 0 }
    }

    /// Takes a new payload in, behind all others.
    pub fn push(&mut self, payload: Payload) {
        self.bytes += payload.len();
        self.new.push_back(payload);
    }

    /// Takes those of a killed agent's journal in, before the new ones: they are in it still.
    pub fn take_back(&mut self, payloads: VecDeque<Payload>) {
        self.bytes += payloads.iter().map(Vec::len).sum::<usize>();
        self.noted += payloads.len();
        for payload in payloads.into_iter().rev() {
            self.new.push_front(payload);
        }
        self.passed = 0;
    }

    /// Takes those of a backup file in, before the new ones. Only while there are none of an earlier file.
    pub fn load(&mut self, payloads: VecDeque<Payload>) {
        self.old = payloads;
        self.passed = 0;
    }

    /// The one to be tried now.
    pub fn next(&self) -> Option<&Payload> {
        self.old.iter().chain(&self.new).nth(self.passed)
    }

    /// It was taken. Returns how many before it are given up.
    pub fn accepted(&mut self) -> u64 {
        let given_up = self.passed;
        for _ in 0..=given_up {
            self.remove_first();
        }
        self.passed = 0;
        given_up as u64
    }

    /// It was refused. Returns whether the next one is worth a try at once.
    pub fn refused(&mut self) -> bool {
        self.passed += 1;
        let goes_on = self.passed <= MAX_PASSED && self.next().is_some();
        // The only one waits for a second one, which shows whose fault it is.
        let waits = self.passed == 1 && self.next().is_none();
        if !goes_on && !waits {
            self.passed = 0;
        }
        goes_on
    }

    /// It did not get there.
    pub fn failed(&mut self) {
        self.passed = 0;
    }

    fn remove_first(&mut self) {
        if self.old.pop_front().is_none() {
            self.lose_first();
        }
    }

    /// Removes the oldest of those in memory only; whether there was one.
    pub fn lose_first(&mut self) -> bool {
        let gone = self.new.pop_front();
        self.bytes -= gone.as_ref().map_or(0, Vec::len);
        self.noted = self.noted.saturating_sub(1);
        self.passed = 0;
        gone.is_some()
    }

    /// Whether the queue in memory is to go to a backup file.
    pub fn is_full(&self) -> bool {
        self.new.len() >= self.most || self.bytes >= MAX_BYTES
    }

    /// Whether it is over its limit, where no backup file takes it.
    pub fn is_over(&self) -> bool {
        self.new.len() > self.most || self.bytes > MAX_BYTES
    }

    /// Those in memory only.
    pub const fn new_ones(&self) -> &VecDeque<Payload> {
        &self.new
    }

    /// Those in memory only are in a backup file now.
    pub fn clear_new(&mut self) {
        self.new.clear();
        (self.bytes, self.passed, self.noted) = (0, 0, 0);
    }

    /// Those in memory that are not in the journal.
    pub fn unnoted(&self) -> impl Iterator<Item = &Payload> {
        self.new.iter().skip(self.noted)
    }

    /// All of those in memory are in the journal, or none of them is.
    pub fn mark(&mut self, noted: bool) {
        self.noted = if noted { self.new.len() } else { 0 };
    }

    /// What is left of the backup file.
    pub const fn old_ones(&self) -> &VecDeque<Payload> {
        &self.old
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
