use super::*;
use crate::analyze::baseline::LEARN;
use crate::sample::Latency;

const STEP: u64 = 10 * SECOND;

fn policy() -> DiskPolicy {
    let limits =
        Limits { op: Op::Above, warn: Some(500.0), critical: Some(2000.0), clear: None, whole: false };
    DiskPolicy { limit: Policy { limits, for_secs: 30 }, factor: 10.0, least_ms: 20.0, for_secs: 60 }
}

fn window(p99_ms: f64, requests: u64) -> DiskWindow {
    let latency = Latency { requests, p99_ms, ..Latency::default() };
    DiskWindow {
        device: "sda".into(),
        op: "read",
        errors: 0,
        latency: (requests > 0).then_some(latency),
        queue: None,
        scene: None,
    }
}

struct Run {
    disks: Disks,
    at_ns: u64,
    drafts: Vec<Draft>,
    policy: DiskPolicy,
}

impl Run {
    fn new() -> Self {
        Self { disks: Disks::new(1), at_ns: 1000 * SECOND, drafts: Vec::new(), policy: policy() }
    }

    /// So many intervals like this one.
    fn times(&mut self, times: u32, p99_ms: f64, requests: u64) -> &mut Self {
        for _ in 0..times {
            self.pass(&[window(p99_ms, requests)], false);
        }
        self
    }

    fn pass(&mut self, windows: &[DiskWindow], learning: bool) {
        self.at_ns += STEP;
        let now = Now { mono_ns: self.at_ns, wall_ns: 0 };
        let windows = windows.iter().cloned();
        self.disks.take((now, self.at_ns), windows, &self.policy, learning, &mut self.drafts);
    }

    /// What was told since the previous check.
    fn check(&mut self, expect: &[&str]) -> &mut Self {
        let told: Vec<String> = self
            .drafts
            .drain(..)
            .map(|d| format!("{} {} {}", d.status.name(), d.severity.name(), d.message))
            .collect();
        assert_eq!(told, expect);
        self
    }
}

#[test]
fn over_the_limit_for_long_enough_is_an_alert() {
    let mut run = Run::new();
    run.times(5, 3.0, 50).times(2, 700.0, 50).check(&[]);
    run.times(1, 700.0, 50).check(&[
        "firing warn Slow disk: the slowest 1 % of reads on sda took 700 ms or more, over 500 ms for 30 s",
    ]);
    run.times(9, 700.0, 50).check(&[]);
    run.times(3, 2500.0, 50).check(&[
        "updated critical Slow disk: the slowest 1 % of reads on sda took 2500 ms or more, over 2000 ms for 2 min 30 s",
    ]);
    run.times(1, 4.0, 50).check(&[
        "resolved critical Disk is fast again: 99 of 100 reads on sda take at most 4 ms after 2 min 40 s",
    ]);
    run.times(2, 700.0, 50).times(1, 3.0, 50).times(2, 700.0, 50).check(&[]);
}

#[test]
fn few_requests_are_not_judged() {
    let mut run = Run::new();
    run.times(50, 900.0, LEAST_REQUESTS - 1).check(&[]);
    for _ in 0..20 {
        run.times(2, 900.0, 50).times(1, 900.0, 3);
    }
    run.check(&[]);
    assert_eq!(run.times(3, 900.0, LEAST_REQUESTS).drafts.len(), 0, "the first interval stands for nothing");
    assert_eq!(run.times(1, 900.0, LEAST_REQUESTS).drafts.len(), 1);
}

#[test]
fn a_rise_far_over_the_usual_is_worth_knowing() {
    let mut run = Run::new();
    run.times(LEARN + 1, 2.0, 500).times(5, 85.0, 500).check(&[]);
    run.times(1, 85.0, 500).check(&[
        "firing info Slow disk: the slowest 1 % of reads on sda took 85 ms or more, 40 times the usual 2.1 ms, for 1 min",
    ]);
    run.times(3, 15.0, 500).check(&[]);
    run.times(1, 9.0, 500).check(&[
        "resolved info Disk is fast again: 99 of 100 reads on sda take at most 9 ms after 1 min 40 s",
    ]);
}

#[test]
fn both_are_one_incident() {
    let mut run = Run::new();
    run.times(LEARN + 1, 2.0, 500).times(6, 300.0, 500);
    assert_eq!(run.drafts.len(), 1);
    let id = run.drafts[0].id.clone();
    run.times(3, 900.0, 500);
    let last = run.drafts.last().expect("it got worse");
    assert_eq!((last.status, last.severity, &last.id), (Status::Updated, Severity::Warn, &id));
    run.times(1, 300.0, 500);
    let last = run.drafts.last().expect("it got better");
    assert_eq!((last.status, last.severity, last.threshold), (Status::Updated, Severity::Info, None));
    run.times(1, 2.0, 500);
    let last = run.drafts.last().expect("it is over");
    assert_eq!((last.status, last.severity, &last.id), (Status::Resolved, Severity::Warn, &id));
    assert_eq!(run.drafts.len(), 4);
}

#[test]
fn nobody_feels_small_numbers() {
    let mut run = Run::new();
    run.times(LEARN, 0.1, 500).times(30, 1.0, 500).times(30, 19.0, 500).check(&[]);
    let mut off = Run::new();
    off.policy.factor = 0.0;
    off.times(LEARN, 2.0, 500).times(30, 400.0, 500).check(&[]);
}

#[test]
fn a_lasting_change_ends_by_itself() {
    let mut run = Run::new();
    run.times(LEARN, 2.0, 500).times(5000, 50.0, 500);
    let told: Vec<_> = run.drafts.iter().map(|d| d.status).collect();
    assert_eq!(told, [Status::Firing, Status::Resolved]);
}

#[test]
fn without_traffic_an_incident_stands_for_five_minutes() {
    let mut run = Run::new();
    run.times(4, 900.0, 50).drafts.clear();
    run.times(29, 0.0, 0).check(&[]);
    run.times(1, 0.0, 0).check(&[
        "resolved warn Slow disk: reads on sda are no longer judged, there are too few; the alert stood for 5 min 30 s",
    ]);
}

#[test]
fn a_device_that_is_gone_ends_its_incident_and_is_forgotten() {
    let mut run = Run::new();
    run.times(4, 900.0, 50).drafts.clear();
    let other = DiskWindow { device: "sdb".into(), ..window(1.0, 50) };
    for _ in 0..30 {
        run.pass(std::slice::from_ref(&other), false);
    }
    assert_eq!(run.drafts.iter().map(|d| d.status).collect::<Vec<_>>(), [Status::Resolved]);
    assert_eq!(run.disks.states.len(), 1);
}

#[test]
fn while_learning_nothing_fires() {
    let mut run = Run::new();
    for _ in 0..20 {
        run.pass(&[window(900.0, 500)], true);
    }
    run.check(&[]);
    assert_eq!(run.times(1, 900.0, 500).drafts.len(), 1, "what was bad all the time is told then");
}

#[test]
fn devices_are_bounded() {
    let mut run = Run::new();
    let many: Vec<_> = (0..MAX_DISKS + 5)
        .map(|i| DiskWindow { device: format!("d{i}").into(), ..window(900.0, 50) })
        .collect();
    run.pass(&many, false);
    assert_eq!((run.disks.states.len(), run.disks.refused()), (MAX_DISKS, 5));
}

#[test]
fn the_least_alert_is_the_least_of_all_limits() {
    for (warn, critical, factor, expect) in [
        (Some(500.0), Some(2000.0), 10.0, 20.0),
        (Some(5.0), None, 10.0, 5.0),
        (None, Some(2000.0), 0.0, 2000.0),
        (None, None, 0.0, f64::INFINITY),
    ] {
        let mut policy = policy();
        (policy.limit.limits.warn, policy.limit.limits.critical, policy.factor) = (warn, critical, factor);
        assert!(policy.least_alert_ms().total_cmp(&expect).is_eq(), "{warn:?} {critical:?} {factor}");
    }
}
