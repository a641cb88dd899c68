//! Orders carried out, and the view of how things stand.

use super::board::Standing;
use super::compose::{lived_secs, rfc3339};
use super::control::{ActiveView, Answer, NewSilence, Order, View};
use super::ports::Settings;
use super::quiet::maintenance;
use super::{Engine, Output};
use crate::config::nearest;
use crate::text::clean;
use crate::time::{Now, SECOND};

/// Labels that a refusal names.
const MOST_LABELS: usize = 12;

impl Engine {
    /// Carries out an order. What it leads to is appended to `out`.
    ///
    /// # Errors
    /// A sentence for who gave it.
    pub fn order(&mut self, now: Now, order: Order, out: &mut Vec<Output>) -> Result<Answer, String> {
        let answer = match order {
            Order::Silence(new) => {
                self.check_name(&new)?;
                self.check_labels(&new)?;
                Answer::Silenced { id: self.board.silences.add(now, new)?, unkept: None }
            }
            Order::Revoke(id) => {
                let silence = self.board.silences.revoke(id)?;
                let silence = silence.view(now, &self.settings.identity.zone);
                Answer::Revoked { silence, unkept: None }
            }
            Order::Reload(settings) => self.reload(now, *settings, out),
        };
        // What was held back until now may be told; and nobody wants to give the order twice.
        self.pace.told = true;
        let mut passed = Vec::new();
        self.ask_board(now, |board, _, scene, fresh| board.look(now, scene, fresh, &mut passed));
        self.tell_on(now, passed, Vec::new(), out);
        Ok(answer)
    }

    /// A silence that no alert can ever match is a slip.
    fn check_name(&self, new: &NewSilence) -> Result<(), String> {
        let Settings { known, rules, absences, .. } = &self.settings;
        let of_rules = rules.iter().map(|rule| &rule.name).chain(absences.iter().map(|rule| &rule.name));
        let mut all = known.iter().chain(of_rules).map(String::as_str);
        let fine = new.force || known.is_empty() || ["", "*"].contains(&new.matcher.as_str());
        if fine || all.clone().any(|name| name == new.matcher) {
            return Ok(());
        }
        let near = nearest(&new.matcher, &mut all).map(|near| format!(" Did you mean `{near}`?"));
        Err(format!(
            "No metric and no rule is called `{}`.{} docs/METRICS.md lists the metrics; --force silences the name all the same.",
            clean(&new.matcher, 100),
            near.unwrap_or_default()
        ))
    }

    /// The same of a label that no such alert has.
    fn check_labels(&self, new: &NewSilence) -> Result<(), String> {
        let Settings { labels, rules, absences, .. } = &self.settings;
        let of_rules = rules.iter().map(|rule| (&rule.name, &rule.metric));
        let of_absences = absences.iter().map(|rule| (&rule.name, &rule.metric));
        let metric = of_rules.chain(of_absences).find(|(name, _)| **name == new.matcher);
        let metric = metric.map_or(new.matcher.as_str(), |(_, metric)| metric);
        let known = labels.of.get(metric).unwrap_or(&labels.any);
        let unknown = new.labels.keys().find(|label| !known.contains(label.as_str()));
        let Some(label) = unknown.filter(|_| !new.force && !labels.any.is_empty()) else { return Ok(()) };
        let near =
            nearest(label, known.iter().map(String::as_str)).map(|near| format!(" Did you mean `{near}`?"));
        let all: Vec<&str> = known.iter().map(String::as_str).collect();
        let all = match all.len() {
            0 => " Its alerts have none.".to_owned(),
            1..=MOST_LABELS => format!(" They have {}.", all.join(", ")),
            _ => String::new(),
        };
        Err(format!(
            "No alert of `{}` has a label `{}`, so this would hold back nothing.{} --force silences it all the same.",
            clean(&new.matcher, 100),
            clean(label, 100),
            near.unwrap_or(all)
        ))
    }

    fn reload(&mut self, now: Now, new: Settings, out: &mut Vec<Output>) -> Answer {
        let mut drafts = Vec::new();
        let (judge, scene) = self.judging(now);
        judge.reload(now, &new.rules, &scene, &mut drafts);
        let absences = (&*self.settings.absences, &*new.absences);
        self.absences.reload(now, absences, &self.settings.identity, &mut drafts);
        let ended = drafts.len();
        let Settings {
            known,
            labels,
            identity,
            rules,
            absences,
            maintenance,
            escalation,
            manners,
            warmup_secs,
            disks,
            analysis,
            ..
        } = new;
        self.speaker.reload(manners.clone());
        let old = &mut self.settings;
        (old.known, old.labels) = (known, labels);
        (old.identity, old.rules, old.absences, old.maintenance) = (identity, rules, absences, maintenance);
        (old.escalation, old.manners, old.warmup_secs, old.disks) = (escalation, manners, warmup_secs, disks);
        old.analysis = analysis;
        let rules = old.rules.len() + old.absences.len();
        self.look_again();
        let mut told = Vec::new();
        self.say(now, &mut drafts, &mut told);
        self.speak(now, told, out);
        Answer::Reloaded { rules, ended }
    }

    /// How things stand.
    pub fn view(&self, now: Now) -> View {
        let learned = now.since(self.start) / SECOND;
        let mut active: Vec<ActiveView> = self.board.iter().map(|entry| self.active(now, entry)).collect();
        active.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| b.secs.cmp(&a.secs)));
        let mut suppressed = self.board.counts().clone();
        let spoken = self.speaker.counts();
        let by_speaker = [
            ("repeated", spoken.repeated),
            ("grouped", spoken.grouped),
            ("over before it was told", spoken.unneeded),
        ];
        for (why, count) in by_speaker.into_iter().filter(|(_, count)| *count > 0) {
            *suppressed.entry(why.to_owned()).or_default() += count;
        }
        let zone = &self.settings.identity.zone;
        View {
            active,
            pending: self.judge.pending(now, &self.settings.rules, &self.table),
            silences: self.board.silences.view(now, zone),
            maintenance: maintenance::view(&self.settings.maintenance, now, zone),
            suppressed,
            told: spoken.told,
            learning_secs: self.settings.warmup_secs.saturating_sub(learned),
        }
    }

    fn active(&self, now: Now, entry: &Standing) -> ActiveView {
        let draft = &entry.draft;
        let mut labels = self.settings.identity.labels.clone();
        labels.extend(draft.labels.clone());
        let id = &draft.id;
        ActiveView {
            id: id.clone(),
            fingerprint: draft.fingerprint.clone(),
            rule: draft.rule.clone(),
            metric: draft.metric.to_string(),
            labels,
            severity: draft.severity,
            value: draft.value,
            limit: draft.threshold,
            message: draft.message.clone(),
            since: rfc3339(draft.started, &self.settings.identity.zone),
            secs: lived_secs(draft.started, now),
            suppressed_by: entry.held.clone().or_else(|| self.speaker.holds(id).map(str::to_owned)),
        }
    }
}
