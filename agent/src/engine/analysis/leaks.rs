//! Memory and open files of processes and groups that grow and grow.

use std::collections::HashMap;

use super::{Finding, Plan, Room, Scene};
use crate::analyze::leak::{Growth, Leak};
use crate::engine::series::Series;
use crate::metric::Metric;
use crate::sample::{ProcTable, SeriesDef, SeriesId};
use crate::time::SECOND;

const MIB: f64 = (1_u64 << 20) as f64;
/// The group's own limit, and the machine's memory.
const LIMIT: &str = "cgroup_memory_limit_bytes";
const AVAILABLE: &str = "memory_available_bytes";
/// What grows for a day is sure: until then it may be one of the things that come back each day.
const PATIENCE_NS: u64 = 24 * 3600 * SECOND;
/// As is what will have taken all there is within so many times what was watched.
const SOON: f64 = 2.0;
/// What is not sure must at least be straight (R²), and not slow down (last quarter to first).
const STRAIGHT: f64 = 0.95;
const LASTING: f64 = 0.8;
/// Growth since it was told after which it is told again.
const AGAIN: f64 = 2.0;

/// What may leak.
#[derive(Debug, PartialEq)]
struct Kind {
    metric: &'static str,
    /// Falls below it are none, in the metric's unit.
    noise: f64,
    /// Least growth, in its unit and as a share of what it has come to: when it is sure, and when it is not.
    sure: (f64, f64),
    early: (f64, f64),
}

static KINDS: &[Kind] = &[
    Kind { metric: "process_resident_memory_bytes", ..MEMORY },
    Kind { metric: "cgroup_memory_working_set_bytes", ..MEMORY },
    Kind { metric: "process_open_fds_count", noise: 8.0, sure: (32.0, 0.05), early: (64.0, 0.2) },
];

const MEMORY: Kind = Kind { metric: "", noise: MIB, sure: (4.0 * MIB, 0.02), early: (16.0 * MIB, 0.1) };

/// Series of limits by group, and that of the machine's memory.
#[derive(Debug, Default)]
pub(super) struct Limits {
    of_groups: HashMap<Box<str>, SeriesId>,
    available: Option<SeriesId>,
}

impl Limits {
    pub(super) fn define(&mut self, def: &SeriesDef) {
        if def.metric.name == AVAILABLE {
            self.available = Some(def.id);
        } else if let (LIMIT, Some(group)) = (def.metric.name, def.labels.first()) {
            self.of_groups.insert(group.clone(), def.id);
        }
    }

    pub(super) fn retire(&mut self, id: SeriesId) {
        self.available.take_if(|available| *available == id);
        if !self.of_groups.is_empty() {
            self.of_groups.retain(|_, limit| *limit != id);
        }
    }

    /// What is left for `series` at `level`.
    fn room(&self, series: &Series, level: f64, scene: Scene<'_>) -> Option<Room> {
        let value = |id: &SeriesId| Some(scene.table.get(*id)?.value);
        let limit = series.label("cgroup").and_then(|group| value(self.of_groups.get(group)?));
        let available = self.available.as_ref().and_then(value);
        match (limit, available) {
            (Some(limit), available) if available.is_none_or(|available| limit - level <= available) => {
                Some(Room { left: (limit - level).max(0.0), limit: Some(limit) })
            }
            (_, available) => Some(Room { left: available?, limit: None }),
        }
    }
}

/// One series.
#[derive(Debug)]
pub(super) struct Tracked {
    kind: &'static Kind,
    leak: Leak,
    /// Start of the process: another one may get its number and its name.
    start_ticks: Option<u64>,
    read_ns: u64,
    /// Level at which it was told, and whether it was sure.
    told: Option<(f64, bool)>,
}

impl Tracked {
    pub(super) fn of(metric: &Metric, plan: &Plan) -> Option<Self> {
        let kind = KINDS.iter().find(|kind| kind.metric == metric.name)?;
        let leak = Leak::new(plan.leak_ns);
        Some(Self { kind, leak, start_ticks: None, read_ns: 0, told: None })
    }

    pub(super) fn read_ns(&self) -> u64 {
        self.read_ns
    }

    pub(super) fn step(
        &mut self,
        series: &Series,
        plan: &Plan,
        limits: &Limits,
        scene: Scene<'_>,
    ) -> Option<Finding> {
        if self.read_ns == 0 {
            self.start_ticks = start_of(series, scene.processes);
        }
        self.read_ns = series.at_ns;
        let growth = self.leak.step(series.at_ns, series.value, self.kind.noise, plan.leak_r_squared)?;
        if growth.span_ns < plan.leak_ns || plan.leak.is_none() {
            return None;
        }
        let start = start_of(series, scene.processes);
        if start.is_some() && start != self.start_ticks {
            // What grew was two processes, one after the other.
            *self = Self { start_ticks: start, read_ns: series.at_ns, ..Self::of(series.metric, plan)? };
            return None;
        }
        let room = if self.kind.metric.ends_with("_bytes") {
            limits.room(series, growth.level, scene)
        } else {
            None
        };
        let sure = is_sure(&growth, room, plan);
        let (least, share) = if sure { self.kind.sure } else { self.kind.early };
        let is_straight = sure || growth.r_squared >= STRAIGHT && growth.lately >= LASTING;
        let is_much = is_straight && growth.grown >= least.max(share * growth.level);
        let is_news =
            self.told.is_none_or(|(level, was_sure)| sure && !was_sure || growth.level >= AGAIN * level);
        if !is_much || !is_news {
            return None;
        }
        self.told = Some((growth.level, sure || self.told.is_some_and(|told| told.1)));
        Some(Finding::Leak { growth, sure, room })
    }
}

fn is_sure(growth: &Growth, room: Option<Room>, plan: &Plan) -> bool {
    let span_hours = growth.span_ns as f64 / 3.6e12;
    let soon = room.is_some_and(|room| room.left / growth.per_hour <= SOON * span_hours);
    growth.span_ns >= PATIENCE_NS.max(plan.leak_ns) || soon
}

fn start_of(series: &Series, processes: Option<&ProcTable>) -> Option<u64> {
    let pid = series.label("pid")?.parse().ok()?;
    Some(processes?.find(pid)?.0.start_ticks)
}
