//! A hang as it is told.

use super::one::Incident;
use crate::event::{Hang, Source, TaskId};
use crate::time::Now;

/// Tasks that an alert lists.
pub const LISTED: usize = 32;
/// Units and containers that an alert names with their number of tasks; those of further ones are counted together.
pub const MAX_GROUPS: usize = 8;

/// A task that an alert lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Which.
    pub id: TaskId,
    /// Its name; hostile text.
    pub comm: Option<String>,
    /// Path of its control group.
    pub cgroup: Option<String>,
}

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
    pub tasks: Vec<Listed>,
    /// Units and containers that its tasks live in, where that is known, those with most tasks first; at most
    /// [`MAX_GROUPS`].
    pub groups: Vec<(String, u64)>,
    /// Tasks that live in further ones.
    pub in_other_groups: u64,
    /// Whether it was over before it was told, by this run of the agent: when it ended is not known.
    pub was_over: bool,
    /// Whether it ended because nobody could look at its tasks, and none was reported for long.
    pub was_lost: bool,
    /// When the last of them went on.
    pub ended: Option<Now>,
    /// When this was so.
    pub now: Now,
}

impl Incident {
    pub(super) fn snapshot(&self, now: Now) -> Snapshot {
        let mut groups: Vec<_> = self.groups.iter().map(|(name, tasks)| (name.clone(), *tasks)).collect();
        groups.sort_by_key(|(_, tasks)| std::cmp::Reverse(*tasks));
        let in_other_groups = groups.iter().skip(MAX_GROUPS).map(|(_, tasks)| tasks).sum();
        groups.truncate(MAX_GROUPS);
        let listed =
            |m: &super::one::Member| Listed { id: m.id, comm: m.comm.clone(), cgroup: m.cgroup.clone() };
        let count =
            |is: fn(&super::one::Member) -> bool| self.members.iter().filter(|m| is(m)).count() as u64;
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
            tasks: self.members.iter().take(LISTED).map(listed).collect(),
            groups,
            in_other_groups,
            was_over: self.was_over,
            was_lost: self.was_lost,
            ended: self.ended,
            now,
        }
    }
}
