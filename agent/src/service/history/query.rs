//! `sysops-agent query`: the question, and the answer of the running agent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Sender;

use super::super::pipeline::Message;
use crate::engine::look_back::{Point, Track, Tracks, Wish};
use crate::host::clock;
use crate::time::SECOND;

/// Points of one answer at most.
pub const MAX_POINTS: usize = 100_000;
/// Series of one answer at most.
pub const MAX_SERIES: usize = 4000;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Wire name of a metric.
    pub metric: String,
    /// Labels a series must have.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How far back, seconds.
    pub since_secs: u64,
    /// Seconds that become one point; 0: each reading is one.
    #[serde(default)]
    pub step_secs: u64,
}

/// What history has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// When it was asked, Unix seconds.
    pub now: f64,
    /// Series with points.
    pub series: Vec<Line>,
    /// Series that match, with points or without.
    pub matching: usize,
}

/// A series.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Label values in the metric's order.
    pub labels: Vec<String>,
    /// Its points, oldest first.
    pub points: Vec<Dot>,
}

/// A point: Unix seconds, mean, least, greatest, number of readings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dot(pub f64, pub f64, pub f64, pub f64, pub u32);

impl Dot {
    fn of(point: &Point, tracks: &Tracks) -> Self {
        let Point { at_ns, mean, min, max, count } = *point;
        Self(tracks.wall_ns(at_ns) as f64 / SECOND as f64, mean, min, max, count)
    }

    /// JSON has no other numbers.
    fn is_finite(&self) -> bool {
        [self.1, self.2, self.3].iter().all(|value| value.is_finite())
    }
}

/// Asks the engine. An error is a sentence.
pub async fn answer(inbox: &Sender<Message>, question: Question) -> Result<Answer, String> {
    let now = clock::now();
    let Question { metric, labels, since_secs, step_secs } = question;
    let back = since_secs.saturating_mul(SECOND).min(i64::MAX as u64) as i64;
    let mut wish = Wish {
        metric: Some(metric),
        labels,
        from_ns: (now.mono_ns as i64).saturating_sub(back),
        to_ns: i64::MAX,
        step_ns: step_secs.saturating_mul(SECOND),
        begin: 0,
    };
    let mut answer = Answer { now: now.wall_ns as f64 / SECOND as f64, ..Answer::default() };
    loop {
        let tracks = super::ask(inbox, wish.clone()).await?;
        answer.matching += tracks.matching;
        answer.series.extend(tracks.tracks.iter().map(|track| line(track, &tracks)));
        check_size(&answer)?;
        let Some(next) = tracks.next else { return Ok(answer) };
        wish.begin = next;
    }
}

fn line(track: &Track, tracks: &Tracks) -> Line {
    let points = track.points.iter().map(|point| Dot::of(point, tracks)).filter(Dot::is_finite).collect();
    Line { labels: track.labels.iter().map(ToString::to_string).collect(), points }
}

/// An answer has its limit.
pub fn check_size(answer: &Answer) -> Result<(), String> {
    let points: usize = answer.series.iter().map(|line| line.points.len()).sum();
    if points > MAX_POINTS || answer.series.len() > MAX_SERIES {
        return Err(format!(
            "that is more than {MAX_POINTS} points: ask for one series (--label) or a shorter time (--since)"
        ));
    }
    Ok(())
}
