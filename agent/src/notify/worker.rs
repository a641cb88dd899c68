//! One task owns the waiting alerts; every message under way is a task of its own, so a channel that hangs holds
//! up nobody. Sending does not wait for the disk: an alert about a dying disk must not die with it.

use super::backoff::Dice;
use super::channel::{Channel, Route, SendError};
use super::disk::Disk;
use super::journal::{self, Outbox, Recovered};
use super::lane::{Lane, Next, Settled};
use super::ledger::{Entry, Ledger, Seq, Set, Slot};
use super::limit::Window;
use super::record::{Outcome, Place, fit};
use super::stats::Stats;
use super::swap::Swap;
use super::template::Templates;
use super::{Clock, Options, own};
use crate::alert::{Alert, Severity, Status};
use crate::text;
use crate::time::Now;
use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{sleep, timeout};

/// Longest that a channel may take for one message, whatever its own limits are.
const SEND_TIMEOUT: Duration = Duration::from_secs(90);
/// From this delay on a message says how late it is, seconds.
const LATE_SECS: u64 = 300;
/// The worker looks around at least so often, seconds.
const LOOK_SECS: u64 = 60;

/// What the handle asks of the worker.
pub(super) enum Command {
    /// Take these in; answer when they are on disk, with false if the disk does not take them.
    Accept(Vec<Arc<Alert>>, oneshot::Sender<bool>),
    /// Tell how things stand.
    Stats(oneshot::Sender<Stats>),
    /// Go on with these channels and limits; answer when that is so.
    Swap(Box<Swap>, oneshot::Sender<()>),
    /// Send what can be sent at once, write everything, stop; answer with the number left for the next start.
    Drain(Duration, oneshot::Sender<usize>),
}

/// How a message fared.
enum Sent {
    Done { result: Result<(), SendError>, template_error: Option<String> },
    Unreadable,
}

/// The task's state.
pub(super) struct Worker {
    pub(super) options: Options,
    clock: Clock,
    dice: Dice,
    pub(super) ledger: Ledger,
    pub(super) disk: Disk,
    pub(super) lanes: Vec<Lane>,
    pub(super) channels: Vec<Arc<dyn Channel>>,
    pub(super) total: Window,
    sends: JoinSet<Sent>,
    /// Which channel a sending task belongs to.
    tasks: HashMap<Id, Slot>,
    /// What was told of the way out itself.
    watched: own::Watched,
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
            sends: JoinSet::new(),
            tasks: HashMap::new(),
            watched: own::Watched::default(),
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
            Command::Swap(swap, done) => {
                self.swap(*swap);
                let _ = done.send(());
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

    fn accept(&mut self, alerts: Vec<Arc<Alert>>, done: oneshot::Sender<bool>) {
        let now = (self.clock)();
        let seqs: Vec<Seq> = alerts.into_iter().map(|alert| self.take_in(alert, now)).collect();
        self.disk.write(seqs.into_iter(), done);
        let lost = self.ledger.enforce();
        self.drop_lost(&lost);
    }

    /// Tells through the others that a channel fails, and that it works again; so of an outbox that fills up.
    fn watch_channels(&mut self, now: Now) {
        let mut news: Vec<Alert> = Vec::new();
        for index in 0..self.lanes.len() {
            let host = &self.options.hostname;
            let used = self.ledger.len() * 100 / super::ledger::MAX_ALERTS;
            let waits = self.lanes[index].stats(now, &self.ledger);
            let new = own::judge(&mut self.watched, host, &waits, now).into_iter();
            news.extend(new.chain(own::outbox(&mut self.watched, host, used as u64, now)));
        }
        if !news.is_empty() {
            // Nobody waits for the disk.
            self.accept(news.into_iter().map(Arc::new).collect(), oneshot::channel().0);
        }
    }

    fn take_in(&mut self, alert: Arc<Alert>, now: Now) -> Seq {
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
                    self.spawn(index, Source::Held(Arc::new(alert)), Addition::default());
                }
                Next::Wait(until) => wake = wake.min(until),
                Next::Idle => {}
            }
        }
        wake
    }

    fn tell(&mut self, index: usize, seq: Seq, held_back: u64, now: Now) {
        let Some(entry) = self.ledger.get(seq) else { return };
        let late_secs = entry.age_secs(now);
        let source = match (&entry.held, self.disk.reader(), entry.place) {
            (Some(alert), _, _) => Source::Held(Arc::clone(alert)),
            (None, Some(file), Some(place)) => Source::File(file, seq, place),
            (None, _, _) => Source::Nowhere,
        };
        self.spawn(index, source, Addition { held_back, late_secs });
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
        let (fate, template_error) = match sent {
            Sent::Done { result, template_error } => {
                (lane.finished(now, result, random, ledger, total), template_error)
            }
            Sent::Unreadable => (lane.unreadable(ledger, total), None),
        };
        if let Some((seq, outcome)) = fate {
            if outcome == Outcome::Unreadable {
                tracing::error!(
                    "an alert could not be read back from the outbox; it is lost for this channel"
                );
            }
            self.disk.mark(seq, lane.slot, outcome, ledger);
        }
        self.watch_channels(now);
        if let Some(why) = template_error.filter(|_| self.disk.template_error()) {
            tracing::warn!(%why, "a template could not be filled in; the built-in text was sent");
        }
    }
}

/// Where a sending task finds its alert.
enum Source {
    Held(Arc<Alert>),
    File(Arc<File>, Seq, Place),
    Nowhere,
}

/// What a message says besides its alert.
#[derive(Clone, Copy, Default)]
struct Addition {
    held_back: u64,
    late_secs: u64,
}

async fn deliver(
    channel: Arc<dyn Channel>,
    templates: Arc<Templates>,
    source: Source,
    addition: Addition,
) -> Sent {
    let alert = match source {
        Source::Held(alert) => Some(alert),
        Source::File(file, seq, place) => {
            let read = tokio::task::spawn_blocking(move || journal::read(&file, seq, place));
            read.await.ok().flatten().map(Arc::new)
        }
        Source::Nowhere => None,
    };
    let Some(alert) = alert.map(|alert| dress(alert, addition)) else { return Sent::Unreadable };
    let (text, template_error) = templates.text(channel.name(), &alert);
    let late = |_| Err(SendError::retry(format!("no answer within {} s", SEND_TIMEOUT.as_secs())));
    let result = timeout(SEND_TIMEOUT, channel.send(&alert, &text)).await.unwrap_or_else(late);
    Sent::Done { result, template_error }
}

/// Adds to the alert what only the worker knows.
fn dress(mut alert: Arc<Alert>, Addition { held_back, late_secs }: Addition) -> Arc<Alert> {
    if held_back > 0 {
        let alert = Arc::make_mut(&mut alert);
        alert.message = format!("{} ({held_back} more held back by the rate limit)", alert.message);
        alert.context.insert("held_back".into(), held_back.into());
    }
    if late_secs >= LATE_SECS {
        let alert = Arc::make_mut(&mut alert);
        alert.message = format!("{} (sent {} late)", alert.message, text::span(late_secs));
        alert.context.insert("late_secs".into(), late_secs.into());
    }
    alert
}

/// The message that says how many were held back, when no other message could.
fn held_back_alert(hostname: &str, held_back: u64, now: Now) -> Alert {
    let message = format!("{held_back} alerts were held back by the rate limit");
    let mut alert = super::own_alert(hostname, "notify_held_back", Severity::Warn, message, now);
    alert.value = held_back as f64;
    alert.context.insert("held_back".into(), held_back.into());
    alert
}
