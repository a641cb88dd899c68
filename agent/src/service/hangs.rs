//! The thread that looks at tasks in uninterruptible sleep: it reports them, adds what is known of those that
//! others report, and says when they go on.
//!
//! A thread of its own: a look at all tasks takes a while on a large machine, and `/proc` may make it wait.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::mpsc::Sender;

use super::pipeline::Message;
use crate::engine::hangs::Follow;
use crate::event::{Event, Hang, MAX_FOLLOWED, Source, What};
use crate::host::tasks::Tasks;
use crate::host::{Host, clock};
use crate::time::{Now, SECOND};
use crate::watch::dstate::{DState, Standing};
use crate::watch::enrich::Enricher;
use crate::watch::hang_facts::Facts;

/// Tasks of which facts are read within [`FACTS_NS`]; of further ones only what their report says is known.
const MAX_FACTS: u32 = 512;
const FACTS_NS: u64 = 60 * SECOND;

/// What the thread is asked for.
pub(super) enum Ask {
    /// To follow a task.
    Follow(Box<Follow>),
    /// To end.
    Stop,
}

/// The thread.
pub(super) struct HangWatch {
    /// For the engine's wishes; what does not fit is not followed.
    pub(super) asks: SyncSender<Ask>,
    thread: JoinHandle<()>,
}

impl HangWatch {
    /// Starts it; `after_secs` 0: nothing is reported, but what others report is followed.
    pub(super) fn start(
        after_secs: u64,
        host: Arc<dyn Host>,
        tasks: Option<Box<dyn Tasks>>,
        inbox: Sender<Message>,
    ) -> std::io::Result<Self> {
        let (asks, asked) = sync_channel(MAX_FOLLOWED);
        let facts = Facts::new(Arc::clone(&host));
        let watch = DState::new(after_secs, tasks);
        let enricher = Enricher::new(Arc::clone(&host));
        let worker = Worker { host, enricher, watch, facts, budget: (0, 0), inbox };
        let thread = std::thread::Builder::new().name("hangs".into()).spawn(move || worker.run(&asked))?;
        Ok(Self { asks, thread })
    }

    /// Asks it to end. It ends after the look it is in.
    pub(super) fn stop(self) -> JoinHandle<()> {
        let _ = self.asks.try_send(Ask::Stop);
        self.thread
    }
}

struct Worker {
    host: Arc<dyn Host>,
    enricher: Enricher,
    watch: DState,
    facts: Facts,
    /// Facts read since a moment.
    budget: (u32, u64),
    inbox: Sender<Message>,
}

impl Worker {
    fn run(mut self, asked: &Receiver<Ask>) {
        loop {
            let idle = self.watch.idle(clock::now());
            let events = match asked.recv_timeout(idle) {
                Ok(Ask::Follow(task)) => self.follow(*task, clock::now()).into_iter().collect(),
                Ok(Ask::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => self.look(clock::now()),
            };
            // Together: tasks that hang together are told together.
            for event in events {
                if self.inbox.blocking_send(event.into()).is_err() {
                    return;
                }
            }
        }
    }

    fn follow(&mut self, task: Follow, now: Now) -> Option<Event> {
        let Follow { mut hang, facts } = task;
        match self.watch.follow(self.host.as_ref(), hang.id()?, now) {
            Standing::Over(event) => return Some(event),
            Standing::Hidden => return None,
            Standing::Hangs => {}
        }
        if !facts || !self.fill(&mut hang, now) {
            return None;
        }
        Some(Event { at: now, source: Source::Watch, historic: false, what: What::HangFacts(Box::new(hang)) })
    }

    fn look(&mut self, now: Now) -> Vec<Event> {
        let mut events = Vec::new();
        self.watch.look(self.host.as_ref(), now, &mut events);
        for event in &mut events {
            self.enricher.enrich(event);
            if let What::Hang(hang) = &mut event.what {
                self.fill(hang, now);
            }
        }
        events
    }

    /// Reads facts, if there were not too many of late.
    fn fill(&mut self, hang: &mut Hang, now: Now) -> bool {
        if now.mono_ns.saturating_sub(self.budget.1) >= FACTS_NS {
            self.budget = (0, now.mono_ns);
        }
        if self.budget.0 >= MAX_FACTS {
            return false;
        }
        self.budget.0 += 1;
        self.facts.fill(hang, now);
        true
    }
}
