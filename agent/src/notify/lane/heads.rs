//! What stands first in line: the oldest waiting message of each incident, and what waits behind it.

use std::collections::{HashMap, HashSet};

use crate::alert::Status;
use crate::notify::ledger::{Entry, Incident, Ledger, Seq, Slot};

/// The oldest waiting message of an incident and what waits behind it.
pub(super) struct Head<'a> {
    pub(super) seq: Seq,
    pub(super) entry: &'a Entry,
    /// Something newer waits behind it.
    pub(super) followed: bool,
    /// Something newer says more.
    pub(super) outdone: bool,
    /// Its end waits too.
    pub(super) over: bool,
}

impl<'a> Head<'a> {
    fn new(seq: Seq, entry: &'a Entry) -> Self {
        Self { seq, entry, followed: false, outdone: false, over: false }
    }

    /// Takes in what waits behind it and is about the same incident.
    fn follow(&mut self, entry: &Entry) {
        let ends = entry.status == Status::Resolved;
        self.followed = true;
        self.outdone |= ends || entry.severity >= self.entry.severity;
        self.over |= ends && (self.entry.members.is_empty() || entry.incident == self.entry.incident);
    }
}

/// Where an incident has to wait.
#[derive(Clone, Copy)]
struct Behind {
    head: usize,
    /// What stands there is the end of an older incident of the same condition, not a message about this one.
    older: bool,
}

/// The first waiting message of each incident, oldest first. What begins anew waits for the end of what was before:
/// who hears of the end last believes that nothing stands.
pub(super) fn heads(ledger: &Ledger, slot: Slot) -> Vec<Head<'_>> {
    let (mut heads, mut ended): (Vec<Head<'_>>, HashSet<Incident>) = (Vec::new(), HashSet::new());
    let mut known: HashMap<Incident, Behind> = HashMap::new();
    // Ends that wait, by condition.
    let mut ends = HashMap::new();
    for (seq, entry) in ledger.iter().filter(|(_, e)| e.due.has(slot)) {
        // A summary stands in line for every incident it tells of.
        let before: Vec<Behind> = entry.incidents().filter_map(|i| known.get(&i).copied()).collect();
        for behind in before.iter().filter(|behind| !behind.older) {
            heads[behind.head].follow(entry);
        }
        let is_end = entry.status == Status::Resolved;
        if is_end && !before.is_empty() {
            ended.extend(entry.incidents());
        }
        let older = || entry.conditions.iter().find_map(|condition| ends.get(condition).copied());
        let older = (!is_end).then(older).flatten().map(|head| Behind { head, older: true });
        let place = before.first().copied().or(older);
        let at = place.unwrap_or(Behind { head: heads.len(), older: false });
        for incident in entry.incidents() {
            known.entry(incident).or_insert(at);
        }
        if is_end {
            ends.extend(entry.conditions.iter().map(|condition| (*condition, at.head)));
        }
        if place.is_none() {
            heads.push(Head::new(seq, entry));
        }
    }
    // The end of one member is not that of a summary; that of all is.
    for head in heads.iter_mut().filter(|head| !head.entry.members.is_empty()) {
        head.over |= head.entry.members.iter().all(|member| ended.contains(member));
    }
    heads
}
