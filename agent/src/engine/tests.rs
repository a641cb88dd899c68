//! The whole engine, driven by scripts.

mod counted;
mod emergencies;
mod held;
mod laws;
mod restart;
mod rules;
mod storm;
mod summaries;
mod whole;

use super::*;
use crate::alert::{Alert, Severity, Status};
use crate::analyze::threshold::{Limits, Op};
use crate::cgroup::memory::{Events, Memory};
use crate::engine::compose::Identity;
use crate::engine::compose::condition::Culprits;
use crate::engine::condition::Policy;
use crate::engine::disk::DiskPolicy;
use crate::engine::incident::Witnesses;
use crate::engine::limits::Rule;
use crate::engine::speak::Manners;
use crate::event::{Constraint, Event, KillGroup, LogMatch, Lost, Oom, SlowIo, Source, Task};
use crate::metric::{Kind, Metric, Unit};
use crate::sample::{GroupRow, GroupTable, Samples};
use crate::time::MILLI;

const USED: Metric = Metric {
    name: "disk_used_percent",
    prometheus: "disk_used_percent",
    kind: Kind::Gauge,
    unit: Unit::Percent,
    labels: &["mount"],
    help: "",
    source: "",
};
const KILLS: Metric =
    Metric { name: "oom_counter", labels: &[], kind: Kind::Counter, unit: Unit::Count, ..USED };

pub(super) fn settings(group_secs: u64) -> Settings {
    let limits = Limits { op: Op::Above, warn: Some(80.0), critical: Some(90.0), clear: None, whole: false };
    Settings {
        known: Vec::new(),
        labels: KnownLabels::default(),
        identity: Identity {
            hostname: "h".into(),
            zone: jiff::tz::TimeZone::UTC,
            boot_id: "boot".into(),
            labels: BTreeMap::from([("env".into(), "prod".into())]),
        },
        rules: vec![Rule {
            name: "disk_used_percent".into(),
            metric: "disk_used_percent".into(),
            labels: vec![],
            policy: Policy { limits, for_secs: 30 },
            patience: None,
            subject: "Disk usage of".into(),
            shown: &["mount"],
            style: limits::Style::Number(" %"),
            noun: "disk alerts".into(),
            hint: "",
            culprits: Culprits::Nobody,
            own: None,
        }],
        absences: Vec::new(),
        maintenance: Vec::new(),
        escalation: board::Escalation::default(),
        manners: Manners {
            min_interval_secs: 300,
            dedup_secs: [600, 600, 600, 0],
            group_secs,
            recovery: true,
            join_ends: true,
        },
        witnesses: Witnesses {
            oom: vec![Source::Ebpf, Source::Kmsg],
            io_error: vec![Source::Ebpf, Source::Kmsg],
        },
        warmup_secs: 0,
        history_capacity: 1000,
        formulas: &[],
        analysis: builtin::analysis(&crate::config::Config::default().analyzer),
        rooms: &[],
        disks: DiskPolicy { limit: Policy { limits, for_secs: 30 }, factor: 0.0, least_ms: 0.0, for_secs: 0 },
        oom_counter: "oom_counter",
    }
}

struct Run {
    engine: Engine,
    samples: Samples,
    now: Now,
    out: Vec<Output>,
}

fn run(group_secs: u64) -> Run {
    let now = Now { mono_ns: 100 * SECOND, wall_ns: 1_771_777_800 * SECOND as i64 };
    Run { engine: Engine::new(settings(group_secs), now), samples: Samples::new(100), now, out: Vec::new() }
}

impl Run {
    fn wait_ms(&mut self, ms: u64) -> &mut Self {
        let end = self.now.mono_ns + ms * MILLI;
        loop {
            let wake = self.engine.next_deadline().filter(|d| *d <= end);
            let last = wake.is_none();
            self.now = self.now.at_mono(wake.unwrap_or(end).max(self.now.mono_ns));
            self.engine.step(self.now, Input::Tick, &mut self.out);
            self.drop_kept();
            if last {
                return self;
            }
        }
    }

    /// A reading of every given mount, then ten seconds pass.
    fn disks(&mut self, values: &[(&str, f64)]) -> &mut Self {
        self.samples.begin("disk", self.now, None);
        for (mount, value) in values {
            self.samples.put(&USED, &[mount], *value);
        }
        let mut batch = self.samples.finish();
        self.engine.step(self.now, Input::Batch(&mut batch), &mut self.out);
        self.drop_kept();
        self.wait_ms(10_000)
    }

    fn kills(&mut self, total: u64) -> &mut Self {
        self.samples.begin("vmstat", self.now, None);
        self.samples.put(&KILLS, &[], total as f64);
        let mut batch = self.samples.finish();
        self.engine.step(self.now, Input::Batch(&mut batch), &mut self.out);
        self.drop_kept();
        self.wait_ms(10_000)
    }

    /// A look at the memory groups: path, limit in kB, kills counted.
    fn groups(&mut self, recursive: bool, rows: &[(&str, u64, u64)]) -> &mut Self {
        self.samples.begin("cgroup", self.now, None);
        let row = |(path, limit, kills): &(&str, u64, u64)| {
            let events = Events { oom_kill: Some(*kills), ..Events::default() };
            let memory = Memory::new(Some(limit * 1024), Some(limit * 1024), Some(9), events);
            GroupRow { path: (*path).into(), memory: Memory { oom_group: path.ends_with("whole"), ..memory } }
        };
        self.samples.put_groups(GroupTable { rows: rows.iter().map(row).collect(), skipped: 0, recursive });
        let mut batch = self.samples.finish();
        self.engine.step(self.now, Input::Batch(&mut batch), &mut self.out);
        self.drop_kept();
        self
    }

    fn event(&mut self, source: Source, what: What) -> &mut Self {
        let event = Event { at: self.now, source, historic: false, what };
        self.engine.step(self.now, Input::Event(event), &mut self.out);
        self.drop_kept();
        self
    }

    /// Snapshots are looked at elsewhere.
    fn drop_kept(&mut self) {
        self.out.retain(|output| !matches!(output, Output::Keep(_)));
    }

    fn alerts(&self) -> Vec<&Alert> {
        self.out.iter().filter_map(|o| if let Output::Alert(a) = o { Some(&**a) } else { None }).collect()
    }

    fn told(&self) -> Vec<String> {
        self.alerts()
            .iter()
            .map(|a| format!("{} {} {}", a.status.name(), a.severity.name(), a.message))
            .collect()
    }

    fn check(&self, expect: &[&str]) {
        assert_eq!(self.told(), expect);
    }
}

fn oom(pid: u32) -> What {
    let victim = Task { pid: Some(pid), comm: Some("java".into()), uid: Some(7), ..Task::default() };
    let oom = Oom {
        victim,
        trigger: Task { pid: Some(9), comm: Some("ps".into()), ..Task::default() },
        anon_rss_kb: Some(2048),
        constraint: Some(Constraint::Memcg),
        oom_memcg: Some("/a".into()),
        limit_kb: Some(4096),
        count: 1,
        ..Oom::default()
    };
    What::Oom(Box::new(oom))
}

#[test]
fn the_mark_of_an_exiting_task_is_counted_and_is_no_kill() {
    let mut r = run(0);
    let What::Oom(mut mark) = oom(1) else { unreachable!() };
    mark.uncounted = true;
    r.kills(5).event(Source::Ebpf, What::Oom(mark)).wait_ms(500).kills(5).kills(5);
    r.event(Source::Ebpf, oom(2)).event(Source::Kmsg, oom(2)).kills(6).kills(6).wait_ms(30_000);
    assert_eq!(r.told().len(), 1, "{:?}", r.told());
    assert!(r.told()[0].contains("(pid 2,"), "{:?}", r.told());
    let tally = &r.engine.tally().events;
    assert_eq!(tally[&(events::OOM_KILLS.name, String::new())], 1);
    assert_eq!(tally[&(events::EXITING.name, String::new())], 1);
    assert!(!tally.keys().any(|(name, _)| *name == events::DISAGREEMENTS.name), "{tally:?}");
}

#[test]
fn a_victim_without_a_name_is_said_to_have_none() {
    let mut r = run(0);
    let victim = Task { pid: Some(3187), comm: Some(String::new()), ..Task::default() };
    r.event(Source::Kmsg, What::Oom(Box::new(Oom { victim, count: 1, ..Oom::default() }))).wait_ms(100);
    assert!(r.told()[0].contains("OOM kill: a process without a name (pid 3187,"), "{:?}", r.told());
}

fn slow(device: &str) -> What {
    let io = SlowIo {
        device: device.into(),
        op: "read",
        latency_ms: 700.0,
        threshold_ms: 500.0,
        bytes: 4096,
        ..SlowIo::default()
    };
    What::SlowIo(Box::new(io))
}

#[test]
fn a_full_disk_fires_rises_and_recovers() {
    let mut r = run(0);
    r.disks(&[("/", 10.0)]);
    for value in [85.0, 85.0, 85.0, 95.0, 95.0, 95.0, 40.0] {
        r.disks(&[("/", value)]);
    }
    r.check(&[
        "firing warn Disk usage of / is 85 %, over 80 % for 30 s",
        "updated critical Disk usage of / is 95 %, now over 90 %; the alert stands for 1 min",
        "resolved critical Disk usage of / is back to 40 % after 1 min 10 s",
    ]);
    let alerts = r.alerts();
    assert_eq!(alerts[0].labels["mount"], "/");
    assert_eq!(alerts[0].labels["env"], "prod");
    assert!(alerts.iter().all(|a| a.id == alerts[0].id && a.fingerprint == alerts[0].fingerprint));
    assert_eq!((alerts[2].duration_secs, alerts[2].ended_at.is_some()), (70, true));
}

#[test]
fn several_disks_at_once_are_one_message_and_a_summary() {
    let mut r = run(30);
    let all = |v: f64| [("/", v), ("/a", v + 1.0), ("/b", v + 2.0)];
    for value in [10.0, 85.0, 85.0, 85.0, 85.0, 85.0, 85.0, 85.0] {
        r.disks(&all(value));
    }
    r.check(&[
        "firing warn Disk usage of / is 85 %, over 80 % for 30 s",
        "firing warn 2 more disk alerts within 30 s: Disk usage of /a (86 %), Disk usage of /b (87 %)",
    ]);
    assert_eq!(r.alerts()[1].context["members"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_flapping_condition_is_told_once_in_its_window() {
    let mut r = run(0);
    r.disks(&[("/", 10.0)]);
    for _ in 0..6 {
        for value in [85.0, 85.0, 85.0, 10.0] {
            r.disks(&[("/", value)]);
        }
    }
    let first = [
        "firing warn Disk usage of / is 85 %, over 80 % for 30 s",
        "resolved warn Disk usage of / is back to 10 % after 40 s",
        "firing warn Disk usage of / (10 %) keeps coming and going: 6 changes in 1 min 30 s; nothing more is told of \
         it until it has not changed for 15 min",
    ];
    r.check(&first);
    for _ in 0..80 {
        r.disks(&[("/", 86.0)]);
    }
    r.check(&first);
    for _ in 0..80 {
        r.disks(&[("/", 86.0)]);
    }
    let told = r.told();
    assert_eq!(told.len(), 5, "{told:#?}");
    assert!(
        told[3].starts_with("resolved warn Disk usage of / (10 %) is stable again: it came and went"),
        "{told:#?}"
    );
    assert!(told[4].starts_with("firing warn Disk usage of / is 86 %"), "{told:#?}");
}

#[test]
fn a_disk_that_disappears_ends_its_alert() {
    let mut r = run(0);
    for value in [85.0, 85.0, 85.0, 85.0] {
        r.disks(&[("/", value)]);
    }
    r.wait_ms(400_000);
    assert_eq!(r.told().len(), 2);
    assert!(r.told()[1].starts_with("resolved warn Disk usage of / is no longer reported"), "{:?}", r.told());
}

#[test]
fn one_kill_seen_twice_is_one_alert_two_kills_are_two() {
    let mut r = run(0);
    r.event(Source::Ebpf, oom(1)).wait_ms(2).event(Source::Kmsg, oom(1)).wait_ms(500);
    r.event(Source::Kmsg, oom(2)).wait_ms(100);
    let expect = |pid: u32| {
        format!(
            "firing critical OOM kill: java (pid {pid}, uid 7, 2.0 MiB resident) was killed: \
             cgroup /a reached its limit of 4.0 MiB; triggered by ps (pid 9)"
        )
    };
    r.check(&[&expect(1), &expect(2)]);
    assert_eq!(r.alerts()[0].source, ["ebpf", "kmsg"]);
    assert_eq!(r.engine.tally().events[&(events::OOM_KILLS.name, String::new())], 2);
}

#[test]
fn the_last_wishes_of_a_victim_are_no_alert() {
    let mut r = run(0);
    let failure = |task: &str| {
        What::Log(Box::new(LogMatch {
            rule: "page_allocation_failure".into(),
            severity: Severity::Warn,
            meaning: "no memory".into(),
            line: format!("{task}: page allocation failure: order:0"),
            fields: [("task", task), ("order", "0")].map(|(n, v)| (n.into(), v.into())).into(),
            ..LogMatch::default()
        }))
    };
    let global = |pid| {
        let What::Oom(mut oom) = oom(pid) else { panic!("kind") };
        oom.constraint = Some(Constraint::None);
        What::Oom(oom)
    };
    r.event(Source::Ebpf, global(1)).event(Source::Kmsg, global(1)).wait_ms(20);
    r.event(Source::Kmsg, failure("java")).event(Source::Kmsg, failure("sshd")).wait_ms(100);
    let rules: Vec<_> = r.alerts().iter().map(|a| a.message.contains("sshd")).collect();
    assert_eq!(rules, [false, true], "{:?}", r.told());
    let key = (events::EXPLAINED.name, "page_allocation_failure".to_owned());
    assert_eq!(r.engine.tally().events[&key], 1);
}

#[test]
fn a_storm_of_kills_is_one_alert_and_one_summary() {
    let mut r = run(30);
    for pid in 0..500 {
        r.event(Source::Ebpf, oom(pid)).event(Source::Kmsg, oom(pid)).wait_ms(20);
    }
    r.wait_ms(60_000);
    let told = r.told();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(told[1], "firing critical 499 more OOM kills within 30 s: java ×256, and 243 more");
}

#[test]
fn the_mark_waits_for_what_is_held_back() {
    let mut r = run(30);
    r.event(Source::Kmsg, oom(1)).event(Source::Kmsg, What::KmsgMark(KmsgMark { seq: 5 }));
    assert_eq!(r.out, [], "the kill still waits for its second witness");
    r.wait_ms(60);
    assert!(matches!(r.out[..], [Output::Alert(_), Output::Mark(KmsgMark { seq: 5 })]), "{:?}", r.out);
    r.event(Source::Kmsg, oom(2)).wait_ms(100).event(Source::Kmsg, What::KmsgMark(KmsgMark { seq: 9 }));
    assert_eq!(r.out.len(), 2, "the second kill waits for its group");
    r.wait_ms(30_000);
    assert!(matches!(r.out[2..], [Output::Alert(_), Output::Mark(KmsgMark { seq: 9 })]), "{:?}", r.out);
}

#[test]
fn the_end_tells_what_is_held_back() {
    let mut r = run(30);
    r.event(Source::Kmsg, oom(1)).wait_ms(100).event(Source::Kmsg, oom(2)).wait_ms(100);
    r.event(Source::Ebpf, slow("sda")).event(Source::Ebpf, slow("sda"));
    r.event(Source::Kmsg, oom(3)).event(Source::Kmsg, What::KmsgMark(KmsgMark { seq: 9 }));
    let before = r.told().len();
    r.engine.finish(r.now, &mut r.out);
    r.drop_kept();
    let told = r.told();
    assert_eq!(told.len(), before + 2, "{told:#?}");
    assert!(told[before].contains("2 more OOM kills"), "{told:#?}");
    assert!(matches!(r.out.last(), Some(Output::Mark(KmsgMark { seq: 9 }))));
}

#[test]
fn what_was_told_before_a_restart_is_not_told_again() {
    let mut first = run(30);
    for pid in 1..4 {
        first.event(Source::Ebpf, oom(pid)).event(Source::Kmsg, oom(pid)).wait_ms(20);
    }
    first.event(Source::Ebpf, slow("sda")).wait_ms(40_000);
    let told: Vec<Alert> = first.alerts().into_iter().cloned().collect();
    assert_eq!(told.len(), 3);
    let mut again = run(30);
    let at = again.now;
    again.now = again.now.plus_secs(5);
    again.engine.remember(&told, again.now);
    for pid in 1..5 {
        let event = Event { at, source: Source::Kmsg, historic: false, what: oom(pid) };
        again.engine.step(again.now, Input::Event(event), &mut again.out);
        again.drop_kept();
    }
    again.event(Source::Ebpf, slow("sda")).wait_ms(1000);
    let pids: Vec<_> = again.alerts().iter().map(|a| a.context["victim_pid"].clone()).collect();
    assert_eq!(pids, [4]);
}

#[test]
fn historic_events_are_counted_and_silent() {
    let mut r = run(0);
    let event = Event { at: r.now, source: Source::Kmsg, historic: true, what: oom(1) };
    r.engine.step(r.now, Input::Event(event), &mut r.out);
    r.drop_kept();
    r.wait_ms(1000);
    assert_eq!(r.out, []);
    assert_eq!(r.engine.tally().historic, 1);
}

#[test]
fn a_kill_only_the_counter_saw_is_told() {
    let mut r = run(0);
    r.kills(3).kills(3).event(Source::Ebpf, oom(1)).kills(4).kills(5).kills(5);
    let told = r.told();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[1].contains("killed 1 process for lack of memory; which is unknown"), "{}", told[1]);
    assert_eq!(r.alerts()[1].source, ["counter"]);
}

#[test]
fn repeated_slow_requests_are_counted_and_told_again_at_the_end_of_the_window() {
    let mut r = run(0);
    for _ in 0..40 {
        r.event(Source::Ebpf, slow("sda")).wait_ms(1000);
    }
    assert_eq!(r.told().len(), 1);
    r.event(Source::Ebpf, slow("sdb"));
    assert_eq!(r.told().len(), 2, "another disk is another alert");
    r.wait_ms(600_000);
    let told = r.told();
    assert_eq!(told.len(), 3);
    assert!(told[2].ends_with("(occurred 39 times in the last 10 min)"), "{}", told[2]);
}

#[test]
fn lost_events_are_noticed_once_a_minute_and_counted() {
    let mut r = run(0);
    for _ in 0..100 {
        r.event(Source::Ebpf, What::Lost(Lost { part: "perf", count: 2, reason: "full" })).wait_ms(1000);
    }
    assert_eq!(r.engine.tally().lost[&("perf", "full")], 200);
    assert_eq!(
        r.out,
        [
            Output::Notice("perf lost 2 events (full), 2 since the start".into()),
            Output::Notice("perf lost 2 events (full), 122 since the start".into()),
        ]
    );
}

#[test]
fn what_was_lost_is_told_and_what_was_left_out_is_not() {
    let mut r = run(0);
    r.event(Source::Ebpf, What::Lost(Lost { part: "block_io", count: 9, reason: "kernel_rate_limit" }));
    r.event(Source::Ebpf, What::Lost(Lost { part: "ebpf", count: 2, reason: "buffer_full" })).wait_ms(100);
    r.event(Source::Kmsg, What::Lost(Lost { part: "kmsg", count: 4015, reason: "overwritten" })).wait_ms(100);
    let told = r.told();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with("firing warn 2 records of eBPF programs found their buffer full: "),
        "{told:?}"
    );
    assert!(
        told[1].contains("4015 records of the kernel log were overwritten")
            && told[1].contains("log_buf_len=")
    );
}

#[test]
fn during_warm_up_levels_are_learned_and_events_speak() {
    let mut r = run(0);
    r.engine.settings.warmup_secs = 60;
    for _ in 0..6 {
        r.disks(&[("/", 95.0)]);
    }
    assert_eq!(r.told().len(), 0);
    r.event(Source::Ebpf, oom(1)).wait_ms(100);
    assert_eq!(r.told().len(), 1);
    r.disks(&[("/", 95.0)]);
    assert_eq!(r.alerts()[1].status, Status::Firing);
}

#[test]
fn labels_of_counters_are_bounded_and_known_ones_go_on() {
    let mut r = run(0);
    for n in 0..1000 {
        r.event(Source::Ebpf, slow(&format!("d{n}")));
    }
    r.event(Source::Ebpf, slow("d1"));
    let count = |name: &str| r.engine.tally().events[&("block_io_slow_total", name.to_owned())];
    assert_eq!((count("d1"), count("other")), (2, 488));
}

#[test]
fn late_witnesses_of_a_storm_are_no_storm_of_updates() {
    let mut r = run(30);
    let vague = |pid| {
        let What::Oom(mut oom) = oom(pid) else { unreachable!() };
        (oom.constraint, oom.limit_kb) = (None, None);
        What::Oom(oom)
    };
    for pid in 0..400 {
        r.event(Source::Ebpf, vague(pid)).wait_ms(10);
        if pid >= 10 {
            r.event(Source::Kmsg, oom(pid - 10));
        }
    }
    r.wait_ms(60_000);
    assert_eq!(r.told().len(), 3, "the first, its update, the summary");
}

/// A victim of the group `/s/whole`, as eBPF sees it.
fn member(pid: u32, trigger_tid: u32) -> What {
    let What::Oom(mut oom) = oom(pid) else { unreachable!() };
    (oom.constraint, oom.oom_memcg, oom.limit_kb) = (None, None, None);
    oom.victim.cgroup = Some("/s/whole/leaf".into());
    oom.trigger_tid = Some(trigger_tid);
    What::Oom(oom)
}

/// The same in the kernel log, which names the chosen one with its others.
fn logged(pid: u32, first: Option<u32>) -> What {
    let What::Oom(mut oom) = oom(pid) else { unreachable!() };
    let group = |first| KillGroup { path: Some("/s/whole".into()), first: Some(first), serial: None };
    (oom.oom_memcg, oom.group) = (Some("/s".into()), first.map(group));
    What::Oom(oom)
}

#[test]
fn a_group_that_dies_together_is_one_incident() {
    let mut r = run(0);
    r.groups(true, &[("/s", 4096, 0), ("/s/whole", 4096, 0)]);
    for pid in [1, 2, 3] {
        r.event(Source::Ebpf, member(pid, 9));
    }
    r.wait_ms(1).event(Source::Kmsg, logged(1, None));
    r.event(Source::Kmsg, logged(2, Some(1))).event(Source::Kmsg, logged(3, Some(1))).wait_ms(100);
    r.check(&["firing critical OOM kill: java (pid 1, uid 7, 2.0 MiB resident) and 2 more processes were \
               killed together: cgroup /s reached its limit of 4.0 MiB; triggered by ps (pid 9)"]);
    let alert = r.alerts()[0];
    let pids: Vec<_> =
        alert.context["victims"].as_array().unwrap().iter().map(|v| v["pid"].clone()).collect();
    assert_eq!(pids, [1, 2, 3]);
    assert_eq!(
        (alert.context["victims_count"].clone(), alert.context["killed_group"].clone()),
        (3.into(), "/s/whole".into())
    );
    assert_eq!(alert.source, ["ebpf", "kmsg"]);
    assert_eq!(r.engine.incidents.oom_seen(), 3, "the machine's counter counts them all");
    assert_eq!(r.engine.tally().events[&(events::OOM_KILLS.name, String::new())], 3);
    // After a restart the log is read again.
    let told: Vec<Alert> = r.alerts().into_iter().cloned().collect();
    let mut again = run(0);
    again.engine.remember(&told, again.now);
    for (pid, first) in [(1, None), (2, Some(1)), (3, Some(1))] {
        again.event(Source::Kmsg, logged(pid, first));
    }
    again.wait_ms(1000);
    again.check(&[]);
}

#[test]
fn others_that_come_late_are_one_update() {
    let mut r = run(0);
    // Nothing says beforehand that the whole group dies.
    r.event(Source::Kmsg, logged(1, None)).event(Source::Ebpf, oom(1)).wait_ms(1);
    assert_eq!(r.told().len(), 1);
    for pid in 2..500 {
        r.event(Source::Kmsg, logged(pid, Some(1)));
    }
    r.wait_ms(200);
    assert_eq!(r.told().len(), 2, "{:#?}", r.told());
    assert!(r.told()[1].starts_with("updated critical OOM kill: java (pid 1,"), "{:?}", r.told());
    assert!(r.told()[1].contains("and 498 more processes"), "{:?}", r.told());
    let alert = r.alerts()[1];
    assert_eq!(alert.context["victims"].as_array().map(Vec::len), Some(32), "the list is bounded");
    assert_eq!(alert.context["victims_count"], 499);
    for pid in 400..500 {
        r.event(Source::Ebpf, logged(pid, Some(1)));
    }
    assert_eq!(r.engine.incidents.oom_seen(), 499, "those beyond the list are counted by one witness");
}

#[test]
fn neighbours_in_a_group_are_not_one_kill() {
    let mut r = run(0);
    r.groups(true, &[("/s/whole", 4096, 0), ("/s/b", 4096, 0)]);
    r.event(Source::Ebpf, member(1, 9)).wait_ms(1200);
    r.event(Source::Ebpf, member(2, 9)).wait_ms(1200);
    assert_eq!(r.told().len(), 2, "another moment");
    r.event(Source::Ebpf, member(3, 9)).event(Source::Ebpf, member(4, 8)).wait_ms(200);
    assert_eq!(r.told().len(), 4, "another trigger");
    let plain = |pid| {
        let What::Oom(mut oom) = member(pid, 9) else { unreachable!() };
        oom.victim.cgroup = Some("/s/b".into());
        What::Oom(oom)
    };
    r.event(Source::Ebpf, plain(5)).event(Source::Ebpf, plain(6)).wait_ms(200);
    assert_eq!(r.told().len(), 6, "memory.oom.group is not set");
    assert!(r.alerts().iter().all(|alert| alert.status == Status::Firing));
}

#[test]
fn a_group_that_is_gone_is_known_from_before() {
    let mut r = run(0);
    r.groups(false, &[("/docker/x", 4096, 0)]).wait_ms(7_000).groups(false, &[]);
    let What::Oom(mut oom) = oom(1) else { unreachable!() };
    (oom.oom_memcg, oom.limit_kb) = (Some("/docker/x".into()), None);
    r.event(Source::Kmsg, What::Oom(oom)).wait_ms(100);
    let context = &r.alerts()[0].context;
    assert_eq!((context["limit_kb"].clone(), context["failcnt"].clone()), (4096.into(), 9.into()));
    assert_eq!(
        (context["figures_age_secs"].clone(), context["memory_events"]["oom_kill"].clone()),
        (7.into(), 0.into())
    );
    assert!(r.told()[0].contains("cgroup /docker/x reached its limit of 4.0 MiB"), "{:?}", r.told());
}

#[test]
fn a_guessed_group_is_told_as_a_guess() {
    let mut r = run(0);
    r.groups(true, &[("/s", 4096, 0), ("/s/a", 2048, 9)]);
    let kill = |pid, trigger: Option<&str>| {
        let What::Oom(mut oom) = oom(pid) else { unreachable!() };
        (oom.oom_memcg, oom.limit_kb) = (None, None);
        oom.victim.cgroup = Some("/s/a".into());
        oom.trigger.cgroup = trigger.map(str::to_owned);
        What::Oom(oom)
    };
    r.event(Source::Kmsg, kill(1, Some("/s/b"))).wait_ms(100);
    let told = r.told();
    assert!(told[0].contains("a memory cgroup reached its limit, by the figures /s (4.0 MiB)"), "{told:?}");
    assert_eq!(r.alerts()[0].context["oom_memcg_guessed"], true);
    let mut r = run(0);
    r.groups(true, &[("/s", 4096, 0), ("/s/a", 2048, 9)]);
    r.event(Source::Kmsg, kill(2, Some("/q"))).wait_ms(100);
    let told = r.told();
    assert!(told[0].contains("or one around it, reached its limit; which one is unknown"), "{told:?}");
    assert_eq!(r.alerts()[0].context.get("limit_kb"), None);
}

#[test]
fn the_groups_own_counter_tells_where_an_unseen_kill_was() {
    let mut r = run(0);
    let groups = |a, b| {
        [("/system.slice", 9, a + b), ("/system.slice/a.service", 9, a), ("/system.slice/b.service", 9, b)]
    };
    r.groups(true, &groups(0, 0)).kills(3).kills(3);
    // One is told, one is not.
    let What::Oom(mut told) = oom(1) else { unreachable!() };
    told.victim.cgroup = Some("/system.slice/a.service".into());
    r.event(Source::Ebpf, What::Oom(told)).wait_ms(100);
    r.groups(true, &groups(1, 1)).kills(5).kills(5).kills(5);
    let told = r.told();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[1].contains("killed 1 process in cgroup /system.slice/b.service for lack"), "{}", told[1]);
    let alert = r.alerts()[1];
    assert_eq!(
        (alert.labels["unit"].as_str(), alert.context["cgroups"][0]["kills"].clone()),
        ("b.service", 1.into())
    );
    r.kills(6).kills(6).kills(6);
    assert!(
        r.told()[2].contains("killed 1 process for lack"),
        "not blamed on the same group again: {:?}",
        r.told()
    );
}

#[test]
fn witnesses_that_disagree_are_counted() {
    let mut r = run(0);
    r.event(Source::Ebpf, oom(1)).event(Source::Kmsg, oom(1));
    r.event(Source::Ebpf, oom(2)).event(Source::Kmsg, oom(3)).event(Source::Kmsg, oom(4));
    r.wait_ms(30_000).event(Source::Ebpf, oom(5));
    r.kills(0).kills(2).kills(2);
    let count =
        |kind: &str| r.engine.tally().events.get(&(events::DISAGREEMENTS.name, kind.to_owned())).copied();
    assert_eq!((count("ebpf_only"), count("log_only"), count("counter_only")), (Some(2), Some(2), Some(2)));
    let mut alone = run(0);
    alone.engine.incidents = Incidents::new(Witnesses { oom: vec![Source::Kmsg], ..Witnesses::default() });
    alone.event(Source::Kmsg, oom(1)).wait_ms(30_000).event(Source::Kmsg, oom(2));
    assert!(
        !alone.engine.tally().events.keys().any(|(name, _)| *name == events::DISAGREEMENTS.name),
        "nobody else was up"
    );
}

#[test]
fn a_witness_that_is_down_is_not_waited_for() {
    let mut r = run(0);
    let stands = |is_up| What::Witness { is_up };
    let disagreements = |r: &Run| {
        r.engine.tally().events.iter().filter(|((name, _), _)| *name == events::DISAGREEMENTS.name).count()
    };
    r.engine.settings.witnesses = Witnesses { oom: vec![Source::Ebpf], ..Witnesses::default() };
    r.engine.incidents.heed(&r.engine.settings.witnesses.clone());
    // It has not come up: told at once, and nobody disagrees.
    r.event(Source::Ebpf, oom(1));
    assert_eq!(r.told().len(), 1);
    r.event(Source::Journal, stands(true)).event(Source::Ebpf, oom(2));
    assert_eq!(r.told().len(), 1, "it may add something");
    r.wait_ms(30_000);
    assert_eq!((r.told().len(), disagreements(&r)), (2, 1));
    r.event(Source::Journal, stands(false)).event(Source::Ebpf, oom(3));
    assert_eq!(r.told().len(), 3);
    r.wait_ms(30_000);
    assert_eq!(disagreements(&r), 1);
    r.event(Source::Journal, stands(true)).event(Source::Journal, stands(true));
    assert_eq!(r.engine.settings.witnesses.oom, [Source::Ebpf, Source::Journal]);
}

fn hang(pid: u32, wchan: &str) -> What {
    let task = Task { pid: Some(pid), comm: Some("dd".into()), start_ticks: Some(9), ..Task::default() };
    let hang =
        crate::event::Hang { task, wchan: Some(wchan.into()), blocked_secs: Some(30), ..Default::default() };
    What::Hang(Box::new(hang))
}

fn released(pid: u32) -> What {
    What::Released(vec![crate::event::TaskId { pid, start_ticks: Some(9) }])
}

#[test]
fn a_hang_is_followed_told_and_over() {
    let mut r = run(30);
    r.event(Source::Watch, hang(7, "f"));
    assert!(matches!(&r.out[..], [Output::Follow(task)] if !task.facts), "{:?}", r.out);
    r.wait_ms(60_000).event(Source::Watch, released(7)).wait_ms(1000);
    r.check(&[
        "firing warn Hung task: dd (pid 7) has been blocked in the kernel for more than 30 s, waiting in f",
        "resolved warn Hang cleared after 1 min 30 s: dd (pid 7) goes on, having waited in f",
    ]);
    let alerts = r.alerts();
    assert_eq!((&alerts[0].id, &alerts[0].fingerprint), (&alerts[1].id, &alerts[1].fingerprint));
    assert_eq!((alerts[1].duration_secs, alerts[1].ended_at.is_some()), (90, true));
    assert_eq!(r.engine.tally().events[&(events::HUNG_TASKS.name, String::new())], 1);
}

#[test]
fn a_hang_that_is_over_before_its_summary_is_told_in_it() {
    let mut r = run(30);
    r.event(Source::Watch, hang(7, "f"))
        .event(Source::Watch, hang(8, "g"))
        .event(Source::Watch, hang(9, "h"));
    r.wait_ms(1000).event(Source::Watch, released(8)).wait_ms(40_000);
    let told = r.told();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(told[1], "firing warn 2 more hangs within 30 s: dd (pid 8) cleared after 31 s, dd (pid 9)");
    let alert = r.alerts()[1];
    assert_eq!(
        (&alert.context["alerts"][0]["status"], &alert.context["incidents"][0]["over"]),
        (&"resolved".into(), &true.into())
    );
    assert!(alert.ended_at.is_none() && !alert.is_only_message(), "one still stands");
}

#[test]
fn the_end_of_a_hang_of_before_a_restart_is_told() {
    let mut first = run(30);
    first.event(Source::Watch, hang(7, "f")).event(Source::Watch, hang(8, "f")).wait_ms(1000);
    let told: Vec<Alert> = first.alerts().into_iter().cloned().collect();
    let again = |more: &[Alert]| {
        let mut again = run(30);
        again.now = again.now.plus_secs(5);
        again.engine.remember(told.iter().chain(more), again.now);
        again.event(Source::Watch, hang(7, "f")).event(Source::Watch, hang(8, "f")).wait_ms(1000);
        again.event(Source::Watch, released(7)).event(Source::Watch, released(8)).wait_ms(1000);
        again
    };
    let over = again(&[]);
    over.check(&["resolved warn Hang cleared after 36 s: dd (pid 7) and 1 more go on, having waited in f"]);
    assert_eq!(over.alerts()[0].id, told[0].id);
    assert_eq!(over.out.iter().filter(|o| matches!(o, Output::Follow(_))).count(), 2);
    let ended: Vec<Alert> = over.alerts().into_iter().cloned().collect();
    let mut anew = again(&ended);
    assert_eq!(anew.told().len(), 0, "the same task hung anew: a repetition");
    anew.wait_ms(700_000);
    assert_eq!(anew.told().len(), 1, "which is told when its window ends: {:#?}", anew.told());
}
