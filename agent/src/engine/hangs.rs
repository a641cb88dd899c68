//! Hangs: many tasks that wait for the same thing are one incident, however many sources see them and however
//! often. It is told, told again when it grows or when its cause becomes known, and ends when all its tasks go on.
//!
//! A task waits [`WITNESS_WAIT_NS`] before it joins an incident or begins one: what else is known of it then
//! decides which.

mod same;
mod snapshot;

use std::collections::VecDeque;

use super::compose::recall::ToldHang;
use super::incident::WITNESS_WAIT_NS;
use crate::alert::Status;
use crate::event::{Event, Hang, MAX_FOLLOWED, Source, Task, TaskId, What};
use crate::time::{Now, SECOND};
pub use snapshot::{LISTED, Snapshot};

/// Incidents at a time; beyond it the one that was heard of longest ago is forgotten.
pub const MAX_OPEN: usize = 256;
/// An incident that has doubled is told again after this time, one that has grown at all after the second.
const GROWTH_NS: [u64; 2] = [10 * SECOND, 300 * SECOND];
/// A task that nobody can look at counts as gone when it was not reported for so long; khungtaskd reports at
/// every check, 120 s unless set otherwise.
const UNSEEN_NS: u64 = 900 * SECOND;
/// What ended is remembered for so long, for reports of before its end that come late.
const LATE_NS: u64 = 10 * SECOND;

/// A task to be followed until it goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Follow {
    /// What is known of it.
    pub hang: Hang,
    /// Whether more is wanted.
    pub facts: bool,
}

/// An incident to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What is known now.
    pub incident: Snapshot,
    /// Whether it began, changed or ended.
    pub status: Status,
    /// Tasks that were not counted before.
    pub fresh: u64,
}

/// A report that waits for what else is known.
#[derive(Debug)]
struct Waiting {
    hang: Hang,
    at: Now,
    sources: Vec<Source>,
    deadline_ns: u64,
}

#[derive(Debug)]
struct Member {
    id: TaskId,
    comm: Option<String>,
    /// In the same function, and for the same owner of a lock, as the first.
    same_wait: bool,
    same_lock: bool,
    seen_ns: u64,
    released_ns: Option<u64>,
}

#[derive(Debug)]
struct Incident {
    number: u64,
    /// Of an incident that an earlier run of the agent told.
    id: Option<String>,
    at: Now,
    since_ns: u64,
    first: Hang,
    sources: Vec<Source>,
    members: Vec<Member>,
    total: u64,
    told: Option<Told>,
    ended: Option<Now>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    at_ns: u64,
    total: u64,
    knowledge: usize,
}

/// Hangs that stand.
#[derive(Debug, Default)]
pub struct Hangs {
    waiting: VecDeque<Waiting>,
    open: Vec<Incident>,
    follow: Vec<Follow>,
    next: u64,
    forgotten: u64,
}

impl Hangs {
    /// Takes an event that is about hangs.
    pub fn take(&mut self, now: Now, event: &Event) -> Vec<Report> {
        match &event.what {
            What::Hang(hang) => self.reported(now, event, hang),
            What::HangFacts(hang) => self.known(now, hang, None),
            What::Released(ids) => {
                let mut reports = self.join(now, true);
                for incident in &mut self.open {
                    incident.release(now, ids);
                }
                reports.extend(self.changed(now));
                return reports;
            }
            _ => {}
        }
        self.changed(now)
    }

    fn reported(&mut self, now: Now, event: &Event, hang: &Hang) {
        if hang.task.pid.is_none() {
            return;
        }
        let late = self.open.iter().flat_map(|i| &i.members).any(|m| {
            m.released_ns.is_some_and(|end| event.at.mono_ns <= end)
                && same::task(&m.id, m.comm.as_deref(), hang)
        });
        if late {
            return;
        }
        let is_known = self.waiting.iter().any(|w| same::hang(&w.hang, hang))
            || self.open.iter().any(|i| i.member(hang).is_some());
        if is_known {
            return self.known(now, hang, Some(event));
        }
        self.follow.push(Follow { hang: hang.clone(), facts: event.source != Source::Watch });
        let deadline_ns = now.mono_ns + WITNESS_WAIT_NS;
        self.waiting.push_back(Waiting {
            hang: hang.clone(),
            at: event.at,
            sources: vec![event.source],
            deadline_ns,
        });
    }

    /// More of a task that was reported before; `event` where it is another report.
    fn known(&mut self, now: Now, hang: &Hang, event: Option<&Event>) {
        if let Some(waiting) = self.waiting.iter_mut().find(|w| same::hang(&w.hang, hang)) {
            waiting.hang.absorb(hang.clone());
            waiting.sources = joined(&waiting.sources, event.map(|e| e.source));
            return;
        }
        for incident in &mut self.open {
            if incident.ended.is_none() && incident.more(now, hang, event) {
                return;
            }
        }
    }

    /// Tells what has waited long enough, and what has grown.
    pub fn due(&mut self, now: Now) -> Vec<Report> {
        let mut reports = self.join(now, false);
        reports.extend(self.changed(now));
        self.open.retain(|i| i.ended.is_none_or(|end| now.since(end) < LATE_NS));
        reports
    }

    /// Tells what still waits: the agent is ending.
    pub fn finish(&mut self, now: Now) -> Vec<Report> {
        self.join(now, true)
    }

    /// Puts waiting tasks into incidents and tells the new ones.
    fn join(&mut self, now: Now, all: bool) -> Vec<Report> {
        while self.waiting.front().is_some_and(|w| all || w.deadline_ns <= now.mono_ns) {
            let Some(waiting) = self.waiting.pop_front() else { break };
            let index = self.place_of(now, &waiting).unwrap_or_else(|| self.begin(&waiting));
            let room = self.open.iter().map(|i| i.members.len()).sum::<usize>() < MAX_FOLLOWED;
            if let Some(incident) = self.open.get_mut(index) {
                incident.add(now, waiting, room);
            }
        }
        let untold = self.open.iter_mut().filter(|i| i.told.is_none());
        untold.map(|incident| incident.tell(now, Status::Firing)).collect()
    }

    fn place_of(&self, now: Now, waiting: &Waiting) -> Option<usize> {
        let stands = |i: &Incident| i.ended.is_none();
        let fits = |i: &Incident| {
            stands(i) && same::wait(i.members.iter().map(|m| m.id.pid), &i.first, &waiting.hang)
        };
        self.open.iter().rposition(fits).or_else(|| {
            // Nothing says that it waits for something else than those that were reported with it.
            let recent = |i: &Incident| now.mono_ns.saturating_sub(i.seen_ns()) < GROWTH_NS[0];
            same::nothing(&waiting.hang).then(|| self.open.iter().rposition(|i| stands(i) && recent(i)))?
        })
    }

    fn begin(&mut self, waiting: &Waiting) -> usize {
        if self.open.len() >= MAX_OPEN {
            self.forgotten += 1;
            let oldest = self.open.iter().enumerate().min_by_key(|(_, i)| (i.ended.is_none(), i.seen_ns()));
            if let Some((index, _)) = oldest {
                self.open.remove(index);
            }
        }
        let number = self.next;
        self.next += 1;
        self.open.push(Incident::new(number, waiting.at, waiting.hang.clone()));
        self.open.len() - 1
    }

    fn changed(&mut self, now: Now) -> Vec<Report> {
        self.open.iter_mut().filter_map(|incident| incident.news(now)).collect()
    }

    /// Remembers an incident that an earlier run told, as far as its alert says it.
    pub fn remember(&mut self, now: Now, told: ToldHang) {
        let ToldHang { id, at, since_ns, hang, tasks, total, .. } = told;
        self.forget(&id);
        let mut incident = Incident::new(self.next, at, hang);
        self.next += 1;
        incident.id = Some(id);
        incident.since_ns = since_ns;
        incident.total = total;
        for (task, comm) in tasks {
            let hang = Hang { task: task_of(task, &comm), ..Hang::default() };
            self.follow.push(Follow { hang, facts: false });
            incident.members.push(Member::new(now, task, Some(comm)));
        }
        incident.told = Some(Told { at_ns: now.mono_ns, total, knowledge: usize::MAX });
        self.open.push(incident);
    }

    /// An earlier run told the end of this one.
    pub fn forget(&mut self, id: &str) {
        self.open.retain(|i| i.id.as_deref() != Some(id));
    }

    /// Tasks to be followed, each once.
    pub fn take_follow(&mut self) -> Vec<Follow> {
        std::mem::take(&mut self.follow)
    }

    /// Whether something waits to be told.
    pub fn holds(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// When [`Hangs::due`] wants to be called, monotonic nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        let waiting = self.waiting.front().map(|w| w.deadline_ns);
        waiting.into_iter().chain(self.open.iter().filter_map(Incident::deadline)).min()
    }

    /// Incidents forgotten because of [`MAX_OPEN`].
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

impl Incident {
    fn new(number: u64, at: Now, first: Hang) -> Self {
        let since_ns = since(at, &first);
        let (sources, members) = (Vec::new(), Vec::new());
        Self { number, id: None, at, since_ns, first, sources, members, total: 0, told: None, ended: None }
    }

    fn seen_ns(&self) -> u64 {
        self.members.iter().map(|m| m.seen_ns).max().unwrap_or(0)
    }

    fn member(&self, hang: &Hang) -> Option<usize> {
        self.members
            .iter()
            .position(|m| m.released_ns.is_none() && same::task(&m.id, m.comm.as_deref(), hang))
    }

    fn add(&mut self, now: Now, waiting: Waiting, room: bool) {
        let Waiting { hang, at, sources, .. } = waiting;
        self.since_ns = self.since_ns.min(since(at, &hang));
        // What cannot be remembered would be counted again at every report.
        self.total += u64::from(room);
        for source in sources {
            self.sources = joined(&self.sources, Some(source));
        }
        if let Some(id) = hang.id().filter(|_| room) {
            let mut member = Member::new(now, id, hang.task.comm.clone());
            member.same_wait = hang.wchan.is_some() && hang.wchan == self.first.wchan;
            member.same_lock = same::owner(&hang).is_some() && same::owner(&hang) == same::owner(&self.first);
            self.members.push(member);
        }
        self.learn(&hang);
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
    fn more(&mut self, now: Now, hang: &Hang, event: Option<&Event>) -> bool {
        let Some(member) = self.member(hang).and_then(|index| self.members.get_mut(index)) else {
            return false;
        };
        member.seen_ns = now.mono_ns;
        member.id.start_ticks = member.id.start_ticks.or(hang.task.start_ticks);
        if same::task(&member.id, member.comm.as_deref(), &self.first) {
            self.first.absorb(hang.clone());
        } else {
            self.learn(hang);
        }
        self.sources = joined(&self.sources, event.map(|e| e.source));
        self.since_ns = self.since_ns.min(event.map_or(u64::MAX, |event| since(event.at, hang)));
        true
    }

    fn release(&mut self, now: Now, ids: &[TaskId]) {
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

    fn news(&mut self, now: Now) -> Option<Report> {
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
            // Nobody knows whether it is over: it is forgotten, not told.
            self.ended = Some(now);
            return None;
        }
        let grown = self.deadline().is_some_and(|at_ns| at_ns <= now.mono_ns);
        (grown || self.knowledge() > told.knowledge).then(|| self.tell(now, Status::Updated))
    }

    /// When its growth is worth a message.
    fn deadline(&self) -> Option<u64> {
        let told = self.told.filter(|told| self.ended.is_none() && self.total > told.total)?;
        Some(told.at_ns + GROWTH_NS[usize::from(self.total < told.total.saturating_mul(2))])
    }

    fn tell(&mut self, now: Now, status: Status) -> Report {
        let fresh = self.total - self.told.map_or(0, |told| told.total);
        self.told = Some(Told { at_ns: now.mono_ns, total: self.total, knowledge: self.knowledge() });
        Report { incident: self.snapshot(now), status, fresh }
    }
}

impl Member {
    fn new(now: Now, id: TaskId, comm: Option<String>) -> Self {
        Self { id, comm, same_wait: true, same_lock: false, seen_ns: now.mono_ns, released_ns: None }
    }
}

fn task_of(id: TaskId, comm: &str) -> Task {
    let (pid, start_ticks) = (Some(id.pid), id.start_ticks);
    Task { pid, start_ticks, comm: Some(comm.to_owned()), ..Task::default() }
}

/// When the task was last seen to run, at the latest.
fn since(at: Now, hang: &Hang) -> u64 {
    at.mono_ns.saturating_sub(hang.blocked_secs.unwrap_or(0).saturating_mul(SECOND))
}

fn joined(sources: &[Source], more: Option<Source>) -> Vec<Source> {
    let more = more.filter(|source| !sources.contains(source));
    sources.iter().copied().chain(more).collect()
}

#[cfg(test)]
mod tests;
