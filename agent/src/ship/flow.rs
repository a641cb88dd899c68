//! What to do next: read, send or wait. Pure; lines, answers and time are given to it.

use std::collections::VecDeque;

use crate::notify::SendError;
use crate::notify::backoff::{Backoff, Dice};

/// Most lines of one body, unless `log_shipper.buffer_count` is more.
pub const MAX_LINES: usize = 1000;
/// Bytes of lines after which nothing more is read before they are sent, and most of one body (one line is always sent).
pub const MAX_BYTES: usize = 256 << 10;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// Read the next lines.
    Read,
    /// Send so many lines, the oldest.
    Send(usize),
    /// Nothing before this moment (monotonic, nanoseconds); none: until something is written.
    Wait(Option<u64>),
}

/// Lines on their way.
#[derive(Debug)]
pub struct Flow {
    /// Lines after which they are sent.
    buffer: usize,
    /// Age at which they are sent, nanoseconds.
    flush_ns: u64,
    pending: VecDeque<String>,
    bytes: usize,
    /// When the oldest was read.
    since_ns: u64,
    /// Most lines of the next body.
    most: usize,
    /// Lines that were read with some already sent: no place in a file stands between them.
    begun: bool,
    /// The line that the server refused, while a note about it is tried in its place.
    refused: Option<String>,
    failures: u32,
    not_before_ns: u64,
    backoff: Backoff,
    dice: Dice,
}

/// What became of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Lines that the server took.
    pub lines: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Lines that it took nothing but a note of.
    pub refused: u64,
}

impl Flow {
    /// As `[log_shipper]` says; `seed` keeps hosts apart.
    pub fn new(buffer: usize, flush_secs: u64, seed: u64) -> Self {
        Self {
            buffer,
            flush_ns: flush_secs.saturating_mul(1_000_000_000),
            pending: VecDeque::new(),
            bytes: 0,
            since_ns: 0,
            most: buffer.max(MAX_LINES),
            begun: false,
            refused: None,
            failures: 0,
            not_before_ns: 0,
            backoff: Backoff::default(),
            dice: Dice(seed),
        }
    }

    /// What to do at `now_ns`, if there are lines to be read or not.
    pub fn next(&self, now_ns: u64, unread: bool) -> Do {
        let wait = (now_ns < self.not_before_ns).then_some(self.not_before_ns);
        if wait.is_some() {
            return Do::Wait(wait);
        }
        if self.pending.is_empty() {
            return if unread { Do::Read } else { Do::Wait(None) };
        }
        let due_ns = self.since_ns.saturating_add(self.flush_ns);
        let full = self.pending.len() >= self.buffer || self.bytes >= MAX_BYTES;
        if full || self.begun || self.failures > 0 || now_ns >= due_ns {
            return Do::Send(self.fits());
        }
        if unread { Do::Read } else { Do::Wait(Some(due_ns)) }
    }

    /// Lines that are wanted of the next read.
    pub fn wanted(&self) -> usize {
        self.buffer.saturating_sub(self.pending.len()).max(1)
    }

    /// Lines of the next body.
    pub fn fits(&self) -> usize {
        let mut bytes = 0;
        let fit = self.pending.iter().take(self.most).take_while(|line| {
            bytes += line.len();
            bytes <= MAX_BYTES
        });
        fit.count().max(1)
    }

    /// A line that was read.
    pub fn push(&mut self, line: String, now_ns: u64) {
        if self.pending.is_empty() {
            self.since_ns = now_ns;
        }
        self.bytes += line.len();
        self.pending.push_back(line);
    }

    /// The oldest lines.
    pub fn oldest(&self, count: usize) -> impl Iterator<Item = &str> {
        self.pending.iter().take(count).map(String::as_str)
    }

    /// Lines that wait.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether everything that was read is taken: the places in the files may be kept.
    pub fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What became of the oldest `count` lines.
    pub fn answered(&mut self, count: usize, answer: Result<(), &SendError>, now_ns: u64) -> Sent {
        match answer {
            Ok(()) => self.taken(count),
            Err(SendError::Refused { .. }) => {
                self.too_much(count, now_ns);
                Sent::default()
            }
            Err(error) => {
                let after = if let SendError::Retry { after, .. } = error { *after } else { None };
                self.failed(after.map(|after| after.as_nanos() as u64), now_ns);
                Sent::default()
            }
        }
    }

    fn taken(&mut self, count: usize) -> Sent {
        let refused = u64::from(self.refused.take().is_some());
        let bytes: usize = self.pending.drain(..count.min(self.pending.len())).map(|line| line.len()).sum();
        self.bytes -= bytes;
        self.begun = !self.pending.is_empty();
        (self.failures, self.not_before_ns) = (0, 0);
        if self.pending.is_empty() {
            self.most = self.buffer.max(MAX_LINES);
        }
        Sent { lines: count as u64 - refused, bytes: bytes as u64, refused }
    }

    /// The server does not want this body: perhaps fewer lines, perhaps a note about one; else it wants nothing now.
    fn too_much(&mut self, count: usize, now_ns: u64) {
        if count > 1 {
            self.most = count / 2;
            self.begun = true;
        } else if let Some(line) = self.refused.take() {
            self.replace_first(line);
            self.failed(None, now_ns);
        } else if let Some(line) = self.pending.front().cloned() {
            let note = format!(
                "sysops-agent: a line of {} bytes was refused by the server and left out",
                line.len()
            );
            self.replace_first(note);
            self.refused = Some(line);
            (self.most, self.begun) = (1, true);
        }
    }

    fn replace_first(&mut self, line: String) {
        if let Some(first) = self.pending.front_mut() {
            self.bytes = self.bytes - first.len() + line.len();
            *first = line;
        }
    }

    fn failed(&mut self, after_ns: Option<u64>, now_ns: u64) {
        self.failures = self.failures.saturating_add(1);
        let pause = self.backoff.delay(self.failures, self.dice.roll()).as_nanos() as u64;
        self.not_before_ns = now_ns.saturating_add(after_ns.unwrap_or(0).max(pause));
    }
}

#[cfg(test)]
#[path = "flow_tests.rs"]
mod tests;
