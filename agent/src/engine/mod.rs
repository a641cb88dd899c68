//! The pure middle: `step(now, input)` owns all state and does no I/O, reads no clock, takes no
//! lock and cannot fail.
//!
//! ```text
//! batch  -> series -> rates -> history -> conditions, analyzers ┐
//!                                                               ├-> compose -> speak -> Output::Alert
//! event  -> incidents (one out of several witnesses)            ┘
//! ```

pub mod absent;
pub mod aftermath;
pub mod analysis;
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
pub mod look_back;
mod newest;
mod orders;
pub mod own;
mod owners;
pub mod patience;
mod ports;
pub mod quiet;
mod reading;
mod remember;
pub mod series;
pub mod shift;
pub mod snapshot;
pub mod speak;
pub mod store;
pub mod tally;
pub mod told;
pub mod user_kills;

use std::collections::BTreeMap;

use crate::event::{JournalMark, KmsgMark, SyslogMark, What};
use crate::sample::{ProcTable, SeriesId};
use crate::time::{Now, SECOND};
use absent::Absences;
use aftermath::Aftermath;
use analysis::Analysis;
use analysis::rooms::Rooms;
use board::Board;
use compose::{Draft, oom};
use counter::{OomCounter, Twice};
use derive::Derived;
use disk::Disks;
use faults::Faults;
use groups::Groups;
use hangs::Hangs;
use incident::Incidents;
use judge::Judge;
pub use ports::{Input, KnownLabels, Output, Settings};
use series::SeriesTable;
use snapshot::Pace;
use speak::Speaker;
use store::Store;
pub use tally::Tally;
use user_kills::UserKills;

/// Drafts made before they are passed on.
const MANY: usize = 32;
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
    analysis: Analysis,
    rooms: Rooms,
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
    told: told::Told,
    processes: Option<ProcTable>,
    groups: Groups,
    board: Board,
    pace: Pace,
    /// Something of an earlier run stands, or waits for its series.
    resumed: Option<owners::Resumed>,
    /// How far an earlier run was.
    resumed_from: Option<remember::Saved>,
    /// The message told last.
    last_told: Option<String>,
    tally: Tally,
    mark: Option<KmsgMark>,
    marked: Option<KmsgMark>,
    journal: Option<JournalMark>,
    syslog: Option<SyslogMark>,
    lost_noticed_ns: BTreeMap<(&'static str, &'static str), u64>,
    computed: Vec<(SeriesId, f64)>,
    passes: newest::Passes,
}

impl Engine {
    /// An engine that starts at `now`.
    pub fn new(settings: Settings, now: Now) -> Self {
        Self {
            start: now,
            table: SeriesTable::default(),
            derived: Derived::new(settings.formulas),
            store: Store::with_past(settings.history_capacity),
            judge: Judge::new(now.wall_ns),
            analysis: Analysis::default(),
            rooms: Rooms::new(settings.rooms),
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
            told: told::Told::default(),
            processes: None,
            groups: Groups::default(),
            board: Board::default(),
            pace: Pace::default(),
            resumed: None,
            resumed_from: None,
            last_told: None,
            tally: Tally::default(),
            mark: None,
            marked: None,
            journal: None,
            syslog: None,
            lost_noticed_ns: BTreeMap::new(),
            computed: Vec::new(),
            passes: newest::Passes::default(),
            settings,
        }
    }

    /// Takes over the history of an earlier run. Before the first step: what is there is forgotten.
    pub fn take_past(&mut self, past: Store) {
        self.store = past;
    }

    /// One step. Outputs are appended to `out`.
    pub fn step(&mut self, now: Now, input: Input<'_>, out: &mut Vec<Output>) {
        let (mut drafts, mut told) = (Vec::new(), Vec::new());
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
                    self.say_many(now, &mut drafts, &mut told);
                }
                self.faults.due(now, &mut drafts);
                for report in self.hangs.due(now) {
                    self.tell_hang(&report, &mut drafts);
                    self.say_many(now, &mut drafts, &mut told);
                }
            }
        }
        self.count_disagreements();
        out.extend(self.hangs.take_follow().into_iter().map(|task| Output::Follow(Box::new(task))));
        self.look_around(now, &mut drafts);
        self.say(now, &mut drafts, &mut told);
        self.speak(now, told, out);
    }

    /// From what was found to what is told. In a storm there are a thousand of them at once, and their context would be
    /// a quarter of the agent's memory.
    fn say_many(&mut self, now: Now, drafts: &mut Vec<Draft>, told: &mut Vec<Draft>) {
        if drafts.len() >= MANY {
            self.say(now, drafts, told);
        }
    }

    fn say(&mut self, now: Now, drafts: &mut Vec<Draft>, told: &mut Vec<Draft>) {
        let mut passed = Vec::new();
        self.pace.changed |= !drafts.is_empty();
        let scene = board::Scene { settings: &self.settings, table: &self.table };
        for draft in drafts.drain(..) {
            self.board.take(now, draft, &scene, &mut passed);
        }
        for draft in passed {
            self.speaker.say(now, draft, told);
        }
    }

    /// Tells what is to be told now, and what has waited for this.
    fn speak(&mut self, now: Now, told: Vec<Draft>, out: &mut Vec<Output>) {
        let mut passed = Vec::new();
        self.ask_board(now, |board, _, scene, fresh| board.due(now, scene, fresh, &mut passed));
        self.end_unclaimed(now, &mut passed);
        self.tell_on(now, passed, told, out);
    }

    fn tell_on(&mut self, now: Now, passed: Vec<Draft>, mut told: Vec<Draft>, out: &mut Vec<Output>) {
        for draft in passed {
            self.speaker.say(now, draft, &mut told);
        }
        self.ask_board(now, |board, speaker, scene, fresh| {
            speaker.due(now, &mut |draft| board.withholds(now, draft, scene), fresh, &mut told);
        });
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
        let mut told = Vec::new();
        self.say(now, &mut drafts, &mut told);
        self.speaker.finish(now, &mut told);
        self.emit(now, told, out);
        out.push(Output::Keep(Box::new(self.snapshot(now))));
    }

    fn emit(&mut self, now: Now, told: Vec<Draft>, out: &mut Vec<Output>) {
        self.pace.told |= told.iter().any(|draft| draft.lasts);
        for draft in told {
            let alert = draft.alert(&self.settings.identity, now);
            self.told.note(&alert);
            self.last_told = Some(remember::mark_of(&alert));
            out.push(Output::Alert(Box::new(alert)));
        }
        self.pass_mark(out);
    }

    /// When `step` wants to be called at the latest, monotonic nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        let next = [self.incidents.next_deadline(), self.faults.next_deadline(), self.hangs.next_deadline()];
        next.into_iter().chain([self.speaker.next_deadline()]).flatten().min()
    }

    fn learning(&self, now: Now) -> bool {
        now.since(self.start) < self.settings.warmup_secs * SECOND
    }

    /// The judge, and what it needs to see.
    fn judging(&mut self, now: Now) -> (&mut Judge, judge::Scene<'_>) {
        let learning = self.learning(now);
        let Self { judge, store, processes, table, settings, analysis, .. } = self;
        let (rules, identity) = (&*settings.rules, &settings.identity);
        let unusual = (&*analysis, &settings.analysis);
        let processes = processes.as_ref();
        (judge, judge::Scene { store, processes, table, rules, identity, unusual, learning })
    }

    /// Those who decide what is told, with all they need to see.
    fn ask_board(
        &mut self,
        now: Now,
        ask: impl FnOnce(&mut Board, &mut Speaker, &board::Scene<'_>, board::Fresh<'_>),
    ) {
        let Self { board, speaker, judge, absences, store, processes, table, settings, analysis, .. } = self;
        let (rules, identity) = (&*settings.rules, &settings.identity);
        let (processes, unusual) = (processes.as_ref(), (&*analysis, &settings.analysis));
        let seen = judge::Scene { store, processes, table, rules, identity, unusual, learning: false };
        let of_absence = |id: &str| absences.current(now, id, (&settings.absences, identity));
        let fresh = |id: &str| judge.current(now, id, &seen).or_else(|| of_absence(id));
        ask(board, speaker, &board::Scene { settings, table }, &fresh);
    }

    /// What nobody reports any more, and what never came.
    fn look_around(&mut self, now: Now, drafts: &mut Vec<Draft>) {
        let (judge, scene) = self.judging(now);
        judge.stale(now, &scene, drafts);
        if now.since(self.start) >= snapshot::UNCLAIMED_NS {
            self.store.forget_waiting();
        }
        if self.learning(now) {
            return;
        }
        let Self { absences, judge, table, settings, start, .. } = self;
        let (rules, identity) = (&*settings.absences, &settings.identity);
        let scene = absent::Scene { rules, table, identity, start_ns: start.mono_ns };
        absences.check(now, &scene, || judge.next_id(), drafts);
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
        out.extend(self.syslog.take().map(Output::SyslogMark));
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
