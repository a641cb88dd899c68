//! The agent's own state as readings: queues, channels, and a collector that does not come back. A task of its own
//! makes them, since the thread of the collectors is one of the things that may hang. `engine::builtin` has the rules.

use std::collections::BTreeSet;
use std::sync::Arc;
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
    QUEUED: Gauge Count "agent_channel_queued_count" ["channel"] "Alerts that wait for a channel.", "the agent";
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
}

impl Vitals {
    /// The thread of the collectors, the engine's queues and the way out.
    pub(super) fn of(
        progress: &Arc<Progress>,
        inbox: Sender<Message>,
        outbound: &Sender<Vec<Output>>,
        notifier: &Notifier,
        history: watch::Receiver<Trouble>,
    ) -> Self {
        let (progress, outbound) = (Arc::clone(progress), outbound.downgrade());
        Self { progress, inbox, outbound, notifier: notifier.clone(), history }
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
            let batch = readings.take(clock::now(), self.progress.running(), &queues, &stats, &history);
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

    /// `running`: the collector that runs, and since when.
    fn take(
        &mut self,
        now: Now,
        running: Option<(&'static str, u64)>,
        queues: &[(&str, u64)],
        stats: &Stats,
        history: &Trouble,
    ) -> Batch {
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
            out.put(&QUEUED, &[&channel.name], channel.queued as f64);
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
mod tests {
    use super::*;
    use crate::alert::Alert;
    use crate::config::Config;
    use crate::engine::compose::Identity;
    use crate::engine::incident::Witnesses;
    use crate::engine::{Engine, Input};
    use crate::notify::stats::ChannelStats;

    /// An engine with the built-in rules, a clock that is set by hand, and what there is to see.
    struct Scene {
        engine: Engine,
        readings: Readings,
        now: Now,
        out: Vec<Output>,
        running: Option<(&'static str, u64)>,
        inbox: u64,
        stats: Stats,
        history: Trouble,
    }

    fn scene(config: &Config) -> Scene {
        let now = Now { mono_ns: 1000 * SECOND, wall_ns: 1_771_777_800 * SECOND as i64 };
        let identity = Identity {
            hostname: "h".into(),
            zone: jiff::tz::TimeZone::UTC,
            boot_id: "b".into(),
            labels: std::collections::BTreeMap::new(),
        };
        let mut settings = crate::service::settings(config, identity, Witnesses::default());
        // No collector reads anything here.
        settings.absences.retain(|rule| rule.name != "collectors_stuck");
        let channel = |name: &str| ChannelStats { name: name.into(), ..ChannelStats::default() };
        let stats = Stats { channels: vec![channel("slack"), channel("email")], ..Stats::default() };
        let engine = Engine::new(settings, now);
        let (readings, out, history) = (Readings::new(), Vec::new(), Trouble::default());
        Scene { engine, readings, now, out, running: None, inbox: 0, stats, history }
    }

    impl Scene {
        /// A look every ten seconds.
        fn look(&mut self, secs: u64) {
            for _ in 0..secs / 10 {
                self.now = self.now.plus_secs(10);
                let queues =
                    [("inbox", self.inbox), ("outbound", 0), ("outbox", self.stats.outbox.used_percent)];
                let mut batch =
                    self.readings.take(self.now, self.running, &queues, &self.stats, &self.history);
                self.engine.step(self.now, Input::Batch(&mut batch), &mut self.out);
                self.engine.step(self.now, Input::Tick, &mut self.out);
            }
        }

        fn told(&mut self) -> Vec<Alert> {
            let alert = |output| if let Output::Alert(alert) = output { Some(*alert) } else { None };
            self.out.drain(..).filter_map(alert).collect()
        }

        /// What was told since the last time: status, severity, rule and the begin of the sentence.
        fn check(&mut self, expect: &[&str]) {
            let told: Vec<String> = self
                .told()
                .iter()
                .map(|a| format!("{} {} {}: {}", a.status.name(), a.severity.name(), a.rule, a.message))
                .collect();
            assert_eq!(told.len(), expect.len(), "{told:?}");
            for (told, expect) in told.iter().zip(expect) {
                assert!(told.starts_with(expect), "{told:?}");
            }
        }
    }

    fn quick() -> Config {
        let mut config = Config::default();
        config.alerting.state_warmup_secs = 0;
        config
    }

    #[test]
    fn all_is_read() {
        let mut s = scene(&quick());
        s.running = Some(("disk", 0));
        s.stats.channels[0].failing = 3;
        s.stats.channels[1].queued = 4;
        s.stats.outbox.trouble = Some("no space".into());
        (s.inbox, s.stats.outbox.used_percent) = (10, 20);
        s.history.sqlite = Some("no space".into());
        s.look(10);
        let series = s.engine.series().iter().map(|(_, series)| series);
        let read: Vec<_> = series.map(|s| (s.metric.name, s.labels.concat(), s.value)).collect();
        for (name, label, value) in [
            ("collector_stuck", "disk", 1.0),
            ("agent_queue_used_percent", "inbox", 10.0),
            ("agent_queue_used_percent", "outbox", 20.0),
            ("agent_channel_failing", "slack", 3.0),
            ("agent_channel_queued_count", "email", 4.0),
            ("agent_outbox_unsaved", "", 1.0),
            ("agent_history_unsaved", "sqlite", 1.0),
        ] {
            assert!(read.contains(&(name, label.to_owned(), value)), "{name} in {read:?}");
        }
    }

    #[test]
    fn a_collector_that_does_not_come_back_is_told_with_its_end() {
        let mut s = scene(&quick());
        s.running = Some(("disk", s.now.mono_ns));
        s.look(60);
        s.check(&[]);
        s.look(30);
        s.check(&[
            "firing critical collector_stuck: Collector disk has not come back for more than a minute",
        ]);
        // Another one runs for a moment.
        s.running = Some(("cpu", s.now.mono_ns));
        s.look(10);
        s.check(&["resolved critical collector_stuck: Collector disk came back after"]);
    }

    #[test]
    fn a_channel_that_fails_is_told_once() {
        let mut s = scene(&quick());
        s.look(30);
        s.stats.channels[0].failing = 1;
        s.look(20);
        s.check(&[]);
        s.stats.channels[0].failing = 7;
        s.look(600);
        s.check(&["firing critical agent_channel_failing: Channel slack does not take alerts. What waits"]);
        s.stats.channels[0].failing = 0;
        s.look(40);
        s.check(&["resolved critical agent_channel_failing: Channel slack takes alerts again after 10 min"]);
    }

    #[test]
    fn nothing_else_is_told_of_a_channel_that_fails_ever_more() {
        let mut s = scene(&quick());
        // Long enough that what is usual is known.
        s.look(7200);
        s.check(&[]);
        for minute in 0..600 {
            (s.stats.channels[0].failing, s.stats.channels[0].queued) = (1 + minute, 5 * u64::from(minute));
            s.stats.outbox.used_percent = u64::from(minute / 8);
            s.look(60);
        }
        s.check(&["firing critical agent_channel_failing: Channel slack does not take alerts. What waits"]);
        (s.stats.channels[0].failing, s.stats.channels[0].queued, s.stats.outbox.used_percent) = (0, 0, 0);
        s.look(600);
        s.check(&["resolved critical agent_channel_failing: Channel slack takes alerts again after"]);
    }

    #[test]
    fn a_channel_that_is_gone_or_not_tried_yet_does_not_work_again() {
        let mut s = scene(&quick());
        s.stats.channels[0].failing = 7;
        s.look(60);
        s.check(&["firing critical agent_channel_failing: Channel slack does not take alerts"]);
        (s.stats.channels[0].failing, s.stats.channels[0].queued) = (0, 1);
        s.look(100);
        s.check(&[]);
        s.stats.channels[0].failing = 1;
        s.look(600);
        s.check(&[]);
        s.stats.channels.remove(0);
        s.look(400);
        let over = s.told();
        assert_eq!(over.len(), 1, "{over:?}");
        assert_eq!(over[0].status, crate::alert::Status::Resolved);
        assert!(over[0].message.contains("no longer"), "{}", over[0].message);
    }

    #[test]
    fn full_queues_and_a_bad_disk_are_told() {
        let mut s = scene(&quick());
        s.look(10);
        s.inbox = 81;
        s.look(40);
        s.check(&[]);
        s.look(30);
        s.check(&["firing warn agent_queue_used_percent: Use of the agent's queue inbox is 81 %, over 80 %"]);
        (s.inbox, s.stats.outbox.trouble) = (0, Some("no space".into()));
        s.look(90);
        s.check(&[
            "resolved warn agent_queue_used_percent: Use of the agent's queue inbox is back to 0 %",
            "firing warn agent_outbox_unsaved: The outbox cannot be written",
        ]);
    }

    #[test]
    fn history_that_is_not_kept_is_told_with_its_end() {
        let mut s = scene(&quick());
        s.history.ring = Some("no space".into());
        s.look(60);
        s.check(&["firing warn agent_history_unsaved: History ring cannot be written"]);
        s.history.ring = None;
        s.look(60);
        s.check(&["resolved warn agent_history_unsaved: History ring is written again"]);
    }

    #[test]
    fn rules_of_the_configuration_replace_the_built_in_ones() {
        let text = "[alerting]\nstate_warmup_secs = 0\n[[alerting.rules]]\nname = \"ours\"\n\
                    metric = \"agent_channel_failing\"\nwarn = 20\nfor_secs = 0\nclear = 0\n";
        let metrics: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        let labels: Vec<&[&str]> = METRICS.iter().map(|metric| metric.labels).collect();
        let known = crate::config::Known { metrics: &metrics, labels: &labels, ..Default::default() };
        let (config, _) = crate::config::load(text, "c", &|_| None, known).unwrap();
        let mut s = scene(&config);
        s.stats.channels[0].failing = 19;
        s.look(600);
        s.check(&[]);
        s.stats.channels[0].failing = 21;
        s.look(10);
        s.check(&["firing warn ours: "]);
    }
}
