//! The newest value of every series at one moment: what is published and scraped.
//!
//! The engine's task fills it at the end of each round of the collectors and hands it on as a whole; who reads it neither
//! waits for the engine nor makes it wait. A row shares its labels with the engine, so that filling allocates nothing
//! once its buffer has grown.

use std::sync::Arc;

use super::histogram::Histogram;
use crate::metric::Metric;
use crate::time::{Now, SECOND};

/// Rows at most. More series than that are left out and counted.
pub const MAX_ROWS: usize = 32_768;
/// Own intervals without a reading after which a series is left out.
const STALE_STEPS: u64 = 3;
/// Never left out earlier than this, nanoseconds: a pass may be late.
const LEAST_NS: u64 = 30 * SECOND;
/// A series that was read once has no interval yet; it is left out after this, nanoseconds.
const ONCE_NS: u64 = 300 * SECOND;

/// One series.
#[derive(Clone, Debug)]
pub struct Row {
    /// Row of the metric table.
    pub metric: &'static Metric,
    /// Label values in the metric's order; hostile text.
    pub labels: Arc<[Box<str>]>,
    /// Its newest value.
    pub value: f64,
    /// When that was read.
    pub at: Now,
}

/// The newest value of every series.
#[derive(Clone, Debug, Default)]
pub struct Newest {
    at: Now,
    rows: Vec<Row>,
    histograms: Vec<Histogram>,
    left_out: u64,
}

impl Newest {
    /// Begins anew at `at`; keeps its buffer.
    pub fn begin(&mut self, at: Now) {
        self.at = at;
        self.rows.clear();
        self.histograms.clear();
        self.left_out = 0;
    }

    /// Takes a row in; counts it where there is no room.
    pub fn put(&mut self, row: Row) {
        if self.rows.len() < MAX_ROWS {
            self.rows.push(row);
        } else {
            self.left_out += 1;
        }
    }

    /// Takes histograms in; their number is that of the BPF maps' entries.
    pub fn put_histograms(&mut self, histograms: &[Histogram]) {
        self.histograms.extend_from_slice(histograms);
    }

    /// All histograms, in no order.
    pub fn histograms(&self) -> &[Histogram] {
        &self.histograms
    }

    /// When it was filled: the engine was alive then.
    pub const fn at(&self) -> Now {
        self.at
    }

    /// All rows, in no order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Rows left out because of [`MAX_ROWS`].
    pub const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// All rows by name of their metric, then by labels. Whoever wants them in order pays for it.
    pub fn sorted(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_unstable_by(|a, b| (a.metric.name, &a.labels).cmp(&(b.metric.name, &b.labels)));
        rows
    }

    /// The same, one slice a metric: `sorted` as [`Self::sorted`] gives it.
    pub fn by_metric<'a>(sorted: &'a [&'a Row]) -> impl Iterator<Item = (&'static Metric, &'a [&'a Row])> {
        let groups = sorted.chunk_by(|a, b| a.metric.name == b.metric.name);
        groups.filter_map(|rows| Some((rows.first()?.metric, rows)))
    }
}

/// Whether a series that was read at `at_ns`, and `step_ns` before that (0: never), still stands at `now`.
pub fn is_fresh(now: Now, at_ns: u64, step_ns: u64) -> bool {
    let patience = if step_ns == 0 { ONCE_NS } else { step_ns.saturating_mul(STALE_STEPS).max(LEAST_NS) };
    at_ns > 0 && now.mono_ns.saturating_sub(at_ns) <= patience
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Kind, Unit};

    const fn metric(name: &'static str) -> Metric {
        let labels: &[&str] = &["disk"];
        Metric { name, prometheus: name, kind: Kind::Gauge, unit: Unit::Count, labels, help: "", source: "" }
    }
    static A: Metric = metric("a");
    static B: Metric = metric("b");

    fn row(metric: &'static Metric, label: &str) -> Row {
        Row { metric, labels: [label.into()].into(), value: 1.0, at: Now::default() }
    }

    #[test]
    fn what_is_read_no_more_is_left_out() {
        let now = Now::default().plus_secs(1000);
        let check = |at: u64, step: u64, expect: bool| {
            assert_eq!(is_fresh(now, at * SECOND, step * SECOND), expect, "{at} {step}");
        };
        check(0, 0, false);
        check(1000, 0, true);
        check(700, 0, true);
        check(699, 0, false);
        check(970, 10, true);
        check(969, 10, false);
        check(970, 1, true);
        check(820, 60, true);
        check(819, 60, false);
        check(2000, 10, true);
        assert!(is_fresh(now, 1, u64::MAX), "no overflow");
    }

    #[test]
    fn rows_come_by_metric_and_within_bounds() {
        let mut newest = Newest::default();
        for (metric, label) in [(&B, "y"), (&A, "z"), (&B, "x")] {
            newest.put(row(metric, label));
        }
        let sorted = newest.sorted();
        let groups: Vec<_> = Newest::by_metric(&sorted).map(|(m, rows)| (m.name, rows.len())).collect();
        assert_eq!(groups, [("a", 1), ("b", 2)]);
        assert_eq!(&*sorted[1].labels[0], "x");
        for _ in 0..MAX_ROWS {
            newest.put(row(&A, ""));
        }
        assert_eq!((newest.rows().len(), newest.left_out()), (MAX_ROWS, 3));
        newest.begin(Now::default().plus_secs(1));
        assert_eq!((newest.rows().len(), newest.left_out(), newest.at().mono_ns), (0, 0, SECOND));
    }
}
