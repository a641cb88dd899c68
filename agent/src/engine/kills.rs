//! OOM kills and failed requests in the engine: from incidents to drafts, and the counters that must agree with them.

use super::compose::{Draft, incident_id, io, oom};
use super::incident::{Body, Report};
use super::{Engine, Output, events};
use crate::event::{Event, What};
use crate::time::Now;

impl Engine {
    pub(super) fn count_ooms(&mut self, now: Now, total: u64, drafts: &mut Vec<Draft>) {
        let blind = self.settings.witnesses.oom.is_empty();
        let missing = self.counter.reading(total, self.incidents.oom_seen(), blind).unwrap_or(0);
        let missing = missing - self.twice.excuse(now, missing);
        if missing > 0 {
            self.tally.count(events::OOM_KILLS.name, "", missing);
            self.tally.count(events::KERNEL_EVENTS.name, "oom_kill", missing);
            if !blind {
                self.tally.count(events::DISAGREEMENTS.name, "counter_only", missing);
            }
            let (id, groups) = (self.judge.next_id(), self.groups.untold());
            drafts.push(oom::draft_uncounted(missing, id, now, blind, &groups, self.processes.as_ref()));
        }
        if self.counter.agrees() {
            self.groups.settle();
        }
    }

    /// Goes on counting where an earlier run of this boot ended.
    pub fn resume_counting(&mut self, kills: u64) {
        self.counter.resume(kills);
    }

    /// Hands out how many kills of the machine's counter are accounted for, if that is another number than before.
    pub(super) fn pass_accounted(&mut self, out: &mut Vec<Output>) -> bool {
        let kills = self.counter.accounted(self.incidents.oom_seen());
        let news = self.counter.news(kills.map(|kills| kills + self.twice.open()));
        out.extend(news.map(Output::Accounted));
        news.is_some()
    }

    /// New victims, for the machine's counter and that of their group.
    pub(super) fn count_victims(&mut self, now: Now, event: &Event, victims: u64) {
        let What::Oom(oom) = &event.what else { return };
        self.twice.note(now, self.incidents.group_kills());
        if victims > 0 {
            self.tally.count(events::OOM_KILLS.name, "", victims);
            self.tally.count(events::KERNEL_EVENTS.name, "oom_kill", victims);
            let path = oom.victim.cgroup.as_deref().or(oom.oom_memcg.as_deref());
            if let Some(path) = path {
                self.groups.told(path, victims);
            }
        }
    }

    pub(super) fn tell(&mut self, now: Now, report: &Report, drafts: &mut Vec<Draft>) {
        let id = format!("{}-k", incident_id(self.start.wall_ns, report.incident.number));
        let identity = &self.settings.identity;
        let draft = match &report.incident.body {
            Body::Oom(oom) => {
                let mut oom = oom.clone();
                if let Some(table) = &self.processes {
                    oom::fill_from_table(&mut oom, table);
                }
                oom::fill_from_groups(&mut oom, &self.groups, now);
                oom::draft(report, &oom, id, self.processes.as_ref(), identity)
            }
            Body::IoError(error) => {
                if !report.update {
                    self.tally.count(events::IO_ERRORS.name, &error.device, 1);
                }
                io::error(report, error, id, identity)
            }
        };
        drafts.push(draft);
    }

    pub(super) fn io_error(&mut self, now: Now, event: &Event, drafts: &mut Vec<Draft>) {
        for report in self.incidents.take(now, event) {
            self.tell(now, &report, drafts);
        }
    }

    pub(super) fn count_disagreements(&mut self) {
        for kind in self.incidents.disagreed().collect::<Vec<_>>() {
            self.tally.count(events::DISAGREEMENTS.name, kind, 1);
        }
        match self.incidents.dismissed() {
            0 => {}
            marks => self.tally.count(events::EXITING.name, "", marks),
        }
    }
}
