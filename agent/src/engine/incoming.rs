//! Events in the engine: to whom each goes, and what is counted.

use super::compose::{Draft, hang, incident_id, inventory, io, kernel, lost, user_kill};
use super::{Engine, LOST_NOTICE_NS, Output, events, hangs, incident};
use crate::event::{Event, Lost, UserKill, What};
use crate::time::Now;

impl Engine {
    pub(super) fn event(&mut self, now: Now, event: &Event, drafts: &mut Vec<Draft>, out: &mut Vec<Output>) {
        match &event.what {
            What::KmsgMark(mark) => self.mark = Some(*mark),
            What::JournalMark(mark) => self.journal = Some(mark.clone()),
            What::SyslogMark(mark) => self.syslog = Some(mark.clone()),
            What::Witness { is_up } => {
                self.settings.witnesses.stands(event.source, *is_up);
                self.incidents.heed(&self.settings.witnesses);
            }
            What::Lost(lost) => self.lost(now, event, lost, drafts, out),
            _ if event.historic => self.tally.historic += 1,
            What::Hang(_) | What::HangFacts(_) | What::Released(_) => {
                for report in self.hangs.take(now, event) {
                    self.tell_hang(&report, drafts);
                }
            }
            What::Oom(oom) => {
                self.aftermath.note(event.at, oom);
                let before = self.incidents.oom_seen();
                for report in self.incidents.take(now, event) {
                    self.tell(now, &report, drafts);
                }
                self.count_victims(now, event, self.incidents.oom_seen() - before);
            }
            What::IoError(_) => self.io_error(now, event, drafts),
            What::UserKill(kill) => self.user_kill(event, kill, drafts),
            What::SlowIo(io) => {
                self.tally.count(events::SLOW_IO.name, &io.device, 1);
                let id = self.judge.next_id();
                drafts.push(io::slow_request(event, io, id));
            }
            What::Log(found) => {
                let count = found.repeats.as_ref().map_or(1, |repeats| repeats.count);
                for counter in [&events::LOG_EVENTS, &events::KERNEL_EVENTS] {
                    self.tally.count(counter.name, &found.rule, count);
                }
                if found.repeats.is_some() {
                    // Lines like it went the way of their own.
                    let id = self.judge.next_id();
                    drafts.push(kernel::log(event, found, id));
                } else if incident::is_io_error(found) {
                    self.io_error(now, event, drafts);
                } else if self.aftermath.explains(event.at, found) {
                    self.tally.count(events::EXPLAINED.name, &found.rule, 1);
                } else if !self.faults.take(now, event, drafts) {
                    let id = self.judge.next_id();
                    drafts.push(kernel::log(event, found, id));
                }
            }
            What::HostChange(change) => {
                self.tally.count(events::INVENTORY.name, "", (change.changes.len() + change.left_out) as u64);
                let id = self.judge.next_id();
                drafts.push(inventory::draft(event, change, id));
            }
            What::Hardware(report) => {
                self.tally.count(events::HARDWARE.name, report.rule, 1);
                self.faults.take(now, event, drafts);
            }
        }
    }

    fn user_kill(&mut self, event: &Event, kill: &UserKill, drafts: &mut Vec<Draft>) {
        let fingerprint = user_kill::fingerprint_of(event, kill);
        if !self.user_kills.is_new(&fingerprint, event.at) {
            return;
        }
        self.tally.count(events::USER_KILLS.name, kill.killer, 1);
        let known = user_kill::Known {
            processes: self.processes.as_ref(),
            groups: &self.groups,
            boot_id: &self.settings.identity.boot_id,
        };
        drafts.push(user_kill::draft(event, kill, self.judge.next_id(), fingerprint, &known));
    }

    pub(super) fn tell_hang(&mut self, report: &hangs::Report, drafts: &mut Vec<Draft>) {
        let incident = &report.incident;
        let new_id = || format!("{}-h", incident_id(self.start.wall_ns, incident.number));
        let id = incident.id.clone().unwrap_or_else(new_id);
        self.tally.count(events::HUNG_TASKS.name, "", report.fresh);
        self.tally.count(events::KERNEL_EVENTS.name, "hung_task", report.fresh);
        drafts.push(hang::draft(report, id, &self.settings.identity));
    }

    fn lost(&mut self, now: Now, event: &Event, lost: &Lost, drafts: &mut Vec<Draft>, out: &mut Vec<Output>) {
        if let Some(draft) = lost::draft(event, lost, || self.judge.next_id()) {
            self.tally.count(events::LOST.name, lost.reason, lost.count);
            drafts.push(draft);
        }
        let key = (lost.part, lost.reason);
        let total = self.tally.lost.entry(key).or_default();
        *total = total.saturating_add(lost.count);
        let noticed = self.lost_noticed_ns.entry(key).or_insert(0);
        if *noticed == 0 || now.mono_ns.saturating_sub(*noticed) >= LOST_NOTICE_NS {
            *noticed = now.mono_ns;
            out.push(Output::Notice(format!(
                "{} lost {} events ({}), {total} since the start",
                lost.part, lost.count, lost.reason
            )));
        }
    }
}
