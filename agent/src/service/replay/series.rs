//! From the names in a file to rows of the metric table. What the agent does not know becomes a metric of its own.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::formulas::FORMULAS;
use crate::metric::{Kind, Metric, Unit};
use crate::text::word::word;

/// Metrics that the agent does not know, at most.
const MAX_OWN: usize = 1000;
/// Labels of one series, and bytes of a name or a value, at most.
const MAX_LABELS: usize = 16;
const MAX_BYTES: usize = 512;

/// A series, ready for [`crate::sample::Samples::put`].
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) metric: &'static Metric,
    /// Label values in the metric's order.
    pub(super) labels: Vec<String>,
}

/// Why a reading is left out: kind for the notes, and a sentence.
pub(super) type Refused = (&'static str, String);

/// Names and what they stand for.
pub(super) struct Names {
    known: HashMap<&'static str, &'static Metric>,
    own: HashMap<(String, Vec<String>), &'static Metric>,
    /// Computed metrics, by what they are computed from first.
    computed: HashMap<&'static str, Vec<&'static str>>,
    /// Metrics that such are computed from and that were seen.
    seen: HashSet<&'static str>,
}

impl Names {
    pub(super) fn new() -> Self {
        let known = crate::edge::metrics().into_iter().map(|metric| (metric.name, metric)).collect();
        let mut computed: HashMap<&str, Vec<&str>> = HashMap::new();
        for formula in FORMULAS {
            computed
                .entry(formula.out.name)
                .or_default()
                .extend(formula.above.first().map(|first| first.name));
        }
        Self { known, own: HashMap::new(), computed, seen: HashSet::new() }
    }

    /// What `name` with these labels is.
    pub(super) fn find(
        &mut self,
        name: &str,
        kind: Option<&str>,
        labels: &BTreeMap<String, String>,
    ) -> Result<Found, Refused> {
        let long = |text: &str| text.len() > MAX_BYTES;
        if name.is_empty()
            || long(name)
            || labels.len() > MAX_LABELS
            || labels.iter().any(|(k, v)| long(k) || long(v))
        {
            return Err((
                "name",
                "a metric without a name, or with names or labels that are too long or too many".into(),
            ));
        }
        match self.known.get(name) {
            Some(metric) => self.known(metric, labels),
            None => self.own(name, kind, labels),
        }
    }

    /// A metric of the agent's.
    pub(super) fn find_known(&mut self, name: &str, labels: &BTreeMap<String, String>) -> Option<Found> {
        let metric = *self.known.get(name)?;
        self.known(metric, labels).ok()
    }

    fn known(
        &mut self,
        metric: &'static Metric,
        labels: &BTreeMap<String, String>,
    ) -> Result<Found, Refused> {
        if let Some(from) = self.computed.get(metric.name) {
            if from.iter().any(|raw| self.seen.contains(raw)) {
                return Err((
                    "computed",
                    format!("{} is computed anew from what the file has, and not taken from it", metric.name),
                ));
            }
        } else {
            self.seen.insert(metric.name);
        }
        if let Some(extra) = labels.keys().find(|name| !metric.labels.contains(&name.as_str())) {
            let of = if metric.labels.is_empty() { "none".to_owned() } else { metric.labels.join(", ") };
            return Err(("label", format!("{} has no label {extra}: it has {of}", metric.name)));
        }
        let value = |name: &&str| labels.get(*name).cloned().unwrap_or_default();
        Ok(Found { metric, labels: metric.labels.iter().map(value).collect() })
    }

    fn own(
        &mut self,
        name: &str,
        kind: Option<&str>,
        labels: &BTreeMap<String, String>,
    ) -> Result<Found, Refused> {
        let key = (name.to_owned(), labels.keys().cloned().collect::<Vec<_>>());
        let metric = if let Some(metric) = self.own.get(&key) {
            metric
        } else {
            let full = || ("metrics", format!("more than {MAX_OWN} metrics that the agent does not know"));
            if self.own.len() >= MAX_OWN {
                return Err(full());
            }
            let metric = make(name, kind, &key.1).ok_or_else(full)?;
            self.own.insert(key, metric);
            metric
        };
        Ok(Found { metric, labels: labels.values().cloned().collect() })
    }
}

/// A row for a metric that the agent does not know; it lives as long as the program, and there are few.
fn make(name: &str, kind: Option<&str>, labels: &[String]) -> Option<&'static Metric> {
    let labels: Vec<&'static str> = labels.iter().map(|label| word(label)).collect::<Option<_>>()?;
    Some(Box::leak(Box::new(Metric {
        name: word(name)?,
        prometheus: "",
        kind: if kind == Some(Kind::Counter.name()) { Kind::Counter } else { Kind::Gauge },
        unit: Unit::Count,
        labels: labels.leak(),
        help: "Out of a file.",
        source: "a file",
    })))
}
