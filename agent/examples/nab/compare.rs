//! The shipped detector and known ones on changed series: whose score falls by more?

use std::error::Error;

use crate::changes::CHANGES;
use crate::engine;
use crate::known::{self, KNOWN, Known};
use crate::series::{Series, Tally};

/// Thresholds that are tried for a known detector: so many of its greatest scores, evenly chosen.
const GREATEST: usize = 4000;
const TRIED: usize = 300;

/// Prints the table. Known detectors have the threshold that is best for them on the series as they are.
pub(crate) fn run(all: &[Series]) -> Result<(), Box<dyn Error>> {
    let thresholds = KNOWN.map(|known| best(&known, all));
    print!("| series | windows | shipped detector |");
    for (name, _) in &KNOWN {
        print!(" {name} |");
    }
    println!("\n|---|---|---|{}", "---|".repeat(KNOWN.len()));
    let (mut unchanged, mut falls) = (vec![0.0; KNOWN.len() + 1], vec![0.0; KNOWN.len() + 1]);
    for (nth, (name, change)) in CHANGES.iter().enumerate() {
        let changed: Vec<Series> = all.iter().map(change).collect();
        let mut tallies = vec![Tally::default(); KNOWN.len() + 1];
        for series in &changed {
            tallies[0].add(&series.tally(&engine::run(series)?.0));
            for ((tally, (_, judge)), threshold) in tallies[1..].iter_mut().zip(&KNOWN).zip(thresholds) {
                tally.add(&series.tally(&known::told(&judge(series), threshold)));
            }
        }
        print!("| {name} | {} |", tallies[0].windows);
        for (who, tally) in tallies.iter().enumerate() {
            let [standard, low_fp, _] = tally.scores();
            if nth == 0 {
                unchanged[who] = standard;
            }
            let fall = 100.0 * (1.0 - standard / unchanged[who]);
            falls[who] += fall / (CHANGES.len() - 1) as f64;
            print!(" {standard:.1} / {low_fp:.1} / {:.3}, {:+.0} % |", tally.rate(), -fall);
        }
        println!();
    }
    print!("| mean change | |");
    for fall in &falls {
        print!(" {:+.1} % |", -fall);
    }
    println!("\n\nStandard / low-FP / false alarms per series-day, change of the standard score.");
    Ok(())
}

fn best((_, judge): &Known, all: &[Series]) -> f64 {
    let scores: Vec<Vec<f64>> = all.iter().map(judge).collect();
    let mut greatest: Vec<f64> = scores.iter().flatten().copied().filter(|score| *score > 0.0).collect();
    greatest.sort_unstable_by(|a, b| b.total_cmp(a));
    greatest.truncate(GREATEST);
    greatest.dedup();
    let standard = |threshold: f64| {
        let mut sum = Tally::default();
        for (series, scores) in all.iter().zip(&scores) {
            sum.add(&series.tally(&known::told(scores, threshold)));
        }
        sum.scores()[0]
    };
    let tried = greatest.iter().step_by((greatest.len() / TRIED).max(1));
    let best = tried.map(|threshold| (standard(*threshold), *threshold)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or(f64::INFINITY, |best| best.1)
}
