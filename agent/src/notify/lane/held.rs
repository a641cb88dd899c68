//! What the rate limits let through, what waits for them, and what they hold back.
//!
//! What stands is never dropped, nor is what is critical: it waits for its turn, until it is told or over.

use super::{Flight, Head, Lane, Next, SUMMARY_SECS};
use crate::alert::{Severity, Status};
use crate::notify::ledger::{Entry, Seq};
use crate::notify::limit::{Class, Window};
use crate::time::Now;

/// What the limits say to a message.
pub(super) enum Reply {
    /// It may go, and was counted at that moment unless it is free.
    Go(Option<Now>),
    /// It stays, at least until then: nanoseconds of the monotonic clock.
    Wait(u64),
    /// It is only counted.
    Drop,
}

/// What was held back and is not yet told of.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) count: u64,
    /// When something was last, or when the limit last held back the number too.
    at: Now,
    /// The worst of them, the newest of equals.
    worst: Option<(Severity, Seq)>,
}

impl Held {
    pub(super) fn add(&mut self, seq: Seq, severity: Severity, now: Now) {
        (self.count, self.at) = (self.count + 1, now);
        self.worst = self.worst.max(Some((severity, seq)));
    }

    /// A message said so many of them.
    pub(super) fn told(&mut self, count: u64) {
        self.count = self.count.saturating_sub(count);
        if count > 0 {
            self.worst = None;
        }
    }
}

/// What is worth the share of the limits that is kept free.
pub(super) fn urgency(entry: &Entry) -> Option<Class> {
    (entry.severity >= Severity::Critical).then_some(entry.class)
}

impl Lane {
    /// The worst alert that was held back and not yet told of.
    pub fn worst_held(&self) -> Option<Seq> {
        self.held.worst.map(|(_, seq)| seq)
    }

    /// Whether what waits here waits for a limit, not for the other side.
    pub fn was_limited(&self) -> bool {
        self.was_limited
    }

    /// Asks the limits.
    pub(super) fn admit(&mut self, head: &Head<'_>, now: Now, total: &mut Window) -> Reply {
        let entry = head.entry;
        let free = self.is_partly(head.seq)
            || entry.status == Status::Resolved && !entry.only
            || entry.severity == Severity::Emergency && self.limits.emergency_bypass;
        if free {
            return Reply::Go(None);
        }
        let urgent = urgency(entry);
        if self.limiter.take(now, total, urgent).is_ok() {
            return Reply::Go(Some(now));
        }
        let waits = entry.lasts || urgent.is_some();
        if !waits || head.over || entry.status == Status::Resolved {
            return Reply::Drop;
        }
        self.was_limited = true;
        Reply::Wait(self.limiter.free_at(now, total, urgent))
    }

    /// Tells how many were held back, if no other message has for a while.
    pub(super) fn summary(&mut self, now: Now, total: &mut Window, wake: u64) -> Next {
        let wait = if wake == u64::MAX { Next::Idle } else { Next::Wait(wake) };
        if self.held.count == 0 {
            return wait;
        }
        let due = self.held.at.plus_secs(SUMMARY_SECS).mono_ns;
        if due > now.mono_ns {
            return Next::Wait(due.min(wake));
        }
        if self.limiter.take(now, total, None).is_err() {
            self.held.at = now;
            return Next::Wait(now.plus_secs(SUMMARY_SECS).mono_ns.min(wake));
        }
        let held_back = self.held.count;
        self.flight = Some(Flight { seq: None, incident: None, counted: Some(now), held_back });
        Next::Summary(held_back)
    }
}
