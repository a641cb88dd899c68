//! The newest value of every series, read ones, computed ones and counts of events alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::series::Series;
use super::{Engine, events};
use crate::metric::{Kind, Metric};
use crate::sample::Batch;
use crate::sample::histogram::Histogram;
use crate::sample::newest::{Newest, Row, is_fresh};
use crate::time::Now;

/// What came in with the newest pass of each collector.
#[derive(Debug, Default)]
pub(super) struct Passes {
    /// When it was made.
    at_ns: BTreeMap<&'static str, u64>,
    histograms: BTreeMap<&'static str, Vec<Histogram>>,
}

impl Passes {
    /// Takes a pass. The histograms of the one before go back with it, for their buffer.
    pub(super) fn take(&mut self, batch: &mut Batch) {
        self.at_ns.insert(batch.collector, batch.at.mono_ns);
        if !batch.histograms.is_empty() || self.histograms.contains_key(batch.collector) {
            std::mem::swap(self.histograms.entry(batch.collector).or_default(), &mut batch.histograms);
        }
    }

    /// Whether what was read at that moment was read by a newest pass: the clock is read anew for each, so that the moment
    /// stands for the pass. What a newer pass has not read is gone.
    fn including(&self) -> impl FnMut(u64) -> bool {
        let mut passes: Vec<u64> = self.at_ns.values().copied().collect();
        passes.sort_unstable();
        // The series of a collector follow each other, so most ask what the one before did.
        let mut newest = (0, false);
        move |at_ns| {
            if newest.0 != at_ns {
                newest = (at_ns, passes.binary_search(&at_ns).is_ok());
            }
            newest.1
        }
    }
}

impl Engine {
    /// Fills `out` with what stands at `now`.
    pub fn newest(&self, now: Now, out: &mut Newest) {
        out.begin(now);
        let mut included = self.passes.including();
        let mut stands = |s: &Series| is_fresh(now, s.at_ns, s.step_ns) && included(s.at_ns);
        for (_, series) in self.table.iter().filter(|(_, series)| stands(series)) {
            let labels = Arc::clone(&series.labels);
            out.put(Row {
                metric: series.metric,
                labels,
                value: series.value,
                at: now.at_mono(series.at_ns),
            });
        }
        for (collector, histograms) in &self.passes.histograms {
            let at_ns = self.passes.at_ns.get(collector).copied().unwrap_or_default();
            if is_fresh(now, at_ns, 0) {
                out.put_histograms(histograms);
            }
        }
        self.newest_counts(now, out);
    }

    /// Counts of events. Those without a label are told from the start, so that the first event is seen as growth.
    fn newest_counts(&self, now: Now, out: &mut Newest) {
        let none: Arc<[Box<str>]> = Arc::new([]);
        let put = |metric: &'static Metric, labels: Arc<[Box<str>]>, count: u64, out: &mut Newest| {
            out.put(Row { metric, labels, value: count as f64, at: now });
        };
        let counters = events::METRICS.iter().copied().filter(|m| m.kind == Kind::Counter);
        for metric in counters.clone().filter(|m| m.labels.is_empty()) {
            let count = self.tally.events.get(&(metric.name, String::new())).copied().unwrap_or_default();
            put(metric, Arc::clone(&none), count, out);
        }
        for ((name, label), count) in &self.tally.events {
            if let Some(metric) = counters.clone().find(|m| m.name == *name && m.labels.len() == 1) {
                put(metric, [label.as_str().into()].into(), *count, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings;
    use super::*;

    #[test]
    fn what_a_newer_pass_has_not_read_is_gone_at_once() {
        use crate::metric::{Kind, Unit};
        use crate::sample::Samples;
        static USED: Metric = Metric {
            name: "used",
            prometheus: "used",
            kind: Kind::Gauge,
            unit: Unit::Bytes,
            labels: &["disk"],
            help: "",
            source: "",
        };
        let mut engine = Engine::new(settings(0), Now::default());
        let (mut samples, mut newest) = (Samples::new(100), Newest::default());
        let mut pass = |secs: u64, collector: &'static str, disks: &[&str]| -> Vec<String> {
            let now = Now::default().plus_secs(secs);
            samples.begin(collector, now, None);
            for disk in disks {
                samples.put(&USED, &[disk], 1.0);
            }
            let mut batch = samples.finish();
            engine.step(now, super::super::Input::Batch(&mut batch), &mut Vec::new());
            engine.newest(now, &mut newest);
            newest
                .rows()
                .iter()
                .filter(|row| row.metric.name == "used")
                .map(|row| row.labels[0].to_string())
                .collect()
        };
        assert_eq!(pass(10, "a", &["x", "y"]), ["x", "y"]);
        assert_eq!(pass(11, "b", &["z"]), ["x", "y", "z"]);
        assert_eq!(pass(20, "a", &["y"]), ["y", "z"], "another collector has not looked again");
        assert_eq!(pass(30, "a", &[]), ["z"]);
        assert_eq!(pass(31, "b", &[]), [""; 0]);
    }

    #[test]
    fn counts_of_events_stand_from_the_start() {
        let mut engine = Engine::new(settings(0), Now::default());
        let mut newest = Newest::default();
        let value = |newest: &Newest, name: &str| {
            newest.rows().iter().find(|row| row.metric.name == name).map(|row| row.value)
        };
        engine.newest(Now::default(), &mut newest);
        assert_eq!(value(&newest, "kernel_oom_kills_total"), Some(0.0));
        assert_eq!(value(&newest, "kernel_log_events_total"), None);
        assert_eq!(value(&newest, "block_io_latency_ms"), None, "on alerts only");
        engine.tally.count(events::OOM_KILLS.name, "", 3);
        engine.tally.count(events::LOG_EVENTS.name, "md_degraded", 2);
        engine.newest(Now::default(), &mut newest);
        assert_eq!(value(&newest, "kernel_oom_kills_total"), Some(3.0));
        assert_eq!(value(&newest, "kernel_log_events_total"), Some(2.0));
    }
}
