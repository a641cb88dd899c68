//! The one task that owns the engine: inputs in, outputs to the delivery task.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::control::protocol::Counts;
use super::hangs::Ask;
use super::newest::Share;
use super::{systemd, vitals};
use crate::collect::runner::Health;
use crate::engine::control::{Answer, Order, View};
use crate::engine::look_back::{Tracks, Wish};
use crate::engine::{Engine, Input, Output};
use crate::event::Event;
use crate::host::clock;
use crate::sample::Batch;
use crate::time::SECOND;

/// What sources send.
#[derive(Debug)]
pub enum Message {
    /// One pass of each collector that was due: together, so that the engine wakes once.
    Round(Vec<Batch>),
    /// Something happened.
    Event(Event),
    /// A collector fares otherwise than before.
    Health(Health),
    /// Somebody gives an order, and hears what came of it.
    Order(Order, oneshot::Sender<Result<Answer, String>>),
    /// Somebody wants to know how things stand.
    Look(oneshot::Sender<Look>),
    /// Somebody looks back.
    Past(Box<Wish>, oneshot::Sender<Tracks>),
}

/// How things stand in the engine.
#[derive(Debug)]
pub struct Look {
    /// Alerts and silences.
    pub view: View,
    /// What was counted since the start.
    pub counts: Counts,
    /// Why collectors do not read everything, by name.
    pub health: BTreeMap<&'static str, String>,
}

/// Messages that may wait for the engine; a source that finds the queue full waits, and what it
/// reads from (perf buffer, kernel log) counts what it loses meanwhile.
pub const INBOX: usize = 1024;
/// Outputs of steps that may wait for delivery; the engine waits when it is full.
pub const OUTBOUND: usize = 256;
/// Longest sleep of the engine: conditions of silent series are looked for then.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);
/// How long sources may take to end after a stop: a collector that hangs must not cost what is held back.
const LAST_INPUT: Duration = Duration::from_millis(500);

/// The task.
pub struct Pipeline {
    /// The engine.
    pub engine: Engine,
    /// From the sources; the task ends when all of them are gone.
    pub inbox: Receiver<Message>,
    /// Cancelled when the sources are told to end.
    pub stop: CancellationToken,
    /// To the delivery task.
    pub outbound: Sender<Vec<Output>>,
    /// Used batches back to the collector thread, for their buffers.
    pub spares: std::sync::mpsc::SyncSender<Batch>,
    /// Hung tasks to be followed.
    pub(super) follow: std::sync::mpsc::SyncSender<Ask>,
    /// Why collectors do not read everything: one sentence each.
    pub health: BTreeMap<&'static str, String>,
    /// Called once, after every collector's first pass went through.
    pub first_round: Option<FirstRound>,
    /// For those who publish the newest values; none where nobody does.
    pub newest: Option<Share>,
}

/// What happens when the first round is through.
pub struct FirstRound {
    /// Batches that make a round.
    pub batches: u64,
    /// What to do; gets the engine to look into.
    pub then: Box<dyn FnOnce(&Engine) + Send + Sync>,
}

impl Pipeline {
    /// Runs until all sources are gone, or `LAST_INPUT` after a stop; then whatever is held back comes out.
    pub async fn run(mut self) {
        let mut watchdog = systemd::Watchdog::new();
        let longest = watchdog.pace().unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
        let (mut fed, mut changed, mut ready) = (false, false, false);
        // Messages since the last tick: they go before the clock, but not for ever.
        let mut unticked = 0;
        let stop = self.stop.clone();
        let patience = async {
            stop.cancelled().await;
            sleep(LAST_INPUT).await;
        };
        tokio::pin!(patience);
        loop {
            let pause = if unticked < INBOX { self.pause().min(longest) } else { Duration::ZERO };
            let message = tokio::select! {
                biased;
                () = &mut patience => None,
                message = self.inbox.recv(), if unticked < INBOX => message.map(Some),
                () = sleep(pause) => Some(None),
            };
            let tick = matches!(message, Some(None));
            if tick && unticked < INBOX {
                // After a stall the deadline and the witness it waits for are both late: what the kernel
                // has ready is read first.
                yield_now().await;
                if !self.inbox.is_empty() {
                    unticked += 1;
                    continue;
                }
            }
            unticked = if tick { 0 } else { unticked + 1 };
            let Some(message) = message else { break };
            if let Some(Message::Round(round)) = &message {
                let is_fed = round.iter().any(|batch| batch.collector != vitals::NAME);
                (fed, changed) = (fed || is_fed, true);
            }
            self.step(message).await;
            // A round that follows at once is handed on with this one.
            if changed && self.inbox.is_empty() {
                changed = false;
                self.hand_on();
            }
            ready = ready || fed && systemd::ready("collecting");
            watchdog.alive(clock::now());
            self.announce();
        }
        let mut out = Vec::new();
        self.engine.finish(clock::now(), &mut out);
        self.pass_on(out).await;
        tracing::info!("counted since the start: {}", self.engine.tally());
    }

    fn pause(&self) -> Duration {
        let now = clock::now().mono_ns;
        let wake = self.engine.next_deadline().unwrap_or(now + LONGEST_SLEEP.as_secs() * SECOND);
        Duration::from_nanos(wake.saturating_sub(now))
    }

    fn note(&mut self, health: &Health) {
        self.newest.iter_mut().for_each(|newest| newest.note(health));
        match &health.result {
            Ok(()) => drop(self.health.remove(health.collector)),
            Err(error) => drop(self.health.insert(health.collector, error.to_string())),
        }
    }

    async fn step(&mut self, message: Option<Message>) {
        let mut out = Vec::new();
        let now = clock::now();
        match message {
            None => self.engine.step(now, Input::Tick, &mut out),
            Some(Message::Event(event)) => {
                self.newest.iter_mut().for_each(|newest| newest.note_loss(&event));
                self.engine.step(now, Input::Event(event), &mut out);
            }
            // Who asked may have gone.
            Some(Message::Order(order, done)) => {
                let answer = self.engine.order(now, order, &mut out);
                // Whoever hears of it may ask whether it is on disk: that is on its way by then.
                self.pass_on(std::mem::take(&mut out)).await;
                let _ = done.send(answer);
            }
            Some(Message::Look(done)) => {
                let (view, counts) = (self.engine.view(now), Counts::of(&self.engine, now));
                let _ = done.send(Look { view, counts, health: self.health.clone() });
            }
            Some(Message::Past(wish, done)) => drop(done.send(self.engine.look_back(now, &wish))),
            Some(Message::Health(health)) => self.note(&health),
            Some(Message::Round(round)) => {
                for mut batch in round {
                    self.engine.step(now, Input::Batch(&mut batch), &mut out);
                    // A full return queue drops the buffers: they are only a saving.
                    let _ = self.spares.try_send(batch);
                }
            }
        }
        self.pass_on(out).await;
    }

    async fn pass_on(&self, mut out: Vec<Output>) {
        for output in out.extract_if(.., |output| matches!(output, Output::Follow(_))) {
            if let Output::Follow(task) = output {
                // What does not fit, or a thread that ended: the end of that hang will not be told.
                let _ = self.follow.try_send(Ask::Follow(task));
            }
        }
        if !out.is_empty() && self.outbound.send(out).await.is_err() {
            tracing::error!("the delivery task is gone; alerts cannot be told any more");
        }
    }

    fn hand_on(&mut self) {
        if let Some(newest) = &mut self.newest {
            newest.refresh(&self.engine, clock::now());
        }
    }

    fn announce(&mut self) {
        let due = self.first_round.as_ref().is_some_and(|f| self.engine.tally().batches >= f.batches);
        if due && let Some(first) = self.first_round.take() {
            (first.then)(&self.engine);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::engine::compose::Identity;
    use crate::event::{Oom, Source, Task, What};
    use std::sync::mpsc::sync_channel;
    use tokio::sync::mpsc::channel;

    fn engine() -> Engine {
        let identity = Identity {
            hostname: "h".into(),
            zone: jiff::tz::TimeZone::UTC,
            boot_id: "b".into(),
            labels: BTreeMap::new(),
        };
        let oom = vec![Source::Ebpf, Source::Kmsg];
        let witnesses = crate::engine::incident::Witnesses { oom, ..Default::default() };
        Engine::new(crate::service::settings(&Config::default(), identity, witnesses), clock::now())
    }

    #[test]
    fn collectors_that_read_nothing_are_told() {
        let mut engine = engine();
        let start = clock::now();
        let mut told = |secs| {
            let mut out = Vec::new();
            engine.step(start.plus_secs(secs), Input::Tick, &mut out);
            let alert = |output: Output| match output {
                Output::Alert(alert) => Some(alert.rule.clone()),
                _ => None,
            };
            out.into_iter().filter_map(alert).collect::<Vec<_>>()
        };
        assert_eq!(told(50), Vec::<String>::new());
        assert_eq!(told(70), ["collectors_stuck"]);
        assert_eq!(told(80), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_source_that_does_not_end_costs_nothing_held_back() {
        let (hung, inbox) = channel(8);
        let (outbound, mut outputs) = channel(8);
        let stop = CancellationToken::new();
        let (spares, _returned) = sync_channel(1);
        let (follow, _followed) = sync_channel(1);
        let pipeline = Pipeline {
            engine: engine(),
            inbox,
            stop: stop.clone(),
            outbound,
            spares,
            follow,
            health: BTreeMap::new(),
            first_round: None,
            newest: None,
        };
        for pid in [7, 8] {
            let victim = Task { pid: Some(pid), ..Task::default() };
            let what = What::Oom(Box::new(Oom { victim, count: 1, ..Oom::default() }));
            let event = Event { at: clock::now(), source: Source::Ebpf, historic: false, what };
            assert!(hung.send(event.into()).await.is_ok());
        }
        stop.cancel();
        pipeline.run().await;
        let mut alerts = 0;
        while let Ok(out) = outputs.try_recv() {
            alerts += out.iter().filter(|o| matches!(o, Output::Alert(_))).count();
        }
        assert_eq!(alerts, 2, "the second waits in its group until the end");
        drop(hung);
    }
}
