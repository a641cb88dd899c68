//! The pure middle: `step(now, input)` owns all state and does no I/O, reads no clock, takes no
//! lock and cannot fail.
//!
//! ```text
//! batch  -> series -> rates -> history -> conditions ┐
//!                                                    ├-> compose -> speak -> Output::Alert
//! event  -> incidents (one out of several witnesses) ┘
//! ```

pub mod aftermath;
pub mod builtin;
pub mod compose;
pub mod condition;
pub mod counter;
pub mod derive;
pub mod disk;
pub mod events;
pub mod faults;
pub mod groups;
pub mod hangs;
pub mod incident;
pub mod judge;
mod kills;
pub mod limits;
mod ports;
pub mod series;
pub mod speak;
pub mod store;
pub mod tally;
pub mod user_kills;

use std::collections::BTreeMap;

use crate::alert::Alert;
use crate::event::{Event, JournalMark, KmsgMark, Lost, UserKill, What};
use crate::metric::Kind;
use crate::sample::{Batch, ProcTable, SeriesDef, SeriesId};
use crate::time::{Now, SECOND};
use aftermath::Aftermath;
use compose::{Draft, hang, incident_id, inventory, io, kernel, oom, user_kill};
use counter::{OomCounter, Twice};
use derive::{Derived, raw_id};
use disk::Disks;
use faults::Faults;
use groups::Groups;
use hangs::Hangs;
use incident::Incidents;
use judge::Judge;
pub use ports::{Input, Output, Settings};
use series::SeriesTable;
use speak::Speaker;
use store::Store;
pub use tally::Tally;
use user_kills::UserKills;

/// Least time between two notices of lost events.
const LOST_NOTICE_NS: u64 = 60 * SECOND;

/// The engine.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    start: Now,
    table: SeriesTable,
    derived: Derived,
    store: Store,
    judge: Judge,
    disks: Disks,
    incidents: Incidents,
    aftermath: Aftermath,
    faults: Faults,
    hangs: Hangs,
    speaker: Speaker,
    counter: OomCounter,
    twice: Twice,
    user_kills: UserKills,
    processes: Option<ProcTable>,
    groups: Groups,
    tally: Tally,
    mark: Option<KmsgMark>,
    marked: Option<KmsgMark>,
    journal: Option<JournalMark>,
    lost_noticed_ns: BTreeMap<(&'static str, &'static str), u64>,
    computed: Vec<(SeriesId, f64)>,
}

impl Engine {
    /// An engine that starts at `now`.
    pub fn new(settings: Settings, now: Now) -> Self {
        Self {
            start: now,
            table: SeriesTable::default(),
            derived: Derived::new(settings.formulas),
            store: Store::new(settings.history_capacity, now.mono_ns),
            judge: Judge::new(now.wall_ns),
            disks: Disks::new(now.wall_ns),
            incidents: Incidents::new(settings.witnesses.clone()),
            aftermath: Aftermath::default(),
            faults: Faults::new(now.wall_ns),
            hangs: Hangs::default(),
            speaker: Speaker::new(settings.manners.clone(), now.wall_ns),
            counter: OomCounter::default(),
            twice: Twice::default(),
            user_kills: UserKills::default(),
            processes: None,
            groups: Groups::default(),
            tally: Tally::default(),
            mark: None,
            marked: None,
            journal: None,
            lost_noticed_ns: BTreeMap::new(),
            computed: Vec::new(),
            settings,
        }
    }

    /// Remembers what an earlier run of the agent told, so that it is not told again.
    pub fn remember<'a>(&mut self, told: impl IntoIterator<Item = &'a Alert>, now: Now) {
        for alert in told {
            for (at, body) in compose::recall::incidents(alert, &self.settings.identity.boot_id, now) {
                self.incidents.remember(now, at, body);
            }
            for told in compose::recall::hangs(alert, &self.settings.identity.boot_id, now) {
                if told.over {
                    self.hangs.forget(&told.id);
                } else {
                    self.hangs.remember(now, told);
                }
            }
            for (at, fingerprint) in compose::recall::user_kills(alert, &self.settings.identity.boot_id, now)
            {
                self.user_kills.is_new(&fingerprint, at);
            }
            if let Some(told_ns) = compose::recall::told_ns(alert, now) {
                self.speaker.remember(alert.fingerprint.clone(), alert.severity, told_ns);
            }
        }
    }

    /// One step. Outputs are appended to `out`.
    pub fn step(&mut self, now: Now, input: Input<'_>, out: &mut Vec<Output>) {
        let mut drafts = Vec::new();
        match input {
            Input::Batch(batch) => self.batch(now, batch, &mut drafts),
            Input::Event(mut event) => {
                if let What::Oom(oom) = &mut event.what {
                    oom::find_group(oom, &self.groups);
                }
                self.event(now, &event, &mut drafts, out);
            }
            Input::Tick => {
                for report in self.incidents.due(now) {
                    self.tell(now, &report, &mut drafts);
                }
                self.faults.due(now, &mut drafts);
                for report in self.hangs.due(now) {
                    self.tell_hang(&report, &mut drafts);
                }
            }
        }
        self.count_disagreements();
        out.extend(self.hangs.take_follow().into_iter().map(|task| Output::Follow(Box::new(task))));
        self.judge.stale(now, &self.settings.rules, &self.table, &mut drafts);
        let mut told = Vec::new();
        for draft in drafts {
            self.speaker.say(now, draft, &mut told);
        }
        self.speaker.due(now, &mut told);
        self.emit(now, told, out);
    }

    /// The last step: whatever is held back comes out, because the agent is ending.
    pub fn finish(&mut self, now: Now, out: &mut Vec<Output>) {
        let mut drafts = Vec::new();
        for report in self.incidents.finish() {
            self.tell(now, &report, &mut drafts);
        }
        self.faults.finish(&mut drafts);
        for report in self.hangs.finish(now) {
            self.tell_hang(&report, &mut drafts);
        }
        let mut told = Vec::new();
        for draft in drafts {
            self.speaker.say(now, draft, &mut told);
        }
        self.speaker.finish(now, &mut told);
        self.emit(now, told, out);
    }

    fn emit(&mut self, now: Now, told: Vec<Draft>, out: &mut Vec<Output>) {
        out.extend(told.into_iter().map(|d| Output::Alert(Box::new(d.alert(&self.settings.identity, now)))));
        self.pass_mark(out);
    }

    /// When `step` wants to be called at the latest, monotonic nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        let next = [self.incidents.next_deadline(), self.faults.next_deadline(), self.hangs.next_deadline()];
        next.into_iter().chain([self.speaker.next_deadline()]).flatten().min()
    }

    fn batch(&mut self, now: Now, batch: &mut Batch, drafts: &mut Vec<Draft>) {
        self.tally.batches += 1;
        for id in batch.retired.drain(..) {
            self.retire(raw_id(id), now, drafts);
        }
        for def in batch.defs.drain(..) {
            self.define(&SeriesDef { id: raw_id(def.id), ..def });
        }
        for born in self.derived.connect() {
            let def = SeriesDef { id: born.id, metric: born.metric, labels: born.labels };
            self.judge.define(&def, &self.settings.rules, &mut self.table);
        }
        let at_ns = batch.at.mono_ns;
        for (id, value) in &batch.samples {
            self.table.read(raw_id(*id), at_ns, *value);
        }
        let mut computed = std::mem::take(&mut self.computed);
        computed.clear();
        self.derived.evaluate(&self.table, at_ns, &mut computed);
        for (id, value) in &computed {
            self.table.read(*id, at_ns, *value);
        }
        if batch.processes.is_some() {
            // The old one goes back with the batch, for its buffers.
            std::mem::swap(&mut self.processes, &mut batch.processes);
        }
        if let Some(groups) = batch.groups.take() {
            self.groups.take(batch.at, groups);
        }
        let raw = batch.samples.iter().map(|(id, value)| (raw_id(*id), *value));
        for (id, value) in raw.chain(computed.iter().copied()) {
            self.sample(now, at_ns, id, value, drafts);
        }
        self.computed = computed;
        let learning = self.learning(now);
        let windows = batch.disks.drain(..);
        self.disks.take((now, at_ns), windows, &self.settings.disks, learning, drafts);
    }

    fn learning(&self, now: Now) -> bool {
        now.since(self.start) < self.settings.warmup_secs * SECOND
    }

    fn define(&mut self, def: &SeriesDef) {
        self.store.forget(def.id);
        self.derived.define(def.id, def.metric, &def.labels);
        self.judge.define(def, &self.settings.rules, &mut self.table);
    }

    fn retire(&mut self, id: SeriesId, now: Now, drafts: &mut Vec<Draft>) {
        for gone in self.derived.retire(id).into_iter().chain([id]) {
            self.judge.retire(now, gone, &self.settings.rules, &self.table, drafts);
            self.store.forget(gone);
            self.table.retire(gone);
        }
    }

    fn sample(&mut self, now: Now, at_ns: u64, id: SeriesId, value: f64, drafts: &mut Vec<Draft>) {
        let Some(series) = self.table.get(id) else { return };
        if series.metric.kind == Kind::Gauge {
            self.store.append(id, at_ns, value);
        }
        if series.metric.name == self.settings.oom_counter {
            self.count_ooms(now, value as u64, drafts);
            return;
        }
        let (store, processes) = (&self.store, self.processes.as_ref());
        let scene = judge::Scene { store, processes, learning: self.learning(now) };
        self.judge.observe(now, id, series, &self.settings.rules, &scene, drafts);
    }

    fn event(&mut self, now: Now, event: &Event, drafts: &mut Vec<Draft>, out: &mut Vec<Output>) {
        match &event.what {
            What::KmsgMark(mark) => self.mark = Some(*mark),
            What::JournalMark(mark) => self.journal = Some(mark.clone()),
            What::Witness { is_up } => {
                self.settings.witnesses.stands(event.source, *is_up);
                self.incidents.heed(&self.settings.witnesses);
            }
            What::Lost(lost) => self.lost(now, lost, out),
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
                self.tally.count(events::LOG_EVENTS.name, &found.rule, 1);
                if incident::is_io_error(found) {
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

    fn tell_hang(&mut self, report: &hangs::Report, drafts: &mut Vec<Draft>) {
        let incident = &report.incident;
        let new_id = || format!("{}-h", incident_id(self.start.wall_ns, incident.number));
        let id = incident.id.clone().unwrap_or_else(new_id);
        self.tally.count(events::HUNG_TASKS.name, "", report.fresh);
        drafts.push(hang::draft(report, id, &self.settings.identity));
    }

    fn lost(&mut self, now: Now, lost: &Lost, out: &mut Vec<Output>) {
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

    /// A mark comes out only when nothing that was read before it is still held back: whoever
    /// stores it may forget everything before it.
    fn pass_mark(&mut self, out: &mut Vec<Output>) {
        let waiting = self.incidents.next_deadline().or(self.faults.next_deadline());
        let holding = waiting.is_some() || self.hangs.holds() || self.speaker.holds_incidents();
        if holding {
            return;
        }
        if self.pass_accounted(out) || self.mark != self.marked {
            self.marked = self.mark;
            out.extend(self.mark.map(Output::Mark));
        }
        out.extend(self.journal.take().map(Output::JournalMark));
    }

    /// What happened so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What was told and what was not.
    pub fn spoken(&self) -> speak::Counts {
        self.speaker.counts()
    }

    /// Newest values.
    pub fn series(&self) -> &SeriesTable {
        &self.table
    }

    /// History.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

#[cfg(test)]
mod tests;
