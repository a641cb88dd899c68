//! What stands: every alert that lasts, from its begin to its end, and whether it was told.
//!
//! ```text
//! drafts ─► flap ─► escalate ─► cause told? silence? maintenance? ─► speak
//!             │                      │ held back: counted, and looked at again
//!             └── one alert, then quiet until it is stable
//! ```

mod escalate;
mod flap;
mod restart;

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::compose::{Draft, hang};
use super::ports::Settings;
use super::quiet::inhibit::Causes;
use super::quiet::laws::Facts;
use super::quiet::maintenance;
use super::quiet::silence::Silences;
use super::series::SeriesTable;
use crate::alert::{Severity, Status};
use crate::time::{Now, SECOND};
pub use escalate::Escalation;
use flap::{Course, Flaps};
pub use restart::{Kept, MAX_KEPT};

/// Alerts that stand at once; further ones are told without being followed: not listed, not silenced later.
pub const MAX_STANDING: usize = 4096;
/// Events that were held back and may be heard of again.
const MAX_MUTED: usize = 256;
/// How often is looked whether what was held back may be told.
const LOOK_NS: u64 = 5 * SECOND;

/// An alert that stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Its newest draft.
    pub draft: Draft,
    /// What holds it back.
    pub held: Option<String>,
    /// It was handed on to be told, at this severity.
    pub told: Option<Severity>,
    /// Severity it was raised to.
    raised: Option<Severity>,
    /// Since when it is critical, monotonic nanoseconds.
    critical_ns: Option<u64>,
}

/// How an incident stands now, by its id, as if it began.
pub type Fresh<'a> = &'a dyn Fn(&str) -> Option<Draft>;

/// All that stands.
#[derive(Debug, Default)]
pub struct Board {
    standing: BTreeMap<String, Standing>,
    /// What somebody wants not to hear.
    pub silences: Silences,
    causes: Causes,
    flaps: Flaps,
    muted: VecDeque<String>,
    counts: BTreeMap<String, u64>,
    looked_ns: u64,
}

/// What surrounds a draft.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Windows, escalation, zone and labels of the host.
    pub settings: &'a Settings,
    /// All series.
    pub table: &'a SeriesTable,
}

impl Board {
    /// Takes a draft; what is to be told now goes to `out`.
    pub fn take(&mut self, now: Now, draft: Draft, scene: &Scene<'_>, out: &mut Vec<Draft>) {
        let stands = draft.lasts || draft.rule == hang::RULE;
        let known = self.standing.contains_key(&draft.id);
        if !stands || !known && (draft.status == Status::Resolved || self.standing.len() >= MAX_STANDING) {
            return self.event(now, draft, scene, out);
        }
        match draft.status {
            Status::Firing | Status::Updated => self.stand(now, draft, scene, out),
            Status::Resolved => self.end(now, draft, scene, out),
        }
    }

    /// What happens once, or cannot be followed.
    fn event(&mut self, now: Now, mut draft: Draft, scene: &Scene<'_>, out: &mut Vec<Draft>) {
        let muted = self.muted.contains(&draft.id);
        let held = if muted { Some("event held back".to_owned()) } else { self.why(now, &draft, scene) };
        match held {
            Some(_) if draft.status == Status::Resolved && !muted => out.push(draft),
            Some(why) => {
                self.count(&why);
                if !muted {
                    self.mute(draft.id);
                }
            }
            None => {
                self.explain(now, &mut draft, scene);
                out.push(draft);
            }
        }
    }

    fn stand(&mut self, now: Now, mut draft: Draft, scene: &Scene<'_>, out: &mut Vec<Draft>) {
        let id = draft.id.clone();
        let mut entry = self.standing.remove(&id).unwrap_or_else(|| Standing::new(&draft));
        let began = draft.status == Status::Firing && entry.told.is_none();
        let mut of_flapping = None;
        if began && draft.lasts {
            if let Course::Begins(alert) = self.flaps.change(now, &draft) {
                of_flapping = Some(*alert);
            }
            // Of a flapping one the alert that says so gets worse.
            let row = self.flaps.row(&draft.fingerprint);
            escalate::by_row(&mut entry, &mut draft, row, scene);
        }
        escalate::follow(&mut entry, &mut draft, now);
        of_flapping = self.flaps.raise(&draft).or(of_flapping);
        entry.draft = draft;
        entry.held = if self.flaps.is_flapping(&entry.draft.fingerprint) {
            Some(FLAPPING.to_owned())
        } else {
            self.why(now, &entry.draft, scene)
        };
        if let Some(why) = entry.held.clone() {
            self.count(&why);
        } else {
            self.explain(now, &mut entry.draft, scene);
            out.push(entry.tell());
        }
        self.standing.insert(id, entry);
        if let Some(alert) = of_flapping {
            self.take(now, alert, scene, out);
        }
    }

    fn end(&mut self, now: Now, mut draft: Draft, scene: &Scene<'_>, out: &mut Vec<Draft>) {
        let Some(entry) = self.standing.remove(&draft.id) else { return };
        self.causes.over(&draft.id);
        self.causes.forget(&draft.id);
        let course = if draft.lasts { self.flaps.change(now, &draft) } else { Course::Usual };
        draft.severity = draft.severity.max(entry.raised.unwrap_or(Severity::Info));
        match (entry.told, course == Course::Quiet) {
            (Some(_), _) => out.push(draft),
            (None, true) => self.count(FLAPPING),
            (None, false) => self.count("over before it was told"),
        }
        if let Course::Begins(alert) = course {
            self.take(now, *alert, scene, out);
        }
    }

    /// What holds a draft back, if anything does.
    fn why(&mut self, now: Now, draft: &Draft, scene: &Scene<'_>) -> Option<String> {
        self.why_held(now, draft, scene, true)
    }

    fn why_held(&mut self, now: Now, draft: &Draft, scene: &Scene<'_>, counts: bool) -> Option<String> {
        if let Some(why) = self.unwanted(now, draft, scene, counts) {
            return Some(why);
        }
        let facts = Facts { table: scene.table };
        self.causes.of(now, draft, facts).map(|rule| format!("inhibited by {rule}"))
    }

    /// A silence or a window of maintenance.
    fn unwanted(&mut self, now: Now, draft: &Draft, scene: &Scene<'_>, counts: bool) -> Option<String> {
        let identity = &scene.settings.identity;
        if let Some(silence) = self.silences.of(now, draft, &identity.labels) {
            if counts {
                silence.count();
            }
            return Some(format!("silence {}", silence.id));
        }
        let windows = &scene.settings.maintenance;
        let window = maintenance::of(windows, now, &identity.zone, draft, &identity.labels)?;
        Some(format!("maintenance {}", window.name))
    }

    /// From now on it explains what follows from it.
    fn explain(&mut self, now: Now, draft: &mut Draft, scene: &Scene<'_>) {
        let told = self.standing.values().filter(|entry| entry.told.is_some()).map(|entry| &entry.draft);
        self.causes.note(now, draft, told, Facts { table: scene.table });
    }

    /// What may be told now, what got worse by waiting, and what is stable again.
    pub fn due(&mut self, now: Now, scene: &Scene<'_>, fresh: Fresh<'_>, out: &mut Vec<Draft>) {
        if now.mono_ns.saturating_sub(self.looked_ns) < LOOK_NS {
            return;
        }
        self.look(now, scene, fresh, out);
    }

    /// The same at once: something was ordered.
    pub fn look(&mut self, now: Now, scene: &Scene<'_>, fresh: Fresh<'_>, out: &mut Vec<Draft>) {
        self.looked_ns = now.mono_ns;
        self.silences.expire(now);
        for stable in self.flaps.due(now) {
            self.take(now, stable, scene, out);
        }
        self.update_causes(now, scene, out);
        let held: Vec<String> =
            self.standing.iter().filter(|(_, e)| e.held.is_some()).map(|(id, _)| id.clone()).collect();
        for id in held {
            self.look_at(now, &id, scene, fresh, out);
        }
        if scene.settings.escalation.emergency_after_mins > 0 {
            let after = scene.settings.escalation.emergency_after_mins * 60 * SECOND;
            self.escalate(now, after, scene, fresh, out);
        }
    }

    fn escalate(
        &mut self,
        now: Now,
        after_ns: u64,
        scene: &Scene<'_>,
        fresh: Fresh<'_>,
        out: &mut Vec<Draft>,
    ) {
        let due = self.standing.iter().filter(|(_, entry)| escalate::is_due(entry, after_ns, now));
        for id in due.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            let Some(mut entry) = self.standing.remove(&id) else { continue };
            let flaps = self.flaps.came_lately(&id, after_ns, now);
            if !flaps && self.why_held(now, &entry.draft, scene, false).is_none() {
                entry.renew(fresh);
                out.extend(escalate::by_time(&mut entry, now));
            }
            self.standing.insert(id, entry);
        }
    }

    /// Whether nobody wants to hear any more of a begin that waited. Then it is told when nothing holds it back.
    pub fn withholds(&mut self, now: Now, draft: &Draft, scene: &Scene<'_>) -> bool {
        let Some(why) = self.unwanted(now, draft, scene, true) else { return false };
        self.count(&why);
        match self.standing.get_mut(&draft.id) {
            Some(entry) => (entry.told, entry.held) = (None, Some(why)),
            None => self.mute(draft.id.clone()),
        }
        true
    }

    fn mute(&mut self, id: String) {
        self.muted.push_back(id);
        self.muted.drain(..self.muted.len().saturating_sub(MAX_MUTED));
    }

    fn update_causes(&mut self, now: Now, scene: &Scene<'_>, out: &mut Vec<Draft>) {
        let mut drafts = Vec::new();
        self.causes.due(now, &mut drafts);
        for mut draft in drafts {
            match self.standing.get(&draft.id) {
                Some(entry) if entry.held.is_some() => continue,
                Some(entry) => draft.severity = entry.draft.severity,
                None => {}
            }
            if draft.status == Status::Resolved || self.why_held(now, &draft, scene, false).is_none() {
                out.push(draft);
            }
        }
    }

    fn look_at(&mut self, now: Now, id: &str, scene: &Scene<'_>, fresh: Fresh<'_>, out: &mut Vec<Draft>) {
        let Some(mut entry) = self.standing.remove(id) else { return };
        let flapping = self.flaps.is_flapping(&entry.draft.fingerprint);
        let why =
            if flapping { Some(FLAPPING.to_owned()) } else { self.why_held(now, &entry.draft, scene, false) };
        if why.is_none() {
            self.causes.over(id);
            let by = entry.held.take().unwrap_or_default();
            if entry.told != Some(entry.draft.severity) {
                entry.renew(fresh);
                self.explain(now, &mut entry.draft, scene);
                out.push(entry.tell_late(&by));
            }
        }
        entry.held = why;
        self.standing.insert(id.to_owned(), entry);
    }

    fn count(&mut self, why: &str) {
        // Silences are told apart in their own list.
        let kind = if why.starts_with("silence ") { "silence" } else { why };
        let known = self.counts.len() < MAX_REASONS || self.counts.contains_key(kind);
        *self.counts.entry(if known { kind } else { "other" }.to_owned()).or_default() += 1;
    }

    /// Causes forgotten at their limit.
    pub fn causes_forgotten(&self) -> u64 {
        self.causes.forgotten()
    }

    /// What was held back since the start, by reason.
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// Ends an alert whose source is gone for good, and says why.
    pub fn abandon(&mut self, now: Now, id: &str, why: &str, scene: &Scene<'_>, out: &mut Vec<Draft>) {
        let Some(entry) = self.standing.get(id) else { return };
        let draft = entry.draft.ended_without_a_reading(now, why);
        self.end(now, draft, scene, out);
    }

    /// An alert that stands.
    pub fn get(&self, id: &str) -> Option<&Standing> {
        self.standing.get(id)
    }

    /// Whether it says that a condition flaps, and still does.
    pub fn flaps(&self, draft: &Draft) -> bool {
        self.flaps.says(draft)
    }

    /// All that stands.
    pub fn iter(&self) -> impl Iterator<Item = &Standing> {
        self.standing.values()
    }
}

/// Reasons counted apart.
const MAX_REASONS: usize = 128;
const FLAPPING: &str = "flapping";

impl Standing {
    fn new(draft: &Draft) -> Self {
        Self { draft: draft.clone(), held: None, told: None, raised: None, critical_ns: None }
    }

    /// One that an earlier run told.
    pub fn told(draft: &Draft) -> Self {
        Self { told: Some(draft.severity), ..Self::new(draft) }
    }

    /// What it says becomes what is so now: it may have waited for hours.
    fn renew(&mut self, fresh: Fresh<'_>) {
        if let Some(draft) = fresh(&self.draft.id) {
            let severity = draft.severity.max(self.raised.unwrap_or(Severity::Info));
            self.draft = Draft { severity, ..draft };
        }
    }

    /// The draft as it is told: its begin, if that was not told before.
    fn tell(&mut self) -> Draft {
        let status = if self.told.is_none() { Status::Firing } else { Status::Updated };
        self.told = Some(self.draft.severity);
        Draft { status, ..self.draft.clone() }
    }

    fn tell_late(&mut self, by: &str) -> Draft {
        let draft = self.tell();
        Draft { message: format!("{} (held back until now: {by})", draft.message), ..draft }
    }
}
