//! What became of a lane's alerts, for `status` and for the log.

use super::{EXPIRE_SECS, Lane, MAX_ERROR};
use crate::notify::ledger::{Ledger, Seq};
use crate::notify::record::Outcome;
use crate::notify::stats::ChannelStats;
use crate::text;
use crate::time::Now;

impl Lane {
    pub(super) fn note(&mut self, now: Now, why: &str) {
        (self.stats.last_error, self.noted) = (Some(text::clean(why, MAX_ERROR)), now);
    }

    pub(super) fn error(&self) -> &str {
        self.stats.last_error.as_deref().unwrap_or_default()
    }

    pub(super) fn count(&mut self, seq: Seq, outcome: Outcome) {
        self.tries.remove(&seq);
        let stats = &mut self.stats;
        match outcome {
            Outcome::Delivered => stats.delivered += 1,
            Outcome::Collapsed => stats.collapsed += 1,
            Outcome::Refused => stats.refused += 1,
            Outcome::Expired => stats.expired += 1,
            Outcome::Limited => stats.limited += 1,
            Outcome::Superseded => stats.superseded += 1,
            Outcome::Unreadable => stats.lost += 1,
            Outcome::Untold | Outcome::Gone => {}
        }
        if outcome == Outcome::Expired {
            tracing::error!(channel = %stats.name, "an alert was given up after {} h", EXPIRE_SECS / 3600);
        }
    }

    /// An alert that was waiting here fell to a limit of the outbox.
    pub fn lost(&mut self, seq: Seq) {
        self.tries.remove(&seq);
        self.stats.lost += 1;
    }

    /// What the status page shows.
    pub fn stats(&self, now: Now, ledger: &Ledger) -> ChannelStats {
        let queued = ledger.iter().filter(|(_, e)| e.due.has(self.slot)).count() as u64;
        let wait = self.ready_ns.saturating_sub(now.mono_ns) / 1_000_000_000;
        let retry_in_secs = (self.failures > 0).then_some(wait);
        let (failing, refusing) = (self.failures, self.refusing(now));
        let age = now.since(self.noted) / 1_000_000_000;
        let last_error_age_secs = self.stats.last_error.as_ref().map(|_| age);
        ChannelStats { queued, failing, refusing, retry_in_secs, last_error_age_secs, ..self.stats.clone() }
    }
}
