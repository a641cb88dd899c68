//! From blocks of a syslog file to events. Pure: bytes and the time in, events out.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::tz::TimeZone;
use memchr::{memchr, memmem, memrchr};

use super::{Line, Stamp, kernel_time};
use crate::event::{Event, MAX_LINE, Source, What};
use crate::time::{Now, SECOND};
use crate::watch::flood::Flood;
use crate::watch::rules::{RuleSet, cut};
use crate::watch::scan::{Resume, Scanner};

/// In every line that may be the kernel's.
const TAG: &[u8] = b" kernel";

/// Makes events of lines.
#[derive(Debug)]
pub struct Reader {
    rules: Arc<RuleSet>,
    /// For lines that say they are the kernel's, where nobody else hands them on.
    scanner: Option<Scanner>,
    flood: Flood,
    zone: TimeZone,
    /// The last time that was looked up in the zone, at which second, and what it was.
    last: Option<(Stamp, i64, Option<i64>)>,
    /// What stood before the text of the kernel's last line, and the moment it tells, at which second: the next line of a flood
    /// begins with the same.
    head: (Vec<u8>, Now, i64),
    tag: memmem::Finder<'static>,
    lines: u64,
}

impl Reader {
    /// A reader; `kernel`: nobody else hands on the kernel's lines.
    pub fn new(rules: Arc<RuleSet>, kernel: bool, zone: TimeZone) -> Self {
        let scanner = || Scanner::new(Arc::clone(&rules), Resume::After { seq: 0 }).out_of(Source::Syslog);
        let scanner = kernel.then(scanner);
        Self {
            rules,
            scanner,
            flood: Flood::of(Source::Syslog),
            zone,
            last: None,
            head: (Vec::new(), Now::default(), 0),
            tag: memmem::Finder::new(TAG),
            lines: 0,
        }
    }

    /// Takes whole lines, each with its line break. Lines that neither the rules nor a pattern may want are not taken apart.
    pub fn take(&mut self, block: &[u8], now: Now, out: &mut Vec<Event>) {
        let rules = Arc::clone(&self.rules);
        if !rules.has_custom() {
            self.kernel_lines(block, now, out);
            return;
        }
        let mut lines: Vec<(&[u8], bool)> = Vec::new();
        rules.candidates(block, &mut |line| lines.push((line, true)));
        if self.scanner.is_some() {
            kernel_lines(&self.tag, block, &mut |line| lines.push((line, false)));
        }
        // All lie in one block: in the order of the file, each once.
        lines.sort_unstable_by_key(|(line, own)| (line.as_ptr(), !own));
        lines.dedup_by_key(|(line, _)| line.as_ptr());
        for (line, own) in lines {
            if own || self.assembles() || !rules.hits(line).is_empty() {
                self.line(line, now, out);
            }
        }
    }

    /// The same where there are no patterns: from one line that may matter to the next.
    fn kernel_lines(&mut self, block: &[u8], now: Now, out: &mut Vec<Event>) {
        // Most blocks of most files have none.
        if self.scanner.is_none() || self.tag.find(block).is_none() {
            return;
        }
        let rules = Arc::clone(&self.rules);
        let mut rest = block;
        loop {
            let at = if self.assembles() { 0 } else { rules.first_hit(rest).unwrap_or(rest.len()) };
            if at >= rest.len() {
                return;
            }
            let (begin, end) = line_around(rest, at);
            if self.tag.find(&rest[begin..end]).is_some() {
                self.line(&rest[begin..end], now, out);
            }
            rest = &rest[end..];
        }
    }

    /// Whether any line of the kernel may matter.
    fn assembles(&self) -> bool {
        self.scanner.as_ref().is_some_and(Scanner::assembles)
    }

    fn line(&mut self, bytes: &[u8], now: Now, out: &mut Vec<Event>) {
        self.lines += 1;
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let bytes = &bytes[..bytes.len().min(4 * MAX_LINE)];
        let (head, at, second) = &self.head;
        if let Some(rest) = bytes.strip_prefix(head.as_slice())
            && !head.is_empty()
            && *second == now.wall_ns / SECOND as i64
        {
            let at = *at;
            self.kernel(&text_of(rest), at, now, out);
            return;
        }
        let text = text_of(bytes);
        let line = Line::parse(&text);
        if line.says_kernel() {
            let at = self.moment(&line, now);
            // The text is the end of the line, unless bytes were replaced.
            let before = bytes.len().saturating_sub(line.text.len());
            self.head.0.clear();
            let begins_a_word = bytes[..before].last() == Some(&b' ');
            if begins_a_word && bytes.get(before..) == Some(line.text.as_bytes()) {
                self.head.0.extend(&bytes[..before]);
                (self.head.1, self.head.2) = (at, now.wall_ns / SECOND as i64);
            }
            self.kernel(line.text, at, now, out);
            return;
        }
        let found = self.flood.own(&self.rules, line.text, now);
        if found.is_empty() {
            return;
        }
        let at = self.moment(&line, now);
        for mut found in found {
            if !line.program.is_empty() {
                found.fields.push(("program".to_owned(), cut(line.program, 64).to_owned()));
            }
            let what = What::Log(Box::new(found));
            let event = Event { at, source: Source::Syslog, historic: false, what };
            out.extend(self.flood.pass(event, false, now));
        }
    }

    fn kernel(&mut self, text: &str, at: Now, now: Now, out: &mut Vec<Event>) {
        let Some(scanner) = &mut self.scanner else { return };
        let (uptime, text) = kernel_time(text);
        // Of an earlier boot, or of a clock that was set: the time since boot says nothing.
        let near = |us: &u64| us.saturating_mul(1000).abs_diff(at.mono_ns) < 600 * SECOND;
        let time_us = uptime.filter(near).unwrap_or(at.mono_ns / 1000);
        let from = out.len();
        scanner.relayed(time_us, text, &|_| None, now, out);
        relayed(out, from, at.mono_ns == 0);
    }

    /// When a line was written; never later than now, and at 0 of the monotonic clock if before this boot.
    fn moment(&mut self, line: &Line<'_>, now: Now) -> Now {
        let second = now.wall_ns / SECOND as i64;
        let known = self.last.filter(|(stamp, at, _)| *stamp == line.stamp && *at == second);
        let wall_ns =
            known.map_or_else(|| line.stamp.wall_ns(now.wall_ns, &self.zone), |(.., wall_ns)| wall_ns);
        self.last = Some((line.stamp, second, wall_ns));
        let Some(wall_ns) = wall_ns else { return now };
        let ago = u64::try_from(now.wall_ns.saturating_sub(wall_ns)).unwrap_or(0);
        Now { mono_ns: now.mono_ns.saturating_sub(ago), wall_ns: wall_ns.min(now.wall_ns) }
    }

    /// Everything there is has been read. `settled`: and nothing came for a while.
    pub fn drained(&mut self, settled: bool, now: Now, out: &mut Vec<Event>) {
        self.flood.due(now, false, out);
        if let Some(scanner) = &mut self.scanner {
            let from = out.len();
            scanner.drained(settled, now, out);
            relayed(out, from, false);
        }
    }

    /// Tells of a flood that is still counted: nothing comes any more.
    pub fn finish(&mut self, now: Now, out: &mut Vec<Event>) {
        self.flood.due(now, true, out);
        if let Some(scanner) = &mut self.scanner {
            let from = out.len();
            scanner.finish(now, out);
            relayed(out, from, false);
        }
    }

    /// Whether something was begun that [`drained`](Self::drained) with `settled` would complete.
    pub fn pending(&self) -> bool {
        self.scanner.as_ref().is_some_and(Scanner::pending)
    }

    /// When something that waits must be told by [`drained`](Self::drained), monotonic nanoseconds.
    pub fn due_ns(&self) -> Option<u64> {
        let scanner = self.scanner.as_ref().and_then(Scanner::due_ns);
        [self.flood.due_ns(), scanner].into_iter().flatten().min()
    }

    /// Lines looked at, since the start.
    pub fn lines(&self) -> u64 {
        self.lines
    }
}

/// Lines that have the kernel's tag somewhere.
fn kernel_lines<'a>(tag: &memmem::Finder<'_>, block: &'a [u8], tell: &mut dyn FnMut(&'a [u8])) {
    let mut rest = block;
    while let Some(at) = tag.find(rest) {
        let (begin, end) = line_around(rest, at);
        tell(&rest[begin..end]);
        rest = &rest[end..];
    }
}

/// What is valid of a line, as most are: judged at once, not character by character.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// Begin and end of the line that a byte is in, with its line break.
fn line_around(text: &[u8], at: usize) -> (usize, usize) {
    let begin = memrchr(b'\n', &text[..at]).map_or(0, |n| n + 1);
    (begin, memchr(b'\n', &text[at..]).map_or(text.len(), |n| at + n + 1))
}

/// What the scanner made of lines came by the file, which has its own marks. What is of an earlier boot is counted only.
fn relayed(out: &mut Vec<Event>, from: usize, historic: bool) {
    if from == out.len() {
        return;
    }
    let new = out.split_off(from);
    out.extend(new.into_iter().filter(|event| !matches!(event.what, What::KmsgMark(_))).map(|event| Event {
        source: Source::Syslog,
        historic: event.historic || historic,
        ..event
    }));
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
