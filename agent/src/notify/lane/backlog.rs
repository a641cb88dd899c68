//! After an outage: what waited becomes one message.

use super::held::urgency;
use super::{Flight, Lane, Next, SUMMARY_SECS, Settled};
use crate::alert::Severity;
use crate::notify::channel::SendError;
use crate::notify::ledger::{Entry, Ledger, Seq};
use crate::notify::limit::Window;
use crate::notify::record::Outcome;
use crate::time::Now;

/// Age from which a message is one that an outage held up, seconds.
pub const STALE_SECS: u64 = 300;
/// So many incidents with such messages make a backlog; fewer are told one by one, with how late they are.
pub const BACKLOG_FROM: usize = 4;

impl Lane {
    /// Everything that waits, oldest first, if so much of it is stale that one message serves better than many.
    pub(super) fn backlog(&mut self, now: Now, ledger: &Ledger, stale: usize) -> Option<Vec<Seq>> {
        // The other side did not take it as one message.
        self.one_by_one &= stale > 0;
        if self.each || self.one_by_one || stale < BACKLOG_FROM {
            return None;
        }
        let waits = |entry: &Entry| entry.due.has(self.slot) && self.quiet_until(entry) <= now.mono_ns;
        let all = ledger.iter().filter(|(seq, entry)| waits(entry) && !self.is_partly(*seq));
        Some(all.map(|(seq, _)| seq).collect())
    }

    /// Asks the limits for the one message.
    pub(super) fn tell_backlog(
        &mut self,
        now: Now,
        ledger: &Ledger,
        total: &mut Window,
        seqs: Vec<Seq>,
    ) -> Next {
        let entries = || seqs.iter().filter_map(|seq| ledger.get(*seq));
        let free = self.limits.emergency_bypass && entries().any(|e| e.severity == Severity::Emergency);
        if !free && self.limiter.take(now, total, entries().find_map(urgency)).is_err() {
            return Next::Wait(now.plus_secs(SUMMARY_SECS).mono_ns);
        }
        let counted = (!free).then_some(now);
        self.flight = Some(Flight { seq: None, incident: None, counted, held_back: self.held.count });
        self.telling.clone_from(&seqs);
        Next::Backlog(seqs, self.held.count)
    }

    /// How the message fared. Refused as one, it is told in single ones.
    pub(super) fn backlog_ended(
        &mut self,
        now: Now,
        flight: Flight,
        result: Result<(), SendError>,
        random: f64,
        (ledger, total): (&mut Ledger, &mut Window),
    ) -> Settled {
        let seqs = std::mem::take(&mut self.telling);
        match result {
            // Nobody gets so much twice for the sake of those who do not have it.
            Ok(()) | Err(SendError::Partly { .. }) => {
                self.succeeded(now, flight);
                if let Err(error) = result {
                    self.note(now, error.why());
                }
                self.stats.delivered += 1;
                for seq in &seqs {
                    let told = ledger.get(*seq).map(|entry| (entry.incident, entry.severity));
                    if let Some((incident, severity)) = told {
                        self.note_spoken(now, incident, severity);
                    }
                }
                self.settle_all(seqs, Outcome::Collapsed, ledger)
            }
            Err(SendError::Refused { why }) => {
                self.give_back(flight, total);
                self.one_by_one = true;
                self.note(now, &why);
                tracing::warn!(channel = %self.stats.name, why = %self.error(), "a summary was refused; its alerts are sent one by one");
                Settled::new()
            }
            Err(error) => {
                self.give_back(flight, total);
                self.kept(now, None, &error, random);
                Settled::new()
            }
        }
    }

    /// Settles them all with one outcome.
    pub(super) fn settle_all(&mut self, seqs: Vec<Seq>, outcome: Outcome, ledger: &mut Ledger) -> Settled {
        for seq in &seqs {
            ledger.settle(*seq, self.slot, outcome);
            self.count(*seq, outcome);
        }
        seqs.into_iter().map(|seq| (seq, outcome)).collect()
    }
}
