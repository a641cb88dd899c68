//! The thread that reads the inventory and tells what changed since the last time.
//!
//! A thread of its own: a driver that resets its card keeps those waiting who ask for its firmware, and
//! disks answer when they like.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::sync::watch;

use super::pipeline::Message;
use crate::config::Config;
use crate::event::{Event, HostChange, Source, What};
use crate::host::{Host, clock};
use crate::inventory::changes::Parts;
use crate::inventory::kept::{Kept, Outcome};
use crate::inventory::{Inventory, Options, Reader};

/// How soon a difference is looked at again.
const SOON: Duration = Duration::from_secs(30);

/// The newest inventory, for whoever publishes it; none until it was read.
pub(super) type Shown = watch::Sender<Option<Arc<Inventory>>>;

/// The thread.
pub(super) struct InventoryWatch {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl InventoryWatch {
    /// Starts it, if the configuration wants it.
    pub(super) fn start(
        config: &Config,
        host: Arc<dyn Host>,
        inbox: Sender<Message>,
        shown: Shown,
    ) -> std::io::Result<Option<Self>> {
        if !config.inventory.enabled {
            return Ok(None);
        }
        let worker = Worker::new(config, host, &config.agent.data_dir, shown);
        let pace = Duration::from_secs(config.inventory.collect_interval_secs);
        let (stop, stopped) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("inventory".into())
            .spawn(move || worker.run(pace, &stopped, &inbox))?;
        Ok(Some(Self { stop, thread }))
    }

    /// Asks it to end. It ends after the reading it is in.
    pub(super) fn stop(self) -> JoinHandle<()> {
        // The thread may have ended by itself.
        let _ = self.stop.try_send(());
        self.thread
    }
}

struct Worker {
    host: Arc<dyn Host>,
    reader: Reader,
    choice: String,
    kept: Kept,
    shown: Shown,
}

impl Worker {
    fn new(config: &Config, host: Arc<dyn Host>, data_dir: &Path, shown: Shown) -> Self {
        let chosen = [&config.collector.exclude_devices, &config.collector.exclude_interfaces];
        let choice = format!("{chosen:?}");
        Self { host, reader: Reader::new(Options::of(config)), choice, kept: Kept::open(data_dir), shown }
    }

    fn run(mut self, pace: Duration, stop: &Receiver<()>, inbox: &Sender<Message>) {
        loop {
            let Outcome { change, undecided, problem } = self.read();
            if let Some(problem) = problem {
                tracing::warn!("{problem}");
            }
            if let Some(change) = change
                && inbox.blocking_send(event(change).into()).is_err()
            {
                return;
            }
            let pause = if undecided { pace.min(SOON) } else { pace };
            match stop.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn read(&mut self) -> Outcome {
        let inventory = self.reader.read(self.host.as_ref(), clock::now());
        let outcome = self.kept.take(Parts::of(self.host.as_ref(), &inventory, self.choice.clone()));
        self.shown.send_replace(Some(Arc::new(inventory)));
        outcome
    }
}

fn event(change: HostChange) -> Event {
    let what = What::HostChange(Box::new(change));
    Event { at: clock::now(), source: Source::Inventory, historic: false, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    const HOST: &str = "//- uname h 6.1.0-28 x86_64\n//- /sys/block/sda/size\n1000000\n//- /sys/block/sda/device/model\nDISK\n";

    #[tokio::test]
    async fn a_new_kernel_is_told_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.agent.data_dir = dir.path().to_owned();
        config.inventory.collect_interval_secs = 0;
        let run = |host: &FixtureHost| {
            let (inbox, messages) = tokio::sync::mpsc::channel(8);
            let watch = InventoryWatch::start(&config, host.shared(), inbox, Shown::default()).unwrap();
            (watch.unwrap(), messages)
        };
        let host = FixtureHost::parse(HOST).unwrap();
        let (watch, mut messages) = run(&host);
        let file = dir.path().join("inventory.json");
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        watch.stop().join().unwrap();
        assert!(messages.try_recv().is_err(), "the first inventory is learned, not told");

        host.apply("//- uname h 6.1.0-29 x86_64\n").unwrap();
        let (watch, mut messages) = run(&host);
        let message = tokio::time::timeout(Duration::from_secs(20), messages.recv()).await.unwrap();
        let Some(Message::Event(Event { what: What::HostChange(change), .. })) = message else {
            panic!("{message:?}")
        };
        assert_eq!(change.changes[0].text, "kernel: version is 6.1.0-29, was 6.1.0-28");
        watch.stop().join().unwrap();
        assert!(messages.recv().await.is_none(), "told once");
        config.inventory.enabled = false;
        let (inbox, _messages) = tokio::sync::mpsc::channel(8);
        assert!(InventoryWatch::start(&config, host.shared(), inbox, Shown::default()).unwrap().is_none());
    }
}
