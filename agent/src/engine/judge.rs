//! Every condition of every series, and the drafts their changes make.

use std::collections::HashMap;

use super::compose::condition::{Finding, draft};
use super::compose::{Draft, incident_id};
use super::condition::{Change, Condition};
use super::limits::Rule;
use super::series::{Series, SeriesTable};
use super::store::Store;
use crate::alert::Status;
use crate::sample::{ProcTable, SeriesDef, SeriesId};
use crate::time::{Now, SECOND};

/// History shown beside a condition.
const RECENT_NS: u64 = 300 * SECOND;
/// A condition whose series was not read for this long, or for five of its own intervals, is over.
const STALE_NS: u64 = 300 * SECOND;
/// How often stale conditions are looked for.
const STALE_CHECK_NS: u64 = 10 * SECOND;

#[derive(Debug)]
struct Judged {
    rule: usize,
    condition: Condition,
    /// Id of the incident while it fires.
    id: String,
}

/// All conditions.
#[derive(Debug)]
pub struct Judge {
    by_series: HashMap<SeriesId, Vec<Judged>>,
    run_ns: i64,
    next: u64,
    checked_ns: u64,
}

/// What surrounds a reading.
pub struct Scene<'a> {
    /// History.
    pub store: &'a Store,
    /// Newest process table.
    pub processes: Option<&'a ProcTable>,
    /// Levels are learned, nothing fires.
    pub learning: bool,
}

impl Judge {
    /// No conditions; `run_ns` makes ids unique.
    pub fn new(run_ns: i64) -> Self {
        Self { by_series: HashMap::new(), run_ns, next: 0, checked_ns: 0 }
    }

    /// A unique incident id.
    pub fn next_id(&mut self) -> String {
        self.next += 1;
        incident_id(self.run_ns, self.next)
    }

    /// Learns of a series: puts it into `table` and gives it a condition for each rule that judges it.
    pub fn define(&mut self, def: &SeriesDef, rules: &[Rule], table: &mut SeriesTable) {
        table.define(def.clone());
        self.by_series.remove(&def.id);
        let Some(series) = table.get(def.id) else { return };
        let judged: Vec<Judged> = rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| rule.judges(series))
            .map(|(rule, _)| Judged { rule, condition: Condition::default(), id: String::new() })
            .collect();
        if !judged.is_empty() {
            self.by_series.insert(def.id, judged);
        }
    }

    /// Takes a reading that `series` already holds.
    pub fn observe(
        &mut self,
        now: Now,
        id: SeriesId,
        series: &Series,
        rules: &[Rule],
        scene: &Scene<'_>,
        drafts: &mut Vec<Draft>,
    ) {
        let Some(list) = self.by_series.get_mut(&id) else { return };
        for judged in list {
            let rule = &rules[judged.rule];
            let before = judged.condition.firing();
            let change = judged.condition.observe(&rule.policy, series.at_ns, series.value, scene.learning);
            let (status, firing) = match change {
                None => continue,
                Some(Change::Fired(_)) => {
                    self.next += 1;
                    judged.id = incident_id(self.run_ns, self.next);
                    (Status::Firing, judged.condition.firing())
                }
                Some(Change::Moved(_)) => (Status::Updated, judged.condition.firing()),
                Some(Change::Resolved) => (Status::Resolved, before),
            };
            let Some(firing) = firing else { continue };
            let recent = scene.store.summary(id, series.at_ns.saturating_sub(RECENT_NS));
            let processes = scene.processes;
            let finding = Finding { rule, series, firing, status, recent, processes, gone: false };
            drafts.push(draft(&finding, judged.id.clone(), now));
        }
    }

    /// Ends the conditions of a series that is gone.
    pub fn retire(
        &mut self,
        now: Now,
        id: SeriesId,
        rules: &[Rule],
        table: &SeriesTable,
        drafts: &mut Vec<Draft>,
    ) {
        if let (Some(list), Some(series)) = (self.by_series.remove(&id), table.get(id)) {
            for mut judged in list {
                drafts.extend(judged.end(now, rules, series));
            }
        }
    }

    /// Ends the conditions whose series fell silent.
    pub fn stale(&mut self, now: Now, rules: &[Rule], table: &SeriesTable, drafts: &mut Vec<Draft>) {
        if now.mono_ns.saturating_sub(self.checked_ns) < STALE_CHECK_NS {
            return;
        }
        self.checked_ns = now.mono_ns;
        for (id, list) in &mut self.by_series {
            let Some(series) = table.get(*id) else { continue };
            let patience = STALE_NS.max(series.step_ns.saturating_mul(5));
            if now.mono_ns.saturating_sub(series.at_ns) < patience {
                continue;
            }
            for judged in list {
                drafts.extend(judged.end(now, rules, series));
            }
        }
    }

    /// Conditions that fire and that are pending.
    pub fn active(&self) -> (usize, usize) {
        let all = || self.by_series.values().flatten();
        (
            all().filter(|j| j.condition.firing().is_some()).count(),
            all().filter(|j| j.condition.pending()).count(),
        )
    }
}

impl Judged {
    fn end(&mut self, now: Now, rules: &[Rule], series: &Series) -> Option<Draft> {
        let firing = self.condition.firing();
        self.condition.abandon()?;
        let (rule, status) = (&rules[self.rule], Status::Resolved);
        let finding =
            Finding { rule, series, firing: firing?, status, recent: None, processes: None, gone: true };
        Some(draft(&finding, self.id.clone(), now))
    }
}
