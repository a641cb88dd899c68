//! How well the shipped detector finds the anomalies of the Numenta Anomaly Benchmark: each series goes row by row through an
//! engine with default settings. `cargo xtask nab DIR` runs it.
//!
//! `nab DIR [--alerts DIR] [--verbose]`: DIR has `windows.json` and `data/GROUP/NAME.csv`. Prints the benchmark's three profiles: 0 is a
//! silent detector, 100 a perfect one. The first 15 % of a series, at most 750 rows, are not scored.
#![expect(clippy::disallowed_methods, reason = "a tool that reads a corpus and measures")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use rustix::time::{ClockId, clock_gettime};
use sysops_agent::config::Config;
use sysops_agent::engine::compose::{Identity, analysis};
use sysops_agent::engine::incident::Witnesses;
use sysops_agent::engine::{Engine, Input, Output};
use sysops_agent::metric::{Kind, Metric, Unit};
use sysops_agent::sample::Samples;
use sysops_agent::service;
use sysops_agent::time::Now;

/// A series of which nothing is known but its values.
static VALUE: Metric = Metric {
    name: "value",
    prometheus: "",
    kind: Kind::Gauge,
    unit: Unit::Count,
    labels: &[],
    help: "A series of a file.",
    source: "a file",
};

/// Name of a profile, what a false alarm costs, what a missed window does.
const PROFILES: [(&str, f64, f64); 3] =
    [("standard", 0.11, 1.0), ("low-FP", 0.22, 1.0), ("low-FN", 0.11, 2.0)];
/// Goals: least score of the first two profiles, most false alarms per series-day, most nanoseconds a sample.
const GOALS: (f64, f64, f64, f64) = (66.0, 58.0, 0.07, 1000.0);
/// Rows that are not scored, at most: a share, and a number.
const PROBATION: (f64, usize) = (0.15, 750);

type Windows = BTreeMap<String, Vec<(String, String)>>;

struct Series {
    name: String,
    rows: Vec<(DateTime, f64)>,
    /// First and last row of each anomaly.
    windows: Vec<(usize, usize)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let root = PathBuf::from(args.next().ok_or("nab DIR [--alerts DIR] [--verbose]")?);
    let (mut alerts, mut verbose) = (None, false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--alerts" => alerts = Some(PathBuf::from(args.next().ok_or("--alerts DIR")?)),
            "--verbose" => verbose = true,
            other => return Err(format!("{other}: not known").into()),
        }
    }
    let windows: Windows = serde_json::from_str(&fs::read_to_string(root.join("windows.json"))?)?;
    let mut sums = [0.0; 3];
    let mut groups: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let (mut all, mut false_alarms, mut days, mut nanos, mut rows) = ([0_usize; 2], 0, 0.0, 0.0, 0_usize);
    for (name, spans) in &windows {
        let series = Series::read(&root, name, spans)?;
        let (told, cost) = run(&series)?;
        (nanos, rows) = (nanos + cost, rows + series.rows.len());
        let scores = PROFILES.map(|(_, fp, miss)| series.score(&told, fp, miss));
        let (_, wrong, hits) = scores[0];
        sums = std::array::from_fn(|nth| sums[nth] + scores[nth].0);
        false_alarms += wrong;
        all = [all[0] + hits, all[1] + spans.len()];
        days += series.days();
        let row = groups.entry(name.split('/').next().unwrap_or_default()).or_default();
        *row = [row[0] + hits, row[1] + spans.len(), row[2] + wrong];
        if verbose {
            println!("{name}: {hits}/{} windows, {wrong} false alarms, rows {told:?}", spans.len());
        }
        if let Some(dir) = &alerts {
            series.write(dir, &told)?;
        }
    }
    println!("| series | windows hit | false alarms |\n|---|---|---|");
    for (group, [hits, count, wrong]) in &groups {
        println!("| {group} | {hits}/{count} | {wrong} |");
    }
    let rate = false_alarms as f64 / days;
    println!("\n| profile | goal | score |\n|---|---|---|");
    let missed = |nth: usize| -PROFILES[nth].2 * all[1] as f64;
    let score = |nth: usize| 100.0 * (sums[nth] - missed(nth)) / (all[1] as f64 - missed(nth));
    println!(
        "| standard | {} | {:.1} |\n| low-FP | {} | {:.1} |\n| low-FN | | {:.1} |",
        GOALS.0,
        score(0),
        GOALS.1,
        score(1),
        score(2)
    );
    println!("| false alarms per series-day | {} | {rate:.3} |", GOALS.2);
    println!("| windows hit | | {}/{} |", all[0], all[1]);
    let cost = nanos / rows as f64;
    println!("| ns a sample, whole engine | {} | {cost:.0} |", GOALS.3);
    if score(0) < GOALS.0 || score(1) < GOALS.1 || rate > GOALS.2 {
        return Err("a goal is missed".into());
    }
    Ok(())
}

/// Rows at which an alert of the detector came out, and the nanoseconds that all took.
fn run(series: &Series) -> Result<(Vec<usize>, f64), Box<dyn Error>> {
    let config = Config::default();
    let identity = Identity {
        hostname: "nab".to_owned(),
        zone: TimeZone::UTC,
        boot_id: String::new(),
        labels: BTreeMap::new(),
    };
    let start = series.rows.first().ok_or("a series without rows")?.0;
    // Before it, the engine has warmed up.
    let mut now = Now { mono_ns: 1_000_000_000, wall_ns: 0 };
    let mut engine = Engine::new(service::settings(&config, identity, Witnesses::default()), now);
    let (mut samples, mut told, mut out, mut spare) = (Samples::new(1), Vec::new(), Vec::new(), None);
    let begin = cpu_ns();
    for (nth, (at, value)) in series.rows.iter().enumerate() {
        let secs = at.duration_since(start).as_secs() + 86_400;
        let mono_ns = (secs as u64 * 1_000_000_000).max(now.mono_ns + 1);
        now = Now { mono_ns, wall_ns: mono_ns as i64 };
        samples.begin("file", now, spare.take());
        samples.put(&VALUE, &[], *value);
        let mut batch = samples.finish();
        engine.step(now, Input::Batch(&mut batch), &mut out);
        spare = Some(batch);
        let is_told = |output: Output| match output {
            Output::Alert(alert) => alert.rule == analysis::ANOMALY,
            _ => false,
        };
        if out.drain(..).filter_map(|output| is_told(output).then_some(())).count() > 0 {
            told.push(nth);
        }
    }
    Ok((told, cpu_ns() - begin))
}

fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn when(text: &str) -> Result<DateTime, jiff::Error> {
    text.trim().parse()
}

impl Series {
    fn read(root: &Path, name: &str, spans: &[(String, String)]) -> Result<Self, Box<dyn Error>> {
        let text = fs::read_to_string(root.join("data").join(name))?;
        let mut rows = Vec::new();
        for line in text.lines().skip(1) {
            let (at, value) = line.split_once(',').ok_or_else(|| format!("{name}: {line}: no value"))?;
            rows.push((when(at)?, value.trim().parse()?));
        }
        let mut windows = Vec::new();
        for (from, to) in spans {
            let (from, to) = (when(from)?, when(to)?);
            let first = rows.partition_point(|row: &(DateTime, f64)| row.0 < from);
            windows.push((first, rows.partition_point(|row| row.0 <= to).saturating_sub(1)));
        }
        Ok(Self { name: name.to_owned(), rows, windows })
    }

    fn days(&self) -> f64 {
        let ends = self.rows.first().zip(self.rows.last());
        ends.map_or(0.0, |(first, last)| last.0.duration_since(first.0).as_secs_f64() / 86_400.0)
    }

    /// Sum of the weights, false alarms, windows hit.
    fn score(&self, told: &[usize], false_alarm: f64, miss: f64) -> (f64, usize, usize) {
        let probation = ((PROBATION.0 * self.rows.len() as f64) as usize).min(PROBATION.1);
        let mut best = vec![None::<f64>; self.windows.len()];
        let (mut total, mut wrong) = (0.0, 0);
        for &row in told.iter().filter(|row| **row >= probation) {
            if let Some(nth) = self.windows.iter().position(|(first, last)| (*first..=*last).contains(&row)) {
                let (first, last) = self.windows[nth];
                let weight = sigmoid(-((last - row + 1) as f64) / (last - first + 1) as f64) / sigmoid(-1.0);
                best[nth] = Some(best[nth].map_or(weight, |best| best.max(weight)));
                continue;
            }
            wrong += 1;
            let before = self.windows.iter().rfind(|(_, last)| *last < row);
            total += before.map_or(-false_alarm, |(first, last)| {
                false_alarm * sigmoid((row - last) as f64 / (last - first).max(1) as f64)
            });
        }
        let hits = best.iter().flatten().count();
        (total + best.iter().map(|best| best.unwrap_or(-miss)).sum::<f64>(), wrong, hits)
    }

    /// For the corpus' own scorer.
    fn write(&self, dir: &Path, told: &[usize]) -> Result<(), Box<dyn Error>> {
        let file = dir.join(&self.name);
        fs::create_dir_all(file.parent().unwrap_or(dir))?;
        let lines = told.iter().map(|row| format!("{}\n", self.rows[*row].0.strftime("%Y-%m-%d %H:%M:%S")));
        Ok(fs::write(file, lines.collect::<String>())?)
    }
}

fn sigmoid(relative: f64) -> f64 {
    if relative > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * relative).exp()) - 1.0 }
}
