//! How well the shipped detector finds the anomalies of the Numenta Anomaly Benchmark: each series goes row by row through an
//! engine with default settings. `cargo xtask nab DIR` runs it.
//!
//! `nab DIR [--alerts DIR] [--verbose] [--changed]`: DIR has `windows.json` and `data/GROUP/NAME.csv`. Prints the benchmark's three
//! profiles: 0 is a silent detector, 100 a perfect one. The first 15 % of a series, at most 750 rows, are not scored. With
//! `--changed` the series are changed (`changes`), and known detectors (`known`) show what that costs any detector.
#![expect(clippy::disallowed_methods, reason = "a tool that reads a corpus and measures")]

mod changes;
mod compare;
mod corpus;
mod engine;
mod known;
mod series;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

use series::Tally;

/// Goals: least score of the first two profiles, most false alarms per series-day, most nanoseconds a sample.
const GOALS: (f64, f64, f64, f64) = (66.0, 58.0, 0.07, 1000.0);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let root = PathBuf::from(args.next().ok_or("nab DIR [--alerts DIR] [--verbose] [--changed]")?);
    let (mut alerts, mut verbose, mut changed) = (None, false, false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--alerts" => alerts = Some(PathBuf::from(args.next().ok_or("--alerts DIR")?)),
            "--verbose" => verbose = true,
            "--changed" => changed = true,
            other => return Err(format!("{other}: not known").into()),
        }
    }
    let all = corpus::read(&root)?;
    if changed {
        return compare::run(&all);
    }
    let (mut sum, mut nanos, mut rows) = (Tally::default(), 0.0, 0_usize);
    let mut groups: BTreeMap<&str, Tally> = BTreeMap::new();
    for series in &all {
        let (told, cost) = engine::run(series)?;
        (nanos, rows) = (nanos + cost, rows + series.rows.len());
        let tally = series.tally(&told);
        sum.add(&tally);
        groups.entry(series.name.split('/').next().unwrap_or_default()).or_default().add(&tally);
        if verbose {
            let Tally { hits, windows, false_alarms, .. } = tally;
            println!("{}: {hits}/{windows} windows, {false_alarms} false alarms, rows {told:?}", series.name);
        }
        if let Some(dir) = &alerts {
            corpus::write(dir, series, &told)?;
        }
    }
    print(&groups, &sum, nanos / rows as f64);
    let [standard, low_fp, _] = sum.scores();
    if standard < GOALS.0 || low_fp < GOALS.1 || sum.rate() > GOALS.2 {
        return Err("a goal is missed".into());
    }
    Ok(())
}

fn print(groups: &BTreeMap<&str, Tally>, sum: &Tally, nanos: f64) {
    println!("| series | windows hit | false alarms |\n|---|---|---|");
    for (group, Tally { hits, windows, false_alarms, .. }) in groups {
        println!("| {group} | {hits}/{windows} | {false_alarms} |");
    }
    let [standard, low_fp, missing] = sum.scores();
    println!("\n| profile | goal | score |\n|---|---|---|");
    println!("| standard | {} | {standard:.1} |\n| low-FP | {} | {low_fp:.1} |", GOALS.0, GOALS.1);
    println!("| low-FN | | {missing:.1} |");
    println!("| false alarms per series-day | {} | {:.3} |", GOALS.2, sum.rate());
    println!("| windows hit | | {}/{} |", sum.hits, sum.windows);
    println!("| ns a sample, whole engine | {} | {nanos:.0} |", GOALS.3);
}
