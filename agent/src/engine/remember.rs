//! What an earlier run told, as its outbox has it.

use super::Engine;
use super::absent::Absences;
use super::board::Standing;
use super::compose::{self, Draft};
use super::condition::{Condition, Firing};
use crate::alert::{Alert, Status};
use crate::time::Now;

impl Engine {
    /// Remembers what an earlier run of the agent told, so that it is not told again.
    pub fn remember<'a>(&mut self, told: impl IntoIterator<Item = &'a Alert>, now: Now) {
        for alert in told {
            self.remember_condition(alert, now);
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

    /// A condition that was told after the snapshot was made: the agent was killed between the two.
    fn remember_condition(&mut self, alert: &Alert, now: Now) {
        let made: Option<jiff::Timestamp> = alert.timestamp.parse().ok();
        let made_ns = made.and_then(|at| i64::try_from(at.as_nanosecond()).ok()).unwrap_or(i64::MIN);
        if self.resumed_wall_ns.is_none_or(|saved| made_ns <= saved) {
            return;
        }
        // Also ends that were told together.
        let own = Some(alert.id.as_str()).filter(|_| alert.status == Status::Resolved);
        for id in alert.also_over().chain(own) {
            self.judge.forget_incident(id);
            self.board.forget(id);
            self.speaker.end_was_told(id);
        }
        let Some(draft) = compose::recall::condition(alert, &self.settings.identity.labels, now) else {
            return;
        };
        if draft.status == Status::Resolved {
            self.judge.forget(&draft.fingerprint);
            self.absences.forget(&draft.fingerprint);
            self.board.forget(&draft.id);
        } else {
            self.go_on_with(&draft, now);
        }
    }

    fn go_on_with(&mut self, draft: &Draft, now: Now) {
        let (level, since_ns) = (draft.severity, draft.started.mono_ns);
        let since_boot = now.at_mono(since_ns).wall_ns;
        let before = u64::try_from(since_boot.saturating_sub(draft.started.wall_ns)).unwrap_or(0);
        let before_boot_ns = if since_ns == 0 { before } else { 0 };
        let firing = Firing { level, worst: level, since_ns, before_boot_ns };
        let (print, id) = (draft.fingerprint.clone(), draft.id.clone());
        if Absences::is_known(&self.settings.absences, &print) {
            self.absences.resume(print, id, firing);
        } else {
            self.judge.resume(print, Condition::firing_since(firing), id);
        }
        self.board.resume_one(Standing::told(draft));
        self.resumed = true;
    }
}
