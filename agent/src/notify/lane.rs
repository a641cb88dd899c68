//! One channel's way through the waiting alerts, pure: what to tell next, what to hold back, when to try again.
//!
//! Rules, in this order: messages about one incident keep their order, and the end of an incident goes before the begin
//! of a newer one of the same condition; recoveries only to who was told;
//! an update that a newer message makes needless is left out; what has failed less often goes first, so that a
//! message that keeps failing does not stop the others; then the more severe; then rules that were heard of less.

mod accounts;
mod backlog;
mod failing;
mod heads;
mod held;

use super::backoff::Backoff;
use super::channel::{Route, SendError, Severities};
use super::ledger::{Entry, Incident, Ledger, Seq, Slot};
use super::limit::{Limiter, Limits, Window};
use super::record::Outcome;
use super::stats::ChannelStats;
use crate::alert::{Severity, Status};
use crate::time::Now;
pub use backlog::{BACKLOG_FROM, STALE_SECS};
use heads::{Head, heads};
use held::{Held, Reply};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Age at which a message that cannot be delivered is given up, seconds: three days, a dead week-end.
pub const EXPIRE_SECS: u64 = 72 * 3600;
/// After so long without a message that could carry it, the number held back is sent by itself, seconds.
pub const SUMMARY_SECS: u64 = 60;
/// Incidents whose last message is remembered, for the interval between updates. The oldest goes first.
const MAX_SPOKEN: usize = 1024;
/// Characters of an error kept for the status page.
const MAX_ERROR: usize = 300;

/// What a channel can do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Tell this alert, and how many were held back before it.
    Tell(Seq, u64),
    /// Tell how many were held back.
    Summary(u64),
    /// Tell all these in one message, and how many were held back before them.
    Backlog(Vec<Seq>, u64),
    /// Nothing before this moment of the monotonic clock, nanoseconds.
    Wait(u64),
    /// Nothing.
    Idle,
}

/// What became of alerts without being sent.
pub type Settled = Vec<(Seq, Outcome)>;

/// The state of one channel.
#[derive(Debug)]
pub struct Lane {
    /// Its place in the ledger's sets.
    pub slot: Slot,
    /// Severities it gets.
    pub severities: Severities,
    /// A hash of the files that the channel was made of.
    pub files: u64,
    backoff: Backoff,
    limits: Limits,
    limiter: Limiter,
    /// Every incident has to be told by itself, however late.
    each: bool,
    /// The message under way.
    flight: Option<Flight>,
    /// What it tells, if it is a backlog.
    telling: Vec<Seq>,
    /// A backlog was refused as one message.
    one_by_one: bool,
    /// Failures in a row.
    failures: u32,
    /// Refusals for good since something was delivered, and when the last one was.
    refusals: Option<(u32, Now)>,
    /// Nothing is sent before, nanoseconds of the monotonic clock.
    ready_ns: u64,
    /// Messages that failed.
    tries: HashMap<Seq, Try>,
    /// The last message about each incident.
    spoken: BTreeMap<Incident, Spoken>,
    /// Held back and not yet told of.
    held: Held,
    /// Messages that are not dropped have waited for the limit.
    was_limited: bool,
    stats: ChannelStats,
    /// When its last error was.
    noted: Now,
}

#[derive(Clone, Copy, Debug)]
struct Flight {
    seq: Option<Seq>,
    incident: Option<(Incident, Severity)>,
    counted: Option<Now>,
    held_back: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Try {
    count: u32,
    ready_ns: u64,
    /// Some of those it is for have it.
    partly: bool,
}

#[derive(Clone, Copy, Debug)]
struct Spoken {
    at: Now,
    severity: Severity,
}

impl Lane {
    /// A fresh one.
    pub fn new(slot: Slot, route: &Route, limits: Limits) -> Self {
        Self {
            slot,
            severities: route.severities,
            files: route.files,
            backoff: route.backoff,
            limits,
            limiter: Limiter::new(&limits, slot, route.channel.is_local()),
            each: route.channel.follows_incidents(),
            flight: None,
            telling: Vec::new(),
            one_by_one: false,
            failures: 0,
            refusals: None,
            ready_ns: 0,
            tries: HashMap::new(),
            spoken: BTreeMap::new(),
            held: Held::default(),
            was_limited: false,
            stats: ChannelStats { name: route.channel.name().to_owned(), ..ChannelStats::default() },
            noted: Now::default(),
        }
    }

    /// Other limits; what was counted under them begins anew only where they differ.
    pub fn set_limits(&mut self, limits: Limits) {
        if limits != self.limits {
            (self.limits, self.limiter) = (limits, Limiter::new(&limits, self.slot, self.limiter.local));
        }
    }

    /// The channel was set up anew: what failed may work now.
    pub fn renew(&mut self, route: &Route) {
        (self.severities, self.backoff, self.files) = (route.severities, route.backoff, route.files);
        self.each = route.channel.follows_incidents();
        self.limiter.local = route.channel.is_local();
        // How often it failed stays: only a delivery shows that it is well again.
        (self.ready_ns, self.one_by_one) = (0, false);
        self.tries.clear();
    }

    /// Whether it goes no further than this host, and so does not count in the total.
    pub fn is_local(&self) -> bool {
        self.limiter.local
    }

    /// Whether a message is under way.
    pub fn is_busy(&self) -> bool {
        self.flight.is_some()
    }

    /// Decides what to do now. What is decided without sending lands in `settled`, and in the ledger.
    pub fn next(&mut self, now: Now, ledger: &mut Ledger, total: &mut Window, settled: &mut Settled) -> Next {
        if self.flight.is_some() {
            return Next::Idle;
        }
        if now.mono_ns < self.ready_ns {
            return Next::Wait(self.ready_ns);
        }
        loop {
            let before = settled.len();
            let next = self.pass(now, ledger, total, settled);
            for (seq, outcome) in &settled[before..] {
                ledger.settle(*seq, self.slot, *outcome);
                self.count(*seq, *outcome);
            }
            // What was settled may have stood before something that can go.
            if settled.len() == before || self.flight.is_some() {
                return next;
            }
        }
    }

    fn pass(&mut self, now: Now, ledger: &Ledger, total: &mut Window, settled: &mut Settled) -> Next {
        let (mut ready, mut wake, mut stale, before) = (Vec::new(), u64::MAX, 0, settled.len());
        let (told, classes) = (ledger.told_to(self.slot), self.limiter.classes());
        for head in heads(ledger, self.slot) {
            let known = head.entry.incidents().any(|i| told.contains(&i));
            let late = head.entry.age_secs(now) >= STALE_SECS;
            stale +=
                usize::from(late && !self.is_partly(head.seq) && self.quiet_until(head.entry) <= now.mono_ns);
            match self.judge(&head, now, known) {
                Verdict::Settle(outcome) => settled.push((head.seq, outcome)),
                Verdict::Wait(until) => wake = wake.min(until),
                Verdict::Ready => {
                    let failures = self.tries.get(&head.seq).map_or(0, |t| t.count);
                    // Of equals, what was heard of least.
                    let heard = classes.get(&head.entry.class).copied().unwrap_or(0);
                    ready.push(((failures, Reverse(head.entry.severity), heard, head.seq), head));
                }
            }
        }
        if let Some(seqs) = self.backlog(now, ledger, stale) {
            // What needs not be told is settled first.
            let settled_some = settled.len() > before;
            return if settled_some { Next::Idle } else { self.tell_backlog(now, ledger, total, seqs) };
        }
        ready.sort_unstable_by_key(|(rank, _)| *rank);
        for (_, head) in ready {
            let Head { seq, entry, .. } = head;
            match self.admit(&head, now, total) {
                Reply::Go(counted) => {
                    // Who has it already hears nothing of another try.
                    let first = !self.is_partly(seq);
                    let incident = first.then_some((entry.incident, entry.severity));
                    let held_back = if first { self.held.count } else { 0 };
                    self.flight = Some(Flight { seq: Some(seq), incident, counted, held_back });
                    return Next::Tell(seq, held_back);
                }
                Reply::Wait(until) => wake = wake.min(until),
                Reply::Drop => {
                    settled.push((seq, Outcome::Limited));
                    self.held.add(seq, entry.severity, now);
                }
            }
        }
        self.summary(now, total, wake)
    }

    fn judge(&self, head: &Head<'_>, now: Now, told: bool) -> Verdict {
        let Head { seq, entry, followed, outdone, .. } = head;
        if entry.age_secs(now) > EXPIRE_SECS {
            return Verdict::Settle(Outcome::Expired);
        }
        if *followed && self.is_partly(*seq) {
            // Who does not have it is told what is newer; who has it does not wait for that.
            return Verdict::Settle(Outcome::Delivered);
        }
        match entry.status {
            Status::Resolved if !told && !entry.only => return Verdict::Settle(Outcome::Untold),
            Status::Updated if *outdone && told => return Verdict::Settle(Outcome::Superseded),
            Status::Firing | Status::Updated | Status::Resolved => {}
        }
        let failed = self.tries.get(seq).map_or(0, |t| t.ready_ns);
        let until = failed.max(self.quiet_until(entry));
        if until > now.mono_ns { Verdict::Wait(until) } else { Verdict::Ready }
    }

    /// An update that is no worse than what was said waits for `min_interval_secs`.
    fn quiet_until(&self, entry: &Entry) -> u64 {
        match (entry.status, self.spoken.get(&entry.incident)) {
            // What a late witness adds to an event is worth reading now.
            (Status::Updated, Some(last)) if entry.severity <= last.severity && !entry.event => {
                last.at.plus_secs(self.limits.min_interval_secs).mono_ns
            }
            _ => 0,
        }
    }

    /// Takes in how the message under way fared; returns the fate of what it told, if that is now decided. `random`
    /// is from 0 to 1.
    pub fn finished(
        &mut self,
        now: Now,
        result: Result<(), SendError>,
        random: f64,
        ledger: &mut Ledger,
        total: &mut Window,
    ) -> Settled {
        let Some(flight) = self.flight.take() else { return Settled::new() };
        if !self.telling.is_empty() {
            return self.backlog_ended(now, flight, result, random, (ledger, total));
        }
        let outcome = match result {
            Ok(()) => {
                self.succeeded(now, flight);
                Outcome::Delivered
            }
            Err(SendError::Partly { why, again }) => {
                if self.partly_told(now, flight, &why, again, random) {
                    return Settled::new();
                }
                Outcome::Delivered
            }
            Err(SendError::Refused { why }) => {
                self.give_back(flight, total);
                self.refused(now, &why);
                Outcome::Refused
            }
            Err(error) => {
                self.give_back(flight, total);
                self.kept(now, flight.seq, &error, random);
                return Settled::new();
            }
        };
        self.settle_all(flight.seq.into_iter().collect(), outcome, ledger)
    }

    /// The text of the message under way could not be read back.
    pub fn unreadable(&mut self, ledger: &mut Ledger, total: &mut Window) -> Settled {
        let Some(flight) = self.flight.take() else { return Settled::new() };
        self.give_back(flight, total);
        let backlog = std::mem::take(&mut self.telling);
        self.settle_all(flight.seq.into_iter().chain(backlog).collect(), Outcome::Unreadable, ledger)
    }

    fn succeeded(&mut self, now: Now, flight: Flight) {
        if self.failures > 0 {
            tracing::info!(channel = %self.stats.name, failures = self.failures, "alerts are delivered again");
        }
        if self.tries.len() > 1 {
            // It was the channel, not one message: now severity decides again.
            self.tries.retain(|_, attempt| attempt.partly);
        }
        (self.failures, self.refusals) = (0, None);
        self.held.told(flight.held_back);
        self.was_limited = false;
        if let Some((incident, severity)) = flight.incident {
            self.note_spoken(now, incident, severity);
        }
    }

    fn note_spoken(&mut self, now: Now, incident: Incident, severity: Severity) {
        if self.spoken.len() >= MAX_SPOKEN {
            let oldest = self.spoken.iter().min_by_key(|(_, s)| s.at).map(|(i, _)| *i);
            oldest.map(|incident| self.spoken.remove(&incident));
        }
        self.spoken.insert(incident, Spoken { at: now, severity });
    }

    fn give_back(&mut self, flight: Flight, total: &mut Window) {
        if let Some(at) = flight.counted {
            self.limiter.give_back(at, total);
        }
    }
}

enum Verdict {
    Ready,
    Wait(u64),
    Settle(Outcome),
}

fn later(now: Now, wait: Duration) -> u64 {
    now.mono_ns.saturating_add(wait.as_nanos() as u64)
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
