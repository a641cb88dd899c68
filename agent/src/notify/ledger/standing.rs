//! What was told and still stands: its end has to reach whoever heard of it, however long that takes.

use super::{Entry, Incident, Ledger, Seq, Set, Slot};
use crate::alert::{Alert, Status};
use std::collections::{HashMap, HashSet};

/// Told messages about what still stands that are never forgotten. At the limit the oldest goes.
pub const MAX_STANDING: usize = 2000;

/// The engine puts the key of the incident into the context of kernel events.
pub(super) fn is_event(alert: &Alert) -> bool {
    alert.context.contains_key("incident")
}

impl Ledger {
    /// Channels whose limits hold these incidents back, in their order: dropped there or, on those in `limited`, waiting,
    /// and not told of otherwise.
    pub fn held_back(&self, incidents: &[Incident], limited: Set) -> Vec<Set> {
        let mut found: HashMap<Incident, (Set, Set)> =
            incidents.iter().map(|i| (*i, (Set::default(), Set::default()))).collect();
        for entry in self.entries.values() {
            let waits = entry.due.minus(entry.due.minus(limited));
            for incident in entry.incidents() {
                if let Some((told, held)) = found.get_mut(&incident) {
                    (*told, *held) = (told.union(entry.told), held.union(entry.limited).union(waits));
                }
            }
        }
        let held = |incident| found.get(incident).map_or(Set::default(), |(told, held)| held.minus(*told));
        incidents.iter().map(held).collect()
    }

    /// The newest message of each standing incident that `slot` was told, oldest first; at most `max`.
    pub fn standing_of(&self, slot: Slot, max: usize) -> Vec<Seq> {
        let ends = self.entries.values().filter(|e| e.status == Status::Resolved && !e.due.has(slot));
        let over: HashSet<Incident> = ends.flat_map(Entry::incidents).collect();
        let mut known = HashSet::new();
        let told =
            self.entries.iter().rev().filter(|(_, e)| e.lasts && e.told.has(slot) && !e.is_over(&over));
        let newest = told.filter(|(_, entry)| known.insert(entry.incident));
        let mut seqs: Vec<Seq> = newest.map(|(seq, _)| *seq).take(max).collect();
        seqs.reverse();
        seqs
    }

    /// Of what was told and is not `over`: for each channel the newest message.
    pub(super) fn standing(&self, over: &HashSet<Incident>) -> HashSet<Seq> {
        let mut told: HashMap<Incident, Set> = HashMap::new();
        let stands = self.entries.iter().rev().filter(|(_, entry)| entry.lasts && !entry.is_over(over));
        let newest = stands.filter(|(_, entry)| {
            let known = told.entry(entry.incident).or_default();
            let news = !entry.told.minus(*known).is_empty();
            *known = known.union(entry.told);
            news
        });
        newest.map(|(seq, _)| *seq).take(MAX_STANDING).collect()
    }
}
