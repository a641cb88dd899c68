//! Several victims of one kill (`memory.oom.group`): one incident, in whatever order their reports come.
//!
//! What makes them one is what the kernel says, never that they died at about the same time: the kernel log names the
//! chosen victim of each, eBPF the group and the thread in which the kernel kills one after the other. Only where a
//! report has neither, the same path within a moment counts.

use super::{Body, Incident, Incidents, OOM_SAME_NS, WITNESS_WAIT_NS};
use crate::event::{Event, MAX_VICTIMS, Oom, Source, What};
use crate::time::{MILLI, Now, SECOND};

/// Longest time between two victims that one thread kills: it writes a line on each, which a serial console of
/// 9600 baud takes 0.2 s for.
const ONE_THREAD_NS: u64 = SECOND;
/// Longest time between two victims where the thread is not known.
const ONE_MOMENT_NS: u64 = 50 * MILLI;

impl Incidents {
    /// The incident whose victims die together with that of `event`.
    pub(super) fn kill_of<'a>(&self, now: Now, event: &'a Event) -> Option<(usize, &'a Oom)> {
        let What::Oom(oom) = &event.what else { return None };
        oom.group.as_ref()?;
        Some((self.open.iter().rposition(|i| i.is_one_kill(now, (event.at, Some(event.source)), oom))?, oom))
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
    /// ask for, and which the kernel log names later. The one that was told stays, else the older one.
    pub(super) fn fold(&mut self, now: Now, number: Option<u64>) {
        let Some(one) = self.open.iter().position(|i| Some(i.number) == number) else { return };
        let Some(incident) = self.open.get_mut(one).filter(|i| i.is_of_group()) else { return };
        self.group_kills += u64::from(!std::mem::replace(&mut incident.counted, true));
        let Some(incident) = self.open.get(one) else { return };
        let Body::Oom(oom) = &incident.body else { return };
        let at = (incident.last_at, incident.last_source);
        let is_other = |i: &Incident| i.number != incident.number && i.is_one_kill(now, at, oom);
        let Some(other) = self.open.iter().position(is_other) else { return };
        let told = |index: usize| self.open.get(index).is_some_and(|i| i.told);
        let (stays, goes) = match (told(one), told(other)) {
            (true, false) => (one, other),
            (false, true) => (other, one),
            _ => (one.min(other), one.max(other)),
        };
        let Some(gone) = self.open.remove(goes) else { return };
        if let Some(incident) = self.open.get_mut(stays - usize::from(goes < stays)) {
            self.group_kills -= u64::from(incident.counted && gone.counted);
            incident.counted |= gone.counted;
            incident.take_in(now, gone);
        }
    }
}

impl Incident {
    /// Whether the victim of a report belongs to this kill.
    fn is_one_kill(&self, now: Now, at: (Now, Option<Source>), other: &Oom) -> bool {
        let Body::Oom(mine) = &self.body else { return false };
        // Clocks of two sources cannot be compared that finely; their arrival can.
        let apart = if self.last_source == at.1 {
            at.0.mono_ns.abs_diff(self.last_at.mono_ns)
        } else {
            now.mono_ns.abs_diff(self.seen_ns)
        };
        match kinship(mine, other) {
            Kinship::None => false,
            Kinship::Named => self.is_recent(now, at.0, OOM_SAME_NS),
            Kinship::Thread => apart <= ONE_THREAD_NS,
            Kinship::Place => apart <= ONE_MOMENT_NS,
        }
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
