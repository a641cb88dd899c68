//! Every condition of every series, and the drafts their changes make.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::analysis::{Analysis, Plan};
use super::compose::condition::{Finding, draft, labels, print};
use super::compose::{Draft, Identity, incident_id};
use super::condition::{Change, Condition, Firing};
use super::control::PendingView;
use super::limits::{Rule, judging};
use super::patience::Signs;
use super::series::{Series, SeriesTable};
use super::store::Store;
use crate::alert::Status;
use crate::analyze::trend::{Trend, sparkline};
use crate::sample::{ProcTable, SeriesDef, SeriesId};
use crate::time::{Now, SECOND};

/// History shown beside a condition.
const RECENT_NS: u64 = 300 * SECOND;
/// History its trend is made from, and its sparkline.
const TREND_NS: u64 = 1800 * SECOND;
/// A condition whose series was not read for this long, or for five of its own intervals, is over.
const STALE_NS: u64 = 300 * SECOND;
/// How often stale conditions are looked for.
const STALE_CHECK_NS: u64 = 10 * SECOND;

#[derive(Debug, Default)]
struct Judged {
    rule: usize,
    condition: Condition,
    /// Id of the incident while it fires.
    id: String,
}

/// Numbers of series are the agent's own, one after the other: nobody can make them meet.
type ById = BuildHasherDefault<IdHasher>;

/// Spreads a number over all bits (Fibonacci hashing).
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0.rotate_left(8) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// All conditions.
#[derive(Debug)]
pub struct Judge {
    by_series: HashMap<SeriesId, Vec<Judged>, ById>,
    /// Conditions of an earlier run whose series has not come yet, by fingerprint.
    resumed: HashMap<String, (Condition, String)>,
    signs: Signs,
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
    /// All series.
    pub table: &'a SeriesTable,
    /// The rules.
    pub rules: &'a [Rule],
    /// Who speaks.
    pub identity: &'a Identity,
    /// What is usual, and what is far from it.
    pub unusual: (&'a Analysis, &'a Plan),
    /// Levels are learned, nothing fires.
    pub learning: bool,
}

impl Judge {
    /// No conditions; `run_ns` makes ids unique.
    pub fn new(run_ns: i64) -> Self {
        let (by_series, resumed, signs) = (HashMap::default(), HashMap::new(), Signs::default());
        Self { by_series, resumed, signs, run_ns, next: 0, checked_ns: 0 }
    }

    /// A unique incident id.
    pub fn next_id(&mut self) -> String {
        self.next += 1;
        incident_id(self.run_ns, self.next)
    }

    /// A condition that an earlier run left; it goes on when its series comes. Of two with one fingerprint the one that
    /// fires does.
    pub fn resume(&mut self, fingerprint: String, condition: Condition, id: String) {
        let fires = |known: &(Condition, String)| known.0.firing().is_some();
        if condition.firing().is_some() || !self.resumed.get(&fingerprint).is_some_and(fires) {
            self.resumed.insert(fingerprint, (condition, id));
        }
    }

    /// The same of one that fires, as far as it was told: how bad it was before is known from elsewhere.
    pub fn resume_firing(&mut self, fingerprint: String, firing: Firing, id: String) {
        let known = self.resumed.get(&fingerprint).filter(|(_, known)| *known == id);
        let worst = known.and_then(|(condition, _)| Some(condition.firing()?.worst)).unwrap_or(firing.worst);
        let firing = Firing { worst: worst.max(firing.worst), ..firing };
        self.resumed.insert(fingerprint, (Condition::firing_since(firing), id));
    }

    /// It was told to be over.
    pub fn forget(&mut self, fingerprint: &str) {
        self.resumed.remove(fingerprint);
    }

    /// The same, by the id of the incident.
    pub fn forget_incident(&mut self, id: &str) {
        self.resumed.retain(|_, (_, known)| known != id);
    }

    /// Nobody waits any more for series that have not come again.
    pub fn drop_unclaimed(&mut self) {
        self.resumed.clear();
    }

    /// The same for those incidents of which `keep` says no.
    pub fn keep_unclaimed(&mut self, keep: impl Fn(&str) -> bool) {
        self.resumed.retain(|_, (_, id)| keep(id));
    }

    /// Learns of a series: puts it into `table` and gives it a condition for each rule that judges it.
    pub fn define(&mut self, def: &SeriesDef, rules: &[Rule], table: &mut SeriesTable) {
        table.define(def.clone());
        self.signs.define(def.id, def.metric);
        let before = self.by_series.remove(&def.id).unwrap_or_default();
        let Some(series) = table.get(def.id) else { return };
        let mut judged: Vec<Judged> = judging(rules, series)
            .into_iter()
            .map(|rule| Judged { rule, ..self.claim(&rules[rule], series) })
            .collect();
        // The same series begun anew goes on with its condition.
        for old in before.into_iter().filter(|old| old.condition.firing().is_some()) {
            if let Some(judged) = judged.iter_mut().find(|j| j.rule == old.rule) {
                *judged = old;
            }
        }
        if !judged.is_empty() {
            self.by_series.insert(def.id, judged);
        }
    }

    fn claim(&mut self, rule: &Rule, series: &Series) -> Judged {
        claim(&mut self.resumed, rule, series)
    }

    /// Takes a reading that `series` already holds.
    pub fn observe(
        &mut self,
        now: Now,
        (id, series): (SeriesId, &Series),
        scene: &Scene<'_>,
        drafts: &mut Vec<Draft>,
    ) {
        let Some(list) = self.by_series.get_mut(&id) else { return };
        for judged in list {
            let rule = &scene.rules[judged.rule];
            let before = judged.condition.firing();
            let doubt = self.signs.doubt(rule, (id, series), scene);
            let reading = (series.at_ns, series.value);
            let change = judged.condition.observe_with(&rule.policy, reading, doubt, scene.learning);
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
            let finding = scene.finding(rule, (id, series), firing, status);
            drafts.push(draft(&finding, judged.id.clone(), now));
        }
    }

    /// Ends the conditions of a series that is gone.
    pub fn retire(&mut self, now: Now, id: SeriesId, scene: &Scene<'_>, drafts: &mut Vec<Draft>) {
        self.signs.retire(id);
        if let (Some(list), Some(series)) = (self.by_series.remove(&id), scene.table.get(id)) {
            for mut judged in list {
                drafts.extend(judged.end(now, GONE, scene, series));
            }
        }
    }

    /// Ends the conditions whose series fell silent.
    pub fn stale(&mut self, now: Now, scene: &Scene<'_>, drafts: &mut Vec<Draft>) {
        if now.mono_ns.saturating_sub(self.checked_ns) < STALE_CHECK_NS {
            return;
        }
        self.checked_ns = now.mono_ns;
        for (id, list) in &mut self.by_series {
            let Some(series) = scene.table.get(*id).filter(|series| series.at_ns > 0) else { continue };
            let patience = STALE_NS.max(series.step_ns.saturating_mul(5));
            if now.mono_ns.saturating_sub(series.at_ns) < patience {
                continue;
            }
            for judged in list {
                drafts.extend(judged.end(now, GONE, scene, series));
            }
        }
    }

    /// Judges by `new` rules from now on; `scene` has the old ones. Returns how many alerts ended with their rule.
    pub fn reload(&mut self, now: Now, new: &[Rule], scene: &Scene<'_>, drafts: &mut Vec<Draft>) -> usize {
        let begun = drafts.len();
        for (id, series) in scene.table.iter() {
            let mut before = self.by_series.remove(&id).unwrap_or_default();
            let mut take = |rule: usize| {
                let same = |old: &Judged| scene.rules[old.rule].name == new[rule].name;
                let found = before.iter().position(same).map(|at| before.swap_remove(at));
                // Its series may have come while no rule judged it.
                let found = found.unwrap_or_else(|| claim(&mut self.resumed, &new[rule], series));
                Judged { rule, ..found }
            };
            let judged: Vec<Judged> = judging(new, series).into_iter().map(&mut take).collect();
            for mut gone in before {
                drafts.extend(gone.end(now, UNJUDGED, scene, series));
            }
            if !judged.is_empty() {
                self.by_series.insert(id, judged);
            }
        }
        drafts.len() - begun
    }

    /// How the condition of an incident stands now, as if it began; `None`: nobody has read it yet.
    pub fn current(&self, now: Now, id: &str, scene: &Scene<'_>) -> Option<Draft> {
        let all = self.by_series.iter().flat_map(|(series, list)| list.iter().map(move |one| (*series, one)));
        let mut firing = all.filter_map(|(series, one)| Some((series, one, one.condition.firing()?)));
        let (series_id, judged, firing) = firing.find(|(_, one, _)| one.id == id)?;
        let series = scene.table.get(series_id).filter(|series| series.at_ns > 0)?;
        let rule = &scene.rules[judged.rule];
        let finding = scene.finding(rule, (series_id, series), firing, Status::Firing);
        Some(draft(&finding, judged.id.clone(), now))
    }

    /// Ids of the incidents that this will end: of conditions that fire, and of those that wait for their series.
    pub fn answers_for(&self) -> impl Iterator<Item = &str> {
        let here = self.by_series.values().flatten().map(|judged| (&judged.condition, &judged.id));
        let all = here.chain(self.resumed.values().map(|(condition, id)| (condition, id)));
        all.filter(|(condition, _)| condition.firing().is_some()).map(|(_, id)| id.as_str())
    }

    /// Conditions that fire and that are pending.
    pub fn active(&self) -> (usize, usize) {
        let all = || self.by_series.values().flatten();
        (
            all().filter(|j| j.condition.firing().is_some()).count(),
            all().filter(|j| j.condition.pending()).count(),
        )
    }

    /// Conditions that are not at rest, with fingerprint and id, those of an earlier run that were not claimed included.
    pub fn kept(&self, rules: &[Rule], table: &SeriesTable) -> Vec<(String, Condition, String)> {
        let here = self.by_series.iter().flat_map(|(id, list)| list.iter().map(move |judged| (id, judged)));
        let moving = here.filter(|(_, j)| j.condition.firing().is_some() || j.condition.pending());
        let of = |(id, judged): (&SeriesId, &Judged)| {
            let series = table.get(*id)?;
            let print = print(&rules[judged.rule].name, &labels(series));
            Some((print, judged.condition.clone(), judged.id.clone()))
        };
        let resumed = self.resumed.iter().map(|(print, (c, id))| (print.clone(), c.clone(), id.clone()));
        moving.filter_map(of).chain(resumed).collect()
    }

    /// What is on its way, for people.
    pub fn pending(&self, now: Now, rules: &[Rule], table: &SeriesTable) -> Vec<PendingView> {
        let all = self.by_series.iter().flat_map(|(id, list)| list.iter().map(move |judged| (id, judged)));
        all.filter_map(|(id, judged)| {
            let (severity, since_ns) = judged.condition.on_its_way()?;
            let (rule, series) = (&rules[judged.rule], table.get(*id)?);
            let held_secs = now.mono_ns.saturating_sub(since_ns) / SECOND;
            Some(PendingView {
                rule: rule.name.clone(),
                metric: rule.metric.clone(),
                labels: labels(series),
                value: series.value,
                limit: rule.limit(severity),
                severity,
                held_secs,
                to_go_secs: rule.policy.for_secs.saturating_sub(held_secs),
            })
        })
        .collect()
    }
}

/// What an earlier run left of a condition, if it left something.
fn claim(resumed: &mut HashMap<String, (Condition, String)>, rule: &Rule, series: &Series) -> Judged {
    if resumed.is_empty() {
        return Judged::default();
    }
    let found = resumed.remove(&print(&rule.name, &labels(series)));
    found.map(|(condition, id)| Judged { rule: 0, condition, id }).unwrap_or_default()
}

/// Why a condition ended without a value below its limit.
const GONE: &str = "is no longer reported";
const UNJUDGED: &str = "is no longer judged: the configuration has changed";

impl Scene<'_> {
    fn finding<'a>(
        &'a self,
        rule: &'a Rule,
        (id, series): (SeriesId, &'a Series),
        firing: Firing,
        status: Status,
    ) -> Finding<'a> {
        let from_ns = series.at_ns.saturating_sub(TREND_NS);
        let values: Vec<f64> = self.store.since(id, from_ns).collect();
        Finding {
            rule,
            series,
            firing,
            status,
            recent: self.store.summary(id, series.at_ns.saturating_sub(RECENT_NS)),
            processes: self.processes,
            gone: None,
            identity: self.identity,
            trend: Trend::of(self.store.points(id, from_ns)),
            sparkline: sparkline(&values),
            unusual: self.unusual.0.unusual(id, self.unusual.1),
            table: Some(self.table),
        }
    }
}

impl Judged {
    fn end(&mut self, now: Now, why: &'static str, scene: &Scene<'_>, series: &Series) -> Option<Draft> {
        let firing = self.condition.firing();
        self.condition.abandon()?;
        let finding = Finding {
            rule: &scene.rules[self.rule],
            series,
            firing: firing?,
            status: Status::Resolved,
            recent: None,
            processes: None,
            gone: Some(why),
            identity: scene.identity,
            trend: None,
            sparkline: None,
            unusual: None,
            table: None,
        };
        Some(draft(&finding, self.id.clone(), now))
    }
}
