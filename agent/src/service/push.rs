//! Starts what pushes to an HTTP collector, and its health as metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use secrecy::SecretString;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::newest::Reader;
use crate::collect::runner::Item;
use crate::collect::{CollectError, Collector};
use crate::config::Config;
use crate::host::{Host, clock};
use crate::inventory;
use crate::metric::metrics;
use crate::notify::heartbeat::Whose;
use crate::push::heart;
use crate::push::object::About;
use crate::push::poster::{Post, Poster};
use crate::push::pusher::{Pusher, Terms};
use crate::push::state::State;
use crate::sample::Samples;

metrics! {
    UP: Gauge Count "push_up" ["what"]
        "1 while the collector takes what is pushed (metrics, heartbeat), 0 before the first success and after a failure.", "the agent";
    TAKEN: Counter Count "push_payloads_total" ["what"] "Payloads that the collector took: metrics, heartbeat.", "the agent";
    BYTES: Counter Bytes "push_sent_bytes_total" ["what"] "Bytes of the bodies of these payloads.", "the agent";
    FAILURES: Counter Count "push_failures_total" ["what"] "Tries to deliver a payload that failed.", "the agent";
    FAILING: Gauge Count "agent_push_failing" ["what"]
        "Tries in a row that the collector of pushed payloads did not take; 0: all is well.", "the agent";
    WAITING: Gauge Count "push_waiting_count" [] "Payloads that wait in memory for the collector.", "the agent";
    FILES: Gauge Count "push_backup_files_count" [] "Backup files that wait for the collector.", "the agent";
    FILE_BYTES: Gauge Bytes "push_backup_bytes" [] "Bytes of the backup files.", "the agent";
    DROPPED: Counter Count "push_dropped_total" [] "Payloads given up for want of room in memory or on disk.", "the agent";
    REFUSED: Counter Count "push_refused_total" []
        "Payloads given up because the collector refused them and took others.", "the agent";
    UNREADABLE: Counter Count "push_backup_unreadable_total" []
        "Backup files that could not be read and were put aside.", "the agent";
}

/// How often its health is told.
const PACE: Duration = Duration::from_secs(30);

/// What pushes, not started yet.
pub(super) struct Pushing {
    /// How it stands.
    pub(super) state: Arc<State>,
    metrics: Option<Post>,
    heartbeat: Option<Post>,
    about: About,
}

impl Pushing {
    /// As the configuration says; none where nothing is pushed. What is wrong with it is logged, and the rest goes on.
    pub(super) fn of(config: &Config, whose: &Whose, host: &dyn Host) -> Option<Self> {
        let made = |name, url: &SecretString| {
            let poster = Poster::of(config, name, url).unwrap_or_else(|problem| {
                tracing::error!("{problem}");
                None
            });
            poster.map(Poster::into_post)
        };
        let metrics = made("push.metrics_url", &config.push.metrics_url);
        let heartbeat = made("push.heartbeat_url", &config.push.heartbeat_url);
        (metrics.is_some() || heartbeat.is_some()).then(|| Self {
            state: Arc::default(),
            metrics,
            heartbeat,
            about: about(config, whose, host),
        })
    }

    /// Its health as a collector.
    pub(super) fn collector(&self) -> Item {
        ("push", PACE, Box::new(Health(Arc::clone(&self.state))))
    }

    /// Runs until `stop`.
    pub(super) fn start(
        self,
        config: &Config,
        newest: Reader,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) {
        let Self { state, metrics, heartbeat, about } = self;
        if let Some(post) = heartbeat {
            let (id, state, stop) = (about.agent_id.clone(), Arc::clone(&state), stop.clone());
            tasks.spawn(heart::beat(post, id, state, clock::now, stop));
        }
        if let Some(post) = metrics {
            let (terms, stop) = (Terms::of(config), stop.clone());
            tasks.spawn(async move {
                Pusher::open(terms, (post, about, state), newest, clock::now).await.run(stop).await;
            });
        }
    }
}

/// What is in the object of the collector API and in no series.
pub(super) fn about(config: &Config, whose: &Whose, host: &dyn Host) -> About {
    About {
        agent_id: whose.agent_id.clone(),
        hostname: whose.hostname.clone(),
        platform: inventory::platform(host),
        labels: config.agent.labels.clone(),
    }
}

struct Health(Arc<State>);

impl Collector for Health {
    fn collect(&mut self, _: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let state = &self.0;
        for (what, flow) in [("metrics", &state.metrics), ("heartbeat", &state.heartbeat)] {
            out.put(&UP, &[what], flow.up() as f64);
            let counts = [
                (&TAKEN, &flow.taken),
                (&BYTES, &flow.bytes),
                (&FAILURES, &flow.failures),
                (&FAILING, &flow.failing),
            ];
            for (metric, value) in counts {
                out.put(metric, &[what], value.load(Relaxed) as f64);
            }
        }
        let counts = [
            (&WAITING, &state.waiting),
            (&FILES, &state.files),
            (&FILE_BYTES, &state.file_bytes),
            (&DROPPED, &state.dropped),
            (&REFUSED, &state.refused),
            (&UNREADABLE, &state.unreadable),
        ];
        for (metric, value) in counts {
            out.put(metric, &[], value.load(Relaxed) as f64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;
    use crate::notify::SendError;
    use crate::push::backup::Stats;

    #[test]
    fn each_count_is_told_under_its_own_name() {
        let state = Arc::new(State::default());
        let fail = Err(SendError::retry("no"));
        state.metrics.tried(100, &Ok(()));
        state.metrics.tried(100, &Ok(()));
        for _ in 0..3 {
            state.heartbeat.tried(50, &fail);
        }
        state.refused.store(2, Relaxed);
        let backup = Stats { files: 3, bytes: 4, dropped: 5, unreadable: 6, trouble: Some("full".into()) };
        state.stands(7, 8, &backup);
        let mut bench = Bench::new("", Health(Arc::clone(&state)));
        bench.pass().unwrap();
        bench.expect(&[
            ("push_up{metrics}", 1.0),
            ("push_up{heartbeat}", 0.0),
            ("push_payloads_total{metrics}", 2.0),
            ("push_payloads_total{heartbeat}", 0.0),
            ("push_sent_bytes_total{metrics}", 200.0),
            ("push_sent_bytes_total{heartbeat}", 0.0),
            ("push_failures_total{metrics}", 0.0),
            ("push_failures_total{heartbeat}", 3.0),
            ("agent_push_failing{metrics}", 0.0),
            ("agent_push_failing{heartbeat}", 3.0),
            ("push_waiting_count", 7.0),
            ("push_backup_files_count", 3.0),
            ("push_backup_bytes", 4.0),
            ("push_dropped_total", 13.0),
            ("push_refused_total", 2.0),
            ("push_backup_unreadable_total", 6.0),
        ]);
        let troubles = state.troubles();
        assert!(
            troubles.len() == 2 && troubles[0].contains("heartbeats") && troubles[1].contains("backup"),
            "{troubles:?}"
        );
        state.heartbeat.tried(50, &Ok(()));
        bench.pass().unwrap();
        bench.expect(&[("push_up{heartbeat}", 1.0), ("agent_push_failing{heartbeat}", 0.0)]);
    }
}
