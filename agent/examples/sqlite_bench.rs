//! What SQLite history costs: a recording of a busy machine, tiled to a day of 1,000 series, written hour by hour as the agent does.
//!
//! `sqlite_bench FILE` prints bytes a row, what is written, processor time, and resident memory before and after.
#![expect(clippy::disallowed_methods, reason = "a tool that measures")]

#[path = "../tests/history/recording.rs"]
mod recording;
#[path = "../tests/history/tile.rs"]
mod tile;

use std::error::Error;
use std::fs;
use std::path::Path;

use recording::Recording;
use rustix::time::{ClockId, clock_gettime};
use sysops_agent::engine::look_back::{Point, Track};
use sysops_agent::metric::{Kind, Metric, Unit};
use sysops_agent::service::history::sqlite::Database;
use tile::Tile;

const SERIES: usize = 1000;
/// Readings at 10 s.
const IN_A_MINUTE: usize = 6;
const HOURS: usize = 24;
const MINUTES: usize = 60;
/// The day begins here, minutes since 1970.
const BEGIN: usize = 29_500_000;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("sqlite_bench FILE")?;
    let recording = Recording::read(&fs::read(&file)?).ok_or("this is no recording")?;
    let tiles: Vec<Tile> = recording.series.iter().map(|series| Tile::new(series, &recording)).collect();
    let names: Vec<String> = recording.series.iter().map(|series| series.metric.clone()).collect();
    let metrics: Vec<&'static Metric> = names.into_iter().map(metric).collect();
    let home = tempfile::tempdir()?;
    let path = home.path().join("metrics.db");
    // What the agent has to fetch anyway is there before.
    let hour = |nth: usize| -> Vec<(Track, i64)> {
        (0..SERIES).map(|id| track(&tiles[id % tiles.len()], metrics[id % tiles.len()], id, nth)).collect()
    };
    let first = hour(0);
    let before = memory("VmRSS")?;
    let (mut database, _) = Database::open(&path).map_err(|trouble| trouble.why)?;
    let opened = memory("VmRSS")?;
    let (mut rows, mut nanos, mut largest) = (0, 0.0, 0.0_f64);
    for nth in 0..HOURS {
        let tracks = if nth == 0 { first.clone() } else { hour(nth) };
        let begin = cpu_ns();
        let until = (BEGIN + (nth + 1) * MINUTES) as i64;
        rows += database.write(&tracks, until).map_err(|trouble| trouble.why)?;
        nanos += cpu_ns() - begin;
        drop(tracks);
        largest = largest.max(memory("VmRSS")?);
    }
    let log = beside(&path, "-wal");
    drop(database);
    let bytes = fs::metadata(&path)?.len() as f64;
    println!("| {SERIES} series, a day in SQLite | |\n|---|---|");
    println!("| rows of a minute | {rows} |");
    println!("| bytes a row, indexes and names included | {:.1} |", bytes / rows as f64);
    println!("| file, MB | {:.1} |", bytes / 1e6);
    println!("| write-ahead log beside it, at most, MB | {:.1} |", log / 1e6);
    println!("| processor time a day, seconds | {:.2} |", nanos / 1e9);
    println!("| resident memory: opened, MB more | {:.1} |", (opened - before) / 1e6);
    println!("| … after each hour's writing, at most, MB more | {:.1} |", (largest - before) / 1e6);
    Ok(())
}

/// A metric of that name, for as long as the program runs.
fn metric(name: String) -> &'static Metric {
    Box::leak(Box::new(Metric {
        name: name.leak(),
        prometheus: "",
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &["name"],
        help: "",
        source: "",
    }))
}

/// An hour of a series in minutes, of which the labels make another one.
fn track(tile: &Tile, metric: &'static Metric, id: usize, hour: usize) -> (Track, i64) {
    let points = (hour * MINUTES..(hour + 1) * MINUTES).map(|minute| {
        let readings = (0..IN_A_MINUTE).map(|nth| tile.sample(minute * IN_A_MINUTE + nth).1);
        let (mut sum, mut min, mut max) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
        for value in readings {
            (sum, min, max) = (sum + value, f64::min(min, value), f64::max(max, value));
        }
        let at_ns = (BEGIN + minute) as i64 * 60_000_000_000;
        Point { at_ns, mean: sum / IN_A_MINUTE as f64, min, max, count: IN_A_MINUTE as u32 }
    });
    let labels = [format!("series-{id}").into()];
    (Track { metric, labels: labels.into(), points: points.collect() }, 0)
}

/// Bytes of a row of `/proc/self/status`.
fn memory(row: &str) -> Result<f64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(row)).ok_or("no such row")?;
    let kib: f64 = line.trim_matches([':', '\t', ' ']).trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1024.0)
}

fn beside(path: &Path, end: &str) -> f64 {
    fs::metadata(format!("{}{end}", path.display())).map_or(0.0, |file| file.len() as f64)
}

fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}
