//! The agent's own state as readings: queues, channels, and a collector that does not come back. A task of its own
//! makes them, since the thread of the collectors is one of the things that may hang. `engine::builtin` has the rules.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{Sender, WeakSender};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::history::Trouble;
use super::pipeline::Message;
use crate::collect::runner::Progress;
use crate::engine::Output;
use crate::host::clock;
use crate::metric::metrics;
use crate::notify::{Notifier, Stats};
use crate::sample::{Batch, OWN_SERIES, Samples};
use crate::time::{Now, SECOND};

metrics! {
    STUCK: Gauge Count "collector_stuck" ["collector"]
        "1 while a pass of a collector lasts longer than a minute; of collectors for which that was so.", "the agent";
    QUEUE: Gauge Percent "agent_queue_used_percent" ["queue"]
        "Use of a queue of the agent: inputs of the engine (inbox), its outputs (outbound), alerts to be told (outbox).", "the agent";
    FAILING: Gauge Count "agent_channel_failing" ["channel"]
        "Tries in a row that a channel of alerts did not take; 0: all is well.", "the agent";
    REFUSING: Gauge Count "agent_channel_refusing" ["channel"]
        "Alerts that a channel refused for good since it took one, the last of them within an hour; they are lost for it.", "the agent";
    QUEUED: Gauge Count "agent_channel_queued_count" ["channel"] "Alerts that wait for a channel.", "the agent";
    TURNED_AWAY: Counter Count "agent_endpoint_turned_away_total" []
        "Connections to the endpoints that were closed at once because 64 stood already; where an endpoint is on.", "the agent";
    UNSAVED: Gauge Count "agent_outbox_unsaved" []
        "1 while alerts are kept in memory only, because the disk does not take them.", "the agent";
    PAST_UNSAVED: Gauge Count "agent_history_unsaved" ["store"]
        "1 while history is not kept on disk, because that does not take it: its own files (ring), the database (sqlite).", "the agent";
}

/// Name of its batches.
pub(super) const NAME: &str = "self";
/// Pause between two looks.
const PACE: Duration = Duration::from_secs(10);
/// Seconds from which a pass of a collector is one that does not come back. All other collectors wait for it.
const STUCK_SECS: u64 = 60;

/// What is looked at.
pub(super) struct Vitals {
    progress: Arc<Progress>,
    inbox: Sender<Message>,
    /// Held by nobody but the engine: its end is that of the delivery.
    outbound: WeakSender<Vec<Output>>,
    notifier: Notifier,
    history: watch::Receiver<Trouble>,
    /// Connections that the endpoints turned away; none without endpoints.
    turned_away: Option<Arc<AtomicU64>>,
}

impl Vitals {
    /// The thread of the collectors, the engine's queues, the way out, history, and what endpoints turned away.
    pub(super) fn of(
        progress: &Arc<Progress>,
        inbox: Sender<Message>,
        outbound: &Sender<Vec<Output>>,
        notifier: &Notifier,
        history: watch::Receiver<Trouble>,
        turned_away: Option<Arc<AtomicU64>>,
    ) -> Self {
        let (progress, outbound) = (Arc::clone(progress), outbound.downgrade());
        Self { progress, inbox, outbound, notifier: notifier.clone(), history, turned_away }
    }

    /// Looks every ten seconds until `stop`.
    pub(super) fn start(self, stop: &CancellationToken) -> JoinHandle<()> {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.run() => {}
            }
        })
    }

    async fn run(self) {
        let mut readings = Readings::new();
        loop {
            sleep(PACE).await;
            let stats = self.notifier.stats().await;
            let outbound = self.outbound.upgrade().map_or(0, |outbound| used(&outbound));
            let queues =
                [("inbox", used(&self.inbox)), ("outbound", outbound), ("outbox", stats.outbox.used_percent)];
            let history = self.history.borrow().clone();
            let turned_away = self.turned_away.as_ref().map(|count| count.load(Ordering::Relaxed));
            let seen = Seen {
                running: self.progress.running(),
                queues: &queues,
                stats: &stats,
                history: &history,
                turned_away,
            };
            let batch = readings.take(clock::now(), &seen);
            if self.inbox.send(Message::Round(vec![batch])).await.is_err() {
                return;
            }
        }
    }
}

/// Use of a queue, percent.
fn used<T>(queue: &Sender<T>) -> u64 {
    let taken = queue.max_capacity() - queue.capacity();
    taken as u64 * 100 / queue.max_capacity().max(1) as u64
}

/// How things stand.
struct Seen<'a> {
    /// The collector that runs, and since when.
    running: Option<(&'static str, u64)>,
    /// Use of each queue, percent.
    queues: &'a [(&'a str, u64)],
    stats: &'a Stats,
    history: &'a Trouble,
    turned_away: Option<u64>,
}

/// Makes batches of what was seen. Pure.
struct Readings {
    samples: Samples,
    /// Collectors that were stuck since the start.
    stuck: BTreeSet<&'static str>,
    /// Stores of history that were not kept since the start.
    unsaved: BTreeSet<&'static str>,
}

impl Readings {
    fn new() -> Self {
        Self { samples: Samples::new(OWN_SERIES as usize), stuck: BTreeSet::new(), unsaved: BTreeSet::new() }
    }

    fn take(&mut self, now: Now, seen: &Seen<'_>) -> Batch {
        let Seen { running, queues, stats, history, turned_away } = *seen;
        let out = &mut self.samples;
        out.begin(NAME, now, None);
        let long = |since_ns: u64| now.mono_ns.saturating_sub(since_ns) >= STUCK_SECS * SECOND;
        let stuck = running.filter(|(_, since_ns)| long(*since_ns)).map(|(name, _)| name);
        self.stuck.extend(stuck);
        for name in &self.stuck {
            out.put(&STUCK, &[name], f64::from(u8::from(stuck == Some(name))));
        }
        for (queue, percent) in queues {
            out.put(&QUEUE, &[queue], *percent as f64);
        }
        for channel in &stats.channels {
            // After a restart a 0 would end the alert of a channel that fails still.
            if !channel.is_untried() {
                out.put(&FAILING, &[&channel.name], f64::from(channel.failing));
            }
            out.put(&REFUSING, &[&channel.name], f64::from(channel.refusing));
            out.put(&QUEUED, &[&channel.name], channel.queued as f64);
        }
        if let Some(count) = turned_away {
            out.put(&TURNED_AWAY, &[], count as f64);
        }
        out.put(&UNSAVED, &[], f64::from(u8::from(stats.outbox.trouble.is_some())));
        for (store, trouble) in [("ring", &history.ring), ("sqlite", &history.sqlite)] {
            if trouble.is_some() || self.unsaved.contains(store) {
                self.unsaved.insert(store);
                out.put(&PAST_UNSAVED, &[store], f64::from(u8::from(trouble.is_some())));
            }
        }
        out.finish()
    }
}

#[cfg(test)]
#[path = "vitals_tests.rs"]
mod tests;
