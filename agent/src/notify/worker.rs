//! One task owns the waiting alerts; every message under way is a task of its own, so a channel that hangs holds
//! up nobody. Sending does not wait for the disk: an alert about a dying disk must not die with it.

mod making;
mod sending;

use super::backoff::Dice;
use super::channel::{Channel, Route, SendError};
use super::disk::Disk;
use super::journal::{Outbox, Recovered};
use super::lane::{Lane, Next, Settled};
use super::ledger::{Entry, Incident, Ledger, MAX_STANDING, Seq, Set, Slot};
use super::limit::Window;
use super::record::{Outcome, fit};
use super::stats::Stats;
use super::swap::Swap;
use super::unmade::Unmade;
use super::{Clock, Options, own};
use crate::alert::{Alert, Status};
use crate::time::Now;
use making::Attempt;
pub(super) use sending::HELD_BACK;
use sending::{Addition, Sent, Source, Text, Waiting, deliver, held_back_alert};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet, spawn_blocking};
use tokio::time::sleep;

/// The worker looks around at least so often, seconds.
const LOOK_SECS: u64 = 60;

/// What the handle asks of the worker.
pub(super) enum Command {
    /// Take these in; answer when they are on disk, with false if the disk does not take them.
    Accept(Vec<Arc<Alert>>, oneshot::Sender<bool>),
    /// Tell how things stand.
    Stats(oneshot::Sender<Stats>),
    /// Tell which channels' limits hold these incidents back.
    Limited(Vec<String>, oneshot::Sender<Vec<Vec<String>>>),
    /// Go on with these channels and limits; answer, when that is so, with those that began anew.
    Swap(Box<Swap>, oneshot::Sender<Vec<&'static str>>),
    /// Send what can be sent at once, write everything, stop; answer with the number left for the next start.
    Drain(Duration, oneshot::Sender<usize>),
}

/// The task's state.
pub(super) struct Worker {
    pub(super) options: Options,
    pub(super) clock: Clock,
    dice: Dice,
    pub(super) ledger: Ledger,
    pub(super) disk: Disk,
    pub(super) lanes: Vec<Lane>,
    pub(super) channels: Vec<Arc<dyn Channel>>,
    pub(super) total: Window,
    /// Channels that cannot be made yet.
    pub(super) unmade: Vec<(Slot, Arc<Unmade>)>,
    making: JoinSet<Attempt>,
    sends: JoinSet<Sent>,
    /// Which channel a sending task belongs to.
    pub(super) tasks: HashMap<Id, Slot>,
    /// Until when, nanoseconds of the monotonic clock, and who wants to know.
    draining: Option<(u64, oneshot::Sender<usize>)>,
}

impl Worker {
    /// Takes over what an earlier run left.
    pub(super) fn new(
        options: Options,
        outbox: Outbox,
        found: &Recovered,
        routes: Vec<Route>,
        clock: Clock,
    ) -> Self {
        let Outbox { ledger, journal } = outbox;
        let mut worker = Self {
            dice: Dice(options.seed),
            disk: Disk::new(journal, found.torn, found.warning.clone(), clock()),
            total: Window::new(options.limits.total_per_hour),
            options,
            clock,
            ledger,
            lanes: Vec::new(),
            channels: Vec::new(),
            unmade: Vec::new(),
            making: JoinSet::new(),
            sends: JoinSet::new(),
            tasks: HashMap::new(),
            draining: None,
        };
        worker.route(routes, &[]);
        worker
    }

    /// Runs until drained or until every handle is gone.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let now = (self.clock)();
            self.disk.check_patience(now);
            let wake = self.send_what_can_go(now);
            self.disk.start(now, &mut self.ledger);
            if self.is_drained(now) {
                break;
            }
            let (nap, draining) = (self.nap(wake), self.draining.is_some());
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    // Nobody can ask for a drain any more: write what is known and end.
                    None if !draining => self.begin_drain(Duration::from_secs(1), oneshot::channel().0),
                    None => sleep(Duration::from_millis(10)).await,
                },
                Some(sent) = self.sends.join_next_with_id() => self.sent(sent),
                Some(attempt) = self.making.join_next() => self.tried(attempt),
                visit = self.disk.visited() => {
                    let lost = self.disk.finish((self.clock)(), visit, &mut self.ledger);
                    self.drop_lost(&lost);
                    self.ledger.cool();
                }
                () = sleep(nap) => {}
            }
        }
        let left = self.ledger.iter().filter(|(_, e)| !e.due.is_empty()).count();
        if let Some((_, done)) = self.draining {
            let _ = done.send(left);
        }
    }

    fn nap(&self, wake: u64) -> Duration {
        let now = (self.clock)();
        let deadline = self.draining.as_ref().map_or(u64::MAX, |(at, _)| *at);
        let until = wake.min(deadline).min(self.disk.wake()).min(now.plus_secs(LOOK_SECS).mono_ns);
        Duration::from_nanos(until.saturating_sub(now.mono_ns))
    }

    fn is_drained(&self, now: Now) -> bool {
        let done = self.sends.is_empty() && self.disk.is_idle();
        self.draining.as_ref().is_some_and(|(deadline, _)| done || now.mono_ns >= *deadline)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Accept(alerts, done) => self.accept(alerts, done),
            Command::Stats(done) => {
                let _ = done.send(self.stats());
            }
            Command::Limited(ids, done) => {
                let _ = done.send(self.limited(&ids));
            }
            Command::Swap(swap, done) => {
                let _ = done.send(self.swap(*swap));
            }
            Command::Drain(patience, done) => self.begin_drain(patience, done),
        }
    }

    fn begin_drain(&mut self, patience: Duration, done: oneshot::Sender<usize>) {
        let deadline = (self.clock)().mono_ns.saturating_add(patience.as_nanos() as u64);
        self.draining = Some((deadline, done));
    }

    fn stats(&self) -> Stats {
        let now = (self.clock)();
        Stats {
            channels: self.lanes.iter().map(|lane| lane.stats(now, &self.ledger)).collect(),
            outbox: self.disk.stats(&self.ledger),
        }
    }

    fn limited(&self, ids: &[String]) -> Vec<Vec<String>> {
        let mut limited = Set::default();
        self.lanes.iter().filter(|lane| lane.was_limited()).for_each(|lane| limited.add(lane.slot));
        let incidents: Vec<Incident> = ids.iter().map(|id| Incident::of_id(id)).collect();
        let names = |set: Set| self.ledger.names(set).map(str::to_owned).collect();
        self.ledger.held_back(&incidents, limited).into_iter().map(names).collect()
    }

    fn accept(&mut self, alerts: Vec<Arc<Alert>>, done: oneshot::Sender<bool>) {
        let now = (self.clock)();
        let seqs: Vec<Seq> = alerts.into_iter().map(|alert| self.take_in(alert, now)).collect();
        self.disk.write(seqs.into_iter(), done);
        let lost = self.ledger.enforce();
        self.drop_lost(&lost);
    }

    fn take_in(&mut self, mut alert: Arc<Alert>, now: Now) -> Seq {
        let about = own::about(&alert);
        if let Some(lane) = self.lanes.iter().find(|lane| about == Some(self.ledger.name(lane.slot))) {
            own::explain(Arc::make_mut(&mut alert), &lane.stats(now, &self.ledger));
        }
        let alert = match fit(&alert) {
            std::borrow::Cow::Borrowed(_) => alert,
            std::borrow::Cow::Owned(fitted) => Arc::new(fitted),
        };
        let due = self.due(&alert);
        self.ledger.push(Entry::new(alert, now, due))
    }

    /// Who has to be told. A recovery is for those who were, or will be, told of the incident.
    fn due(&self, alert: &Alert) -> Set {
        let own = own::about(alert);
        let mut due = Set::default();
        for lane in self.lanes.iter().filter(|l| l.severities.has(alert.severity)) {
            if own == Some(self.ledger.name(lane.slot)) {
                // Of its own failing a channel cannot tell.
                continue;
            }
            due.add(lane.slot);
        }
        if alert.status != Status::Resolved || alert.is_only_message() {
            return due;
        }
        let configured = self.lanes.iter().fold(Set::default(), |mut set, lane| {
            set.add(lane.slot);
            set
        });
        let audience = self.ledger.audience(alert);
        audience.minus(audience.minus(configured))
    }

    fn drop_lost(&mut self, lost: &[(Seq, Entry)]) {
        if lost.is_empty() {
            return;
        }
        self.disk.dropped(lost);
        tracing::error!(alerts = lost.len(), "alerts were dropped: the outbox is full or damaged");
        for (seq, entry) in lost {
            for lane in self.lanes.iter_mut().filter(|l| entry.due.has(l.slot)) {
                lane.lost(*seq);
            }
        }
    }

    /// Starts every message that may go; returns when the next one may.
    fn send_what_can_go(&mut self, now: Now) -> u64 {
        let mut wake = u64::MAX;
        for index in 0..self.lanes.len() {
            if let Some(next) = self.make(index, now) {
                wake = wake.min(next);
                continue;
            }
            let mut settled = Settled::new();
            let lane = &mut self.lanes[index];
            let next = lane.next(now, &mut self.ledger, &mut self.total, &mut settled);
            for (seq, outcome) in settled {
                self.disk.mark(seq, lane.slot, outcome, &self.ledger);
            }
            match next {
                Next::Tell(seq, held_back) => self.tell(index, seq, held_back, now),
                Next::Summary(held_back) => {
                    let alert = held_back_alert(&self.options.hostname, held_back, now);
                    let worst = self.worst(index, held_back);
                    let addition = Addition { worst, ..Addition::default() };
                    self.spawn(index, Source::One(Text::Held(Arc::new(alert))), addition);
                }
                Next::Backlog(seqs, held_back) => self.tell_backlog(index, &seqs, held_back, now),
                Next::Wait(until) => wake = wake.min(until),
                Next::Idle => {}
            }
        }
        wake
    }

    fn tell(&mut self, index: usize, seq: Seq, held_back: u64, now: Now) {
        let Some(entry) = self.ledger.get(seq) else { return };
        let late_secs = entry.age_secs(now);
        let source = Source::One(self.text(seq, entry));
        let worst = self.worst(index, held_back);
        let tries = self.lanes[index].tries_of(seq);
        self.spawn(index, source, Addition { held_back, worst, late_secs, tries });
    }

    /// The worst of what was held back, if a message tells of that.
    fn worst(&self, index: usize, held_back: u64) -> Option<Text> {
        let seq = self.lanes[index].worst_held().filter(|_| held_back > 0)?;
        Some(self.text(seq, self.ledger.get(seq)?))
    }

    /// Tells a fresh channel that follows incidents what stands there.
    pub(super) fn resume(&self, index: usize) {
        let channel = Arc::clone(&self.channels[index]);
        let standing = if channel.follows_incidents() {
            self.ledger.standing_of(self.lanes[index].slot, MAX_STANDING)
        } else {
            Vec::new()
        };
        let texts = standing.into_iter().filter_map(|seq| Some(self.text(seq, self.ledger.get(seq)?)));
        let texts: Vec<Text> = texts.collect();
        if !texts.is_empty() {
            let told = move || channel.resume(texts.into_iter().filter_map(Text::read).collect());
            // Sending waits for no disk, so nobody waits for this.
            drop(spawn_blocking(told));
        }
    }

    fn text(&self, seq: Seq, entry: &Entry) -> Text {
        match (&entry.held, self.disk.reader(), entry.place) {
            (Some(alert), _, _) => Text::Held(Arc::clone(alert)),
            (None, Some(file), Some(place)) => Text::File(file, seq, place),
            (None, _, _) => Text::Nowhere,
        }
    }

    fn tell_backlog(&mut self, index: usize, seqs: &[Seq], held_back: u64, now: Now) {
        let texts = seqs.iter().filter_map(|seq| Some((*seq, self.ledger.get(*seq)?)));
        let texts = texts.map(|(seq, entry)| (self.text(seq, entry), entry.born_ns)).collect();
        let channel = self.ledger.name(self.lanes[index].slot).to_owned();
        let first = seqs.first().map_or(0, |seq| seq.0);
        let hostname = self.options.hostname.clone();
        let limited = self.lanes[index].was_limited();
        let source = Source::Backlog(Box::new(Waiting { texts, hostname, channel, first, now, limited }));
        let worst = self.worst(index, held_back);
        self.spawn(index, source, Addition { held_back, worst, ..Addition::default() });
    }

    fn spawn(&mut self, index: usize, source: Source, addition: Addition) {
        let channel = Arc::clone(&self.channels[index]);
        let templates = Arc::clone(&self.options.templates);
        let task = self.sends.spawn(deliver(channel, templates, source, addition));
        self.tasks.insert(task.id(), self.lanes[index].slot);
    }

    fn sent(&mut self, sent: Result<(Id, Sent), JoinError>) {
        let (id, sent) = match sent {
            Ok((id, sent)) => (id, sent),
            Err(error) => {
                let result = Err(SendError::retry("the channel failed in an unforeseen way"));
                (error.id(), Sent::Done { result, template_error: None })
            }
        };
        // A channel that was taken out meanwhile has no lane any more.
        let slot = self.tasks.remove(&id);
        let Some(lane) = self.lanes.iter_mut().find(|lane| Some(lane.slot) == slot) else { return };
        let (now, random) = ((self.clock)(), self.dice.roll());
        let (ledger, total) = (&mut self.ledger, &mut self.total);
        let (fates, template_error) = match sent {
            Sent::Done { result, template_error } => {
                (lane.finished(now, result, random, ledger, total), template_error)
            }
            Sent::Unreadable => (lane.unreadable(ledger, total), None),
        };
        for (seq, outcome) in fates {
            if outcome == Outcome::Unreadable {
                tracing::error!(
                    "an alert could not be read back from the outbox; it is lost for this channel"
                );
            }
            self.disk.mark(seq, lane.slot, outcome, ledger);
        }
        if let Some(why) = template_error.filter(|_| self.disk.template_error()) {
            tracing::warn!(%why, "a template could not be filled in; the built-in text was sent");
        }
    }
}
