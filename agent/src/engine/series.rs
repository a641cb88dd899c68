//! The newest reading of every series, and the difference to the one before.

use std::sync::Arc;

use crate::metric::{Kind, Metric};
use crate::sample::{SeriesDef, SeriesId};

/// A series as the engine knows it.
#[derive(Debug)]
pub struct Series {
    /// Row of the metric table.
    pub metric: &'static Metric,
    /// Label values in the metric's order; shared with [`crate::sample::newest`].
    pub labels: Arc<[Box<str>]>,
    /// Newest value.
    pub value: f64,
    /// When it was read, monotonic nanoseconds; 0 before the first reading.
    pub at_ns: u64,
    /// Nanoseconds between the newest reading and the one before; 0 on the first.
    pub step_ns: u64,
    /// Growth since the reading before. `None` on the first reading and when a counter went
    /// backwards (reset, 32-bit wrap, pid reuse): such an interval gives no sample.
    pub delta: Option<f64>,
}

/// Series by id. Ids are small and dense, so the table is a vector.
#[derive(Debug, Default)]
pub struct SeriesTable {
    rows: Vec<Option<Series>>,
}

impl SeriesTable {
    /// Learns of a series; whatever had this id before is forgotten.
    pub fn define(&mut self, def: SeriesDef) {
        let SeriesDef { id, metric, labels } = def;
        let labels = labels.into();
        let index = id.0 as usize;
        if index >= self.rows.len() {
            self.rows.resize_with(index + 1, || None);
        }
        self.rows[index] = Some(Series { metric, labels, value: 0.0, at_ns: 0, step_ns: 0, delta: None });
    }

    /// Forgets a series.
    pub fn retire(&mut self, id: SeriesId) {
        if let Some(row) = self.rows.get_mut(id.0 as usize) {
            *row = None;
        }
    }

    /// The series with this id.
    pub fn get(&self, id: SeriesId) -> Option<&Series> {
        self.rows.get(id.0 as usize)?.as_ref()
    }

    /// Takes a reading. A second reading for the same moment replaces the first.
    pub fn read(&mut self, id: SeriesId, at_ns: u64, value: f64) {
        let Some(Some(series)) = self.rows.get_mut(id.0 as usize) else { return };
        if series.at_ns != 0 && at_ns <= series.at_ns {
            series.value = value;
            return;
        }
        let first = series.at_ns == 0;
        let grown = value - series.value;
        let backwards = series.metric.kind == Kind::Counter && grown < 0.0;
        series.delta = (!first && !backwards).then_some(grown);
        series.step_ns = if first { 0 } else { at_ns - series.at_ns };
        series.value = value;
        series.at_ns = at_ns;
    }

    /// All series.
    pub fn iter(&self) -> impl Iterator<Item = (SeriesId, &Series)> {
        self.rows.iter().enumerate().filter_map(|(i, row)| Some((SeriesId(i as u32), row.as_ref()?)))
    }
}

impl Series {
    /// Value of the label `name`.
    pub fn label(&self, name: &str) -> Option<&str> {
        let index = self.metric.labels.iter().position(|l| *l == name)?;
        self.labels.get(index).map(|v| &**v)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Unit;

    const BYTES: Metric = Metric {
        name: "b_total",
        prometheus: "b_total",
        kind: Kind::Counter,
        unit: Unit::Bytes,
        labels: &[],
        help: "h",
        source: "s",
    };

    /// Readings a second apart, and the growth after the last.
    fn check(readings: &[f64], expect: Option<f64>) {
        let mut table = SeriesTable::default();
        table.define(SeriesDef { id: SeriesId(3), metric: &BYTES, labels: Box::new([]) });
        for (i, value) in readings.iter().enumerate() {
            table.read(SeriesId(3), (i as u64 + 1) * 1_000_000_000, *value);
        }
        assert_eq!(table.get(SeriesId(3)).and_then(|s| s.delta), expect, "{readings:?}");
    }

    #[test]
    fn counters_grow_or_say_nothing() {
        check(&[5.0], None);
        check(&[5.0, 7.0], Some(2.0));
        check(&[5.0, 5.0], Some(0.0));
        check(&[4_294_967_290.0, 3.0], None);
        check(&[5.0, 1.0, 4.0], Some(3.0));
    }

    #[test]
    fn unknown_ids_and_repeated_moments_do_no_harm() {
        let mut table = SeriesTable::default();
        table.read(SeriesId(9), 1, 1.0);
        table.define(SeriesDef { id: SeriesId(0), metric: &BYTES, labels: Box::new([]) });
        table.read(SeriesId(0), 10, 1.0);
        table.read(SeriesId(0), 10, 2.0);
        table.read(SeriesId(0), 5, 3.0);
        let series = table.get(SeriesId(0)).expect("defined");
        assert_eq!((series.value, series.delta, series.step_ns), (3.0, None, 0));
        table.retire(SeriesId(0));
        assert!(table.get(SeriesId(0)).is_none());
    }
}
