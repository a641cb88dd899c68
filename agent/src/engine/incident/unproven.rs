//! Marks without a kill. Of a task that is exiting anyway (`task_will_free_mem`, `mm/oom_kill.c`) the kernel only asks
//! to be quick: it marks it as a victim, but neither counts nor logs a kill.
//!
//! A mark that the counter does not bear out is told only if the kernel log, where that is up, does.

use super::{Body, Incident, Incidents};
use crate::event::{Event, Source, What};
use crate::time::Now;

impl Incidents {
    /// Whether only the kernel log can make a kill of this mark.
    pub(super) fn is_doubtful(&self, event: &Event) -> bool {
        let uncounted = matches!(&event.what, What::Oom(oom) if oom.uncounted);
        uncounted && event.source == Source::Ebpf && self.witnesses.oom.iter().any(|w| w.is_kernel_log())
    }

    /// Waits for the kernel log. What dies by itself belongs to no kill of a group.
    pub(super) fn doubt(&mut self, now: Now, event: &Event, mut body: Body) {
        if let Body::Oom(oom) = &mut body {
            oom.group = None;
        }
        self.push(now, event.at, body, vec![event.source]);
        if let Some(incident) = self.open.back_mut() {
            incident.unproven = true;
        }
    }

    /// The kernel log tells of this kill too, however late.
    pub(super) fn prove(&mut self, index: usize, now: Now, source: Source) {
        let Some(incident) = self.open.get_mut(index).filter(|i| i.unproven) else { return };
        if !source.is_kernel_log() {
            return;
        }
        incident.is_kill(now);
        // One mark was without a kill all the same: an earlier one, if the counter was read after both. It was
        // counted then, in place of this one.
        let earlier = self.open.iter_mut().take(index).rfind(|i| i.is_only_marked());
        match earlier {
            Some(earlier) => earlier.unproven = true,
            None => self.oom_seen += 1,
        }
    }

    /// A mark that turned out to belong to a kill of several.
    pub(super) fn bear_out(&mut self, now: Now) {
        let of_several = |i: &Incident| matches!(&i.body, Body::Oom(oom) if oom.victims() > 1);
        for incident in self.open.iter_mut().filter(|i| i.unproven && of_several(i)) {
            incident.is_kill(now);
            self.oom_seen += 1;
        }
    }

    /// Gives up the marks that nobody proved in time.
    pub(super) fn dismiss(&mut self, overdue: impl Fn(&Incident) -> bool) {
        for incident in self.open.iter_mut().filter(|i| i.unproven && !i.told && overdue(i)) {
            incident.told = true;
            self.dismissed += 1;
        }
    }

    /// Marks of tasks that were exiting anyway, since the last call.
    pub fn dismissed(&mut self) -> u64 {
        std::mem::take(&mut self.dismissed)
    }
}

impl Incident {
    fn is_kill(&mut self, now: Now) {
        self.unproven = false;
        if std::mem::take(&mut self.told) {
            (self.deadline_ns, self.news_ns) = (now.mono_ns, None);
        }
    }

    /// A kill of one process that only eBPF told so far.
    fn is_only_marked(&self) -> bool {
        let alone = matches!(&self.body, Body::Oom(oom) if oom.group.is_none() && oom.others.is_empty());
        alone && !self.told && !self.unproven && self.sources == [Source::Ebpf]
    }
}

#[cfg(test)]
#[path = "unproven_tests.rs"]
mod tests;
