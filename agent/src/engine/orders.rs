//! Orders carried out, and the view of how things stand.

use super::control::{Answer, Order, View};
use super::{Engine, Output};
use crate::time::{Now, SECOND};

impl Engine {
    /// Carries out an order. What it leads to is appended to `out`.
    ///
    /// # Errors
    /// A sentence for who gave it.
    pub fn order(&mut self, now: Now, order: Order, out: &mut Vec<Output>) -> Result<Answer, String> {
        let _ = out;
        match order {
            Order::Silence(new) => self.silences.add(now, new).map(Answer::Silenced),
            Order::Revoke(id) => {
                let silence = self.silences.revoke(id)?;
                Ok(Answer::Revoked(silence.view(now, &self.settings.identity.zone)))
            }
            Order::Reload(settings) => {
                self.settings = *settings;
                Ok(Answer::Reloaded { rules: self.settings.rules.len(), ended: 0 })
            }
        }
    }

    /// How things stand.
    pub fn view(&self, now: Now) -> View {
        let learned = now.since(self.start) / SECOND;
        View {
            silences: self.silences.view(now, &self.settings.identity.zone),
            told: self.speaker.counts().told,
            learning_secs: self.settings.warmup_secs.saturating_sub(learned),
            ..View::default()
        }
    }
}
