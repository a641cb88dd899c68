//! Several victims of one kill (`memory.oom.group`): one incident, in whatever order their reports come.
//!
//! What makes them one is what the kernel says, never that they died at about the same time: the kernel log names the
//! chosen victim of each, eBPF the group and the thread in which the kernel kills one after the other. The log decides.
//! What eBPF tells may as well be two kills: a thread that runs into a limit again kills again, and `memory.oom.group`
//! of a group above the limit means nothing. So it counts only for victims that the log has not named by the time they
//! are to be told, and within a moment: one incident too many is better than a kill that is not told.

use super::{Body, Incident, Incidents, OOM_SAME_NS, WITNESS_WAIT_NS};
use crate::event::{Event, MAX_VICTIMS, Oom, Source, What};
use crate::time::{MILLI, Now};

/// Longest time between two victims that one thread kills in one go: it writes a line on each, which a serial console
/// of 9600 baud takes 0.2 s for.
const ONE_THREAD_NS: u64 = 200 * MILLI;
/// Longest time between two victims where the thread is not known.
const ONE_MOMENT_NS: u64 = 50 * MILLI;

impl Incidents {
    /// The incident whose victims die together with that of `event`.
    pub(super) fn kill_of<'a>(&self, now: Now, event: &'a Event) -> Option<(usize, &'a Oom)> {
        let What::Oom(oom) = &event.what else { return None };
        oom.group.as_ref()?;
        let at = (event.at, Some(event.source));
        Some((self.open.iter().rposition(|i| i.kin(now, at, oom) == Kinship::Named)?, oom))
    }

    pub(super) fn join(&mut self, index: usize, now: Now, event: &Event, oom: &Oom) {
        let Some(incident) = self.open.get_mut(index) else { return };
        let first = incident.sources.first().is_none_or(|first| *first == event.source);
        incident.seen_by(now, event);
        let Body::Oom(mine) = &mut incident.body else { return };
        // Those beyond the limit are only counted: as often as one witness names them.
        if mine.others.len() < MAX_VICTIMS || first {
            mine.add_victim(oom.clone());
            self.oom_seen += 1;
            incident.has_news(now);
        }
    }

    /// A report may tell only now that this incident and another one are one kill: a victim whose group nobody could
    /// ask for, and which the kernel log names later.
    pub(super) fn fold(&mut self, now: Now, number: Option<u64>) {
        let Some(one) = self.open.iter().position(|i| Some(i.number) == number) else { return };
        let Some(incident) = self.open.get_mut(one).filter(|i| i.is_of_group()) else { return };
        self.group_kills += u64::from(!std::mem::replace(&mut incident.counted, true));
        let _ = self.fold_one(now, one, |_, kinship| kinship == Kinship::Named);
    }

    /// Before an incident is told: what the log has said nothing of belongs to the kill that eBPF says it does.
    pub(super) fn fold_unheard(&mut self, now: Now, overdue: impl Fn(&Incident) -> bool) {
        let due = |i: &&Incident| !i.told && i.is_of_group() && overdue(i);
        let mut todo: Vec<u64> = self.open.iter().filter(due).map(|i| i.number).collect();
        while let Some(number) = todo.pop() {
            let Some(index) = self.open.iter().position(|i| i.number == number) else { continue };
            let heard = self.open.get(index).is_none_or(Incident::is_heard);
            let belongs =
                |other: &Incident, kinship| kinship != Kinship::None && !(heard && other.is_heard());
            // There may be more of them.
            todo.extend(self.fold_one(now, index, belongs));
        }
    }

    /// Makes one of this incident and the first other that is kin, and gives its number. The one that was told stays,
    /// else the older one.
    fn fold_one(
        &mut self,
        now: Now,
        one: usize,
        belongs: impl Fn(&Incident, Kinship) -> bool,
    ) -> Option<u64> {
        let incident = self.open.get(one)?;
        let Body::Oom(oom) = &incident.body else { return None };
        let at = (incident.last_at, incident.last_source);
        let is_other = |i: &Incident| i.number != incident.number && belongs(i, i.kin(now, at, oom));
        let other = self.open.iter().position(is_other)?;
        let told = |index: usize| self.open.get(index).is_some_and(|i| i.told);
        let (stays, goes) = match (told(one), told(other)) {
            (true, false) => (one, other),
            (false, true) => (other, one),
            _ => (one.min(other), one.max(other)),
        };
        let gone = self.open.remove(goes)?;
        let incident = self.open.get_mut(stays - usize::from(goes < stays))?;
        self.group_kills -= u64::from(incident.counted && gone.counted);
        incident.counted |= gone.counted;
        incident.take_in(now, gone);
        Some(incident.number)
    }
}

impl Incident {
    /// What speaks for the victim of a report belonging to this kill, and holds at its time.
    fn kin(&self, now: Now, at: (Now, Option<Source>), other: &Oom) -> Kinship {
        let Body::Oom(mine) = &self.body else { return Kinship::None };
        // Clocks of two sources cannot be compared that finely; their arrival can.
        let apart = if self.last_source == at.1 {
            at.0.mono_ns.abs_diff(self.last_at.mono_ns)
        } else {
            now.mono_ns.abs_diff(self.seen_ns)
        };
        let kinship = kinship(mine, other);
        let holds = match kinship {
            Kinship::None => false,
            Kinship::Named => self.is_recent(now, at.0, OOM_SAME_NS),
            Kinship::Thread => apart <= ONE_THREAD_NS,
            Kinship::Place => apart <= ONE_MOMENT_NS,
        };
        if holds { kinship } else { Kinship::None }
    }

    /// Whether the kernel log has named its victims.
    fn is_heard(&self) -> bool {
        self.sources.iter().any(|source| source.is_kernel_log())
    }

    fn is_of_group(&self) -> bool {
        matches!(&self.body, Body::Oom(oom) if oom.group.is_some())
    }

    /// Takes the victims of an incident that turned out to be the same kill.
    fn take_in(&mut self, now: Now, gone: Self) {
        let (Body::Oom(mine), Body::Oom(mut theirs)) = (&mut self.body, gone.body) else { return };
        let (others, more) = (std::mem::take(&mut theirs.others), theirs.others_more);
        mine.add_victim(*theirs);
        for victim in others {
            mine.add_other(victim);
        }
        mine.others_more += more;
        self.seen_ns = self.seen_ns.max(gone.seen_ns);
        let unheard = gone.sources.into_iter().filter(|source| !self.sources.contains(source));
        self.sources.extend(unheard.collect::<Vec<_>>());
        self.has_news(now);
    }

    fn has_news(&mut self, now: Now) {
        if self.told && !self.remembered {
            self.news_ns.get_or_insert(now.mono_ns + WITNESS_WAIT_NS);
        }
    }
}

/// What speaks for two victims being of one kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kinship {
    None,
    /// The kernel log names the same chosen victim.
    Named,
    /// Same group, and one thread killed both.
    Thread,
    /// Same group, but the thread is not known.
    Place,
}

fn kinship(a: &Oom, b: &Oom) -> Kinship {
    let (Some(of_a), Some(of_b)) = (&a.group, &b.group) else {
        // The chosen victim is told before the line which says that its group follows.
        let named = |oom: &Oom, victim: &Oom| {
            oom.group.as_ref().and_then(|group| group.first).is_some_and(|pid| victim.victim.pid == Some(pid))
        };
        return if named(a, b) || named(b, a) { Kinship::Named } else { Kinship::None };
    };
    match (of_a.first, of_b.first) {
        (Some(x), Some(y)) if x != y => return Kinship::None,
        (None, None) => {}
        (x, y) if x.or(a.victim.pid) == y.or(b.victim.pid) => return Kinship::Named,
        _ => {}
    }
    let same = match (of_a.serial, of_b.serial) {
        (Some(x), Some(y)) => x == y,
        _ => of_a.path.is_some() && of_a.path == of_b.path,
    };
    match (a.trigger_tid, b.trigger_tid) {
        _ if !same => Kinship::None,
        (Some(x), Some(y)) if x == y => Kinship::Thread,
        (Some(_), Some(_)) => Kinship::None,
        _ => Kinship::Place,
    }
}

#[cfg(test)]
#[path = "together_tests.rs"]
mod tests;
