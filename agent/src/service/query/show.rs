//! An answer as text. All names in it come from outside and are made harmless.

use std::borrow::Cow;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::super::history::query::{Answer, Line, Question};
use super::plot;
use crate::metric::Metric;
use crate::text::{clean, span, with_unit};

/// Series with a plot of their own at most.
const MAX_PLOTS: usize = 6;
/// Longest label, characters.
const LABEL: usize = 80;
/// Columns of the small course in the table.
const SPARK: usize = 24;

/// What is shown.
pub(super) struct Sheet<'a> {
    pub(super) metric: &'a Metric,
    pub(super) question: &'a Question,
    pub(super) answer: &'a Answer,
    pub(super) notes: &'a [String],
}

/// Of all points of a series.
struct Summary {
    newest: f64,
    min: f64,
    mean: f64,
    max: f64,
    count: u64,
}

impl Sheet<'_> {
    pub(super) fn table(&self) -> String {
        let mut out = self.title();
        let names: Vec<String> = self.answer.series.iter().map(|line| self.name(line)).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let head = ["newest", "least", "mean", "greatest", "readings"];
        let _ = write!(out, "{:width$}", "");
        for cell in head {
            let _ = write!(out, "  {cell:>10}");
        }
        out += "\n";
        for (line, name) in self.answer.series.iter().zip(&names) {
            let s = summary(line);
            let _ = write!(out, "{name:width$}");
            for value in [s.newest, s.min, s.mean, s.max] {
                let _ = write!(out, "  {:>10}", self.value(value));
            }
            let course = plot::spark(&self.columns(line, SPARK));
            let _ = writeln!(out, "  {:>10}  {course}", s.count);
        }
        self.close(out)
    }

    pub(super) fn plots(&self) -> String {
        let mut out = self.title();
        for line in self.answer.series.iter().take(MAX_PLOTS) {
            out += "\n";
            self.one(line, &mut out);
        }
        let more = self.answer.series.len().saturating_sub(MAX_PLOTS);
        if more > 0 {
            let _ = writeln!(out, "\nand {more} more series: name some with --label");
        }
        self.close(out)
    }

    fn one(&self, line: &Line, out: &mut String) {
        let columns = self.columns(line, plot::WIDTH);
        let (min, max) = plot::range(&columns).unwrap_or_default();
        let (top, bottom) = (self.value(max), self.value(min));
        let width = top.chars().count().max(bottom.chars().count());
        let name = self.name(line);
        if !name.is_empty() {
            let _ = writeln!(out, "{name}");
        }
        let rows = plot::rows(&columns);
        for (nth, row) in rows.iter().enumerate() {
            let mark = if nth == 0 {
                &top
            } else if nth + 1 == rows.len() {
                &bottom
            } else {
                ""
            };
            let _ = writeln!(out, "{mark:>width$} │{}", row.trim_end());
        }
        let (from, to) = (self.time(self.begin()), self.time(self.answer.now));
        let gap = plot::WIDTH.saturating_sub(from.chars().count());
        let _ = writeln!(out, "{:width$} └{}", "", "─".repeat(plot::WIDTH));
        let _ = writeln!(out, "{:width$}  {from}{to:>gap$}", "");
        let s = summary(line);
        let [newest, least, mean, most] = [s.newest, s.min, s.mean, s.max].map(|value| self.value(value));
        let _ = writeln!(
            out,
            "{:width$}  newest {newest}, least {least}, mean {mean}, greatest {most}, {} readings",
            "", s.count
        );
    }

    pub(super) fn json(&self) -> String {
        let step = self.question.step_secs;
        let series: Vec<Value> = self.answer.series.iter().map(|line| self.series(line)).collect();
        let all = json!({
            "metric": self.metric.name,
            "unit": self.metric.unit.name(),
            "since": stamp(self.begin()),
            "until": stamp(self.answer.now),
            "step_secs": step,
            "notes": self.notes,
            "series": series,
        });
        serde_json::to_string_pretty(&all).map_or_else(|error| error.to_string(), |text| text + "\n")
    }

    fn series(&self, line: &Line) -> Value {
        let labels: Map<String, Value> =
            self.labels(line).map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        let point = |dot: &super::Dot| {
            let (time, value) = (stamp(dot.0), dot.1);
            if dot.4 == 1 {
                return json!({ "time": time, "value": value });
            }
            json!({ "time": time, "value": value, "min": dot.2, "max": dot.3, "count": dot.4 })
        };
        json!({ "labels": labels, "points": line.points.iter().map(point).collect::<Vec<_>>() })
    }

    pub(super) fn csv(&self) -> String {
        let mut out = "time".to_owned();
        self.metric.labels.iter().for_each(|name| _ = write!(out, ",{name}"));
        out += ",value,min,max,count\n";
        for line in &self.answer.series {
            let mut cells = String::new();
            for (_, value) in self.labels(line) {
                let _ = write!(cells, ",{}", cell(value));
            }
            for dot in &line.points {
                let _ = writeln!(out, "{}{cells},{},{},{},{}", stamp(dot.0), dot.1, dot.2, dot.3, dot.4);
            }
        }
        out
    }

    fn title(&self) -> String {
        let step = match self.question.step_secs {
            0 => String::new(),
            step => format!(", means of {}", span(step)),
        };
        format!("{}, the last {}{step}\n", self.metric.name, span(self.question.since_secs))
    }

    fn close(&self, mut out: String) -> String {
        self.notes.iter().for_each(|note| _ = writeln!(out, "({})", clean(note, 400)));
        out
    }

    fn labels<'l>(&self, line: &'l Line) -> impl Iterator<Item = (&'static str, &'l str)> {
        self.metric.labels.iter().copied().zip(line.labels.iter().map(String::as_str))
    }

    fn name(&self, line: &Line) -> String {
        let shown: Vec<_> = self.labels(line).map(|(k, v)| format!("{k}={}", clean(v, LABEL))).collect();
        shown.join(" ")
    }

    fn columns(&self, line: &Line, width: usize) -> Vec<Option<f64>> {
        let points: Vec<_> = line.points.iter().map(|dot| (dot.0, dot.1)).collect();
        plot::columns(&points, self.begin(), self.answer.now, width)
    }

    fn begin(&self) -> f64 {
        self.answer.now - self.question.since_secs as f64
    }

    fn value(&self, value: f64) -> String {
        with_unit(self.metric.unit, value)
    }

    /// A moment for people, in local time.
    fn time(&self, secs: f64) -> String {
        let form = if self.question.since_secs > 86_400 { "%m-%d %H:%M" } else { "%H:%M:%S" };
        let at = Timestamp::from_second(secs as i64).map(|at| at.to_zoned(TimeZone::system()));
        at.map_or_else(|_| "?".to_owned(), |at| at.strftime(form).to_string())
    }
}

fn summary(line: &Line) -> Summary {
    let mut all = Summary { newest: 0.0, min: f64::INFINITY, mean: 0.0, max: f64::NEG_INFINITY, count: 0 };
    for dot in &line.points {
        all.newest = dot.1;
        (all.min, all.max) = (all.min.min(dot.2), all.max.max(dot.3));
        all.count += u64::from(dot.4);
        all.mean += (dot.1 - all.mean) * f64::from(dot.4) / all.count.max(1) as f64;
    }
    all
}

/// RFC 3339 in UTC, to the millisecond.
fn stamp(secs: f64) -> String {
    let at = Timestamp::from_millisecond((secs * 1000.0).round() as i64);
    at.map_or_else(|_| "?".to_owned(), |at| format!("{at:.3}"))
}

/// A cell of a CSV file: no control characters, quoted where need be, and no formula to the program that opens it.
fn cell(text: &str) -> String {
    let text = clean(text, 4096);
    let formula = text.starts_with(['=', '+', '-', '@']);
    let text = if formula { Cow::from(format!("'{text}")) } else { Cow::from(text) };
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into_owned() }
}
