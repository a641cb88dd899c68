//! Rates and ratios, computed once, here, from what collectors read raw.
//!
//! A formula names the counters above and below the line; an instance of it appears for every set
//! of equal labels. A counter below the line may have fewer labels than those above it
//! (`cpu_mode_seconds_total{mode}` over `cpu_all_seconds_total`).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;

use super::series::{Series, SeriesTable};
use crate::metric::Metric;
use crate::sample::SeriesId;
use crate::time::SECOND;

/// Below the line.
#[derive(Clone, Copy, Debug)]
pub enum Per {
    /// The seconds between the two readings.
    Second,
    /// Growth of these counters; at least `min`, so that a handful of events does not make a
    /// ratio. No growth and a zero `min` give no sample.
    Growth {
        /// The counters.
        of: &'static [&'static Metric],
        /// Least value below the line.
        min: f64,
    },
}

/// `scale × growth of above ÷ per`, cut at `max`.
#[derive(Clone, Copy, Debug)]
pub struct Formula {
    /// What comes out.
    pub out: &'static Metric,
    /// Counters whose growth is added up above the line; they share their labels.
    pub above: &'static [&'static Metric],
    /// Below the line.
    pub per: Per,
    /// Factor.
    pub scale: f64,
    /// Greatest possible value; readings taken a moment apart may exceed it by a little.
    pub max: f64,
}

/// Label values in the order of the metric's label names.
type Labels = Box<[Box<str>]>;

#[derive(Debug)]
struct Instance {
    formula: &'static Formula,
    labels: Labels,
    above: Vec<SeriesId>,
    below: Vec<SeriesId>,
    out: SeriesId,
}

/// The instances of all formulas.
#[derive(Debug)]
pub struct Derived {
    formulas: &'static [Formula],
    /// Raw series that take part in a formula.
    raw: HashMap<(&'static str, Labels), SeriesId>,
    /// In the order of the first counter above the line.
    instances: Vec<Instance>,
    /// Name and labels of every instance.
    known: HashSet<(&'static str, Labels)>,
    next_out: u32,
    /// Formulas, by their number, that series with these labels may have come to be enough for …
    fresh: Vec<(usize, Labels)>,
    /// … and that series of any labels may.
    stale: BTreeSet<usize>,
    free_out: Vec<SeriesId>,
    refused: u64,
}

/// Derived series have odd ids and raw ones even ids ([`raw_id`]): both kinds share one dense id
/// space without meeting.
const fn derived_id(number: u32) -> SeriesId {
    SeriesId(number << 1 | 1)
}

/// The engine's id of a series that a collector calls `id`.
pub const fn raw_id(id: SeriesId) -> SeriesId {
    SeriesId(id.0 << 1)
}

/// Derived series kept at most; more are refused and counted.
pub const MAX_DERIVED: usize = 8192;

/// A derived series that has just appeared.
#[derive(Debug, PartialEq)]
pub struct Born {
    /// Its id.
    pub id: SeriesId,
    /// Its metric.
    pub metric: &'static Metric,
    /// Its label values.
    pub labels: Labels,
}

impl Derived {
    /// No instances yet.
    pub fn new(formulas: &'static [Formula]) -> Self {
        let (raw, instances, free_out) = (HashMap::new(), Vec::new(), Vec::new());
        let (known, fresh, stale) = (HashSet::new(), Vec::new(), BTreeSet::new());
        Self { formulas, raw, instances, known, next_out: 0, fresh, stale, free_out, refused: 0 }
    }

    /// Tells of a new raw series.
    pub fn define(&mut self, id: SeriesId, metric: &'static Metric, labels: &[Box<str>]) {
        let mut used = false;
        for (nth, _) in self.formulas.iter().enumerate().filter(|(_, formula)| formula.uses(metric)) {
            used = true;
            if self.formulas[nth].above[0].name == metric.name {
                self.fresh.push((nth, labels.into()));
            } else {
                self.stale.insert(nth);
            }
        }
        if used {
            self.raw.insert((metric.name, labels.into()), id);
        }
    }

    /// Tells that a raw series is gone; returns the derived series that went with it.
    pub fn retire(&mut self, id: SeriesId) -> Vec<SeriesId> {
        self.raw.retain(|_, raw| *raw != id);
        let mut gone = Vec::new();
        let known = &mut self.known;
        self.instances.retain(|i| {
            let stays = !i.above.contains(&id) && !i.below.contains(&id);
            if !stays {
                known.remove(&(i.formula.out.name, i.labels.clone()));
                gone.push(i.out);
            }
            stays
        });
        self.free_out.extend(&gone);
        gone
    }

    /// A number for a series that somebody else computes.
    pub fn lend(&mut self) -> SeriesId {
        self.free_out.pop().unwrap_or_else(|| {
            self.next_out += 1;
            derived_id(self.next_out - 1)
        })
    }

    /// Takes a lent number back.
    pub fn give(&mut self, id: SeriesId) {
        self.free_out.push(id);
    }

    /// Makes the instances that the series told of since the last call allow.
    pub fn connect(&mut self) -> Vec<Born> {
        if self.fresh.is_empty() && self.stale.is_empty() {
            return Vec::new();
        }
        let (mut fresh, stale) = (std::mem::take(&mut self.fresh), std::mem::take(&mut self.stale));
        for nth in stale {
            let first = self.formulas[nth].above[0].name;
            let all = self.raw.keys().filter(|(name, _)| *name == first);
            fresh.extend(all.map(|(_, labels)| (nth, labels.clone())));
        }
        // Series get their numbers in the same order wherever the same came.
        fresh.sort();
        let formulas = self.formulas;
        fresh.into_iter().filter_map(|(nth, labels)| self.instance(&formulas[nth], labels)).collect()
    }

    fn instance(&mut self, formula: &'static Formula, labels: Labels) -> Option<Born> {
        let key = (formula.out.name, labels);
        if self.known.contains(&key) {
            return None;
        }
        let labels = key.1;
        let above = self.find_all(formula.above, formula.above[0], &labels)?;
        let below = match formula.per {
            Per::Second => Vec::new(),
            Per::Growth { of, .. } => self.find_all(of, formula.above[0], &labels)?,
        };
        if self.instances.len() >= MAX_DERIVED {
            self.refused += 1;
            return None;
        }
        let out = self.lend();
        self.known.insert((formula.out.name, labels.clone()));
        let instance = Instance { formula, labels: labels.clone(), above, below, out };
        let place = self.instances.partition_point(|other| other.above[0] <= instance.above[0]);
        self.instances.insert(place, instance);
        Some(Born { id: out, metric: formula.out, labels })
    }

    /// Ids of `metrics` at the labels that `like` has as `labels`; a metric with fewer labels is
    /// looked up with those it has.
    fn find_all(
        &self,
        metrics: &[&'static Metric],
        like: &Metric,
        labels: &[Box<str>],
    ) -> Option<Vec<SeriesId>> {
        metrics
            .iter()
            .map(|metric| {
                let own: Option<Labels> = metric
                    .labels
                    .iter()
                    .map(|name| labels.get(like.labels.iter().position(|l| l == name)?).cloned())
                    .collect();
                self.raw.get(&(metric.name, own?)).copied()
            })
            .collect()
    }

    /// Computes every instance whose counters were all read at `at_ns`; `read` has the ids of those that were.
    pub fn evaluate(
        &self,
        table: &SeriesTable,
        at_ns: u64,
        read: RangeInclusive<SeriesId>,
        out: &mut Vec<(SeriesId, f64)>,
    ) {
        let begin = self.instances.partition_point(|i| i.above[0] < *read.start());
        let maybe = self.instances[begin..].iter().take_while(|i| i.above[0] <= *read.end());
        out.extend(maybe.filter_map(|i| Some((i.out, i.value(table, at_ns)?))));
    }

    /// Derived series refused because of [`MAX_DERIVED`].
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

impl Formula {
    fn uses(&self, metric: &Metric) -> bool {
        let has = |list: &[&'static Metric]| list.iter().any(|m| m.name == metric.name);
        has(self.above) || matches!(self.per, Per::Growth { of, .. } if has(of))
    }
}

impl Instance {
    fn value(&self, table: &SeriesTable, at_ns: u64) -> Option<f64> {
        let fresh = |id: &SeriesId| table.get(*id).filter(|s| s.at_ns == at_ns);
        let grown = |ids: &[SeriesId]| ids.iter().map(|id| fresh(id)?.delta).sum::<Option<f64>>();
        let above = grown(&self.above)?;
        let below = match self.formula.per {
            Per::Second => self.above.first().and_then(fresh).map(Series::step_secs)?,
            Per::Growth { min, .. } => grown(&self.below)?.max(min),
        };
        (below > 0.0).then(|| (self.formula.scale * above / below).min(self.formula.max))
    }
}

impl Series {
    fn step_secs(&self) -> f64 {
        self.step_ns as f64 / SECOND as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Kind, Unit};
    use crate::sample::SeriesDef;

    const fn counter(name: &'static str, labels: &'static [&'static str]) -> Metric {
        Metric { name, prometheus: "", kind: Kind::Counter, unit: Unit::Count, labels, help: "", source: "" }
    }
    const RX: Metric = counter("rx", &["dev"]);
    const TX: Metric = counter("tx", &["dev"]);
    const MODE: Metric = counter("mode", &["mode"]);
    const ALL: Metric = counter("all", &[]);
    const RATE: Metric = counter("rate", &["dev"]);
    const SHARE: Metric = counter("share", &["mode"]);
    const FORMULAS: &[Formula] = &[
        Formula { out: &RATE, above: &[&RX, &TX], per: Per::Second, scale: 2.0, max: f64::MAX },
        Formula {
            out: &SHARE,
            above: &[&MODE],
            per: Per::Growth { of: &[&ALL], min: 0.0 },
            scale: 100.0,
            max: 100.0,
        },
    ];

    struct Bench {
        table: SeriesTable,
        derived: Derived,
        born: usize,
    }

    fn bench(series: &[(u32, &'static Metric, &[&str])]) -> Bench {
        let mut b = Bench { table: SeriesTable::default(), derived: Derived::new(FORMULAS), born: 0 };
        for (id, metric, labels) in series {
            let labels: Labels = labels.iter().map(|l| (*l).into()).collect();
            b.derived.define(SeriesId(*id), metric, &labels);
            b.table.define(SeriesDef { id: SeriesId(*id), metric, labels });
        }
        b.born = b.derived.connect().len();
        b
    }

    impl Bench {
        fn read(&mut self, secs: u64, values: &[(u32, f64)]) -> Vec<f64> {
            for (id, value) in values {
                self.table.read(SeriesId(*id), secs * SECOND, *value);
            }
            let mut out = Vec::new();
            let ids = || values.iter().map(|(id, _)| SeriesId(*id));
            let read = ids().min().unwrap()..=ids().max().unwrap();
            self.derived.evaluate(&self.table, secs * SECOND, read, &mut out);
            out.into_iter().map(|(_, v)| v).collect()
        }
    }

    #[test]
    fn rates_add_up_counters_of_equal_labels() {
        let mut b = bench(&[(0, &RX, &["a"]), (1, &TX, &["a"]), (2, &RX, &["b"])]);
        assert_eq!(b.born, 1, "b has no tx");
        assert_eq!(b.read(10, &[(0, 100.0), (1, 5.0)]), [] as [f64; 0]);
        assert_eq!(b.read(20, &[(0, 200.0), (1, 15.0)]), [22.0]);
        assert_eq!(b.read(30, &[(0, 10.0), (1, 25.0)]), [] as [f64; 0], "a reset gives no sample");
        assert_eq!(b.read(40, &[(0, 20.0)]), [] as [f64; 0], "tx was not read");
        assert_eq!(b.derived.connect(), []);
    }

    #[test]
    fn shares_divide_by_counters_with_fewer_labels() {
        let mut b = bench(&[(0, &MODE, &["user"]), (1, &ALL, &[])]);
        b.read(1, &[(0, 1.0), (1, 10.0)]);
        assert_eq!(b.read(2, &[(0, 2.0), (1, 14.0)]), [25.0]);
        assert_eq!(b.read(3, &[(0, 2.0), (1, 14.0)]), [] as [f64; 0], "nothing passed");
        assert_eq!(b.read(4, &[(0, 9.0), (1, 15.0)]), [100.0], "cut at 100 %");
    }

    #[test]
    fn retired_series_take_their_results_along() {
        let mut b = bench(&[(0, &MODE, &["user"]), (1, &ALL, &[])]);
        assert_eq!(b.derived.retire(SeriesId(1)).len(), 1);
        assert_eq!(b.read(2, &[(0, 2.0)]), [] as [f64; 0]);
        b.derived.define(SeriesId(7), &ALL, &[]);
        assert_eq!(
            b.derived.connect(),
            [Born { id: derived_id(0), metric: &SHARE, labels: ["user".into()].into() }]
        );
    }
}
