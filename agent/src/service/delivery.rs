//! Outputs of the engine: alerts to the outbox, the kernel-log position behind them, notices to the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::position::Position;
use crate::alert::Alert;
use crate::engine::Output;
use crate::event::KmsgMark;
use crate::host::clock;
use crate::notify::Notifier;

/// How long one write of the position is waited for: a disk that hangs must not hold up alerts.
const PATIENCE: Duration = Duration::from_secs(1);

/// The task.
pub struct Delivery {
    notifier: Notifier,
    /// How far the kernel log is dealt with; elsewhere while it is being written.
    position: Option<Position>,
    writing: Option<JoinHandle<Position>>,
    /// Alerts were accepted that may not be on disk: no mark may pass them.
    owing: bool,
    /// Alerts were accepted since the last mark: the next one is worth writing at once.
    told: bool,
}

impl Delivery {
    /// Alerts go to `notifier`; `position` says how far the kernel log is dealt with.
    pub fn new(notifier: Notifier, position: Position) -> Self {
        Self { notifier, position: Some(position), writing: None, owing: false, told: false }
    }

    /// Runs until the engine is gone; returns the notifier, to be drained.
    pub async fn run(mut self, mut outputs: Receiver<Vec<Output>>) -> Notifier {
        let mut more = Vec::new();
        // Whatever has piled up during one write to disk is written together with the next.
        while outputs.recv_many(&mut more, super::pipeline::OUTBOUND).await > 0 {
            self.deliver(more.drain(..).flatten()).await;
        }
        let now = clock::now();
        self.store(move |position| position.write(now)).await;
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
                Output::Notice(text) => tracing::warn!("{text}"),
            }
        }
        self.flush(&mut alerts, mark).await;
    }

    async fn flush(&mut self, alerts: &mut Vec<Arc<Alert>>, mark: Option<KmsgMark>) {
        if !alerts.is_empty() {
            // The outbox writes in order, and after trouble everything: true speaks for earlier alerts too.
            self.owing = !self.notifier.accept(std::mem::take(alerts)).await;
            self.told = true;
        }
        if let Some(mark) = mark.filter(|_| !self.owing) {
            let told = std::mem::take(&mut self.told);
            let now = clock::now();
            self.store(move |position| {
                if told {
                    position.told();
                }
                position.reached(mark, now)
            })
            .await;
        }
    }

    /// File work on a thread that may wait for the disk. While it does, nothing more is stored: a later
    /// mark says all that this one would have said.
    async fn store(&mut self, work: impl FnOnce(&mut Position) -> Option<String> + Send + 'static) {
        if let Some(writing) = self.writing.take_if(|w| w.is_finished()) {
            self.position = writing.await.ok();
        }
        let Some(mut position) = self.position.take() else { return };
        let mut writing = spawn_blocking(move || {
            if let Some(problem) = work(&mut position) {
                tracing::warn!("{problem}");
            }
            position
        });
        match timeout(PATIENCE, &mut writing).await {
            Ok(done) => self.position = done.ok(),
            Err(_) => self.writing = Some(writing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::{Limits, Options, Outbox, Templates};
    use std::path::Path;

    fn delivery(outbox: &Path, data: &Path) -> Delivery {
        let (outbox, found) = Outbox::open(outbox, clock::now());
        let templates = Arc::new(Templates::of(&crate::config::Config::default()).expect("templates"));
        let options = Options { hostname: "h".into(), limits: Limits::OFF, templates, seed: 1 };
        let (notifier, _) = Notifier::start(options, (outbox, &found), Vec::new(), clock::now);
        Delivery::new(notifier, Position::open(data, "b").0)
    }

    fn alert() -> Output {
        Output::Alert(Box::new(crate::notify::tests::alert(
            "x",
            crate::alert::Severity::Warn,
            crate::alert::Status::Firing,
        )))
    }

    fn mark(seq: u64) -> Output {
        Output::Mark(KmsgMark { seq })
    }

    #[tokio::test]
    async fn no_mark_passes_an_alert_that_is_not_on_disk() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let stored = || Position::open(dir.path(), "b").1;
        let mut fine = delivery(dir.path(), dir.path());
        fine.deliver([mark(1)].into_iter()).await;
        fine.deliver([alert(), mark(2), alert()].into_iter()).await;
        assert_eq!(stored(), Some(2));
        let mut broken = delivery(Path::new("/dev/null/nowhere"), dir.path());
        broken.deliver([alert(), mark(3)].into_iter()).await;
        broken.deliver([mark(4)].into_iter()).await;
        assert_eq!(stored(), Some(2), "the alert before 3 would be lost");
    }

    #[tokio::test]
    async fn a_position_that_cannot_be_written_holds_nothing_up() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // Opening it waits for a reader, as a dead disk makes one wait.
        let fifo = dir.path().join("kmsg-position.tmp");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .expect("a fifo");
        let mut stuck = delivery(&dir.path().join("outbox"), dir.path());
        let begin = clock::now();
        for seq in 1..20 {
            stuck.deliver([alert(), mark(seq)].into_iter()).await;
        }
        assert!(clock::now().since(begin) < 5 * crate::time::SECOND);
        let _reader = std::fs::File::open(&fifo);
    }
}
