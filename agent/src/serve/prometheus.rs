//! The page for Prometheus, from the newest values. Pure.
//!
//! Counters are told as they were read, never as rates; units are base units; histograms are histograms.

use std::collections::{BTreeMap, BTreeSet};
use std::ptr;

use super::accept::Format;
use super::node_names::{self, Facts};
use super::text::{Label, Page, label_name};
use crate::metric::{Kind, Metric, Unit};
use crate::sample::histogram::{BOUNDS, Histogram, bound_secs};
use crate::sample::newest::{Newest, Row};

/// Labels of ours that Prometheus puts on every series itself, and what they are called there.
const TAKEN: [(&str, &str); 1] = [("instance", "gpu_instance")];
/// In front of every name of ours.
const PREFIX: &str = "sysops_";

/// What a page has besides the values.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// The agent's own labels, on every line.
    labels: Vec<(String, String)>,
    /// Names of `node_exporter` besides, and what they need.
    node_names: Option<Facts>,
}

impl Manner {
    /// Labels get names that Prometheus takes.
    pub fn new(labels: &BTreeMap<String, String>, node_names: Option<Facts>) -> Self {
        let mut taken = BTreeSet::new();
        let labels = labels.iter().map(|(name, value)| (label_name(name), value.clone()));
        Self { labels: labels.filter(|(name, _)| taken.insert(name.clone())).collect(), node_names }
    }
}

/// Rows of one metric.
pub(super) type Family<'a> = &'a [&'a Row];

/// Writes the page into `out`, whose buffer is used again.
pub fn render(newest: &Newest, manner: &Manner, format: Format, out: &mut String) {
    let mut rows: Vec<&Row> = newest.rows().iter().collect();
    rows.sort_by_key(|row| ptr::from_ref(row.metric).addr());
    let mut families: Vec<Family<'_>> = rows.chunk_by(|a, b| ptr::eq(a.metric, b.metric)).collect();
    families.sort_unstable_by_key(|family| family.first().map(|row| row.metric.prometheus));

    let mut page = Page::begin(out, format, &manner.labels);
    for family in &families {
        gauges_and_counters(&mut page, family);
    }
    histograms(&mut page, newest.histograms());
    if let Some(facts) = &manner.node_names {
        node_names::render(&mut page, &families, facts, newest.at());
    }
    page.end();
}

fn gauges_and_counters(page: &mut Page<'_>, family: Family<'_>) {
    let Some(metric) = family.first().map(|row| row.metric).filter(|metric| !metric.prometheus.is_empty())
    else {
        return;
    };
    let name = [PREFIX, metric.prometheus].concat();
    page.family(&name, metric.kind.name(), metric.help);
    let factor = factor(metric.unit);
    for row in family {
        page.sample(&[&name], &labels(metric, &row.labels), row.value * factor);
    }
}

fn histograms(page: &mut Page<'_>, all: &[Histogram]) {
    let mut all: Vec<&Histogram> = all.iter().collect();
    all.sort_by_key(|histogram| histogram.metric.prometheus);
    let bounds: [String; BOUNDS] = std::array::from_fn(|index| bound_secs(index).to_string());
    for family in all.chunk_by(|a, b| ptr::eq(a.metric, b.metric)) {
        let Some(metric) = family.first().map(|histogram| histogram.metric) else { continue };
        let name = [PREFIX, metric.prometheus].concat();
        page.family(&name, Kind::Histogram.name(), metric.help);
        for histogram in family {
            one_histogram(page, &name, histogram, &bounds);
        }
    }
}

fn one_histogram(page: &mut Page<'_>, name: &str, histogram: &Histogram, bounds: &[String; BOUNDS]) {
    let own = labels(histogram.metric, &histogram.labels);
    let mut sum = 0_u64;
    let bounds = bounds.iter().map(String::as_str).chain(["+Inf"]);
    for (bound, count) in bounds.zip(histogram.counts) {
        sum = sum.saturating_add(count);
        page.sample(&[name, "_bucket"], &own.clone().chain([("le", bound)]), sum as f64);
    }
    page.sample(&[name, "_sum"], &own, histogram.sum_secs);
    page.sample(&[name, "_count"], &own, sum as f64);
}

fn labels<'a>(metric: &'static Metric, values: &'a [Box<str>]) -> impl Iterator<Item = Label<'a>> + Clone {
    let free =
        |name: &&'static str| TAKEN.iter().find(|(ours, _)| ours == name).map_or(*name, |(_, theirs)| theirs);
    metric.labels.iter().zip(values).map(move |(name, value)| (free(name), &**value))
}

/// From the unit on the wire to the base unit.
const fn factor(unit: Unit) -> f64 {
    match unit {
        Unit::Hours => 3600.0,
        Unit::Milliseconds => 1e-3,
        Unit::Megahertz => 1e6,
        Unit::Gibibytes => (1_u64 << 30) as f64,
        _ => 1.0,
    }
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
