//! Outputs of the engine: alerts to the outbox, the kernel-log position behind them, notices to the log.

use std::sync::Arc;

use tokio::sync::mpsc::Receiver;
use tokio::task::spawn_blocking;

use super::position::Position;
use crate::alert::Alert;
use crate::engine::Output;
use crate::event::KmsgMark;
use crate::host::clock;
use crate::notify::Notifier;

/// The task.
pub struct Delivery {
    /// Where alerts go.
    pub notifier: Notifier,
    /// How far the kernel log is dealt with.
    pub position: Position,
}

impl Delivery {
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
        let mut durable = true;
        if !alerts.is_empty() {
            durable = self.notifier.accept(std::mem::take(alerts)).await;
            self.position.told();
        }
        if let Some(mark) = mark
            && durable
        {
            let now = clock::now();
            self.store(move |position| position.reached(mark, now)).await;
        }
    }

    /// File work on a thread that may wait for the disk.
    async fn store(&mut self, work: impl FnOnce(&mut Position) -> Option<String> + Send + 'static) {
        let mut position = std::mem::take(&mut self.position);
        let done = spawn_blocking(move || {
            let problem = work(&mut position);
            (position, problem)
        })
        .await;
        if let Ok((position, problem)) = done {
            self.position = position;
            if let Some(problem) = problem {
                tracing::warn!("{problem}");
            }
        }
    }
}
