//! The course of each series: what is unusual, and what leaks. [`rooms`] says what is used up, as series that rules judge.
//!
//! ```text
//! reading ─┬► usual: z-score, moving average ─► context of other alerts (and alerts, where the user wants them)
//!          ├► watched metrics: surprise ──────► info
//!          └► memory and files of processes and groups: leak ─► info, then a warning
//! ```
//!
//! Findings are events: told when they begin, once, and again only when they got much worse.

mod found;
mod leaks;
pub mod rooms;
mod watched;

use crate::alert::Severity;
use crate::analyze::leak::Growth;
use crate::analyze::surprise::Strange;
use crate::analyze::usual::{Off, Usual};
use crate::engine::series::{Series, SeriesTable};
use crate::metric::{Kind, Metric};
use crate::sample::{ProcTable, SeriesDef, SeriesId};
use leaks::{Limits, Tracked};
use watched::Watched;

/// Series whose course is watched at most; 4.5 KiB each.
pub const MAX_WATCHED: usize = 512;
/// Series that may leak, at most; beyond it the one that was not read for longest gives way.
pub const MAX_LEAKS: usize = 512;
/// Series whose usual is known at most; 250 bytes each.
pub const MAX_USUAL: usize = 16_384;
/// Values beyond it are not judged: their squares are no numbers.
const HUGE: f64 = 1e150;

/// What the analyzers are held to.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Readings in the window of the z-score.
    pub window: usize,
    /// Usual deviations from which a reading is unusual.
    pub deviations: f64,
    /// Weight of the newest reading in the moving average, 0 to 1.
    pub alpha: f64,
    /// Window of trends, nanoseconds.
    pub trend_ns: u64,
    /// Shortest observation of a leak, nanoseconds.
    pub leak_ns: u64,
    /// Least R² of its growth.
    pub leak_r_squared: f64,
    /// How bad a strange course is; `None`: not told.
    pub anomaly: Option<Severity>,
    /// The same of a reading far from the mean of its window.
    pub zscore: Option<Severity>,
    /// The same of a reading far from the moving average.
    pub ema: Option<Severity>,
    /// The same of a leak that is sure.
    pub leak: Option<Severity>,
}

/// What was found in a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finding {
    /// Its course is strange.
    Strange(Strange),
    /// Readings far off, in usual deviations.
    Off {
        /// From what.
        from: Usually,
        /// How far.
        by: f64,
        /// Mean of the window, where it is known.
        usual: Option<f64>,
    },
    /// It grows and grows.
    Leak {
        /// How.
        growth: Growth,
        /// It was watched for long enough, or will soon have taken all there is.
        sure: bool,
        /// What is left for it, bytes.
        room: Option<Room>,
    },
}

/// What a reading is far from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usually {
    /// The mean of the window.
    Mean,
    /// The moving average.
    Average,
}

/// What is left for something that grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    /// Bytes.
    pub left: f64,
    /// Its group's own limit, bytes; `None`: it is the machine's memory.
    pub limit: Option<f64>,
}

/// What surrounds a reading.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// All series.
    pub table: &'a SeriesTable,
    /// Newest process table.
    pub processes: Option<&'a ProcTable>,
}

#[derive(Debug, Default)]
struct Row {
    usual: Option<Box<Usual>>,
    watched: Option<Box<Watched>>,
    leak: Option<Box<Tracked>>,
}

/// The state of all series.
#[derive(Debug, Default)]
pub struct Analysis {
    rows: Vec<Row>,
    limits: Limits,
    usual: usize,
    watched: usize,
    leaks: usize,
    refused: u64,
    forgotten: u64,
}

impl Analysis {
    /// Learns of a series; what was known under its number is forgotten.
    pub fn define(&mut self, def: &SeriesDef, plan: &Plan) {
        self.retire(def.id);
        self.limits.define(def);
        let Metric { kind: Kind::Gauge, .. } = def.metric else { return };
        let index = def.id.0 as usize;
        if index >= self.rows.len() {
            self.rows.resize_with(index + 1, Row::default);
        }
        let mut row = Row::default();
        if !def.metric.is_of_process() {
            row.usual = self.within(self.usual, MAX_USUAL).then(Box::default);
            self.usual += usize::from(row.usual.is_some());
        }
        if let Some(watched) = Watched::of(def.metric)
            && self.within(self.watched, MAX_WATCHED)
        {
            row.watched = Some(Box::new(watched));
            self.watched += 1;
        }
        if let Some(tracked) = Tracked::of(def.metric, plan) {
            if self.leaks >= MAX_LEAKS {
                self.forget_a_leak();
            }
            row.leak = Some(Box::new(tracked));
            self.leaks += 1;
        }
        self.rows[index] = row;
    }

    fn within(&mut self, count: usize, most: usize) -> bool {
        self.refused += u64::from(count >= most);
        count < most
    }

    /// Forgets a series.
    pub fn retire(&mut self, id: SeriesId) {
        self.limits.retire(id);
        let Some(row) = self.rows.get_mut(id.0 as usize).map(std::mem::take) else { return };
        self.usual -= usize::from(row.usual.is_some());
        self.watched -= usize::from(row.watched.is_some());
        self.leaks -= usize::from(row.leak.is_some());
    }

    fn forget_a_leak(&mut self) {
        let rows = self.rows.iter_mut().filter(|row| row.leak.is_some());
        if let Some(row) = rows.min_by_key(|row| row.leak.as_ref().map(|leak| leak.read_ns())) {
            row.leak = None;
            self.leaks -= 1;
            self.forgotten += 1;
        }
    }

    /// Takes a reading that `series` already holds.
    pub fn observe(
        &mut self,
        (id, series): (SeriesId, &Series),
        plan: &Plan,
        scene: Scene<'_>,
    ) -> Option<Finding> {
        let row = self.rows.get_mut(id.0 as usize)?;
        if series.value.abs() > HUGE {
            return None;
        }
        let off = row.usual.as_mut().map(|usual| usual.step(series.value, plan.window, plan.alpha));
        let mean = row.usual.as_ref().and_then(|usual| usual.mean());
        let watched =
            row.watched.as_mut().and_then(|w| w.step(series, (off.unwrap_or_default(), mean), plan));
        let leak = row.leak.as_mut().and_then(|leak| leak.step(series, plan, &self.limits, scene));
        watched.or(leak)
    }

    /// How far the newest reading is off, and the mean of the window, if it is far by `plan`.
    pub fn unusual(&self, id: SeriesId, plan: &Plan) -> Option<(Off, f64)> {
        let usual = self.rows.get(id.0 as usize)?.usual.as_ref()?;
        let far = |off: Option<f64>| off.is_some_and(|off| off.abs() >= plan.deviations);
        let off = usual.newest();
        (far(off.zscore) || far(off.ema)).then_some((off, usual.mean()?))
    }

    /// Series that are not watched because of a limit, since the start.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Series whose growth was forgotten to make room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
            + self.usual * size_of::<Usual>()
            + self.watched * size_of::<Watched>()
            + self.leaks * size_of::<Tracked>()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod truth_tests;
