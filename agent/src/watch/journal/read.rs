//! From what `journalctl` prints to events. Pure: bytes and the time in, events out.

use super::entry::{Entry, Lines, Said};
use super::place::Place;
use super::programs::Programs;
use crate::event::{Event, JournalMark, Source, What};
use crate::time::Now;
use crate::watch::killer_text;
use crate::watch::killers::{Killers, Saying};
use crate::watch::scan::Scanner;

/// Makes events of the journal's entries.
#[derive(Debug)]
pub struct Reader {
    lines: Lines,
    /// For the kernel's lines, where they are asked for.
    scanner: Option<Scanner>,
    /// For those of programs, where they are.
    programs: Option<Programs>,
    killers: Killers,
    place: Place,
    /// Something was read since the last mark.
    moved: bool,
    unreadable: u64,
    entries: u64,
}

impl Reader {
    /// A reader of what comes after `place`; it is told as the first mark.
    pub fn new(place: Place, scanner: Option<Scanner>, programs: Option<Programs>) -> Self {
        let (lines, killers) = (Lines::default(), Killers::default());
        Self { lines, scanner, programs, killers, place, moved: true, unreadable: 0, entries: 0 }
    }

    /// The last entry read.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// A new stream begins: what the old one had begun never ends.
    pub fn restart(&mut self) {
        self.lines.restart();
    }

    /// Takes what has arrived.
    pub fn take(&mut self, bytes: &[u8], now: Now, out: &mut Vec<Event>) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.take(bytes, &mut |line| self.line(line, now, out));
        self.lines = lines;
    }

    /// Everything that has arrived is read. `settled`: and nothing came for a while.
    pub fn drained(&mut self, settled: bool, now: Now, out: &mut Vec<Event>) {
        self.killers.expire(now, out);
        self.programs.iter_mut().for_each(|programs| programs.due(now, out));
        if let Some(scanner) = &mut self.scanner {
            let from = out.len();
            scanner.drained(settled, now, out);
            relayed(out, from);
        }
        self.mark(now, out);
    }

    /// Tells of a flood that is still counted: nothing comes any more.
    pub fn finish(&mut self, now: Now, out: &mut Vec<Event>) {
        if self.killers.due_ns().is_some() {
            // All since the last mark is read again by the next run.
            return;
        }
        self.programs.iter_mut().for_each(|programs| programs.finish(now, out));
        if let Some(scanner) = &mut self.scanner {
            let from = out.len();
            scanner.finish(now, out);
            relayed(out, from);
        }
        self.mark(now, out);
    }

    fn mark(&mut self, now: Now, out: &mut Vec<Event>) {
        // What waits to be told is read again by the next run.
        if self.moved && self.killers.due_ns().is_none() {
            self.moved = false;
            let what = What::JournalMark(JournalMark { place: self.place.text() });
            out.push(Event { at: now, source: Source::Journal, historic: false, what });
        }
    }

    /// Whether something was begun that [`drained`](Self::drained) with `settled` would complete.
    pub fn pending(&self) -> bool {
        self.scanner.as_ref().is_some_and(Scanner::pending)
    }

    /// When something that waits must be told by [`drained`](Self::drained), monotonic nanoseconds.
    pub fn due_ns(&self) -> Option<u64> {
        let programs = self.programs.as_ref().and_then(Programs::due_ns);
        let scanner = self.scanner.as_ref().and_then(Scanner::due_ns);
        [self.killers.due_ns(), programs, scanner].into_iter().flatten().min()
    }

    /// What waits to be told, each once: their victims may still stand.
    pub fn fresh(&mut self) -> impl Iterator<Item = &mut Event> {
        self.killers.fresh()
    }

    /// Lines that are no entries, or too long for one, since the start.
    pub fn unreadable(&self) -> u64 {
        self.unreadable + self.lines.too_long
    }

    /// Announcements of kills taken for text of a victim's, since the start.
    pub fn doubted(&self) -> u64 {
        self.killers.doubted()
    }

    /// Entries read, since the start.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    fn line(&mut self, line: &[u8], now: Now, out: &mut Vec<Event>) {
        let Ok(entry) = Entry::parse(line) else {
            self.unreadable += 1;
            return;
        };
        self.entries += 1;
        // The first one is where the last run, or the last `journalctl`, stopped.
        if self.place.is_before(&entry.cursor, entry.time_us) {
            return;
        }
        let at = entry.at(now);
        (self.place, self.moved) = (Place::Cursor(entry.cursor.as_str().into()), true);
        let by = |killer, pid, source| Saying { killer, pid, at, source, historic: false };
        match entry.said {
            Said::Killer { name, pid, text } => {
                if let Some(word) = killer_text::parse(name, &text) {
                    self.killers.hear(&by(name, pid, Source::Journal), word, now, out);
                }
            }
            Said::Systemd { text } => {
                if let Some((unit, count)) = killer_text::unit_line(&text) {
                    self.killers.counted(&by("systemd", Some(1), Source::Journal), unit, count, now, out);
                }
            }
            Said::Kernel { time_us, text, device } => {
                let Some(scanner) = &mut self.scanner else { return };
                let from = out.len();
                scanner.relayed(time_us, &text, &|i| device.get(i).cloned().flatten(), now, out);
                relayed(out, from);
            }
            Said::Program(line) => {
                self.programs.iter_mut().for_each(|programs| programs.hear(&line, at, now, out));
            }
            // Facebook's oomd writes there; it has no name but its text.
            Said::Kmsg { text } => {
                if let Some(("oomd", pid, word)) = killer_text::kmsg_line(&text) {
                    self.killers.hear(&by("oomd", pid, Source::UserLog), word, now, out);
                }
            }
            Said::Nothing => {}
        }
    }
}

/// What the scanner made of the kernel's lines came by the journal, which has its own marks.
fn relayed(out: &mut Vec<Event>, from: usize) {
    if from == out.len() {
        return;
    }
    let new = out.split_off(from);
    out.extend(
        new.into_iter()
            .filter(|event| !matches!(event.what, What::KmsgMark(_)))
            .map(|event| Event { source: Source::Journal, ..event }),
    );
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
