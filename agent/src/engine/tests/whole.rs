//! Everything at once, in any order: readings, events, waiting, silences, reloads, restarts. Whatever happens, an alert
//! that began is not begun again before it ended, an end is that of an alert that was told, no time is negative, and in
//! the end nothing is left.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::alert::{MEMBERS, STANDS};
use crate::engine::control::{NewSilence, Order};
use crate::engine::snapshot::Snapshot;

/// What happens next.
#[derive(Clone, Debug)]
enum Act {
    /// So many readings of three disks.
    Read(u8, [u8; 3]),
    /// No reading for so many seconds.
    Wait(u64),
    Kill(u32),
    Silence {
        mount: Option<u8>,
        secs: u64,
    },
    Revoke(u64),
    /// Other limits, grouping, escalation.
    Reload(u8),
    /// An orderly stop, so many seconds, perhaps a reboot, a start.
    Restart(u64, bool),
    /// The same without the stop.
    Crash(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (1_u8..12, [0_u8..3, 0..3, 0..3]).prop_map(|(n, levels)| Act::Read(n, levels)),
        2 => (1_u64..1500).prop_map(Act::Wait),
        1 => (1_u32..5).prop_map(Act::Kill),
        2 => (prop::option::of(0_u8..3), 1_u64..2000).prop_map(|(mount, secs)| Act::Silence { mount, secs }),
        1 => (1_u64..6).prop_map(Act::Revoke),
        1 => (0_u8..16).prop_map(Act::Reload),
        1 => (0_u64..2000, any::<bool>()).prop_map(|(away, reboot)| Act::Restart(away, reboot)),
        1 => (0_u64..60).prop_map(Act::Crash),
    ];
    prop::collection::vec(act, 1..50)
}

const MOUNTS: [&str; 3] = ["/a", "/b", "/c"];

/// One of 16 configurations.
fn configured(which: u8, boot: &str) -> Settings {
    let mut settings = settings(if which & 1 > 0 { 30 } else { 0 });
    settings.identity.boot_id = boot.into();
    if which & 2 > 0 {
        settings.manners = Manners { min_interval_secs: 0, dedup_secs: [0; 4], ..settings.manners };
        settings.escalation = board::Escalation { critical_after: 2, emergency_after_mins: 5 };
    }
    let limits = &mut settings.rules[0].policy.limits;
    match which >> 2 {
        1 => limits.warn = None,
        2 => limits.critical = None,
        3 => settings.rules.clear(),
        _ => {}
    }
    settings
}

struct Story {
    run: Run,
    which: u8,
    boot: u32,
    /// As the file was written last: the messages before it are in the outbox.
    kept: Option<Snapshot>,
    /// A crash finds the state of the act before.
    late: bool,
    watch: Watch,
}

/// What one who reads every message knows.
#[derive(Default)]
struct Watch {
    seen: usize,
    /// What lasts and is not over, by id, with the fingerprint.
    open: BTreeMap<String, String>,
    problems: Vec<String>,
}

impl Watch {
    fn look(&mut self, alerts: &[&Alert]) {
        for alert in &alerts[self.seen..] {
            let text = || format!("{} {} {}", alert.status.name(), alert.id, alert.message);
            let ended = alert.ended_at.as_ref().is_some_and(|at| *at < alert.started_at);
            if alert.duration_secs > 10_000_000 || ended {
                self.problems.push(format!("a negative time: {}", text()));
            }
            let members = alert.context.get(MEMBERS).and_then(|ids| ids.as_array());
            let members = members.into_iter().flatten().filter_map(|id| id.as_str().map(str::to_owned));
            let lasts = alert.threshold.is_some() || alert.context.contains_key(STANDS);
            match alert.status {
                Status::Firing if lasts => {
                    let of_members = members.map(|id| (id, String::new()));
                    let own = (alert.id.clone(), alert.fingerprint.clone());
                    for (id, print) in of_members.chain([own]) {
                        let known = !print.is_empty() && self.open.values().any(|open| *open == print);
                        let is_summary = alert.context.contains_key(MEMBERS);
                        if self.open.insert(id, print).is_some() || known && !is_summary {
                            self.problems.push(format!("begins twice: {}", text()));
                        }
                    }
                }
                Status::Updated if lasts && !self.open.contains_key(&alert.id) => {
                    self.problems.push(format!("news of what was not told: {}", text()));
                }
                Status::Resolved if !alert.is_only_message() && (lasts || alert.rule != "oom_kill") => {
                    let own = (!alert.context.contains_key(MEMBERS)).then(|| alert.id.clone());
                    let over: BTreeSet<String> = alert.also_over().map(str::to_owned).chain(own).collect();
                    for id in over {
                        if self.open.remove(&id).is_none() {
                            self.problems.push(format!("{id} ends without a begin: {}", text()));
                        }
                    }
                }
                _ => {}
            }
        }
        self.seen = alerts.len();
    }
}

impl Story {
    fn new() -> Self {
        let watch = Watch::default();
        Self { run: run(0), which: 0, boot: 0, kept: None, late: false, watch }
    }

    fn boot_id(&self) -> String {
        format!("boot{}", self.boot)
    }

    fn do_one(&mut self, act: &Act) {
        let r = &mut self.run;
        // Moments in messages have milliseconds.
        r.wait_ms(1000);
        match act {
            Act::Read(times, levels) => {
                let values = levels.map(|level| [10.0, 85.0, 95.0][usize::from(level)]);
                for _ in 0..*times {
                    r.disks(&[(MOUNTS[0], values[0]), (MOUNTS[1], values[1]), (MOUNTS[2], values[2])]);
                }
            }
            Act::Wait(secs) => {
                r.wait_ms(secs * 1000);
            }
            Act::Kill(pid) => {
                r.event(Source::Ebpf, oom(*pid));
            }
            Act::Silence { mount, secs } => {
                let labels = mount.map(|at| ("mount".to_owned(), MOUNTS[usize::from(at)].to_owned()));
                let labels = labels.into_iter().collect();
                let new = NewSilence { matcher: "*".into(), labels, secs: *secs, ..NewSilence::default() };
                let _ = r.engine.order(r.now, Order::Silence(new), &mut r.out);
            }
            Act::Revoke(id) => drop(r.engine.order(r.now, Order::Revoke(*id), &mut r.out)),
            Act::Reload(which) => {
                self.which = *which;
                let settings = configured(*which, &self.boot_id());
                let r = &mut self.run;
                let _ = r.engine.order(r.now, Order::Reload(Box::new(settings)), &mut r.out);
            }
            Act::Restart(away, reboot) => {
                r.engine.finish(r.now, &mut r.out);
                let kept = r.engine.snapshot(r.now);
                self.boot += u32::from(*reboot);
                self.start(Some(kept), *away, *reboot);
            }
            Act::Crash(away) => {
                // Killed between a message and the state that goes with it.
                let kept = if self.late { self.kept.clone() } else { Some(r.engine.snapshot(r.now)) };
                self.start(kept, *away, false);
            }
        }
        self.run.drop_kept();
        // It comes out with what was told, and after each order.
        self.kept = Some(self.run.engine.snapshot(self.run.now));
        self.watch.look(&self.run.alerts());
    }

    fn start(&mut self, kept: Option<Snapshot>, away: u64, reboot: bool) {
        let settings = configured(self.which, &self.boot_id());
        let r = &mut self.run;
        r.now = r.now.plus_secs(away);
        if reboot {
            r.now.mono_ns = 50 * SECOND;
        }
        let outbox: Vec<Alert> = r.alerts().into_iter().cloned().collect();
        r.engine = Engine::new(settings, r.now);
        if let Some(kept) = kept {
            let kept = Snapshot::decode(&kept.encode()).expect("its own snapshot");
            r.engine.resume(kept, r.now);
        }
        r.engine.remember(&outbox, r.now);
        r.samples = Samples::new(100);
    }

    /// All is well for long enough that nothing has a reason to stay.
    fn calm(&mut self) {
        self.do_one(&Act::Reload(0));
        for id in 1..60 {
            self.do_one(&Act::Revoke(id));
        }
        for _ in 0..40 {
            self.do_one(&Act::Read(10, [0; 3]));
        }
    }
}

fn play(acts: &[Act], late: bool) -> Result<(), TestCaseError> {
    let mut story = Story { late, ..Story::new() };
    for act in acts {
        story.do_one(act);
    }
    story.calm();
    let Story { run, watch, .. } = &story;
    let view = run.engine.view(run.now);
    let told = || format!("{acts:?}\n{:#?}", run.told());
    prop_assert!(watch.problems.is_empty(), "{:#?}\n{}", watch.problems, told());
    prop_assert!(watch.open.is_empty(), "never over: {:?}\n{}", watch.open, told());
    prop_assert!(view.active.is_empty() && view.pending.is_empty(), "{:#?}\n{}", view, told());
    Ok(())
}

/// The same walks each time; more of them with `PROPTEST_CASES=1000`.
#[test]
fn every_begin_has_one_end_whatever_happens() {
    use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(40);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut walks = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    walks.run(&(acts(), any::<bool>()), |(acts, late)| play(&acts, late)).expect("each begin has its end");
}

/// What random walks found, and others may not find again.
#[test]
fn ends_that_wait_for_others_survive_a_kill() {
    let of = |reload, levels, late| {
        play(&[Act::Reload(reload), Act::Read(4, levels), Act::Wait(289), Act::Crash(0)], late)
            .expect("each begin has its end");
    };
    of(1, [0, 1, 1], true);
    of(11, [1, 1, 1], false);
}

#[test]
fn rules_that_come_back_find_what_an_earlier_run_left_of_them() {
    let (none, usual) = (Act::Reload(12), Act::Reload(0));
    let acts = [
        Act::Read(1, [0, 0, 1]),
        Act::Restart(0, false),
        none,
        Act::Read(1, [0, 0, 0]),
        usual,
        Act::Read(4, [0, 0, 1]),
        Act::Restart(0, false),
    ];
    play(&acts, false).expect("each begin has its end");
}

#[test]
fn a_begin_out_of_a_silence_survives_a_kill_at_that_moment() {
    let silence = Act::Silence { mount: None, secs: 42 };
    let acts = [silence, Act::Read(4, [0, 0, 1]), Act::Restart(0, false), Act::Crash(0)];
    play(&acts, true).expect("each begin has its end");
}
