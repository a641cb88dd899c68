//! `sysops-agent query`: what history has of a metric, from the running agent, its files, or the database.
//!
//! ```text
//! agent (control socket) ─┐ no agent: its files in data_dir/history
//!                         ├─► lines ─► table, plot, JSON, CSV
//! SQLite: what is older ──┘
//! ```

mod plot;
mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::control::client;
use super::control::protocol::Request;
use super::history::query::{Answer, Dot, Line, Question, check_size};
use super::history::segments::{self, Segments};
use crate::cli::Query;
use crate::config::nearest;
use crate::engine::look_back::gather;
use crate::engine::store::Store;
use crate::history::Key;
use crate::history::chunk::Loader;
use crate::host::clock;
use crate::metric::{Kind, Metric};
use crate::text::{clean, span};
use crate::time::{Now, SECOND};
use crate::{edge, formulas};

/// Up to so many seconds back each reading is told …
const IN_FULL_SECS: u64 = 6 * 3600;
/// … and of more about this many means.
const ABOUT: u64 = 2000;
/// Names like an unknown one that are listed.
const LIKE: usize = 8;

/// Where history is.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `agent.data_dir`.
    pub data_dir: PathBuf,
    /// The database, where one is kept.
    pub sqlite: Option<PathBuf>,
}

/// What was found, and where.
struct Found {
    answer: Answer,
    /// Sentences about where it is from.
    notes: Vec<String>,
}

/// What to print. An error is a sentence.
pub fn run(asked: &Query, places: &Places) -> Result<String, String> {
    let metric = known(&asked.metric, &edge::metrics())?;
    labels_of(metric, &asked.label)?;
    let step_secs = match asked.since {
        ..=IN_FULL_SECS => 0,
        long => (long / ABOUT).next_multiple_of(60).max(60),
    };
    let labels: BTreeMap<_, _> = asked.label.iter().cloned().collect();
    let question = Question { metric: metric.name.to_owned(), labels, since_secs: asked.since, step_secs };
    let mut found = of_ring(&question, metric, places)?;
    of_database(&question, metric, places, &mut found);
    check_size(&found.answer)?;
    found.answer.series.retain(|line| !line.points.is_empty());
    if found.answer.series.is_empty() {
        return Err(nothing(&question, &found));
    }
    let sheet = show::Sheet { metric, question: &question, answer: &found.answer, notes: &found.notes };
    Ok(match () {
        () if asked.json => sheet.json(),
        () if asked.csv => sheet.csv(),
        () if asked.plot => sheet.plots(),
        () => sheet.table(),
    })
}

/// The metric by this name. What counts up is kept as its rate.
fn known(name: &str, all: &[&'static Metric]) -> Result<&'static Metric, String> {
    let shown = clean(name, 80);
    let Some(metric) = all.iter().find(|metric| metric.name == name) else {
        return Err(format!("there is no metric {shown}{}", like(name, all)));
    };
    if metric.kind == Kind::Gauge {
        return Ok(metric);
    }
    let counts = |list: &[&Metric]| list.iter().any(|above| above.name == metric.name);
    let rates: Vec<&str> =
        formulas::FORMULAS.iter().filter(|f| counts(f.above)).map(|f| f.out.name).collect();
    let instead = if rates.is_empty() {
        "its history is not kept; /metrics has its newest value".to_owned()
    } else {
        format!("history keeps what is computed from it: {}", rates.join(", "))
    };
    Err(format!("{} counts up for ever: {instead}", metric.name))
}

fn like(name: &str, all: &[&'static Metric]) -> String {
    let gauges = || all.iter().filter(|metric| metric.kind == Kind::Gauge).map(|metric| metric.name);
    let near = nearest(name, gauges());
    let parts: Vec<&str> = name.split('_').filter(|part| part.len() > 2).collect();
    let within =
        |metric: &&str| parts.iter().any(|part| metric.split('_').any(|word| word.starts_with(*part)));
    let mut names: Vec<&str> = near.into_iter().collect();
    names.extend(gauges().filter(within).filter(|metric| Some(*metric) != near));
    let more = names.len().saturating_sub(LIKE);
    names.truncate(LIKE);
    match (names.is_empty(), more) {
        (true, _) => "; docs/METRICS.md lists all of them".to_owned(),
        (false, 0) => format!("; like it are: {}", names.join(", ")),
        (false, more) => format!("; like it are: {} and {more} more", names.join(", ")),
    }
}

fn labels_of(metric: &Metric, asked: &[(String, String)]) -> Result<(), String> {
    let Some((name, _)) = asked.iter().find(|(name, _)| !metric.labels.contains(&name.as_str())) else {
        return Ok(());
    };
    let has = match metric.labels {
        [] => "it has none".to_owned(),
        labels => format!("it has: {}", labels.join(", ")),
    };
    Err(format!("{} has no label {}: {has}", metric.name, clean(name, 80)))
}

fn nothing(question: &Question, found: &Found) -> String {
    let Question { metric, labels, since_secs, .. } = question;
    let which = if labels.is_empty() { "" } else { " with these labels" };
    let mut why = if found.answer.matching > 0 {
        format!("{metric} has no reading{which} in the last {}", span(*since_secs))
    } else {
        format!(
            "history has no series of {metric}{which}: this host has no such thing, or its collector is off or has not \
             come yet (sysops-agent status)"
        )
    };
    for note in &found.notes {
        why += "; ";
        why += note;
    }
    why
}

/// From the agent; where none runs, from its files.
fn of_ring(question: &Question, metric: &Metric, places: &Places) -> Result<Found, String> {
    let Err(nobody) = client::reach(&places.data_dir) else {
        let answer = client::ask(&places.data_dir, &Request::Query(question.clone()))?;
        return Ok(Found { answer, notes: Vec::new() });
    };
    let now = clock::now();
    let dir = places.data_dir.join(segments::DIR);
    match of_files(&dir, question, metric, now) {
        Ok((answer, newest)) if newest > 0 => {
            let age = u64::try_from(now.wall_ns.saturating_sub(newest)).unwrap_or(0) / SECOND;
            let note = format!("no agent answers: this is what it wrote {} ago", span(age));
            Ok(Found { answer, notes: vec![note] })
        }
        Ok(_) | Err(_) if places.sqlite.is_some() => {
            let answer = Answer { now: now.wall_ns as f64 / SECOND as f64, ..Answer::default() };
            Ok(Found { answer, notes: vec![nobody] })
        }
        Ok(_) => Err(nobody),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(nobody),
        Err(error) => Err(format!("{nobody}. What it wrote to {} cannot be read: {error}", dir.display())),
    }
}

fn of_files(dir: &Path, question: &Question, metric: &Metric, now: Now) -> std::io::Result<(Answer, i64)> {
    let mut store = Store::with_past(usize::MAX / 2);
    let span_ns = question.since_secs.saturating_mul(SECOND);
    // Of no boot: every moment is told by the wall clock.
    let mut loader = Loader::new(&mut store, "", now, span_ns);
    let found = Segments::peek(dir, &mut loader)?;
    let wanted = |key: &Key| {
        let value = |name: &str| {
            let at = metric.labels.iter().position(|label| *label == name)?;
            key.labels.get(at).map(|label| &**label)
        };
        *key.metric == *metric.name
            && key.labels.len() == metric.labels.len()
            && question.labels.iter().all(|(name, wanted)| value(name) == Some(wanted))
    };
    let mut answer = Answer { now: now.wall_ns as f64 / SECOND as f64, ..Answer::default() };
    for (key, id) in store.waiting().filter(|(key, _)| wanted(key)) {
        let samples = store.stretch_waiting(id, i64::MIN / 2, i64::MAX);
        let finite = samples.filter(|(_, value)| value.is_finite());
        let points = gather(finite, now, question.step_secs.saturating_mul(SECOND));
        let ahead = now.wall_ns.saturating_sub(now.mono_ns as i64);
        let dot = |at_ns: i64| at_ns.saturating_add(ahead) as f64 / SECOND as f64;
        let points = points.iter().map(|p| Dot(dot(p.at_ns), p.mean, p.min, p.max, p.count)).collect();
        answer.series.push(Line { labels: key.labels.iter().map(ToString::to_string).collect(), points });
        answer.matching += 1;
    }
    answer.series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok((answer, found.newest))
}

/// Adds what is older than the ring.
#[cfg(feature = "sqlite")]
fn of_database(question: &Question, metric: &Metric, places: &Places, found: &mut Found) {
    let Some(path) = &places.sqlite else { return };
    let begin = found.answer.now - question.since_secs as f64;
    let first = |line: &Line| line.points.first().map_or(f64::INFINITY, |dot| dot.0);
    let slack = question.step_secs.max(60) as f64 * 2.0;
    let series = &found.answer.series;
    if !series.is_empty() && series.iter().all(|line| first(line) <= begin + slack) {
        return;
    }
    match super::history::sqlite::read(path, metric, question, begin as i64) {
        Ok(lines) => {
            found.answer.matching += lines.len();
            for older in lines {
                merge(&mut found.answer.series, older, question.step_secs.max(60));
            }
        }
        Err(why) => found.notes.push(why),
    }
}

#[cfg(not(feature = "sqlite"))]
fn of_database(_: &Question, _: &Metric, places: &Places, found: &mut Found) {
    if places.sqlite.is_some() {
        found.notes.push("the database is not read: this build is without the feature sqlite".to_owned());
    }
}

/// Points of the database, of `width_secs` each, that are older than the ring's of the same series. Where both have readings of
/// one stretch of time the one with more of them stands: no reading is counted twice.
#[cfg(feature = "sqlite")]
fn merge(series: &mut Vec<Line>, mut older: Line, width_secs: u64) {
    let Some(line) = series.iter_mut().find(|line| line.labels == older.labels) else {
        series.push(older);
        return;
    };
    let first = line.points.first().map_or(f64::INFINITY, |dot| dot.0);
    older.points.retain(|dot| dot.0 <= first);
    if let Some(seam) = older.points.last().copied() {
        let end = seam.0 + width_secs as f64;
        let shared = line.points.iter().take_while(|dot| dot.0 < end);
        let (points, readings) =
            shared.fold((0, 0), |(points, readings), dot| (points + 1, readings + dot.4));
        if points > 0 && readings >= seam.4 {
            older.points.pop();
        } else {
            line.points.drain(..points);
        }
    }
    older.points.append(&mut line.points);
    line.points = older.points;
}
