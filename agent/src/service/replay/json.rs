//! JSON lines: a recording, or readings that another program wrote, one a line.

use std::collections::HashMap;
use std::io::Write;

use serde_json::Value;

use super::Trouble;
use super::clock::{Clock, sane};
use super::convert::{moment, process};
use super::drive::{Drive, Whose};
use super::input::{Input, Next};
use super::log::KernelLog;
use super::notes::Notes;
use super::report::Report;
use super::series::{Found, Names, Refused};
use crate::config::Config;
use crate::sample::{Batch, OWN_SERIES, ProcTable, Samples};
use crate::service::recording::{Line, Scalar, VERSION};
use crate::text::clean;
use crate::text::word::word;
use crate::time::{MILLI, Now};

/// Name of the passes that readings without one make together.
const REPLAY: &str = "replay";
/// Numbers of series in one file at most.
const MAX_NUMBERS: usize = 1 << 17;
/// Readings of one moment at most; more make another pass.
const MAX_READINGS: usize = 100_000;
/// Quiet time after which a report of the kernel log is complete, as in `watch::kmsg`.
const QUIET_NS: u64 = 25 * MILLI;

/// All lines on their way through the engine.
struct Feed<'c> {
    config: &'c Config,
    names: Names,
    samples: Samples,
    spare: Option<Batch>,
    /// What the numbers of a recording stand for.
    numbers: HashMap<u32, Found>,
    clock: Clock,
    drive: Option<Drive>,
    whose: Whose,
    log: KernelLog,
    /// The moment of readings that wait for others of the same one, and how many wait.
    open: Option<(Now, usize)>,
    table: Option<ProcTable>,
    began: bool,
    ended: bool,
}

/// Runs all lines.
pub(super) fn run(
    config: &Config,
    input: &mut Input<'_>,
    report: &mut Report<impl Write>,
    notes: &mut Notes,
) -> Result<(), Trouble> {
    let mut feed = Feed::new(config)?;
    // A line that is not whole is a mistake, but for the last.
    let mut broken: Option<(u64, String)> = None;
    loop {
        let parsed = match input.next_line() {
            Next::End => break,
            Next::Line(line) if line.trim().is_empty() => continue,
            Next::Line(line) => serde_json::from_str::<Line>(line).map_err(|error| error.to_string()),
            Next::Bad(problem) => {
                notes.add("bad", input.number(), problem);
                continue;
            }
        };
        let number = input.number();
        if let Some((number, problem)) = broken.take() {
            notes.add("json", number, problem);
        }
        match parsed {
            Ok(line) => feed.line(line, number, report, notes)?,
            Err(problem) => {
                broken = Some((number, format!("is no JSON object that is known here: {problem}")));
            }
        }
    }
    match broken {
        Some((number, problem)) if feed.began => {
            input.tear(&format!("the last line is torn: what stood before was replayed ({problem})"));
            debug_assert_eq!(number, input.number());
        }
        Some((number, problem)) => notes.add("json", number, problem),
        None if feed.began && !feed.ended => {
            input.tear("the recording was not ended (a crash, or it still runs): what is there was replayed");
        }
        None => {}
    }
    feed.finish(report, notes, input.number())
}

impl<'c> Feed<'c> {
    fn new(config: &'c Config) -> Result<Self, Trouble> {
        Ok(Self {
            config,
            names: Names::new(),
            samples: Samples::beginning(OWN_SERIES, config.collector.max_series),
            spare: None,
            numbers: HashMap::new(),
            clock: Clock::default(),
            drive: None,
            whose: Whose::default(),
            log: KernelLog::new(config).map_err(Trouble::Input)?,
            open: None,
            table: None,
            began: false,
            ended: false,
        })
    }

    fn line(
        &mut self,
        mut line: Line,
        number: u64,
        report: &mut Report<impl Write>,
        notes: &mut Notes,
    ) -> Result<(), Trouble> {
        if let Some(header) = line.recording.take() {
            if header.version > VERSION {
                let text = format!("version {} of the format is newer than this agent", header.version);
                return Err(Trouble::Input(format!("line {number}: {text}; use a newer one")));
            }
            self.log.beside_journal(header.beside_journal);
            self.began = true;
            if self.drive.is_some() {
                notes.add("header", number, "another recording begins: it goes on with the same host");
                return Ok(());
            }
            self.whose = Whose {
                hostname: clean(&header.hostname, 255),
                boot_id: clean(&header.boot_id, 64),
                utc_offset_secs: header.utc_offset_secs,
                witnesses: header.witnesses,
                whole: true,
            };
            self.begin(sane(Now::default(), header.at.mono_ns, header.at.wall_ns));
            return Ok(());
        }
        if line.end.is_some() {
            self.ended = true;
            return Ok(());
        }
        if let Some((mono_ns, wall_ns)) = line.at {
            return self.recorded(line, (mono_ns, wall_ns), number, report, notes);
        }
        if let Some(wall_ns) = moment(&line) {
            return self.reading(&line, wall_ns, number, report, notes);
        }
        notes.add("time", number, "has no time that is one (timestamp, t or at); left out");
        Ok(())
    }

    fn begin(&mut self, now: Now) -> &mut Drive {
        let (config, whose) = (self.config, &self.whose);
        self.drive.get_or_insert_with(|| Drive::new(config, whose.clone(), now))
    }

    /// Lets time pass, and with it what the kernel log had not finished.
    fn pass(&mut self, to: Now, report: &mut Report<impl Write>) -> Result<(), Trouble> {
        self.begin(to);
        let Some(drive) = &mut self.drive else { return Ok(()) };
        let quiet = drive.now().mono_ns.saturating_add(QUIET_NS);
        if self.log.is_open() && quiet <= to.mono_ns {
            drive.pass(drive.now().at_mono(quiet), report)?;
            for event in self.log.quiet(drive.now()) {
                drive.event(event, report)?;
            }
        }
        drive.pass(to, report)?;
        Ok(())
    }

    /// A line of a recording.
    fn recorded(
        &mut self,
        line: Line,
        (mono_ns, wall_ns): (u64, i64),
        number: u64,
        report: &mut Report<impl Write>,
        notes: &mut Notes,
    ) -> Result<(), Trouble> {
        self.flush(report, notes, number)?;
        let last = self.drive.as_ref().map(Drive::now).unwrap_or_default();
        let now = sane(last, mono_ns, wall_ns);
        self.pass(now, report)?;
        let Some(drive) = &mut self.drive else { return Ok(()) };
        if let Some(event) = line.event {
            report.heard();
            drive.event(*event, report)?;
        }
        if let Some(record) = &line.log {
            report.heard();
            for event in self.log.record(record.as_bytes(), now) {
                drive.event(event, report)?;
            }
        }
        let Some(collector) = &line.pass else { return Ok(()) };
        let Some(collector) = word(collector) else {
            notes.add("pass", number, "a collector's name that is too long, or one too many; left out");
            return Ok(());
        };
        self.samples.begin(collector, now, self.spare.take());
        for (id, metric, kind, labels) in &line.new {
            self.define(*id, (metric, kind), labels, number, notes);
        }
        let before = self.samples.refused();
        for (id, value) in &line.values {
            let Some(found) = self.numbers.get(id) else {
                notes.add_with("number", number, || format!("series {id} was never named; left out"));
                continue;
            };
            put(&mut self.samples, found, *value);
        }
        self.refused(before, number, notes);
        report.took(line.values.len());
        if let Some(rows) = &line.processes {
            let table = self.processes(rows, line.total);
            self.samples.put_processes(table);
        }
        line.disks.into_iter().for_each(|window| self.samples.put_disk(window));
        if let Some(groups) = line.groups {
            self.samples.put_groups(groups);
        }
        self.hand_over(report)
    }

    fn define(
        &mut self,
        id: u32,
        (metric, kind): (&str, &str),
        labels: &std::collections::BTreeMap<String, String>,
        number: u64,
        notes: &mut Notes,
    ) {
        match self.names.find(metric, Some(kind), labels) {
            Ok(found) => {
                let same = |old: &Found| std::ptr::eq(old.metric, found.metric) && old.labels == found.labels;
                if self.numbers.get(&id).is_some_and(same) {
                    // Another thing with the same name from here on.
                    let labels: Vec<&str> = found.labels.iter().map(String::as_str).collect();
                    self.samples.anew(found.metric, &labels);
                }
                if self.numbers.len() < MAX_NUMBERS || self.numbers.contains_key(&id) {
                    self.numbers.insert(id, found);
                } else {
                    notes.add(
                        "numbers",
                        number,
                        format!("more than {MAX_NUMBERS} numbers of series; left out"),
                    );
                }
            }
            Err(refused) => {
                self.numbers.remove(&id);
                left_out(refused, number, notes);
            }
        }
    }

    /// A line with one reading, or with processes.
    fn reading(
        &mut self,
        line: &Line,
        wall_ns: i64,
        number: u64,
        report: &mut Report<impl Write>,
        notes: &mut Notes,
    ) -> Result<(), Trouble> {
        let (now, leap) = self.clock.at(wall_ns, true);
        let full = self.open.is_some_and(|(_, waiting)| waiting >= MAX_READINGS);
        if full || self.open.is_some_and(|(open, _)| open != now) {
            self.flush(report, notes, number)?;
        }
        if leap != super::clock::Leap::Same {
            leap.note(number, notes);
        }
        if self.open.is_none() {
            self.pass(now, report)?;
            self.samples.begin(REPLAY, now, self.spare.take());
            self.open = Some((now, 0));
        }
        if let Some(rows) = &line.processes {
            self.table = Some(self.processes(rows, line.total));
        }
        let Some(metric) = &line.metric else {
            if line.processes.is_none() {
                notes.add("metric", number, "has no metric; left out");
            }
            return Ok(());
        };
        let Some(value) = line.value.as_ref().and_then(Scalar::number) else {
            notes.add("value", number, "has no value that is a number; left out");
            return Ok(());
        };
        match self.names.find(metric, line.kind.as_deref(), &line.labels) {
            Ok(found) => {
                let before = self.samples.refused();
                put(&mut self.samples, &found, value);
                self.refused(before, number, notes);
                report.took(1);
                if let Some((_, waiting)) = &mut self.open {
                    *waiting += 1;
                }
            }
            Err(refused) => left_out(refused, number, notes),
        }
        Ok(())
    }

    fn refused(&self, before: u64, number: u64, notes: &mut Notes) {
        let limit = self.config.collector.max_series;
        if self.samples.refused() > before {
            notes.add_with("series", number, || {
                format!("more than {limit} series: further ones are left out; collector.max_series raises the limit")
            });
        }
    }

    /// Ends the pass that readings of one moment make.
    fn flush(&mut self, report: &mut Report<impl Write>, _: &mut Notes, _: u64) -> Result<(), Trouble> {
        if self.open.take().is_none() {
            return Ok(());
        }
        if let Some(table) = self.table.take() {
            self.samples.put_processes(table);
        }
        self.hand_over(report)
    }

    fn hand_over(&mut self, report: &mut Report<impl Write>) -> Result<(), Trouble> {
        let mut batch = self.samples.finish();
        if let Some(drive) = &mut self.drive {
            drive.batch(&mut batch, report)?;
        }
        self.spare = Some(batch);
        Ok(())
    }

    fn processes(&mut self, rows: &[Vec<Value>], total: usize) -> ProcTable {
        let mut table = self.samples.empty_table();
        table.rows.extend(rows.iter().take(crate::sample::MAX_PROC_ROWS).filter_map(|row| process(row)));
        table.total = total.max(table.rows.len());
        let head = table.rows.len().min(crate::sample::ROWS_IN_ORDER);
        table.rows[..head].sort_by_key(|row| std::cmp::Reverse(row.rss_bytes));
        table
    }

    fn finish(
        mut self,
        report: &mut Report<impl Write>,
        notes: &mut Notes,
        number: u64,
    ) -> Result<(), Trouble> {
        self.flush(report, notes, number)?;
        if let Some(mut drive) = self.drive {
            for event in self.log.finish(drive.now()) {
                drive.event(event, report)?;
            }
            drive.finish(report)?;
        }
        Ok(())
    }
}

fn left_out((kind, problem): Refused, number: u64, notes: &mut Notes) {
    notes.add(kind, number, format!("{problem}; left out"));
}

fn put(samples: &mut Samples, found: &Found, value: f64) {
    // Few metrics have more than four labels.
    let labels: Vec<&str> = found.labels.iter().map(String::as_str).collect();
    samples.put(found.metric, &labels, value);
}
