//! An hour in which a channel takes nothing while the host is busy: the real engine with the built-in rules, the real
//! outbox in memory, and a clock that is set by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::alert::{Alert, Severity, Status};
use crate::collect::filesystem;
use crate::config::Config;
use crate::engine::compose::Identity;
use crate::engine::incident::Witnesses;
use crate::engine::{Engine, Input, Output};
use crate::event::{Event, Oom, Source, Task, What};
use crate::host::clock;
use crate::notify::backlog::{Backlog, RULE};
use crate::notify::channel::{Channel, Route, SendError, Sending};
use crate::notify::lane::{Lane, Next, Settled};
use crate::notify::ledger::{Entry, Ledger};
use crate::notify::limit::{Limits, Window};
use crate::sample::Samples;
use crate::time::{Now, SECOND};

struct Chat;
impl Channel for Chat {
    fn name(&self) -> &'static str {
        "chat"
    }
    fn send<'a>(&'a self, _: &'a Alert, _: &'a str) -> Sending<'a> {
        Box::pin(async { Ok(()) })
    }
}

/// The way out: one channel, up or down.
struct Wire {
    lane: Lane,
    ledger: Ledger,
    total: Window,
    is_up: bool,
    got: Vec<Alert>,
    tries: u64,
}

impl Wire {
    fn new() -> Self {
        let mut ledger = Ledger::default();
        let slot = ledger.slot("chat").expect("a slot");
        let limits = Limits::default();
        let lane = Lane::new(slot, &Route::new(Arc::new(Chat)), limits);
        let total = Window::new(limits.total_per_hour);
        Self { lane, ledger, total, is_up: true, got: Vec::new(), tries: 0 }
    }

    fn accept(&mut self, alert: Alert, now: Now) {
        let due = self.ledger.set(["chat"].into_iter());
        self.ledger.push(Entry::new(Arc::new(alert), now, due));
    }

    /// Sends what can be sent now.
    fn run(&mut self, now: Now) {
        loop {
            let mut settled = Settled::new();
            let text = match self.lane.next(now, &mut self.ledger, &mut self.total, &mut settled) {
                Next::Tell(seq, _) => self.ledger.get(seq).and_then(|e| e.held.as_deref().cloned()),
                Next::Backlog(seqs, _) => {
                    let mut backlog = Backlog::default();
                    for entry in seqs.iter().filter_map(|seq| self.ledger.get(*seq)) {
                        entry.held.iter().for_each(|alert| backlog.add(alert, entry.born_ns));
                    }
                    Some(backlog.alert("h", "chat", "b".into(), now))
                }
                Next::Summary(_) => None,
                Next::Wait(_) | Next::Idle => return,
            };
            self.tries += 1;
            let result = if self.is_up { Ok(()) } else { Err(SendError::retry("down")) };
            self.got.extend(text.filter(|_| self.is_up));
            self.lane.finished(now, result, 0.5, &mut self.ledger, &mut self.total);
        }
    }
}

const MOUNTS: u64 = 12;

/// The host: some file systems fill up and stay full, some come and go, and each minute a process is killed.
fn used(mount: u64, secs: u64) -> f64 {
    match mount % 3 {
        0 if secs > 600 + mount * 60 => 97.0,
        1 if secs / 600 % 2 == 1 => 85.0,
        _ => 40.0,
    }
}

struct Scene {
    engine: Engine,
    samples: Samples,
    wire: Wire,
    start: Now,
    now: Now,
}

impl Scene {
    fn new() -> Self {
        let mut config = Config::default();
        config.alerting.state_warmup_secs = 0;
        let identity = Identity {
            hostname: "h".into(),
            zone: jiff::tz::TimeZone::UTC,
            boot_id: "b".into(),
            labels: BTreeMap::new(),
        };
        let now = Now { mono_ns: 10_000 * SECOND, wall_ns: clock::now().wall_ns };
        let engine = Engine::new(super::settings(&config, identity, Witnesses::default()), now);
        Self { engine, samples: Samples::new(100), wire: Wire::new(), start: now, now }
    }

    /// Ten seconds at a time, up to so many seconds after the start.
    fn until(&mut self, secs: u64, calm: bool) {
        while self.now.since(self.start) < secs * SECOND {
            self.now = self.now.plus_secs(10);
            let past = self.now.since(self.start) / SECOND;
            self.samples.begin("disk", self.now, None);
            for mount in 0..MOUNTS {
                let value = if calm { 40.0 } else { used(mount, past) };
                self.samples.put(&filesystem::USED_PERCENT, &[&format!("/m{mount}"), "sda", "ext4"], value);
            }
            let mut out = Vec::new();
            let mut batch = self.samples.finish();
            self.engine.step(self.now, Input::Batch(&mut batch), &mut out);
            if past.is_multiple_of(60) && !calm {
                let victim = Task { pid: Some(past as u32), comm: Some("java".into()), ..Task::default() };
                let what = What::Oom(Box::new(Oom { victim, count: 1, ..Oom::default() }));
                let event = Event { at: self.now, source: Source::Kmsg, historic: false, what };
                self.engine.step(self.now, Input::Event(event), &mut out);
            }
            self.engine.step(self.now, Input::Tick, &mut out);
            for output in out {
                if let Output::Alert(alert) = output {
                    self.wire.accept(*alert, self.now);
                }
            }
            self.wire.run(self.now);
        }
    }
}

#[test]
fn an_hour_without_a_channel_ends_in_one_message_and_nothing_that_stands_is_lost() {
    let mut scene = Scene::new();
    scene.until(300, false);
    let before = scene.wire.got.len();
    assert!(before >= 3, "the channel works: {before}");
    (scene.wire.is_up, scene.wire.tries) = (false, 0);
    scene.until(3900, false);
    let waiting = scene.wire.ledger.iter().filter(|(_, entry)| !entry.due.is_empty()).count();
    assert!(waiting > 60, "{waiting} alerts wait");
    let tries = std::mem::take(&mut scene.wire.tries);
    assert!(tries < 80, "{tries} tries in an hour");
    assert_eq!(scene.wire.got.len(), before);

    scene.wire.is_up = true;
    scene.until(3970, false);
    let got: Vec<Alert> = scene.wire.got.drain(before..).collect();
    let summaries: Vec<&Alert> = got.iter().filter(|alert| alert.rule == RULE).collect();
    assert_eq!(summaries.len(), 1, "{got:#?}");
    assert!(got.len() <= 4, "{} messages: what was fired since then follows by itself", got.len());
    let summary = summaries[0];
    assert_eq!(got[0].rule, RULE, "it comes first");
    assert_eq!((summary.severity, summary.status), (Severity::Critical, Status::Firing));
    println!("{waiting} waited, {tries} tries, {} messages: {}", got.len(), summary.message);
    let count = |key: &str| summary.context[key].as_u64().unwrap_or_default();
    assert!(count("standing") >= 4 && count("over") >= 4 && count("happened") >= 40, "{}", summary.message);
    assert!(summary.message.starts_with("chat took nothing for up to 59 min"), "{}", summary.message);

    // All that stands is in it, or was told by itself.
    let carried = summary.context["alerts"].as_array().cloned().unwrap_or_default();
    let id = |alert: &serde_json::Value| alert["id"].as_str().unwrap_or_default().to_owned();
    let standing: BTreeSet<String> = carried.iter().filter(|a| a["status"] == "firing").map(id).collect();
    let singly: BTreeSet<String> = scene.wire.got.iter().chain(&got).map(|alert| alert.id.clone()).collect();
    let active = scene.engine.view(scene.now).active;
    assert!(active.len() >= 4, "{active:#?}");
    for alert in &active {
        assert!(standing.contains(&alert.id) || singly.contains(&alert.id), "{} is lost", alert.message);
    }
    let stats = scene.wire.lane.stats(scene.now, &scene.wire.ledger);
    assert_eq!((stats.queued, stats.expired, stats.lost, stats.failing), (0, 0, 0, 0), "{stats:?}");
    assert!(stats.collapsed as usize >= waiting - stats.superseded as usize - 20, "{stats:?}");

    // The end of what was told in the summary is told.
    scene.until(4800, true);
    let ends: String =
        scene.wire.got.iter().filter(|a| a.status == Status::Resolved).map(|a| a.message.clone()).collect();
    for mount in ["/m0", "/m3", "/m6", "/m9"] {
        assert!(ends.contains(&format!("Disk usage of {mount} ")), "{mount}: {ends}");
    }
}
