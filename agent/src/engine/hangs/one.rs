//! One incident: its tasks, and when it is told.

use std::collections::BTreeMap;

use super::{GROWTH_NS, Report, UNSEEN_NS, Waiting, same};
use crate::alert::Status;
use crate::cgroup::owner;
use crate::event::{Event, Hang, Source, TaskId};
use crate::text::clean;
use crate::time::{Now, SECOND};

/// Longest path of a control group that is kept with a task, characters.
const MAX_PATH: usize = 256;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: TaskId,
    pub(super) comm: Option<String>,
    /// Path of its control group.
    pub(super) cgroup: Option<String>,
    /// In the same function, and for the same owner of a lock, as the first.
    pub(super) same_wait: bool,
    pub(super) same_lock: bool,
    pub(super) seen_ns: u64,
    pub(super) released_ns: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Incident {
    pub(super) number: u64,
    /// Of an incident that an earlier run of the agent told.
    pub(super) id: Option<String>,
    pub(super) at: Now,
    pub(super) since_ns: u64,
    pub(super) first: Hang,
    pub(super) sources: Vec<Source>,
    pub(super) members: Vec<Member>,
    pub(super) total: u64,
    /// Tasks by unit or container, where they are known to live in one.
    pub(super) groups: BTreeMap<String, u64>,
    /// One of its tasks was reported, or seen to hang, by this run of the agent.
    pub(super) is_seen: bool,
    /// Whether it was over before it was told; when it ended is not known then.
    pub(super) was_over: bool,
    /// It ended because nobody could look at its tasks.
    pub(super) was_lost: bool,
    pub(super) told: Option<Told>,
    pub(super) ended: Option<Now>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) at_ns: u64,
    pub(super) total: u64,
    groups: usize,
    pub(super) knowledge: usize,
}

impl Incident {
    pub(super) fn new(number: u64, at: Now, first: Hang) -> Self {
        Self {
            number,
            id: None,
            at,
            since_ns: since(at, &first),
            first,
            sources: Vec::new(),
            members: Vec::new(),
            total: 0,
            groups: BTreeMap::new(),
            is_seen: true,
            was_over: false,
            was_lost: false,
            told: None,
            ended: None,
        }
    }

    /// A task that an earlier run of the agent listed.
    pub(super) fn remember(&mut self, now: Now, id: TaskId, hang: &Hang) {
        let member = Member::new(now, id, hang);
        self.count_group(member.cgroup.as_deref());
        self.members.push(member);
    }

    /// As an earlier run of the agent told it. Whether it still stands is to be seen.
    pub(super) fn told_before(mut self, now: Now, total: u64) -> Self {
        self.total = total;
        self.told =
            Some(Told { at_ns: now.mono_ns, total, groups: self.groups.len(), knowledge: usize::MAX });
        self.is_seen = false;
        self
    }

    /// Whether a task may be one of it: while it stands; before it was told, also if both are over.
    pub(super) fn is_open_to(&self, over: bool) -> bool {
        let stands = self.members.is_empty() || self.members.iter().any(|m| m.released_ns.is_none());
        self.ended.is_none() && self.is_seen && (stands || over && self.told.is_none())
    }

    pub(super) fn seen_ns(&self) -> u64 {
        self.members.iter().map(|m| m.seen_ns).max().unwrap_or(0)
    }

    pub(super) fn member(&self, hang: &Hang) -> Option<usize> {
        self.members
            .iter()
            .position(|m| m.released_ns.is_none() && same::task(&m.id, m.comm.as_deref(), hang))
    }

    pub(super) fn add(&mut self, now: Now, waiting: Waiting, room: bool) {
        let Waiting { hang, at, sources, released_ns, .. } = waiting;
        self.since_ns = self.since_ns.min(since(at, &hang));
        // What cannot be remembered would be counted again at every report.
        self.total += u64::from(room);
        for source in sources {
            self.sources = joined(&self.sources, Some(source));
        }
        if let Some(id) = hang.id().filter(|_| room) {
            let mut member = Member::new(now, id, &hang);
            member.released_ns = released_ns;
            member.same_wait = hang.wchan.is_some() && hang.wchan == self.first.wchan;
            member.same_lock = same::owner(&hang).is_some() && same::owner(&hang) == same::owner(&self.first);
            self.count_group(member.cgroup.as_deref());
            self.members.push(member);
        }
        self.learn(&hang);
    }

    fn count_group(&mut self, cgroup: Option<&str>) {
        if let Some(home) = cgroup.and_then(home) {
            *self.groups.entry(home).or_default() += 1;
        }
    }

    /// What one task of several tells of the wait that they share.
    fn learn(&mut self, hang: &Hang) {
        let Hang { io_wait, wchan, stack, lock, held_locks, place, .. } = hang.clone();
        let shared = Hang { io_wait, wchan, stack, lock, held_locks, place, ..Hang::default() };
        if same::wait(std::iter::empty(), &self.first, hang) {
            self.first.absorb(shared);
        }
    }

    /// More of one of its tasks; whether it is one.
    pub(super) fn more(&mut self, now: Now, hang: &Hang, event: Option<&Event>) -> bool {
        let Some(member) = self.member(hang).and_then(|index| self.members.get_mut(index)) else {
            return false;
        };
        member.seen_ns = now.mono_ns;
        member.id.start_ticks = member.id.start_ticks.or(hang.task.start_ticks);
        let found = if member.cgroup.is_none() { path(hang) } else { None };
        member.cgroup = member.cgroup.take().or_else(|| found.clone());
        if same::task(&member.id, member.comm.as_deref(), &self.first) {
            self.first.absorb(hang.clone());
        } else {
            self.learn(hang);
        }
        self.is_seen = true;
        self.count_group(found.as_deref());
        self.sources = joined(&self.sources, event.map(|e| e.source));
        self.since_ns = self.since_ns.min(event.map_or(u64::MAX, |event| since(event.at, hang)));
        true
    }

    pub(super) fn release(&mut self, now: Now, ids: &[TaskId]) {
        for member in self.members.iter_mut().filter(|m| m.released_ns.is_none()) {
            if ids.iter().any(|id| id.pid == member.id.pid) {
                member.released_ns = Some(now.mono_ns);
            }
        }
    }

    /// What a person asks first of a hang, and who is to blame.
    fn knowledge(&self) -> usize {
        let Hang { lock, place, .. } = &self.first;
        let owner = lock.as_ref().is_some_and(|lock| lock.owner.is_some());
        usize::from(owner) + usize::from(place.device.is_some() || place.mount.is_some())
    }

    pub(super) fn news(&mut self, now: Now) -> Option<Report> {
        if self.ended.is_some() {
            return None;
        }
        let told = self.told?;
        let unseen =
            |m: &Member| m.id.start_ticks.is_none() && now.mono_ns.saturating_sub(m.seen_ns) > UNSEEN_NS;
        let listed = !self.members.is_empty();
        if listed && self.members.iter().all(|m| m.released_ns.is_some()) {
            self.ended = Some(now);
            return Some(self.tell(now, Status::Resolved));
        }
        if self.members.iter().all(|m| m.released_ns.is_some() || unseen(m)) {
            // Nobody knows whether it is over, and what is told says so.
            self.ended = Some(now);
            self.was_lost = true;
            return Some(self.tell(now, Status::Resolved));
        }
        let grown = self.deadline().is_some_and(|at_ns| at_ns <= now.mono_ns);
        (grown || self.knowledge() > told.knowledge).then(|| self.tell(now, Status::Updated))
    }

    /// When its growth is worth a message.
    pub(super) fn deadline(&self) -> Option<u64> {
        let told = self.told.filter(|told| self.ended.is_none() && self.total > told.total)?;
        let doubled =
            self.total >= told.total.saturating_mul(2) || self.groups.len() >= 2 * told.groups.max(1);
        Some(told.at_ns + GROWTH_NS[usize::from(!doubled)])
    }

    pub(super) fn tell(&mut self, now: Now, status: Status) -> Report {
        let fresh = self.total - self.told.map_or(0, |told| told.total);
        let are_free = self.members.iter().all(|m| m.released_ns.is_some());
        self.was_over |= are_free && (self.told.is_none() || !self.is_seen);
        self.told = Some(Told {
            at_ns: now.mono_ns,
            total: self.total,
            groups: self.groups.len(),
            knowledge: self.knowledge(),
        });
        Report { incident: self.snapshot(now), status, fresh }
    }
}

impl Member {
    fn new(now: Now, id: TaskId, hang: &Hang) -> Self {
        Self {
            id,
            comm: hang.task.comm.clone(),
            cgroup: path(hang),
            same_wait: true,
            same_lock: false,
            seen_ns: now.mono_ns,
            released_ns: None,
        }
    }
}

fn path(hang: &Hang) -> Option<String> {
    hang.task.cgroup.as_deref().map(|path| clean(path, MAX_PATH))
}

/// Container or unit that a group belongs to, else its path; nothing for the root.
fn home(cgroup: &str) -> Option<String> {
    let owner = owner(cgroup);
    let named = owner.container.map(|container| container.short_id()).or(owner.unit);
    named.or_else(|| (cgroup != "/").then(|| cgroup.to_owned()))
}

/// When the task was last seen to run, at the latest.
fn since(at: Now, hang: &Hang) -> u64 {
    at.mono_ns.saturating_sub(hang.blocked_secs.unwrap_or(0).saturating_mul(SECOND))
}

pub(super) fn joined(sources: &[Source], more: Option<Source>) -> Vec<Source> {
    let more = more.filter(|source| !sources.contains(source));
    sources.iter().copied().chain(more).collect()
}
