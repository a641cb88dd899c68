//! Records what the collectors and the engine's formulas say of this machine, for the measurements of history:
//! `record_history FILE STEP_SECS SECS MAX_SERIES` reads everything each STEP for so long. Metrics and numbers only, no labels.
#![expect(clippy::disallowed_methods, reason = "a tool that measures")]

#[path = "../tests/bench/mod.rs"]
mod bench;
#[path = "../tests/history/recording.rs"]
mod recording;
#[path = "../tests/history/recording_write.rs"]
mod recording_write;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use bench::Bench;
use recording::{Recorded, Recording};
use sysops_agent::config::Config;
use sysops_agent::host::clock::now;
use sysops_agent::host::live::LiveHost;
use sysops_agent::metric::Kind;
use sysops_agent::time::SECOND;

/// A series by metric, kind and labels, and its readings.
type Seen = BTreeMap<(&'static str, bool, Box<[Box<str>]>), Vec<(u64, f64)>>;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [file, step, secs, most] = &args[..] else { return Err("FILE STEP_SECS SECS MAX_SERIES".into()) };
    let (step, secs, most) = (step.parse::<u64>()?, secs.parse::<u64>()?, most.parse()?);
    let start = now();
    let mut bench = Bench::at(Arc::new(LiveHost::default()), &config(step), start);
    let mut seen = Seen::new();
    let mut written = start;
    while now().since(start) < secs * SECOND {
        bench.pass_live();
        for (_, series) in bench.engine.series().iter() {
            let key = (
                series.metric.name,
                series.metric.kind == Kind::Counter,
                series.labels.iter().cloned().collect(),
            );
            let readings = seen.entry(key).or_default();
            if readings.last().is_none_or(|(at, _)| *at != series.at_ns) {
                readings.push((series.at_ns, series.value));
            }
        }
        if now().since(written) > 60 * SECOND {
            written = now();
            save(file, &pick(&seen, most))?;
        }
        // As the agent does: until the next moment that is due, not for a time.
        let due = (now().since(start) / (step * SECOND) + 1) * step * SECOND;
        sleep(Duration::from_nanos(due - now().since(start)));
    }
    save(file, &pick(&seen, most))?;
    Ok(())
}

/// Writes what can be read again.
fn save(file: &str, recording: &Recording) -> Result<(), Box<dyn Error>> {
    let bytes = recording.write();
    if Recording::read(&bytes).is_none() {
        return Err("the recording could not be read again".into());
    }
    Ok(std::fs::write(file, bytes)?)
}

fn config(step: u64) -> Config {
    let mut config = Config::default();
    let of = &mut config.collector;
    let paces = [
        &mut of.cpu_interval_secs,
        &mut of.memory_interval_secs,
        &mut of.disk_interval_secs,
        &mut of.disk_io_interval_secs,
        &mut of.network_interval_secs,
        &mut of.process_interval_secs,
        &mut of.fd_interval_secs,
    ];
    for pace in paces {
        *pace = step;
    }
    config
}

/// At most so many series that were read all the time, in turn out of all metrics, so that none fills the recording.
fn pick(seen: &Seen, most: usize) -> Recording {
    let longest = seen.values().map(Vec::len).max().unwrap_or_default();
    let mut by_metric: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (key, readings) in seen.iter().filter(|(_, readings)| readings.len() * 10 > longest * 9) {
        by_metric.entry(key.0).or_default().push((key, readings));
    }
    let mut recording = Recording::default();
    let rounds = by_metric.values().map(Vec::len).max().unwrap_or_default();
    let turns = (0..rounds).flat_map(|round| by_metric.values().filter_map(move |all| all.get(round)));
    for (key, readings) in turns.take(most) {
        let (times, values): (Vec<u64>, Vec<f64>) = readings.iter().copied().unzip();
        let column = recording.times.iter().position(|known| *known == times).unwrap_or_else(|| {
            recording.times.push(times);
            recording.times.len() - 1
        });
        recording.series.push(Recorded { metric: key.0.to_owned(), counter: key.1, times: column, values });
    }
    recording.series.sort_by(|a, b| a.metric.cmp(&b.metric));
    recording
}
