//! What is expected and not there: a rule with `op = "absent"` fires when no series with its labels was read for
//! its time. Pure.

use std::collections::HashMap;

use super::compose::condition::print;
use super::compose::{Draft, Identity, absent};
use super::condition::Firing;
use super::series::{Series, SeriesTable};
use crate::alert::{Severity, Status};
use crate::time::{Now, SECOND};

/// How often it is looked for what is missing.
const CHECK_NS: u64 = 5 * SECOND;

/// One such rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Absence {
    /// Name on alerts.
    pub name: String,
    /// Metric by wire name.
    pub metric: String,
    /// Labels of the series that is expected, harmless.
    pub labels: Vec<(String, String)>,
    /// Seconds without a reading; never less than two and a half of the series' own intervals.
    pub for_secs: u64,
    /// How bad it is.
    pub severity: Severity,
    /// Template of the message; empty: the usual sentence.
    pub message: String,
    /// Page to read when it fires.
    pub runbook_url: Option<String>,
}

impl Absence {
    fn is_of(&self, series: &Series) -> bool {
        self.metric == series.metric.name
            && self.labels.iter().all(|(name, value)| series.label(name) == Some(value.as_str()))
    }

    fn print(&self) -> String {
        print(&self.name, &self.labels.iter().cloned().collect())
    }
}

#[derive(Debug, Default)]
struct Watched {
    /// Last reading, or the start.
    seen_ns: u64,
    /// Its interval.
    step_ns: u64,
    firing: Option<(String, Firing)>,
}

/// All of them, by fingerprint.
#[derive(Debug, Default)]
pub struct Absences {
    watched: HashMap<String, Watched>,
    /// Fingerprints of the rules, in their order; none before the first look at them.
    prints: Vec<String>,
    checked_ns: u64,
}

/// What surrounds a look.
pub struct Scene<'a> {
    /// The rules.
    pub rules: &'a [Absence],
    /// All series.
    pub table: &'a SeriesTable,
    /// Who speaks.
    pub identity: &'a Identity,
    /// When the engine was started, monotonic nanoseconds.
    pub start_ns: u64,
}

impl Absences {
    /// One that an earlier run told of.
    pub fn resume(&mut self, fingerprint: String, id: String, firing: Firing) {
        let watched = Watched { seen_ns: firing.since_ns, step_ns: 0, firing: Some((id, firing)) };
        self.watched.insert(fingerprint, watched);
    }

    /// It was told to be over.
    pub fn forget(&mut self, fingerprint: &str) {
        self.watched.remove(fingerprint);
        // It is looked for anew.
        self.prints.clear();
    }

    /// Those that fire: fingerprint, id and since when.
    pub fn kept(&self) -> Vec<(String, String, Firing)> {
        let firing =
            self.watched.iter().filter_map(|(print, watched)| Some((print, watched.firing.as_ref()?)));
        firing.map(|(print, (id, firing))| (print.clone(), id.clone(), *firing)).collect()
    }

    /// Ids of the incidents that this will end.
    pub fn answers_for(&self) -> impl Iterator<Item = &str> {
        self.watched.values().filter_map(|watched| Some(watched.firing.as_ref()?.0.as_str()))
    }

    /// How an incident stands now, as if it began.
    pub fn current(&self, now: Now, id: &str, (rules, identity): (&[Absence], &Identity)) -> Option<Draft> {
        let known = |watched: &Watched| Some(watched.firing.as_ref().filter(|(of, _)| of == id)?.1);
        let (print, firing) = self.watched.iter().find_map(|(print, one)| Some((print, known(one)?)))?;
        let rule = rules.iter().find(|rule| rule.print() == *print)?;
        let since = firing.started(now);
        Some(absent::draft(rule, Status::Firing, since, id.to_owned(), identity, (now, "")))
    }

    /// Whether an earlier run's alert of this fingerprint is one of these.
    pub fn is_known(rules: &[Absence], fingerprint: &str) -> bool {
        rules.iter().any(|rule| rule.print() == fingerprint)
    }

    /// Looks for what is missing and for what has come back.
    pub fn check(
        &mut self,
        now: Now,
        scene: &Scene<'_>,
        mut new_id: impl FnMut() -> String,
        drafts: &mut Vec<Draft>,
    ) {
        if scene.rules.is_empty() || now.mono_ns.saturating_sub(self.checked_ns) < CHECK_NS {
            return;
        }
        self.checked_ns = now.mono_ns;
        if self.prints.len() != scene.rules.len() {
            self.begin(scene);
        }
        for (rule, print) in scene.rules.iter().zip(&self.prints) {
            let Some(watched) = self.watched.get_mut(print) else { continue };
            let read = scene.table.iter().map(|(_, series)| series).filter(|s| s.at_ns > 0 && rule.is_of(s));
            if let Some(newest) = read.max_by_key(|series| series.at_ns) {
                watched.seen_ns = watched.seen_ns.max(newest.at_ns);
                watched.step_ns = newest.step_ns;
            }
            // Mostly there is none, and a draft is large: an iterator over it would be copied each time.
            if let Some(draft) = watched.judge(now, rule, scene.identity, &mut new_id) {
                drafts.push(draft);
            }
        }
    }

    fn begin(&mut self, scene: &Scene<'_>) {
        self.prints = scene.rules.iter().map(Absence::print).collect();
        for print in &self.prints {
            let start = || Watched { seen_ns: scene.start_ns, ..Watched::default() };
            self.watched.entry(print.clone()).or_insert_with(start);
        }
    }

    /// Ends those whose rule is gone.
    pub fn reload(
        &mut self,
        now: Now,
        (old, new): (&[Absence], &[Absence]),
        identity: &Identity,
        drafts: &mut Vec<Draft>,
    ) {
        self.prints.clear();
        for rule in old {
            let print = rule.print();
            if new.iter().any(|kept| kept.print() == print && kept.metric == rule.metric) {
                continue;
            }
            if let Some((id, firing)) = self.watched.remove(&print).and_then(|watched| watched.firing) {
                let end = (now, "is no longer expected");
                drafts.push(absent::draft(rule, Status::Resolved, firing.started(now), id, identity, end));
            }
        }
    }
}

impl Watched {
    fn judge(
        &mut self,
        now: Now,
        rule: &Absence,
        identity: &Identity,
        new_id: &mut impl FnMut() -> String,
    ) -> Option<Draft> {
        let patience = (rule.for_secs * SECOND).max(self.step_ns.saturating_mul(5) / 2);
        let is_missing = now.mono_ns.saturating_sub(self.seen_ns) >= patience;
        match self.firing.take() {
            None if is_missing => {
                let level = rule.severity;
                let firing = Firing { level, worst: level, since_ns: self.seen_ns, before_boot_ns: 0 };
                let (id, _) = self.firing.insert((new_id(), firing));
                let (id, since) = (id.clone(), firing.started(now));
                Some(absent::draft(rule, Status::Firing, since, id, identity, (now, "")))
            }
            Some((id, firing)) if self.seen_ns > firing.since_ns => {
                let (since, end) = (firing.started(now), (now, "is reported again"));
                Some(absent::draft(rule, Status::Resolved, since, id, identity, end))
            }
            stays => {
                self.firing = stays;
                None
            }
        }
    }
}
