//! Metrics whose course is watched: what an operator would look at, in the direction that may hurt, from an amount that
//! somebody would feel.

use super::{Finding, Plan, Usually};
use crate::analyze::course::Course;
use crate::analyze::usual::Off;
use crate::engine::series::Series;
use crate::metric::Metric;
use crate::time::SECOND;

/// A metric that is watched.
#[derive(Debug)]
struct Watch {
    metric: &'static str,
    /// Least change from the usual that is told, in the metric's unit; `None`: every strange course is.
    least: Option<f64>,
}

const fn watch(metric: &'static str, least: f64) -> Watch {
    Watch { metric, least: Some(least) }
}

/// A series of a file, of which nothing is known but its values.
pub(super) const NAMELESS: &str = "value";

/// All of them. A rise may hurt; a fall is told of nothing but a nameless series.
static WATCHED: &[Watch] = &[
    watch("cpu_usage_percent", 25.0),
    watch("load_average_per_cpu", 0.5),
    watch("memory_used_percent", 10.0),
    watch("swap_used_percent", 10.0),
    watch("pressure_some_percent", 15.0),
    watch("disk_busy_percent", 30.0),
    watch("disk_await_ms", 20.0),
    watch("network_receive_bytes_per_second", 5e6),
    watch("network_transmit_bytes_per_second", 5e6),
    watch("tcp_retransmit_percent", 2.0),
    watch("context_switches_per_second", 20_000.0),
    watch("forks_per_second", 50.0),
    watch("page_faults_major_per_second", 100.0),
    watch("processes_count", 100.0),
    watch("fd_used_count", 2000.0),
    watch("cgroup_cpu_percent", 50.0),
    watch("gpu_memory_used_percent", 20.0),
    watch("gpu_temperature_celsius", 10.0),
    Watch { metric: NAMELESS, least: None },
];

/// Share of the usual that a change must be.
const LEAST_SHARE: f64 = 0.25;
/// Readings in a row that must be far off: one is a coincidence.
const IN_A_ROW: u8 = 3;
/// Time in which the same is not told again.
const COOL_DOWN_NS: u64 = 3600 * SECOND;

/// Tells when something begins: it must hold for a while, and not have been told lately.
#[derive(Debug, Default)]
struct Edge {
    in_a_row: u8,
    told_ns: Option<u64>,
}

impl Edge {
    fn step(&mut self, at_ns: u64, is_far: bool) -> bool {
        self.in_a_row = if is_far { self.in_a_row.saturating_add(1) } else { 0 };
        let cool = self.told_ns.is_none_or(|told| at_ns.saturating_sub(told) >= COOL_DOWN_NS);
        let begins = self.in_a_row == IN_A_ROW && cool;
        if begins {
            self.told_ns = Some(at_ns);
        }
        begins
    }
}

/// One series of them.
#[derive(Debug)]
pub(super) struct Watched {
    watch: &'static Watch,
    course: Course,
    zscore: Edge,
    ema: Edge,
}

impl Watched {
    /// What watches a metric, if it is watched.
    pub(super) fn of(metric: &Metric) -> Option<Self> {
        let watch = WATCHED.iter().find(|watch| watch.metric == metric.name)?;
        let (zscore, ema) = (Edge::default(), Edge::default());
        Some(Self { watch, course: Course::default(), zscore, ema })
    }

    pub(super) fn step(
        &mut self,
        series: &Series,
        (off, usual): (Off, Option<f64>),
        plan: &Plan,
    ) -> Option<Finding> {
        let strange = self.course.step(series.step_ns, series.value);
        let strange = strange.filter(|s| plan.anomaly.is_some() && self.matters(s.level, s.usual));
        let changes = usual.is_some_and(|usual| self.matters(series.value, usual));
        let far = |off: Option<f64>| off.filter(|off| changes && off.abs() >= plan.deviations);
        let (mean, average) = (far(off.zscore), far(off.ema));
        let begins = [
            (&mut self.zscore, plan.zscore, mean, Usually::Mean),
            (&mut self.ema, plan.ema, average, Usually::Average),
        ]
        .map(|(edge, told, off, from)| (edge.step(series.at_ns, off.is_some()) && told.is_some(), off, from));
        if let Some(strange) = strange {
            return Some(Finding::Strange(strange));
        }
        let (_, by, from) = begins.into_iter().find(|(begins, ..)| *begins)?;
        Some(Finding::Off { from, by: by?, usual })
    }

    /// Whether the change is one that somebody would feel.
    fn matters(&self, level: f64, usual: f64) -> bool {
        self.watch.least.is_none_or(|least| level - usual >= least.max(usual.abs() * LEAST_SHARE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_is_told_when_it_begins() {
        let mut edge = Edge::default();
        let minutes = (0..240_u64).filter(|minute| {
            // A spike, then half an hour, then every ten minutes some.
            let far = *minute == 3 || (30..60).contains(minute) || *minute > 60 && minute % 10 < 4;
            edge.step(minute * 60 * SECOND, far)
        });
        assert_eq!(minutes.collect::<Vec<_>>(), [32, 92, 152, 212]);
    }
}
