//! Outputs of the engine: alerts to the outbox, the positions in the logs behind them, notices to the log.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::memory::{Kept, Memory};
use super::position::{KmsgPlace, Mark, Position};
use crate::alert::Alert;
use crate::engine::Output;
use crate::engine::snapshot::Snapshot;
use crate::event::{JournalMark, SyslogMark};
use crate::host::clock;
use crate::notify::Notifier;

/// What the last writing of the position gets: a disk that hangs does not hold up the end.
const LAST_WRITING: Duration = Duration::from_millis(500);

/// The task.
pub struct Delivery {
    notifier: Notifier,
    kmsg: Place<KmsgPlace>,
    journal: Place<JournalMark>,
    syslog: Place<SyslogMark>,
    memory: Memory,
    /// What was told last is on disk. Until it is, the position stays behind it.
    durable: bool,
    /// The newest marks that could not be passed on for that.
    waiting: Marks,
    /// Kills accounted for by the next mark.
    kills: Option<u64>,
}

impl Delivery {
    /// Alerts go to `notifier`; the positions say how far each log is dealt with.
    pub fn new(
        notifier: Notifier,
        kmsg: Position<KmsgPlace>,
        journal: Position<JournalMark>,
        syslog: Position<SyslogMark>,
        memory: Memory,
    ) -> Self {
        Self {
            notifier,
            kmsg: Place::of(kmsg),
            journal: Place::of(journal),
            syslog: Place::of(syslog),
            memory,
            durable: true,
            waiting: Marks::default(),
            kills: None,
        }
    }

    /// Runs until the engine is gone; returns the notifier, to be drained.
    pub async fn run(mut self, mut outputs: Receiver<Vec<Output>>, mut asks: Receiver<Kept>) -> Notifier {
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
                Some(kept) = asks.recv() => {
                    while let Ok(output) = outputs.try_recv() {
                        self.deliver(output.into_iter()).await;
                    }
                    self.when_kept(kept);
                }
                done = self.kmsg.written() => self.kmsg.finish(done),
                done = self.journal.written() => self.journal.finish(done),
                done = self.syslog.written() => self.syslog.finish(done),
                done = self.memory.written() => self.memory.finish(done),
            }
        }
        // A disk that hangs keeps it: the log is read again from the older position.
        let _ = timeout(LAST_WRITING, async {
            tokio::join!(self.kmsg.last(), self.journal.last(), self.syslog.last(), self.memory.last())
        })
        .await;
        self.notifier
    }

    fn when_kept(&mut self, kept: Kept) {
        if self.durable {
            self.memory.when_kept(kept);
        } else {
            // Who asked may have gone.
            let _ = kept.send(Err("the outbox cannot be written".to_owned()));
        }
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
                Output::Mark(mark) => marks.0 = Some(KmsgPlace { mark, kills: self.kills }),
                Output::Accounted(kills) => self.kills = Some(kills),
                Output::JournalMark(at) => marks.1 = Some(at),
                Output::SyslogMark(at) => marks.3 = Some(at),
                // The pipeline keeps these.
                Output::Follow(_) => {}
                Output::Keep(snapshot) => marks.2 = Some(snapshot),
                Output::Notice(text) => tracing::warn!("{text}"),
            }
        }
        self.flush(&mut alerts, marks).await;
    }

    async fn flush(&mut self, alerts: &mut Vec<Arc<Alert>>, marks: Marks) {
        self.waiting.renew(marks);
        if !alerts.is_empty() {
            self.durable = self.notifier.accept(std::mem::take(alerts)).await;
            (self.kmsg.told, self.journal.told, self.syslog.told) = (true, true, true);
        } else if !self.durable {
            // The disk may have taken it by now: nothing more is to be written than what waits.
            self.durable = self.notifier.accept(Vec::new()).await;
        }
        if self.durable {
            let marks = std::mem::take(&mut self.waiting);
            marks.0.into_iter().for_each(|mark| self.kmsg.reached(mark));
            marks.1.into_iter().for_each(|mark| self.journal.reached(mark));
            marks.3.into_iter().for_each(|mark| self.syslog.reached(mark));
            marks.2.into_iter().for_each(|snapshot| self.memory.keep(snapshot));
        }
    }
}

/// How far each log is dealt with, and what the engine keeps.
#[derive(Debug, Default)]
struct Marks(Option<KmsgPlace>, Option<JournalMark>, Option<Box<Snapshot>>, Option<SyslogMark>);

impl Marks {
    /// Takes over what is newer.
    fn renew(&mut self, newer: Self) {
        self.0 = newer.0.or(self.0.take());
        self.1 = newer.1.or(self.1.take());
        self.2 = newer.2.or(self.2.take());
        self.3 = newer.3.or(self.3.take());
    }

    fn is_empty(&self) -> bool {
        self.0.is_none() && self.1.is_none() && self.2.is_none() && self.3.is_none()
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

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "the disk is the test's own")]

    use super::*;
    use crate::config::Config;
    use crate::notify::{Options, Outbox};
    use crate::service::memory;
    use crate::time::Now;
    use std::fs;
    use std::sync::atomic::{AtomicU64, Ordering};

    static AHEAD: AtomicU64 = AtomicU64::new(0);
    fn ahead() -> Now {
        clock::now().plus_secs(AHEAD.load(Ordering::Relaxed))
    }

    fn alert() -> Output {
        let alert = crate::notify::tests::gpu();
        Output::Alert(Box::new(alert))
    }

    #[tokio::test]
    async fn state_that_waits_for_a_failing_outbox_is_kept_once_that_is_well() {
        let dir = tempfile::tempdir().unwrap();
        // A file is where the outbox wants its directory.
        fs::write(dir.path().join("outbox"), "in the way").unwrap();
        let (outbox, found) = Outbox::open(dir.path(), ahead());
        let options = Options::of(&Config::default(), "h", 1).unwrap();
        let (notifier, _) = Notifier::start(options, (outbox, &found), Vec::new(), ahead);
        let data = dir.path();
        let mut delivery = Delivery::new(
            notifier,
            Position::open(data, "b").0,
            Position::open(data, "b").0,
            Position::open(data, "b").0,
            Memory::open(data).0,
        );
        let file = data.join(memory::FILE);
        let keep = || Output::Keep(Box::default());
        delivery.deliver([alert(), keep()].into_iter()).await;
        delivery.memory.last().await;
        assert!(!delivery.durable && !file.exists(), "state that says it was told must wait for the alert");
        // Later states wait as well, one in place of the other.
        delivery.deliver([keep()].into_iter()).await;
        assert!(!file.exists() && delivery.waiting.2.is_some());
        fs::remove_file(dir.path().join("outbox")).unwrap();
        AHEAD.fetch_add(30, Ordering::Relaxed);
        // No alert comes any more: the next output of any kind passes on what waits.
        delivery.deliver([Output::Accounted(7)].into_iter()).await;
        delivery.memory.last().await;
        assert!(delivery.durable && delivery.waiting.is_empty() && file.exists());
    }
}
