//! What a day of history costs: a recording of a busy machine, tiled to 24 h and 1,000 series. `cargo xtask bench history` runs it.
//!
//! `history_bench FILE` prints bytes a sample by kind of metric, and time to append and to read beside plain vectors.
#![expect(clippy::disallowed_methods, reason = "a tool that measures")]

#[path = "../tests/history/recording.rs"]
mod recording;
#[path = "../tests/history/tile.rs"]
mod tile;

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;

use recording::{Recorded, Recording};
use rustix::time::{ClockId, clock_gettime};
use sysops_agent::history::chunk::{Chunk, Loader, Names};
use sysops_agent::history::{Key, Store};
use sysops_agent::sample::SeriesId;
use sysops_agent::time::Now;
use tile::Tile;

/// Series and samples of each: 24 h at 10 s.
const SERIES: usize = 1000;
const SAMPLES: usize = 8640;
/// Series of one kind, to see what it costs alone.
const ALONE: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("history_bench FILE")?;
    let recording = Recording::read(&std::fs::read(&file)?).ok_or("this is no recording")?;
    let tiles: Vec<Tile> = recording.series.iter().map(|series| Tile::new(series, &recording)).collect();
    let mut kinds: BTreeMap<String, Vec<&Tile>> = BTreeMap::new();
    for (tile, series) in tiles.iter().zip(&recording.series) {
        kinds.entry(kind(series)).or_default().push(tile);
    }
    let longest = recording.times.iter().map(Vec::len).max().unwrap_or_default();
    println!("{} series of {longest} samples were recorded.\n", tiles.len());
    println!("| kind of metric | series recorded | bytes a sample |\n|---|---|---|");
    for (kind, tiles) in &kinds {
        let store = fill(&tiles.iter().cycle().take(ALONE).copied().collect::<Vec<_>>());
        println!("| {kind} | {} | {:.2} |", tiles.len(), store.bytes() as f64 / (ALONE * SAMPLES) as f64);
    }
    let all: Vec<&Tile> = tiles.iter().cycle().take(SERIES).collect();
    let (append, store) = cost(|| fill(&all));
    let (append_plain, plain) = cost(|| fill_plain(&all));
    // What it takes to make the samples is a cost of neither.
    let (make, ()) = cost(|| {
        for nth in 0..SAMPLES {
            for tile in &all {
                black_box(tile.sample(nth));
            }
        }
    });
    let (read, sum) =
        cost(|| -> f64 { (0..SERIES as u32).map(|id| store.since(SeriesId(id), 0).sum::<f64>()).sum() });
    let (read_plain, sum_plain) =
        cost(|| -> f64 { plain.iter().map(|s| s.iter().map(|s| s.1).sum::<f64>()).sum() });
    let off = (sum / sum_plain - 1.0).abs();
    let kept: usize = (0..SERIES as u32).map(|id| store.since(SeriesId(id), 0).count()).sum();
    let (read, read_plain) = (read / kept as f64, read_plain / (SERIES * SAMPLES) as f64);
    let count = (SERIES * SAMPLES) as f64;
    let (own, floor) = ((append - make) / count, (append_plain - make) / count);
    println!(
        "\n| {SERIES} series, {SAMPLES} samples each | goal | history | plain vectors |\n|---|---|---|---|"
    );
    println!("| memory, MB | 20 | {:.1} | {:.1} |", store.bytes() as f64 / 1e6, count * 16.0 / 1e6);
    println!("| bytes a sample | | {:.2} | 16 |", store.bytes() as f64 / count);
    println!("| error of the sum of all | | {off:.1e} | 0 |");
    println!("| blocks given up early | 0 | {} | |", store.evicted());
    println!("| ns an append | 60 | {own:.1} | {floor:.1} |");
    println!("| ns a sample read | 15 | {read:.1} | {read_plain:.1} |");
    let (writing, (written, chunks)) = cost(|| write_down(&all));
    println!("| on disk, MB a day | | {:.1} | |", written as f64 / 1e6);
    println!("| ns a sample written | | {:.1} | |", (writing - make) / count);
    let (loading, back) = cost(|| read_back(&chunks));
    println!("| read back at a start, seconds of CPU | | {:.2} | |", loading / 1e9);
    println!("| memory after that, MB | | {:.1} | |", back.bytes() as f64 / 1e6);
    Ok(())
}

/// Chunks of five minutes, in segments of an hour.
type Chunks = Vec<Vec<Vec<u8>>>;

const CHUNK: usize = 30;
const CHUNKS_IN_SEGMENT: usize = 12;
const BOOT: &str = "00000000-0000-0000-0000-000000000000";

/// What the agent writes in a day, and its bytes.
fn write_down(tiles: &[&Tile]) -> (usize, Chunks) {
    let (mut written, mut chunks) = (0, Chunks::new());
    let mut names = Names::default();
    for (nth, begin) in (0..SAMPLES).step_by(CHUNK).enumerate() {
        if nth % CHUNKS_IN_SEGMENT == 0 {
            names = Names::default();
            chunks.push(Vec::new());
        }
        let mut chunk = Chunk::new(Now::default(), BOOT);
        for (id, tile) in tiles.iter().enumerate() {
            let samples: Vec<_> = (begin..begin + CHUNK).map(|nth| tile.sample(nth)).collect();
            let labels = [format!("series-{id}").into()];
            let key = Key { metric: "some_metric_with_a_name_percent".into(), labels: labels.into() };
            chunk.add(&mut names, key, &samples);
        }
        let bytes = chunk.bytes();
        written += bytes.len();
        chunks.last_mut().into_iter().for_each(|segment| segment.push(bytes.clone()));
    }
    (written, chunks)
}

/// What a start makes of it.
fn read_back(chunks: &Chunks) -> Store {
    let mut store = Store::with_past(SAMPLES);
    let mut loader = Loader::new(&mut store, BOOT, Now { mono_ns: 1 << 60, wall_ns: 0 }, u64::MAX);
    for segment in chunks {
        loader.segment();
        for chunk in segment {
            assert!(loader.chunk(chunk).is_some(), "it is a chunk");
        }
    }
    assert_eq!(loader.samples, SERIES * SAMPLES, "all of it is back");
    store
}

/// Processor time of this thread, nanoseconds, and what came of it.
fn cost<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let time = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let start = time();
    let made = work();
    (time() - start, made)
}

#[expect(clippy::float_cmp, reason = "the same is what is meant")]
fn kind(series: &Recorded) -> String {
    let values = &series.values;
    let constant = values.windows(2).all(|pair| pair[0] == pair[1]);
    let whole = values.iter().all(|value| value.fract() == 0.0);
    let unit = series.metric.rsplit('_').next().unwrap_or_default();
    match (series.counter, constant, whole) {
        (_, true, _) => "constant".to_owned(),
        (true, ..) => "counter".to_owned(),
        (_, _, true) => format!("gauge, whole, {unit}"),
        _ => format!("gauge, {unit}"),
    }
}

fn fill(tiles: &[&Tile]) -> Store {
    let mut store = Store::new(SAMPLES);
    for nth in 0..SAMPLES {
        for (id, tile) in tiles.iter().enumerate() {
            let (at, value) = tile.sample(nth);
            store.append(SeriesId(id as u32), at, value);
        }
    }
    store
}

fn fill_plain(tiles: &[&Tile]) -> Vec<Vec<(u64, f64)>> {
    let mut all = vec![Vec::with_capacity(SAMPLES); tiles.len()];
    for nth in 0..SAMPLES {
        for (series, tile) in all.iter_mut().zip(tiles) {
            series.push(tile.sample(nth));
        }
    }
    all
}
