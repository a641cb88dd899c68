//! What the agent tells of itself, through the engine with the built-in rules.

use super::*;
use crate::alert::Alert;
use crate::config::Config;
use crate::engine::compose::Identity;
use crate::engine::incident::Witnesses;
use crate::engine::{Engine, Input};
use crate::event::{Event, Lost, Source, What};
use crate::metric::Metric;
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
            let queues = [("inbox", self.inbox), ("outbound", 0), ("outbox", self.stats.outbox.used_percent)];
            let (running, queues, turned_away) = (self.running, &queues[..], Some(3));
            let seen = Seen { running, queues, stats: &self.stats, history: &self.history, turned_away };
            let mut batch = self.readings.take(self.now, &seen);
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
    (s.stats.channels[1].queued, s.stats.channels[1].refusing) = (4, 1);
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
        ("agent_channel_refusing", "email", 1.0),
        ("agent_outbox_unsaved", "", 1.0),
        ("agent_endpoint_turned_away_total", "", 3.0),
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
    s.check(&["firing critical collector_stuck: Collector disk has not come back for more than a minute"]);
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
fn what_a_channel_refused_for_good_is_lost_and_no_failing_channel() {
    let mut s = scene(&quick());
    s.look(30);
    s.stats.channels[0].refusing = 1;
    s.look(10);
    s.check(&["firing critical agent_channel_refusing: Channel slack refused alerts for good, and they are lost for it"]);
    s.look(1800);
    s.check(&[]);
    s.stats.channels[0].refusing = 0;
    s.look(40);
    s.check(&[
        "resolved critical agent_channel_refusing: Channel slack refuses nothing any more after 30 min",
    ]);
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

/// What the agent takes, as the collector `agent` reads it.
fn budget(s: &mut Scene, samples: &mut Samples, metric: &'static Metric, value: f64, looks: usize) {
    for _ in 0..looks {
        s.now = s.now.plus_secs(10);
        samples.begin("agent", s.now, None);
        samples.put(metric, &[], value);
        let mut batch = samples.finish();
        s.engine.step(s.now, Input::Batch(&mut batch), &mut s.out);
        s.engine.step(s.now, Input::Tick, &mut s.out);
    }
}

#[test]
fn an_agent_over_its_budget_says_so_and_when_it_is_over() {
    let metric =
        |name| crate::collect::agent::METRICS.iter().find(|metric| metric.name == name).expect("is read");
    let (cpu, memory) = (metric("agent_cpu_percent"), metric("agent_memory_bytes"));
    let mib = f64::from(1 << 20);
    for (metric, fine, warn, critical, what) in [
        (cpu, 0.3, 1.5, 30.0, "The agent's own use of a CPU, over five minutes, is "),
        (memory, 20.0 * mib, 60.0 * mib, 230.0 * mib, "The agent's own memory is "),
    ] {
        let (mut s, mut samples) = (scene(&quick()), Samples::new(100));
        budget(&mut s, &mut samples, metric, fine, 20);
        s.check(&[]);
        budget(&mut s, &mut samples, metric, warn, 20);
        s.check(&[&format!("firing warn {}: {what}", metric.name)]);
        budget(&mut s, &mut samples, metric, critical, 20);
        s.check(&[&format!("updated critical {}: {what}", metric.name)]);
        budget(&mut s, &mut samples, metric, fine, 40);
        s.check(&[&format!("resolved critical {}: ", metric.name)]);
    }
}

#[test]
fn lost_events_are_an_alert_by_part_and_reason() {
    let mut s = scene(&quick());
    let lost = |part, reason| What::Lost(Lost { part, count: 7, reason });
    for (part, reason) in [("oom", "buffer_full"), ("kmsg", "overwritten"), ("oom", "buffer_full")] {
        let event = Event { at: s.now, source: Source::Ebpf, historic: false, what: lost(part, reason) };
        s.engine.step(s.now, Input::Event(event), &mut s.out);
    }
    s.look(40);
    s.check(&[
        "firing warn agent_events_lost: 7 records of eBPF programs found their buffer full",
        "firing warn agent_events_lost: 7 records of the kernel log were overwritten",
    ]);
}
