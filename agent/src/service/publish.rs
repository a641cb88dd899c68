//! Starts what publishes to NATS, and its health as metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::outward::News;
use crate::collect::runner::Item;
use crate::collect::{CollectError, Collector};
use crate::config::Config;
use crate::host::{Host, clock};
use crate::metric::metrics;
use crate::notify::heartbeat::Whose;
use crate::notify::nats::{Later, Link};
use crate::publish::courier::Courier;
use crate::publish::payload::Speaker;
use crate::publish::state::State;
use crate::publish::{Publisher, Sources, Terms};
use crate::sample::Samples;

metrics! {
    UP: Gauge Count "nats_up" [] "1 while metrics and inventory reach NATS, 0 before the first success and after a failure.", "the agent";
    MESSAGES: Counter Count "nats_messages_total" ["what"] "Messages that NATS took: metrics, inventory.", "the agent";
    BYTES: Counter Bytes "nats_sent_bytes_total" [] "Bytes of the bodies of these messages, compressed.", "the agent";
    FAILURES: Counter Count "nats_failures_total" [] "Tries to deliver metrics or inventory that failed.", "the agent";
    TOO_LARGE: Counter Count "nats_too_large_total" [] "Messages left out: larger than the server's max_payload, and not to be split.", "the agent";
    WAITING: Gauge Count "nats_spool_rounds_count" [] "Rounds of metrics and inventories that wait for the server.", "the agent";
    SPOOL: Gauge Bytes "nats_spool_bytes" [] "Bytes of them on disk.", "the agent";
    DROPPED: Counter Count "nats_spool_dropped_total" ["what"] "Rounds that went for want of room: metrics, inventory.", "the agent";
    TORN: Counter Count "nats_spool_torn_total" [] "Files of the spool that were damaged or unreadable.", "the agent";
}

/// How often its health is told.
const PACE: Duration = Duration::from_secs(30);

/// What publishes, not started yet.
pub(super) struct Publishing {
    /// The connection, which heartbeats share. Alerts have one of their own: they do not wait behind metrics.
    pub(super) link: Arc<Link>,
    /// How it stands.
    pub(super) state: Arc<State>,
    speaker: Speaker,
}

impl Publishing {
    /// As the configuration says; none if NATS is off. What it lacks now is asked of `later`.
    pub(super) fn of(config: &Config, whose: &Whose, lacks: bool, later: Option<Later>) -> Option<Self> {
        let section = &config.nats;
        if !section.enabled {
            return None;
        }
        let link = match (Link::of(config), later) {
            (Ok(link), _) if !lacks => link,
            (_, Some(later)) => Link::later(config, later),
            (Ok(_), None) => return None,
            (Err(problem), None) => {
                tracing::error!("{problem}");
                return None;
            }
        };
        let speaker = Speaker {
            hostname: whose.hostname.clone(),
            agent_id: whose.agent_id.clone(),
            labels: config.agent.labels.clone(),
            batch_size: section.batch_size,
            compression: section.compression,
        };
        Some(Self { link: Arc::new(link), state: Arc::default(), speaker })
    }

    /// Its health as a collector.
    pub(super) fn collector(&self) -> Item {
        ("nats", PACE, Box::new(Health(Arc::clone(&self.state))))
    }

    /// Runs until `stop`.
    pub(super) fn run(
        self,
        config: &Config,
        news: News,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let Self { link, state, speaker } = self;
        let (jetstream, terms) = (config.nats.jetstream, Terms::of(config));
        let courier = Courier::new(link, speaker.hostname.clone(), jetstream, Arc::clone(&state));
        let sources = Sources { newest: news.values, inventory: news.inventory };
        async move {
            Publisher::open(terms, (speaker, courier, state), sources, clock::now).await.run(stop).await;
        }
    }
}

struct Health(Arc<State>);

impl Collector for Health {
    fn collect(&mut self, _: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let mut put = |metric, labels: &[&str], value: &AtomicU64| {
            out.put(metric, labels, value.load(Relaxed) as f64);
        };
        let state = &self.0;
        put(&UP, &[], &state.up);
        put(&MESSAGES, &["metrics"], &state.metrics);
        put(&MESSAGES, &["inventory"], &state.inventory);
        put(&BYTES, &[], &state.bytes);
        put(&FAILURES, &[], &state.failures);
        put(&TOO_LARGE, &[], &state.too_large);
        put(&WAITING, &[], &state.waiting);
        put(&SPOOL, &[], &state.spool_bytes);
        put(&DROPPED, &["metrics"], &state.dropped_metrics);
        put(&DROPPED, &["inventory"], &state.dropped_inventory);
        put(&TORN, &[], &state.torn);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;
    use crate::publish::message::What;
    use crate::publish::spool::Stats;

    #[test]
    fn each_count_is_told_under_its_own_name() {
        let state = Arc::new(State::default());
        state.delivered(What::Metrics, 11, 100);
        state.delivered(What::Inventory, 2, 20);
        state.too_large.store(3, Relaxed);
        let spool = Stats {
            waiting: 4,
            bytes: 5,
            dropped_metrics: 6,
            dropped_inventory: 7,
            torn: 8,
            trouble: Some("full".into()),
        };
        state.spooled(&spool);
        let mut bench = Bench::new("", Health(Arc::clone(&state)));
        bench.pass().unwrap();
        bench.expect(&[
            ("nats_up", 1.0),
            ("nats_messages_total{metrics}", 11.0),
            ("nats_messages_total{inventory}", 2.0),
            ("nats_sent_bytes_total", 120.0),
            ("nats_failures_total", 0.0),
            ("nats_too_large_total", 3.0),
            ("nats_spool_rounds_count", 4.0),
            ("nats_spool_bytes", 5.0),
            ("nats_spool_dropped_total{metrics}", 6.0),
            ("nats_spool_dropped_total{inventory}", 7.0),
            ("nats_spool_torn_total", 8.0),
        ]);
        assert_eq!(
            state.troubles(),
            ["the spool is in memory only", "the spool is full: metrics are dropped"]
        );
        state.failed(&crate::notify::SendError::retry("no"));
        bench.pass().unwrap();
        bench.expect(&[("nats_up", 0.0), ("nats_failures_total", 1.0)]);
        assert_eq!(state.troubles().len(), 3);
    }
}
