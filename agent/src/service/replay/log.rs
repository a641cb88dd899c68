//! Text of the kernel's log, or of syslog: every line through the rules, what they find through the engine.

use std::io::Write;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::Trouble;
use super::clock::{Clock, Leap};
use super::drive::{Drive, Whose};
use super::input::{Input, Next};
use super::notes::Notes;
use super::report::Report;
use super::rules::kernel_line;
use crate::config::Config;
use crate::engine::incident::Witnesses;
use crate::event::{Event, LogMatch, Source, What};
use crate::time::{MILLI, Now};
use crate::watch::record::Record;
use crate::watch::rules::RuleSet;
use crate::watch::scan::{Resume, Scanner};
use crate::watch::syslog::{Line, Stamp};

/// Quiet time after which a report of several lines is complete.
const QUIET_NS: u64 = 25 * MILLI;
/// A time without a year is one of the year 2000, which has 29 February.
const LAST_OF_2000: i64 = 978_307_199_000_000_000;

/// The kernel's log in a file.
pub(super) struct KernelLog {
    rules: Arc<RuleSet>,
    scanner: Option<Scanner>,
    beside_journal: bool,
    events: Vec<Event>,
    /// Lines came since it was quiet.
    open: bool,
}

impl KernelLog {
    /// The rules as configured. The error names every pattern that cannot be used.
    pub(super) fn new(config: &Config) -> Result<Self, String> {
        let rules = Arc::new(crate::service::kernel::rules(config)?);
        Ok(Self { rules, scanner: None, beside_journal: false, events: Vec::new(), open: false })
    }

    /// Whether the journal tells what killers in user space say.
    pub(super) fn beside_journal(&mut self, is_read: bool) {
        self.beside_journal = is_read;
    }

    /// Whether something may still be unfinished.
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// One record of `/dev/kmsg`.
    pub(super) fn record(&mut self, record: &[u8], now: Now) -> impl Iterator<Item = Event> + use<'_> {
        let seq = Record::parse(record).map_or(1, |record| record.seq);
        let scanner = Self::scanner(&mut self.scanner, &self.rules, self.beside_journal, seq);
        scanner.record(record, now, &mut self.events);
        self.open = true;
        self.events.drain(..)
    }

    /// One line of the kernel's that is no such record.
    fn relayed(&mut self, text: &str, now: Now) -> impl Iterator<Item = Event> + use<'_> {
        let scanner = Self::scanner(&mut self.scanner, &self.rules, self.beside_journal, 1);
        scanner.relayed(now.mono_ns / 1000, text, &|_| None, now, &mut self.events);
        self.open = true;
        self.events.drain(..)
    }

    /// One line of somebody else.
    fn other(&self, text: &str, now: Now) -> Vec<Event> {
        let mut found = Vec::new();
        self.rules.find_custom(text, &mut |one: LogMatch| found.push(one));
        let event =
            |one| Event { at: now, source: Source::Syslog, historic: false, what: What::Log(Box::new(one)) };
        found.into_iter().map(event).collect()
    }

    fn scanner<'a>(
        scanner: &'a mut Option<Scanner>,
        rules: &Arc<RuleSet>,
        beside_journal: bool,
        seq: u64,
    ) -> &'a mut Scanner {
        // All of it is news, and nothing before it is missing.
        let resume = Resume::After { seq: seq.saturating_sub(1) };
        scanner.get_or_insert_with(|| Scanner::new(Arc::clone(rules), resume).beside_journal(beside_journal))
    }

    /// Nothing came for a while.
    pub(super) fn quiet(&mut self, now: Now) -> impl Iterator<Item = Event> + use<'_> {
        if let Some(scanner) = &mut self.scanner {
            scanner.drained(true, now, &mut self.events);
            self.open = scanner.due_ns().is_some();
        }
        self.events.drain(..)
    }

    /// Nothing comes any more.
    pub(super) fn finish(&mut self, now: Now) -> impl Iterator<Item = Event> + use<'_> {
        if let Some(scanner) = &mut self.scanner {
            scanner.finish(now, &mut self.events);
        }
        self.open = false;
        self.events.drain(..)
    }
}

/// Whether a line looks like one of a log.
pub(super) fn is_log(line: &str) -> bool {
    stamp(line).is_some()
}

/// The time of a line as it stands there, and in nanoseconds.
fn stamp(line: &str) -> Option<(&str, i64)> {
    if line.as_bytes().first().is_some_and(u8::is_ascii_digit)
        && let Ok(record) = Record::parse(line.as_bytes())
    {
        let micros = line.split(',').nth(2)?;
        return Some((micros, i64::try_from(record.time_us).ok()?.checked_mul(1000)?));
    }
    let parsed = Line::parse(line);
    if parsed.stamp != Stamp::None {
        let wall_ns = parsed.stamp.wall_ns(LAST_OF_2000, &TimeZone::UTC)?;
        return Some((written(line), wall_ns));
    }
    let bare = line.strip_prefix('<').and_then(|rest| rest.split_once('>')).map_or(line, |(_, rest)| rest);
    let (inside, _) = bare.strip_prefix('[')?.split_once(']')?;
    let (_, time_us, _) = kernel_line(line);
    Some((inside.trim(), i64::try_from(time_us?).ok()?.checked_mul(1000)?))
}

/// The time at the head of a line of syslog.
fn written(line: &str) -> &str {
    let line = line.strip_prefix('<').and_then(|rest| rest.split_once('>')).map_or(line, |(_, rest)| rest);
    let line = line.strip_prefix("1 ").unwrap_or(line);
    // `Nov 22 13:45:29` has its spaces, all others none.
    let end = if line.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) {
        line.floor_char_boundary(15)
    } else {
        line.find(' ').unwrap_or(line.len())
    };
    &line[..end]
}

/// Runs all lines.
pub(super) fn run(
    config: &Config,
    input: &mut Input<'_>,
    report: &mut Report<impl Write>,
    notes: &mut Notes,
) -> Result<(), Trouble> {
    let mut log = KernelLog::new(config).map_err(Trouble::Input)?;
    let mut clock = Clock::default();
    let mut drive: Option<Drive> = None;
    loop {
        let (line, bad) = match input.next_line() {
            Next::End => break,
            Next::Line(line) => (line.to_owned(), None),
            Next::Bad(problem) => (String::new(), Some(problem)),
        };
        let number = input.number();
        if let Some(problem) = bad {
            notes.add("bad", number, problem);
            continue;
        }
        // A line without a time is of the same moment as the one before.
        if let Some((written, wall_ns)) = stamp(&line) {
            let (now, leap) = clock.at(wall_ns.max(0), true);
            if let Leap::Back(_) | Leap::Ahead(_) = leap {
                leap.note(number, notes);
            }
            let drive = drive.get_or_insert_with(|| Drive::new(config, whose(), now));
            settle(&mut log, drive, now, report)?;
            report.row(written);
            drive.pass(now, report)?;
        }
        let Some(drive) = &mut drive else { continue };
        report.heard();
        take(&mut log, drive, &line, report)?;
    }
    if let Some(mut drive) = drive {
        for event in log.finish(drive.now()) {
            drive.event(event, report)?;
        }
        drive.finish(report)?;
    }
    Ok(())
}

fn whose() -> Whose {
    let log = vec![Source::Kmsg];
    Whose { witnesses: Witnesses { oom: log.clone(), io_error: log }, ..Whose::default() }
}

/// What was begun is complete when nothing comes for a while.
fn settle(
    log: &mut KernelLog,
    drive: &mut Drive,
    now: Now,
    report: &mut Report<impl Write>,
) -> Result<(), Trouble> {
    let quiet = drive.now().mono_ns.saturating_add(QUIET_NS);
    if log.is_open() && quiet <= now.mono_ns {
        drive.pass(drive.now().at_mono(quiet), report)?;
        for event in log.quiet(drive.now()) {
            drive.event(event, report)?;
        }
    }
    Ok(())
}

fn take(
    log: &mut KernelLog,
    drive: &mut Drive,
    line: &str,
    report: &mut Report<impl Write>,
) -> Result<(), Trouble> {
    let now = drive.now();
    let (is_kernel, _, text) = kernel_line(line);
    if is_kernel {
        for event in log.relayed(&text, now) {
            drive.event(event, report)?;
        }
    } else {
        for event in log.other(&text, now) {
            drive.event(event, report)?;
        }
    }
    Ok(())
}
