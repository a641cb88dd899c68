//! Outputs of the engine: alerts to the outbox, the positions in the logs behind them, notices to the log.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::memory::Memory;
use super::position::{Mark, Position};
use crate::alert::Alert;
use crate::engine::Output;
use crate::engine::snapshot::Snapshot;
use crate::event::{JournalMark, KmsgMark};
use crate::host::clock;
use crate::notify::Notifier;

/// What the last writing of the position gets: a disk that hangs does not hold up the end.
const LAST_WRITING: Duration = Duration::from_millis(500);

/// The task.
pub struct Delivery {
    notifier: Notifier,
    kmsg: Place<KmsgMark>,
    journal: Place<JournalMark>,
    memory: Memory,
    /// What was told last is on disk. Until it is, the position stays behind it.
    durable: bool,
}

impl Delivery {
    /// Alerts go to `notifier`; the positions say how far each log is dealt with.
    pub fn new(
        notifier: Notifier,
        kmsg: Position<KmsgMark>,
        journal: Position<JournalMark>,
        memory: Memory,
    ) -> Self {
        Self { notifier, kmsg: Place::of(kmsg), journal: Place::of(journal), memory, durable: true }
    }

    /// Runs until the engine is gone; returns the notifier, to be drained.
    pub async fn run(mut self, mut outputs: Receiver<Vec<Output>>) -> Notifier {
        let mut more = Vec::new();
        loop {
            tokio::select! {
                // Whatever has piled up during one write to disk is written together with the next.
                count = outputs.recv_many(&mut more, super::pipeline::OUTBOUND) => {
                    if count == 0 {
                        break;
                    }
                    self.deliver(more.drain(..).flatten()).await;
                }
                done = self.kmsg.written() => self.kmsg.finish(done),
                done = self.journal.written() => self.journal.finish(done),
                done = self.memory.written() => self.memory.finish(done),
            }
        }
        // A disk that hangs keeps it: the log is read again from the older position.
        let _ = timeout(LAST_WRITING, async {
            tokio::join!(self.kmsg.last(), self.journal.last(), self.memory.last())
        })
        .await;
        self.notifier
    }

    async fn deliver(&mut self, outputs: impl Iterator<Item = Output>) {
        let mut alerts: Vec<Arc<Alert>> = Vec::new();
        let mut marks = Marks::default();
        for output in outputs {
            match output {
                Output::Alert(alert) => {
                    // A mark covers what came before it, not this alert.
                    if !marks.is_empty() {
                        self.flush(&mut alerts, std::mem::take(&mut marks)).await;
                    }
                    alerts.push(Arc::new(*alert));
                }
                Output::Mark(at) => marks.0 = Some(at),
                Output::JournalMark(at) => marks.1 = Some(at),
                // The pipeline keeps these.
                Output::Follow(_) => {}
                Output::Keep(snapshot) => marks.2 = Some(snapshot),
                Output::Notice(text) => tracing::warn!("{text}"),
            }
        }
        self.flush(&mut alerts, marks).await;
    }

    async fn flush(&mut self, alerts: &mut Vec<Arc<Alert>>, marks: Marks) {
        if !alerts.is_empty() {
            self.durable = self.notifier.accept(std::mem::take(alerts)).await;
            (self.kmsg.told, self.journal.told) = (true, true);
        }
        if self.durable {
            marks.0.into_iter().for_each(|mark| self.kmsg.reached(mark));
            marks.1.into_iter().for_each(|mark| self.journal.reached(mark));
            marks.2.into_iter().for_each(|snapshot| self.memory.keep(snapshot));
        }
    }
}

/// How far each log is dealt with, and what the engine keeps.
#[derive(Debug, Default)]
struct Marks(Option<KmsgMark>, Option<JournalMark>, Option<Box<Snapshot>>);

impl Marks {
    fn is_empty(&self) -> bool {
        self.0.is_none() && self.1.is_none() && self.2.is_none()
    }
}

/// A position, written aside and one writing at a time: an alert about a dying disk must not wait for it.
#[derive(Debug)]
struct Place<M> {
    /// Here unless it is being written.
    position: Option<Position<M>>,
    writing: Option<JoinHandle<(Position<M>, Option<String>)>>,
    /// Newest mark the position has not been given.
    mark: Option<M>,
    /// Something was told since the last mark.
    told: bool,
}

impl<M: Mark> Place<M> {
    fn of(position: Position<M>) -> Self {
        Self { position: Some(position), writing: None, mark: None, told: false }
    }

    fn reached(&mut self, mark: M) {
        self.mark = Some(mark);
        self.pass_on();
    }

    /// Gives the position the newest mark, and begins to write if that is due.
    fn pass_on(&mut self) {
        let Some(mut position) = self.position.take() else { return };
        let now = clock::now();
        let due = self.mark.take().is_some_and(|mark| {
            let told = std::mem::take(&mut self.told);
            position.reached(mark, told, now)
        });
        if due { self.write(position) } else { self.position = Some(position) }
    }

    fn write(&mut self, mut position: Position<M>) {
        self.writing = Some(spawn_blocking(move || {
            let problem = position.write(clock::now());
            (position, problem)
        }));
    }

    /// The end of the writing; waits for ever when there is none. May be dropped and called again.
    async fn written(&mut self) -> Result<(Position<M>, Option<String>), JoinError> {
        match &mut self.writing {
            Some(writing) => writing.await,
            None => pending().await,
        }
    }

    fn finish(&mut self, done: Result<(Position<M>, Option<String>), JoinError>) {
        self.writing = None;
        let Ok((position, problem)) = done else { return };
        self.position = Some(position);
        if let Some(problem) = problem {
            tracing::warn!("{problem}");
        }
        self.pass_on();
    }

    /// Writes what is not written yet.
    async fn last(&mut self) {
        if self.writing.is_some() {
            let done = self.written().await;
            self.finish(done);
        }
        if let Some(position) = self.position.take() {
            self.write(position);
        }
        if self.writing.is_some() {
            let done = self.written().await;
            self.finish(done);
        }
    }
}
