//! A hang as it is told.

use super::Incident;
use crate::event::{Hang, Source, TaskId};
use crate::time::Now;

/// Tasks that an alert lists.
pub const LISTED: usize = 32;

/// What is known of an incident at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Unique number within this run.
    pub number: u64,
    /// Its id, where an earlier run of the agent gave it one.
    pub id: Option<String>,
    /// The kernel's time of the first report.
    pub at: Now,
    /// When the first of its tasks was last seen to run, at the latest.
    pub since: Now,
    /// The first task, and what any of them tells of the wait they share.
    pub first: Hang,
    /// Who saw it, in the order of arrival.
    pub sources: Vec<Source>,
    /// Tasks in all, and of them those that go on.
    pub total: u64,
    /// Of these, those that go on.
    pub released: u64,
    /// Tasks in the same function as the first, and for the same owner of a lock.
    pub same_wait: u64,
    /// Tasks that wait for the same owner of a lock as the first.
    pub same_lock: u64,
    /// At most [`LISTED`] of the tasks.
    pub tasks: Vec<(TaskId, Option<String>)>,
    /// When the last of them went on.
    pub ended: Option<Now>,
    /// When this was so.
    pub now: Now,
}

impl Incident {
    pub(super) fn snapshot(&self, now: Now) -> Snapshot {
        let count = |is: fn(&super::Member) -> bool| self.members.iter().filter(|m| is(m)).count() as u64;
        Snapshot {
            number: self.number,
            id: self.id.clone(),
            at: self.at,
            since: self.at.at_mono(self.since_ns),
            first: self.first.clone(),
            sources: self.sources.clone(),
            total: self.total,
            released: count(|m| m.released_ns.is_some()),
            same_wait: count(|m| m.same_wait),
            same_lock: count(|m| m.same_lock),
            tasks: self.members.iter().take(LISTED).map(|m| (m.id, m.comm.clone())).collect(),
            ended: self.ended,
            now,
        }
    }
}
