//! Outputs of the engine: alerts to the outbox, the kernel-log position behind them, notices to the log.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::position::Position;
use crate::alert::Alert;
use crate::engine::Output;
use crate::event::KmsgMark;
use crate::host::clock;
use crate::notify::Notifier;

/// What the last writing of the position gets: a disk that hangs does not hold up the end.
const LAST_WRITING: Duration = Duration::from_millis(500);

/// The task.
pub struct Delivery {
    notifier: Notifier,
    place: Place,
    /// What was told last is on disk. Until it is, the position stays behind it.
    durable: bool,
}

impl Delivery {
    /// Alerts go to `notifier`; `position` says how far the kernel log is dealt with.
    pub fn new(notifier: Notifier, position: Position) -> Self {
        Self { notifier, place: Place { position: Some(position), ..Place::default() }, durable: true }
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
                done = self.place.written() => self.place.finish(done),
            }
        }
        // A disk that hangs keeps it: the log is read again from the older position.
        let _ = timeout(LAST_WRITING, self.place.last()).await;
        self.notifier
    }

    async fn deliver(&mut self, outputs: impl Iterator<Item = Output>) {
        let mut alerts: Vec<Arc<Alert>> = Vec::new();
        let mut mark: Option<KmsgMark> = None;
        for output in outputs {
            match output {
                Output::Alert(alert) => {
                    // A mark covers what came before it, not this alert.
                    if let Some(mark) = mark.take() {
                        self.flush(&mut alerts, Some(mark)).await;
                    }
                    alerts.push(Arc::new(*alert));
                }
                Output::Mark(at) => mark = Some(at),
                // The pipeline keeps these.
                Output::Follow(_) => {}
                Output::Notice(text) => tracing::warn!("{text}"),
            }
        }
        self.flush(&mut alerts, mark).await;
    }

    async fn flush(&mut self, alerts: &mut Vec<Arc<Alert>>, mark: Option<KmsgMark>) {
        if !alerts.is_empty() {
            self.durable = self.notifier.accept(std::mem::take(alerts)).await;
            self.place.told = true;
        }
        if let Some(mark) = mark
            && self.durable
        {
            self.place.reached(mark);
        }
    }
}

/// The position, written aside and one writing at a time: an alert about a dying disk must not wait for it.
#[derive(Debug, Default)]
struct Place {
    /// Here unless it is being written.
    position: Option<Position>,
    writing: Option<JoinHandle<(Position, Option<String>)>>,
    /// Newest mark the position has not been given.
    mark: Option<KmsgMark>,
    /// Something was told since the last mark.
    told: bool,
}

impl Place {
    fn reached(&mut self, mark: KmsgMark) {
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

    fn write(&mut self, mut position: Position) {
        self.writing = Some(spawn_blocking(move || {
            let problem = position.write(clock::now());
            (position, problem)
        }));
    }

    /// The end of the writing; waits for ever when there is none. May be dropped and called again.
    async fn written(&mut self) -> Result<(Position, Option<String>), JoinError> {
        match &mut self.writing {
            Some(writing) => writing.await,
            None => pending().await,
        }
    }

    fn finish(&mut self, done: Result<(Position, Option<String>), JoinError>) {
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
