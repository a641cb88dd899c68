//! What an earlier run told, as its outbox has it.

use super::Engine;
use super::absent::Absences;
use super::compose::{self, Draft};
use super::condition::Firing;
use super::disk::KeptDisk;
use super::owners::Resumed;
use crate::alert::{Alert, MEMBERS, Severity, Status};
use crate::time::{MILLI, Now};

/// How far an earlier run was when its snapshot was made.
#[derive(Debug)]
pub(super) struct Saved {
    /// When.
    pub at: Now,
    /// The message told last.
    pub last: Option<String>,
}

/// Which message this is.
pub(super) fn mark_of(alert: &Alert) -> String {
    let Alert { id, timestamp, message, .. } = alert;
    compose::fingerprint([id, alert.status.name(), timestamp, message])
}

impl Engine {
    /// Remembers what an earlier run of the agent told, oldest first, so that it is not told again.
    pub fn remember<'a>(&mut self, told: impl IntoIterator<Item = &'a Alert>, now: Now) {
        let told: Vec<&Alert> = told.into_iter().collect();
        let first_news = self.first_news(&told);
        for (at, alert) in told.into_iter().enumerate() {
            if at >= first_news {
                self.remember_condition(alert, now);
            }
            if alert.status == Status::Firing {
                self.speaker.was_told(&alert.id);
            }
            for (at, body) in compose::recall::incidents(alert, &self.settings.identity.boot_id, now) {
                self.incidents.remember(now, at, body);
            }
            for told in compose::recall::hangs(alert, &self.settings.identity.boot_id, now) {
                if told.over {
                    self.hangs.forget(&told.id);
                } else {
                    self.hangs.remember(now, told);
                }
            }
            for (at, fingerprint) in compose::recall::user_kills(alert, &self.settings.identity.boot_id, now)
            {
                self.user_kills.is_new(&fingerprint, at);
            }
            if let Some(told_ns) = compose::recall::told_ns(alert, now) {
                self.speaker.remember(alert.fingerprint.clone(), alert.severity, told_ns);
            }
        }
    }

    /// The first of them that was told after the snapshot was made.
    fn first_news(&self, told: &[&Alert]) -> usize {
        let Some(Saved { at, last }) = &self.resumed_from else { return told.len() };
        let last = told.iter().rposition(|alert| last.as_ref() == Some(&mark_of(alert)));
        // Where the outbox has lost that one, time tells. Alerts carry milliseconds; those of the same one may be heard
        // of twice.
        let by_time = || {
            let made = |alert: &Alert| {
                alert.timestamp.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
            };
            told.iter().position(|alert| made(alert).is_some_and(|made| made >= at.wall_ns / MILLI as i64))
        };
        last.map(|last| last + 1).or_else(by_time).unwrap_or(told.len())
    }

    /// A condition that was told after the snapshot was made: the agent was killed between the two.
    fn remember_condition(&mut self, alert: &Alert, now: Now) {
        // Also ends that were told together.
        let own = Some(alert.id.as_str()).filter(|_| alert.status == Status::Resolved);
        for id in alert.also_over().chain(own) {
            self.judge.forget_incident(id);
            self.disks.forget(id);
            self.board.forget(id);
            self.speaker.end_was_told(id);
        }
        let members = alert.context.get(MEMBERS).and_then(|ids| ids.as_array()).into_iter().flatten();
        if alert.status == Status::Firing {
            for id in members.filter_map(|id| id.as_str()) {
                self.board.was_told_in_summary(id);
                self.speaker.was_told(id);
            }
        }
        if !self.board.has(&alert.id) && !compose::recall::lasts(alert) {
            return;
        }
        let own_labels = &self.settings.identity.labels;
        let Some(draft) = compose::recall::standing(alert, own_labels, now) else { return };
        if draft.status == Status::Resolved {
            self.judge.forget(&draft.fingerprint);
            self.absences.forget(&draft.fingerprint);
            self.board.forget(&draft.id);
        } else {
            self.go_on_with(draft, compose::recall::level(alert), now);
        }
    }

    /// It stands; what judges it goes on where its level is known.
    fn go_on_with(&mut self, draft: Draft, level: Option<Severity>, now: Now) {
        let (print, id) = (draft.fingerprint.clone(), draft.id.clone());
        if let Some(level) = level {
            let since_ns = draft.started.mono_ns;
            let since_boot = now.at_mono(since_ns).wall_ns;
            let before = u64::try_from(since_boot.saturating_sub(draft.started.wall_ns)).unwrap_or(0);
            let before_boot_ns = if since_ns == 0 { before } else { 0 };
            let firing = Firing { level, worst: level, since_ns, before_boot_ns };
            if Absences::is_known(&self.settings.absences, &print) {
                self.absences.resume(print, id, firing);
            } else {
                self.judge.resume_firing(print, firing, id);
            }
        }
        if draft.rule == compose::io::P99
            && !self.board.has(&draft.id)
            && let Some(disk) = KeptDisk::told(&draft)
        {
            self.disks.resume(now, disk);
        }
        self.board.was_told(draft, level);
        self.resumed = Some(Resumed::default());
    }
}
