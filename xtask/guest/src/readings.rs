//! What the agent's collectors read while something goes on: `vm-readings`, a child that prints once a second.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::inbox::now_ns;
use crate::plan::READINGS;

/// Until something must show in the readings, on an emulated and busy machine.
const SOON: Duration = Duration::from_secs(40);
/// Shares that may rightly exceed 100 %: of one CPU, or of a promised life.
const MAY_EXCEED: [&str; 4] =
    ["cgroup_cpu_percent", "cgroup_cpu_throttled_percent", "process_cpu_percent", "smart_used_percent"];

/// All readings of a second.
#[derive(Clone, Debug, Deserialize)]
pub struct Pass {
    /// When it began, seconds of `CLOCK_MONOTONIC`.
    pub at: f64,
    /// By name and labels: `cpu_core_usage_percent{1}`.
    pub values: BTreeMap<String, f64>,
}

impl Pass {
    /// A reading.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }

    /// Whether it is exactly this.
    pub fn is(&self, name: &str, value: f64) -> bool {
        self.get(name).is_some_and(|found| (found - value).abs() < 1e-9)
    }

    /// Whether there is no such reading.
    pub fn lacks(&self, name: &str) -> bool {
        !self.values.contains_key(name)
    }
}

/// The child, and what it has printed so far.
#[derive(Debug)]
pub struct Readings {
    child: Child,
    shared: Arc<(Mutex<Vec<Pass>>, Condvar)>,
}

impl Readings {
    /// Starts to read these collectors, with commas between them.
    pub fn start(collectors: &str) -> Result<Self, String> {
        let fail = |e| format!("{READINGS}: {e}");
        let mut command = Command::new(READINGS);
        command.arg(collectors).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(fail)?;
        let out = child.stdout.take().ok_or("a child without a pipe")?;
        let readings = Self { child, shared: Arc::default() };
        let shared = Arc::clone(&readings.shared);
        thread::spawn(move || keep(out, &shared));
        // The second one has rates.
        readings.wait("the first readings", |_| Some(()))?;
        readings.wait("the second readings", |_| Some(()))?;
        Ok(readings)
    }

    /// Looks at all readings that begin from now on until `find` finds what it looks for.
    pub fn wait<T>(&self, what: &str, mut find: impl FnMut(&Pass) -> Option<T>) -> Result<T, String> {
        let (begin, since) = (Instant::now(), now_ns() as f64 / 1e9);
        let (mut passes, mut seen) = (lock(&self.shared.0), 0);
        loop {
            let fresh = passes.iter().skip(seen).filter(|pass| pass.at >= since);
            if let Some(found) = fresh.into_iter().find_map(&mut find) {
                return Ok(found);
            }
            seen = passes.len();
            let left = SOON.checked_sub(begin.elapsed()).ok_or_else(|| {
                let last: Vec<String> = passes.last().into_iter().flat_map(shown).collect();
                format!("{what} do not show within {} s; the last ones: {}", SOON.as_secs(), last.join(" "))
            })?;
            passes = self.shared.1.wait_timeout(passes, left).map_or_else(|e| e.into_inner().0, |w| w.0);
        }
    }

    /// Waits for readings of which this holds.
    pub fn until(&self, what: &str, holds: impl Fn(&Pass) -> bool) -> Result<Pass, String> {
        self.wait(what, |pass| holds(pass).then(|| pass.clone()))
    }

    /// The next readings.
    pub fn next(&self) -> Result<Pass, String> {
        self.until("readings", |_| true)
    }

    /// Ends it, and fails if any reading was impossible: a negative rate, a share outside of 0 to 100.
    pub fn end(self) -> Result<(), String> {
        let passes = lock(&self.shared.0);
        let odd: Vec<String> = passes.iter().flat_map(impossible).collect();
        if odd.is_empty() { Ok(()) } else { Err(format!("impossible readings: {}", odd.join(", "))) }
    }
}

impl Drop for Readings {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock(passes: &Mutex<Vec<Pass>>) -> MutexGuard<'_, Vec<Pass>> {
    passes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(out: ChildStdout, shared: &(Mutex<Vec<Pass>>, Condvar)) {
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(pass) => lock(&shared.0).push(pass),
            Err(error) => println!("readings that cannot be read ({error}): {line}"),
        }
        shared.1.notify_all();
    }
}

/// Those a person would look at: not the agent's own, not counters of everything.
fn shown(pass: &Pass) -> Vec<String> {
    let own = |name: &str| name.starts_with("collector_") || name.starts_with("series_");
    let values = pass.values.iter().filter(|(name, _)| !own(name));
    values.take(200).map(|(name, value)| format!("{name}={value}")).collect()
}

fn impossible(pass: &Pass) -> Vec<String> {
    let odd = |(name, value): &(&String, &f64)| {
        let metric = name.split('{').next().unwrap_or_default();
        let share = metric.ends_with("_percent") && !MAY_EXCEED.contains(&metric);
        **value < 0.0 && !metric.ends_with("_celsius") || share && **value > 100.0
    };
    pass.values.iter().filter(odd).map(|(name, value)| format!("{name}={value} at {}", pass.at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_readings_are_told() {
        let check = |name: &str, value: f64, odd: bool| {
            let pass = Pass { at: 1.0, values: BTreeMap::from([(name.to_owned(), value)]) };
            assert_eq!(!impossible(&pass).is_empty(), odd, "{name}={value}");
        };
        check("cpu_core_usage_percent{1}", 100.0, false);
        check("cpu_core_usage_percent{1}", 100.1, true);
        check("cpu_core_usage_percent{1}", -0.1, true);
        check("cgroup_cpu_percent{a,unit,a}", 390.0, false);
        check("disk_reads_per_second{vda}", -1.0, true);
        check("disk_reads_per_second{vda}", 1e6, false);
        check("smart_temperature_celsius{sda}", -4.0, false);
    }
}
