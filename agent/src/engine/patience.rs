//! What a full processor or a busy disk must show besides before it is a page.
//!
//! A build, a package install, a backup use all there is, by right, and are over by themselves: nobody is woken for that. So
//! the built-in limits on *use* (not those the user sets) tell an information when they are exceeded, and a warning or
//! critical alert only when that has lasted and others had to wait all the while. That others wait is known from the kernel's pressure
//! stall information, and on hosts without it from the run queue. Where neither is read a limit is a limit.
//!
//! Pressure alone does not tell a build from a server that is overrun: five builds on two processors keep it at 98 % for an
//! hour. Who uses the processors does: what is built is the work of processes that are young, a server or what runs
//! away has been there for long. The work of young ones is given [`ALONE_SECS`], and what it took does not count against what comes
//! after it.
//!
//! A load average goes on for minutes after the load: an echo pages nobody.

use super::condition::{Cause, Doubt};
use super::judge::Scene;
use super::limits::Rule;
use super::series::{Series, SeriesTable};
use super::store::Store;
use crate::alert::Severity;
use crate::metric::Metric;
use crate::sample::{ProcRow, SeriesId};
use crate::time::SECOND;

/// How long use beyond a limit, with others waiting, must last, seconds; also the age from which a process is no build.
pub const SECS: u64 = 1800;
/// The same where young processes use the processors: no build lasts that long without a pause.
pub const ALONE_SECS: u64 = 4 * 3600;
/// What the present is looked at over, nanoseconds: the kernel looks at it each 5 s.
const PRESENT_NS: u64 = 30 * SECOND;
/// A sign that was not read for this long, nanoseconds, is none.
const OLD_NS: u64 = 300 * SECOND;
/// Pressure from which it is processors that are waited for.
const PRESSED: f64 = 50.0;
/// Clock ticks a second, in which the kernel tells when processes began.
const TICKS: u64 = 100;

/// A series that shows whether others wait.
#[derive(Debug, PartialEq)]
struct Sign {
    metric: &'static str,
    label: Option<&'static str>,
    /// From this value on they do.
    least: f64,
}

/// What a rule asks for besides.
#[derive(Debug, PartialEq)]
pub struct Patience {
    /// The best first: the first that is read counts.
    signs: &'static [Sign],
    /// Whether it matters who uses the processors.
    asks_who: bool,
    /// The value is an average that forgets with this time constant, seconds.
    fades_secs: Option<f64>,
}

const PRESSURE: &str = "pressure_some_percent";
const LOAD: &str = "load_average_per_cpu";
/// Time of all processors.
const ALL: &str = "cpu_all_seconds_total";

/// Use of processors: tasks wait for one most of the time; else, more than one for each wants to run.
pub static CPU: Patience = Patience {
    asks_who: true,
    signs: &[CPU_PRESSURE, Sign { metric: LOAD, label: None, least: 1.5 }],
    fades_secs: None,
};

/// Load shows itself that others wait, so it must only last. It is the kernel's average of one minute.
pub static LOADED: Patience = Patience { asks_who: true, signs: LASTS, fades_secs: Some(60.0) };

/// What the machine below takes: likewise.
pub static STOLEN: Patience = Patience { asks_who: false, signs: LASTS, fades_secs: None };

const LASTS: &[Sign] = &[
    Sign { metric: PRESSURE, label: Some("cpu"), least: 0.0 },
    Sign { metric: "cpu_usage_percent", label: None, least: 0.0 },
];

/// Use of disks.
pub static DISK: Patience = Patience {
    asks_who: false,
    signs: &[
        Sign { metric: PRESSURE, label: Some("io"), least: 40.0 },
        Sign { metric: LOAD, label: None, least: 1.0 },
    ],
    fades_secs: None,
};

/// The series that are signs: a handful.
#[derive(Debug, Default)]
pub struct Signs(Vec<SeriesId>);

impl Signs {
    /// Learns of a series.
    pub fn define(&mut self, id: SeriesId, metric: &Metric) {
        self.retire(id);
        let mut all = [&CPU, &LOADED, &DISK].into_iter().flat_map(|patience| patience.signs);
        if metric.name == ALL || all.any(|sign| sign.metric == metric.name) {
            self.0.push(id);
        }
    }

    /// Forgets it.
    pub fn retire(&mut self, id: SeriesId) {
        self.0.retain(|known| *known != id);
    }

    /// What is to be thought of a reading that `series` holds, which `rule` judges. `None`: nothing is known that speaks for
    /// or against it.
    pub fn doubt(&self, rule: &Rule, (id, series): (SeriesId, &Series), scene: &Scene<'_>) -> Option<Doubt> {
        let (patience, at_ns) = (rule.patience?, series.at_ns);
        let read = |sign: &Sign| {
            let mut all = self.newest(scene.table, at_ns);
            all.find(|series| sign.is(series)).map(|series| series.value >= sign.least)
        };
        let confirmed = patience.signs.iter().find_map(read)?;
        let cause = if patience.asks_who { self.cause(scene, at_ns) } else { Cause::Other };
        let is_echo = patience.fades_secs.zip(rule.limit(Severity::Warn)).is_some_and(|(secs, limit)| {
            series.value >= limit && present(secs, (id, series), scene.store).is_some_and(|now| now < limit)
        });
        Some(Doubt { confirmed, cause, is_echo })
    }

    fn newest<'a>(&self, table: &'a SeriesTable, at_ns: u64) -> impl Iterator<Item = &'a Series> {
        let is_new = move |series: &&Series| series.at_ns > 0 && at_ns.saturating_sub(series.at_ns) < OLD_NS;
        self.0.iter().filter_map(|id| table.get(*id)).filter(is_new)
    }

    /// Where processors are what is waited for: whether more than half of their time goes to processes that have run for long.
    fn cause(&self, scene: &Scene<'_>, at_ns: u64) -> Cause {
        let Some(processes) = scene.processes else { return Cause::Other };
        let pressure = |series: &&Series| CPU_PRESSURE.is(series);
        if self.newest(scene.table, at_ns).find(pressure).is_some_and(|series| series.value < PRESSED) {
            return Cause::Other;
        }
        let begun = (at_ns / SECOND).saturating_sub(SECS) * TICKS;
        let sum = |rows: &mut dyn Iterator<Item = &ProcRow>| {
            rows.map(|row| f64::from(row.cpu_percent)).sum::<f64>()
        };
        let old = sum(&mut processes.rows.iter().filter(|row| row.start_ticks <= begun));
        let seen = sum(&mut processes.rows.iter());
        // Many that were there between two looks are not seen, so all there is counts where it is known.
        let all = self.newest(scene.table, at_ns).find(|series| series.metric.name == ALL);
        let all =
            all.and_then(|series| Some(series.delta? * 100.0 / (series.step_ns as f64 / SECOND as f64)));
        let all = all.filter(|all| all.is_finite()).map_or(seen, |all| all.max(seen));
        if old < all / 2.0 { Cause::Work } else { Cause::Lasting }
    }
}

/// What an average that forgets with this time constant was made of in the last [`PRESENT_NS`], which follows from how it
/// changed. `None`: there was no reading before.
///
/// average = before × kept + present × (1 − kept), kept = e^(−time / constant)
fn present(fades_secs: f64, (id, series): (SeriesId, &Series), store: &Store) -> Option<f64> {
    let over_ns = PRESENT_NS.max(series.step_ns);
    let (from_secs, before) = store.points(id, series.at_ns.saturating_sub(over_ns)).next()?;
    let secs = over_ns as f64 / SECOND as f64 - from_secs;
    let kept = (-secs / fades_secs).exp();
    (secs > 0.0).then(|| (series.value - before * kept) / (1.0 - kept))
}

const CPU_PRESSURE: Sign = Sign { metric: PRESSURE, label: Some("cpu"), least: PRESSED };

impl Sign {
    fn is(&self, series: &Series) -> bool {
        self.metric == series.metric.name
            && self.label.is_none_or(|label| series.labels.first().is_some_and(|value| **value == *label))
    }
}

#[cfg(test)]
mod tests;
