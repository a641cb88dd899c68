//! `timestamp,value`: one series, judged as a metric of its own, or as the one that the header names.

use std::collections::BTreeMap;
use std::io::Write;

use super::Trouble;
use super::clock::{Clock, Leap, time};
use super::drive::{Drive, Whose};
use super::input::{Input, Next};
use super::notes::Notes;
use super::report::Report;
use super::series::Names;
use crate::config::Config;
use crate::metric::Metric;
use crate::sample::Samples;
use crate::text::{clean, span};

/// Name of a series that is none of the agent's metrics: `engine::analysis` watches its course.
const NAME: &str = "value";
const MAX_SHOWN: usize = 60;
/// What spreadsheets write between columns.
const SEPARATORS: [char; 3] = [',', ';', '\t'];

/// Whether a line is a row that can be used.
pub(super) fn is_row(line: &str) -> bool {
    split(line).is_some_and(|(at, value)| time(at).is_some() && value.parse::<f64>().is_ok())
}

/// Whether a line names columns.
pub(super) fn is_header(line: &str) -> bool {
    split(line).is_some_and(|(at, value)| {
        let at = at.to_ascii_lowercase();
        // A line of a log may have a comma too.
        let is_name = at.starts_with(|c: char| c.is_ascii_alphabetic()) && !at.contains(':');
        is_name && value.parse::<f64>().is_err() && (at.contains("time") || at.contains("date"))
    })
}

/// How many columns a row with more than two has, or the line that names them.
pub(super) fn more_columns(line: &str) -> Option<usize> {
    let separator = line.trim().chars().find(|c| SEPARATORS.contains(c))?;
    let mut fields = line.trim().split(separator).map(bare);
    let first = fields.next()?;
    let others = fields.clone().count();
    let is_row = || {
        time(first).is_some() && fields.clone().all(|value| value.is_empty() || value.parse::<f64>().is_ok())
    };
    let is_header = || is_header(&format!("{first},-")) && !first.contains(' ');
    (others > 1 && (is_row() || is_header())).then_some(others + 1)
}

/// Both columns, without quotes.
fn split(line: &str) -> Option<(&str, &str)> {
    let (at, value) = line.trim().split_once(SEPARATORS)?;
    (!value.contains(SEPARATORS)).then(|| (bare(at), bare(value)))
}

fn bare(text: &str) -> &str {
    text.trim().trim_matches('"')
}

/// One series on its way through the engine.
struct Series {
    metric: &'static Metric,
    labels: Vec<String>,
    clock: Clock,
    samples: Samples,
    drive: Option<Drive>,
}

/// Runs all rows.
pub(super) fn run(
    config: &Config,
    input: &mut Input<'_>,
    report: &mut Report<impl Write>,
    notes: &mut Notes,
) -> Result<(), Trouble> {
    let mut series: Option<Series> = None;
    loop {
        let row = match input.next_line() {
            Next::End => break,
            Next::Line(line) if line.trim().is_empty() => continue,
            Next::Line(line) => parse(line)
                .map(|(stamp, wall_ns, value)| (stamp.to_owned(), wall_ns, value))
                .or_else(|problem| {
                    if series.is_none() && is_header(line) {
                        series = Some(Series::new(config, split(line).map_or(NAME, |(_, name)| name)));
                        return Ok((String::new(), 0, f64::NAN));
                    }
                    Err(problem)
                }),
            Next::Bad(problem) => Err(("bad", problem)),
        };
        match row {
            Err((kind, problem)) => notes.add(kind, input.number(), problem),
            Ok((stamp, ..)) if stamp.is_empty() => {}
            Ok((stamp, wall_ns, value)) => {
                let series = series.get_or_insert_with(|| Series::new(config, NAME));
                report.row(&stamp);
                series.row(config, (wall_ns, value), input.number(), report, notes)?;
            }
        }
    }
    if let Some(mut drive) = series.and_then(|series| series.drive) {
        drive.finish(report)?;
    }
    Ok(())
}

/// Time as written, time, value.
fn parse(line: &str) -> Result<(&str, i64, f64), (&'static str, String)> {
    let shown = || clean(line, MAX_SHOWN);
    let columns =
        || ("columns", format!("\"{}\" is no row of two columns, timestamp,value; left out", shown()));
    let (stamp, value) = split(line).ok_or_else(columns)?;
    let wall_ns = time(stamp).ok_or_else(|| {
        let forms = "RFC 3339, YYYY-MM-DD HH:MM:SS or Unix seconds";
        ("time", format!("\"{}\" is no time ({forms}, 1970 to 2199); left out", clean(stamp, MAX_SHOWN)))
    })?;
    let number = || ("value", format!("\"{}\" is no number; left out", clean(value, MAX_SHOWN)));
    let value: f64 = value.parse().map_err(|_| number())?;
    if value.is_finite() { Ok((stamp, wall_ns, value)) } else { Err(number()) }
}

impl Series {
    /// A series with the name of its column: one of the agent's metrics is judged as such, any other by its course alone.
    fn new(config: &Config, name: &str) -> Self {
        let found = Names::new().find_known(name, &BTreeMap::new());
        let (metric, labels) = found.map_or((&VALUE, Vec::new()), |found| (found.metric, found.labels));
        let samples = Samples::beginning(crate::sample::OWN_SERIES, config.collector.max_series);
        Self { metric, labels, clock: Clock::default(), samples, drive: None }
    }

    fn row(
        &mut self,
        config: &Config,
        (wall_ns, value): (i64, f64),
        line: u64,
        report: &mut Report<impl Write>,
        notes: &mut Notes,
    ) -> Result<(), Trouble> {
        let (now, leap) = self.clock.at(wall_ns, false);
        leap.note(line, notes);
        let drive = self.drive.get_or_insert_with(|| Drive::new(config, Whose::default(), now));
        drive.pass(now, report)?;
        self.samples.begin("replay", now, None);
        let labels: Vec<&str> = self.labels.iter().map(String::as_str).collect();
        self.samples.put(self.metric, &labels, value);
        report.took(1);
        drive.batch(&mut self.samples.finish(), report)?;
        Ok(())
    }
}

static VALUE: Metric = Metric {
    name: NAME,
    prometheus: "",
    kind: crate::metric::Kind::Gauge,
    unit: crate::metric::Unit::Count,
    labels: &[],
    help: "A series of a file.",
    source: "a file",
};

impl Leap {
    /// Says so where it is out of the ordinary.
    pub(super) fn note(self, line: u64, notes: &mut Notes) {
        match self {
            Self::On => {}
            Self::Same => notes.add("same", line, "the same time as the row before: taken as the next one"),
            Self::Back(secs) => notes.add_with("back", line, || {
                format!(
                    "the time goes back by {}: taken as a clock that was set; rows stay in their order",
                    span(secs)
                )
            }),
            Self::Ahead(secs) => {
                notes.add_with("ahead", line, || format!("the time jumps ahead by {}", span(secs)));
            }
        }
    }
}
