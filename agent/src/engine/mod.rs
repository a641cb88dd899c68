//! The pure middle: `step(now, input)` owns all state and does no I/O, reads no clock, takes no
//! lock and cannot fail.
//!
//! ```text
//! batch  -> series -> rates -> history -> conditions ┐
//!                                                    ├-> compose -> speak -> Output::Alert
//! event  -> incidents (one out of several witnesses) ┘
//! ```

pub mod absent;
pub mod aftermath;
pub mod board;
pub mod builtin;
pub mod compose;
pub mod condition;
pub mod control;
pub mod counter;
mod counts;
pub mod derive;
pub mod disk;
pub mod events;
pub mod faults;
pub mod groups;
pub mod hangs;
pub mod incident;
mod incoming;
pub mod judge;
mod kills;
pub mod limits;
mod orders;
pub mod own;
mod ports;
pub mod quiet;
mod remember;
pub mod series;
pub mod shift;
pub mod snapshot;
pub mod speak;
pub mod store;
pub mod tally;
pub mod user_kills;

use std::collections::BTreeMap;

use crate::event::{JournalMark, KmsgMark, What};
use crate::metric::Kind;
use crate::sample::{Batch, ProcTable, SeriesDef, SeriesId};
use crate::time::{Now, SECOND};
use absent::Absences;
use aftermath::Aftermath;
use board::Board;
use compose::{Draft, oom};
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
use snapshot::Pace;
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
    absences: Absences,
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
    board: Board,
    pace: Pace,
    /// Something of an earlier run waits for its series.
    resumed: bool,
    /// When the snapshot of an earlier run was made, wall clock.
    resumed_wall_ns: Option<i64>,
    /// Alerts of an earlier run whose rule is gone.
    orphans: Vec<String>,
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
            store: Store::new(settings.history_capacity),
            judge: Judge::new(now.wall_ns),
            absences: Absences::default(),
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
            board: Board::default(),
            pace: Pace::default(),
            resumed: false,
            resumed_wall_ns: None,
            orphans: Vec::new(),
            tally: Tally::default(),
            mark: None,
            marked: None,
            journal: None,
            lost_noticed_ns: BTreeMap::new(),
            computed: Vec::new(),
            settings,
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
        self.look_around(now, &mut drafts);
        self.speak(now, drafts, out);
    }

    /// From what was found to what is told.
    fn speak(&mut self, now: Now, drafts: Vec<Draft>, out: &mut Vec<Output>) {
        let mut passed = Vec::new();
        self.pace.changed |= !drafts.is_empty();
        let scene = board::Scene { settings: &self.settings, table: &self.table };
        for draft in drafts {
            self.board.take(now, draft, &scene, &mut passed);
        }
        self.board.due(now, &scene, &mut passed);
        self.end_unclaimed(now, &mut passed);
        self.tell_on(now, passed, out);
    }

    fn tell_on(&mut self, now: Now, passed: Vec<Draft>, out: &mut Vec<Output>) {
        let mut told = Vec::new();
        for draft in passed {
            self.speaker.say(now, draft, &mut told);
        }
        self.speaker.due(now, &mut told);
        self.emit(now, told, out);
        if self.pace.is_due(now) {
            out.push(Output::Keep(Box::new(self.snapshot(now))));
        }
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
        let (mut told, mut passed) = (Vec::new(), Vec::new());
        let scene = board::Scene { settings: &self.settings, table: &self.table };
        for draft in drafts {
            self.board.take(now, draft, &scene, &mut passed);
        }
        for draft in passed {
            self.speaker.say(now, draft, &mut told);
        }
        self.speaker.finish(now, &mut told);
        self.emit(now, told, out);
        out.push(Output::Keep(Box::new(self.snapshot(now))));
    }

    fn emit(&mut self, now: Now, told: Vec<Draft>, out: &mut Vec<Output>) {
        self.pace.told |= told.iter().any(|draft| draft.lasts);
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

    /// The judge, and what it needs to see.
    fn judging(&mut self, now: Now) -> (&mut Judge, judge::Scene<'_>) {
        let learning = self.learning(now);
        let Self { judge, store, processes, table, settings, .. } = self;
        let (rules, identity) = (&*settings.rules, &settings.identity);
        (judge, judge::Scene { store, processes: processes.as_ref(), table, rules, identity, learning })
    }

    /// What nobody reports any more, and what never came.
    fn look_around(&mut self, now: Now, drafts: &mut Vec<Draft>) {
        let (judge, scene) = self.judging(now);
        judge.stale(now, &scene, drafts);
        if self.learning(now) {
            return;
        }
        let Self { absences, judge, table, settings, start, .. } = self;
        let (rules, identity) = (&*settings.absences, &settings.identity);
        let scene = absent::Scene { rules, table, identity, start_ns: start.mono_ns };
        absences.check(now, &scene, || judge.next_id(), drafts);
    }

    fn define(&mut self, def: &SeriesDef) {
        self.store.forget(def.id);
        self.derived.define(def.id, def.metric, &def.labels);
        self.judge.define(def, &self.settings.rules, &mut self.table);
    }

    fn retire(&mut self, id: SeriesId, now: Now, drafts: &mut Vec<Draft>) {
        for gone in self.derived.retire(id).into_iter().chain([id]) {
            let (judge, scene) = self.judging(now);
            judge.retire(now, gone, &scene, drafts);
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
        let (judge, scene) = self.judging(now);
        if let Some(series) = scene.table.get(id) {
            judge.observe(now, (id, series), &scene, drafts);
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
        if self.mark != self.marked {
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
