//! Hangs: many tasks that wait for the same thing are one incident, however many sources see them and however
//! often. It is told, told again when it grows or when its cause becomes known, and ends when all its tasks go on.
//!
//! A task waits [`WITNESS_WAIT_NS`] before it joins an incident or begins one: what else is known of it then
//! decides which. A report of long ago (the kernel's log is read from where an earlier run was) waits until somebody has
//! looked whether the task still hangs.

mod one;
mod same;
mod snapshot;

use std::collections::VecDeque;

use super::compose::recall::ToldHang;
use super::incident::WITNESS_WAIT_NS;
use crate::alert::Status;
use crate::event::{Event, Hang, MAX_FOLLOWED, Source, Task, What};
use crate::time::{Now, SECOND};
use one::{Incident, joined};
pub use snapshot::{LISTED, Listed, MAX_GROUPS, Snapshot};

/// Incidents at a time; beyond it the one that was heard of longest ago is forgotten.
pub const MAX_OPEN: usize = 256;
/// An incident that has doubled is told again after this time, one that has grown at all after the second.
const GROWTH_NS: [u64; 2] = [10 * SECOND, 300 * SECOND];
/// A task that nobody can look at counts as gone when it was not reported for so long; khungtaskd reports at
/// every check, 120 s unless set otherwise.
const UNSEEN_NS: u64 = 900 * SECOND;
/// What ended is remembered for so long, for reports of before its end that come late.
const LATE_NS: u64 = 10 * SECOND;
/// A report older than this may be of a hang that is over …
const OLD_NS: u64 = SECOND;
/// … and waits so long for the look at its task.
const LOOK_WAIT_NS: u64 = 2 * SECOND;

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
    released_ns: Option<u64>,
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
                let gone = |w: &&mut Waiting| ids.iter().any(|id| Some(id.pid) == w.hang.task.pid);
                self.waiting.iter_mut().filter(gone).for_each(|w| w.released_ns = Some(now.mono_ns));
                self.open.iter_mut().for_each(|incident| incident.release(now, ids));
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
        let is_old = now.since(event.at) > OLD_NS;
        self.waiting.push_back(Waiting {
            hang: hang.clone(),
            at: event.at,
            sources: vec![event.source],
            deadline_ns: now.mono_ns + if is_old { LOOK_WAIT_NS } else { WITNESS_WAIT_NS },
            released_ns: None,
        });
    }

    /// More of a task that was reported before; `event` where it is another report.
    fn known(&mut self, now: Now, hang: &Hang, event: Option<&Event>) {
        if let Some(waiting) = self.waiting.iter_mut().find(|w| same::hang(&w.hang, hang)) {
            waiting.hang.absorb(hang.clone());
            waiting.sources = joined(&waiting.sources, event.map(|e| e.source));
            if event.is_none() {
                // Somebody has looked at it: it stands.
                waiting.deadline_ns = waiting.deadline_ns.min(now.mono_ns + WITNESS_WAIT_NS);
            }
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
        let is_due = |w: &Waiting| all || w.deadline_ns <= now.mono_ns;
        while let Some(waiting) = self.waiting.iter().position(is_due).and_then(|at| self.waiting.remove(at))
        {
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
        let stands = |i: &Incident| i.is_open_to(waiting.released_ns.is_some());
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
        for Listed { id, comm, cgroup } in tasks {
            let task =
                Task { pid: Some(id.pid), start_ticks: id.start_ticks, comm, cgroup, ..Task::default() };
            let hang = Hang { task, ..Hang::default() };
            incident.remember(now, id, &hang);
            self.follow.push(Follow { hang, facts: true });
        }
        self.open.push(incident.told_before(now, total));
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
        let waiting = self.waiting.iter().map(|w| w.deadline_ns).min();
        waiting.into_iter().chain(self.open.iter().filter_map(Incident::deadline)).min()
    }

    /// Incidents forgotten because of [`MAX_OPEN`].
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests;
