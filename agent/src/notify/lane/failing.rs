//! What a lane does when a message fails, and while its channel cannot be made: it waits, and nothing of what waits there
//! is touched.

use super::{EXPIRE_SECS, Flight, Lane, later};
use crate::notify::backoff::MAX_RETRY_AFTER;
use crate::notify::channel::SendError;
use crate::notify::ledger::Seq;
use crate::time::Now;
use std::time::Duration;

/// Pause after the first answer that bars the channel; it grows by as much with each further one ...
const BARRED_PAUSE: Duration = Duration::from_mins(1);
/// ... up to so many times as much.
const MAX_BARRED: u32 = 5;
/// Pause after the first attempt to make a channel; it grows by as much with each further one ...
const MAKING_PAUSE: Duration = Duration::from_secs(10);
/// ... up to so many times as much.
const MAX_MAKING: u32 = 30;

/// After so long a refusal is history: what was refused does not wait, so there is nothing that could end it, seconds.
const REFUSED_SECS: u64 = 3600;

impl Lane {
    /// The other side answers, and will never take this message: it is lost for this channel, which is no failure of the
    /// channel; nothing waits longer for it.
    pub(super) fn refused(&mut self, now: Now, why: &str) {
        self.note(now, why);
        let before = self.refusals.map_or(0, |(count, _)| count);
        self.refusals = Some((before.saturating_add(1), now));
    }

    /// Refusals for good since something was delivered, the last of them in the last hour.
    pub(super) fn refusing(&self, now: Now) -> u32 {
        let recent = self.refusals.filter(|(_, at)| now.since(*at) / 1_000_000_000 < REFUSED_SECS);
        recent.map_or(0, |(count, _)| count)
    }

    /// The message stays: when it is tried again.
    pub(super) fn kept(&mut self, now: Now, seq: Option<Seq>, error: &SendError, random: f64) {
        self.note(now, error.why());
        let after = match error {
            SendError::Retry { after, .. } => *after,
            // A server bans who knocks too often with a wrong key; a reload that mends it tries at once.
            _ => Some(BARRED_PAUSE * self.failures.saturating_add(1).min(MAX_BARRED)),
        };
        self.failed(now, seq, after, random);
    }

    /// Tries of this message that failed.
    pub(in crate::notify) fn tries_of(&self, seq: Seq) -> u32 {
        self.tries.get(&seq).map_or(0, |attempt| attempt.count)
    }

    /// Whether some have this message, and it waits for another try for the others.
    pub(super) fn is_partly(&self, seq: Seq) -> bool {
        self.tries.get(&seq).is_some_and(|attempt| attempt.partly)
    }

    /// Some have it: the channel works, and nothing else waits for the others. Whether they get another try.
    pub(super) fn partly_told(
        &mut self,
        now: Now,
        flight: Flight,
        why: &str,
        again: bool,
        random: f64,
    ) -> bool {
        self.note(now, why);
        if !flight.seq.is_some_and(|seq| self.is_partly(seq)) {
            self.succeeded(now, flight);
        }
        let Some(seq) = flight.seq.filter(|_| again) else { return false };
        self.stats.retries += 1;
        let attempt = self.tries.entry(seq).or_default();
        attempt.count = attempt.count.saturating_add(1);
        (attempt.partly, attempt.ready_ns) = (true, later(now, self.backoff.delay(attempt.count, random)));
        true
    }

    fn failed(&mut self, now: Now, seq: Option<Seq>, after: Option<Duration>, random: f64) {
        self.stats.retries += 1;
        self.failures = self.failures.saturating_add(1);
        let wait =
            self.backoff.delay(self.failures, random).max(after.unwrap_or_default().min(MAX_RETRY_AFTER));
        self.ready_ns = later(now, wait);
        if let Some(seq) = seq {
            let attempt = self.tries.entry(seq).or_default();
            attempt.count = attempt.count.saturating_add(1);
            attempt.ready_ns = later(now, self.backoff.delay(attempt.count, random).max(wait));
        }
        // Once at the first failure, and once when it turns out to last.
        if self.failures == 1 || self.failures == self.backoff.quick.saturating_add(1) {
            tracing::warn!(
                channel = %self.stats.name, failures = self.failures, why = %self.error(),
                "an alert could not be delivered; it is kept and tried again for {} h", EXPIRE_SECS / 3600
            );
        }
    }

    /// Making the channel failed, once more.
    pub fn not_made(&mut self, now: Now, why: &str) {
        self.note(now, why);
        self.failures = self.failures.saturating_add(1);
        self.ready_ns = later(now, MAKING_PAUSE * self.failures.min(MAX_MAKING));
        if self.failures == 1 {
            tracing::error!(
                channel = %self.stats.name, why = %self.error(),
                "the channel cannot be used; its alerts are kept, and it is tried again"
            );
        }
    }

    /// It was made: nothing has failed yet.
    pub fn made(&mut self) {
        self.failures = 0;
        tracing::info!(channel = %self.stats.name, "the channel can be used now");
    }

    /// When to try again, nanoseconds of the monotonic clock.
    pub fn ready_ns(&self) -> u64 {
        self.ready_ns
    }
}
