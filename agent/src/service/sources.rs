//! The tasks and the thread that feed the engine.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::mpsc::Sender;

use super::pipeline::Message;
use crate::collect::runner::{Health, Item, Progress, Runner, Sink};
use crate::config::Config;
use crate::event::Event;
use crate::host::{Host, clock};
use crate::sample::Batch;
use crate::time::SECOND;

impl From<Event> for Message {
    fn from(event: Event) -> Self {
        Self::Event(event)
    }
}

/// Used batches on their way back, a round of all collectors; more are dropped.
const SPARES: usize = 32;
/// Batches wait for the end of their round, so that it wakes the engine once; in one that takes longer than this they do not.
const HOLD_NS: u64 = SECOND / 10;

/// The collector thread.
pub(super) struct Collectors {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
    /// For the engine: used batches go back here.
    pub(super) spares: SyncSender<Batch>,
    /// Batches that make one round.
    pub(super) count: u64,
    /// Which of them runs.
    pub(super) progress: Arc<Progress>,
}

impl Collectors {
    /// Starts the thread with the configured collectors and `extra` ones.
    pub(super) fn start(
        config: &Config,
        host: Arc<dyn Host>,
        extra: Vec<Item>,
        inbox: Sender<Message>,
    ) -> std::io::Result<Self> {
        let runner = Runner::new(config, host, extra, clock::now());
        let (count, progress) = (runner.count() as u64, runner.progress());
        let (stop, stopped) = sync_channel(1);
        let (spares, returned) = sync_channel(SPARES);
        let mut sink = ToEngine { inbox, returned, held: Vec::new() };
        let thread = std::thread::Builder::new()
            .name("collect".into())
            .spawn(move || runner.run(&stopped, &mut sink))?;
        Ok(Self { stop, thread, spares, count, progress })
    }

    /// Asks the thread to end. It ends after the pass it is in.
    pub(super) fn stop(self) -> JoinHandle<()> {
        // The thread may have ended by itself.
        let _ = self.stop.try_send(());
        self.thread
    }
}

struct ToEngine {
    inbox: Sender<Message>,
    returned: Receiver<Batch>,
    held: Vec<Batch>,
}

impl Sink for ToEngine {
    fn batch(&mut self, batch: Batch) -> Option<Batch> {
        let since = self.held.first().map_or(batch.at, |first| first.at);
        self.held.push(batch);
        if clock::now().since(since) > HOLD_NS {
            self.round();
        }
        self.returned.try_recv().ok()
    }

    fn round(&mut self) {
        let round = std::mem::take(&mut self.held);
        if !round.is_empty() && self.inbox.blocking_send(Message::Round(round)).is_err() {
            tracing::debug!("the engine has ended before the collectors");
        }
    }

    fn health(&mut self, health: Health) {
        use crate::collect::CollectError::{Absent, Denied, Parse, Read};
        let name = health.collector;
        match &health.result {
            Ok(()) => tracing::debug!("collector {name} reads everything"),
            Err(error @ Absent { .. }) => tracing::debug!("collector {name}: {error}"),
            Err(error @ (Denied { .. } | Read { .. } | Parse { .. })) => {
                tracing::warn!("collector {name}: {error}. See: sysops-agent doctor");
            }
        }
        // An engine that has ended does not care.
        let _ = self.inbox.blocking_send(Message::Health(health));
    }
}

/// Feeds the engine from the eBPF programs.
#[cfg(feature = "ebpf")]
pub(super) mod ebpf {
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::unix::AsyncFd;
    use tokio::sync::mpsc::Sender;
    use tokio::time::{MissedTickBehavior, interval};
    use tokio_util::sync::CancellationToken;

    use super::super::naming::Naming;
    use super::Message;
    use crate::ebpf::Ebpf;
    use crate::ebpf::devices::Devices;
    use crate::event::Event;
    use crate::host::{Host, clock};
    use crate::watch::enrich::Enricher;

    /// How often losses are asked for.
    const LOSSES: Duration = Duration::from_secs(10);

    /// Runs until `stop`, or until the engine is gone.
    pub(in crate::service) async fn run(
        ebpf: Ebpf,
        host: Arc<dyn Host>,
        inbox: Sender<Message>,
        stop: CancellationToken,
    ) {
        // SAFETY: the descriptor belongs to `ebpf`, stays the same until it is dropped, and the
        // `AsyncFd` owns `ebpf`.
        let fd = match unsafe { AsyncFd::register_with_interest(ebpf, tokio::io::Interest::READABLE) } {
            Ok(fd) => fd,
            Err(error) => {
                let error = std::io::Error::from(error);
                tracing::error!("the eBPF buffers cannot be waited for: {error}; the kernel log stands in");
                return;
            }
        };
        let mut naming = Naming::new(Arc::clone(&host));
        let enricher = Enricher::new(Arc::clone(&host));
        let mut reader =
            Reader { fd, host, enricher, devices: Devices::default(), events: Vec::new(), inbox };
        let mut losses = interval(LOSSES);
        losses.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let alive = tokio::select! {
                biased;
                () = stop.cancelled() => false,
                ready = readable(&mut reader.fd) => ready && reader.drain(&mut naming),
                mut named = naming.named() => {
                    reader.events.append(&mut named);
                    true
                }
                _ = losses.tick() => reader.losses(&mut naming),
            };
            if !alive {
                // What arrived and what was lost until the stop is told with the rest.
                reader.losses(&mut naming);
                reader.events.append(&mut naming.rest().await);
            }
            if !reader.send().await || !alive {
                return;
            }
        }
    }

    /// Waits for records.
    async fn readable(fd: &mut AsyncFd<Ebpf>) -> bool {
        let ready = fd.readable_mut().await;
        ready.map(|mut ready| ready.clear_ready()).is_ok()
    }

    struct Reader {
        fd: AsyncFd<Ebpf>,
        host: Arc<dyn Host>,
        enricher: Enricher,
        devices: Devices,
        events: Vec<Event>,
        inbox: Sender<Message>,
    }

    impl Reader {
        /// Takes what has arrived; asks `/proc` at once, while a victim still stands.
        fn drain(&mut self, naming: &mut Naming) -> bool {
            let Self { fd, host, enricher, devices, events, .. } = self;
            let host = host.as_ref();
            devices.begin();
            let mut name = |dev| devices.name(host, dev).map(|name| name.to_string());
            fd.get_mut().drain(clock::now(), &mut name, &mut |mut event| {
                enricher.enrich(&mut event);
                events.extend(naming.take(event));
            });
            true
        }

        /// Asks for losses, and looks into the buffers whether or not anything was announced.
        fn losses(&mut self, naming: &mut Naming) -> bool {
            match self.fd.get_mut().follow_cpus(self.host.as_ref()) {
                Ok(0) => {}
                Ok(count) => {
                    tracing::info!("{count} processors came online: kernel events on them are seen again");
                }
                Err(error) => tracing::warn!("processors that came online cannot be followed: {error}"),
            }
            self.drain(naming);
            let Self { fd, events, .. } = self;
            if let Err(error) = fd.get_mut().losses(clock::now(), &mut |event| events.push(event)) {
                tracing::warn!("the counters of the eBPF programs cannot be read: {error}");
            }
            true
        }

        async fn send(&mut self) -> bool {
            for event in self.events.drain(..) {
                if self.inbox.send(event.into()).await.is_err() {
                    return false;
                }
            }
            true
        }
    }
}
