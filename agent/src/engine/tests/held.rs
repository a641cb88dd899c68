//! What is held back, by what, and when it is told after all.

use super::rules::with;
use super::*;
use crate::config::Schedule;
use crate::engine::control::{Answer, NewSilence, Order};
use crate::engine::quiet::maintenance::Window;

fn silence(r: &mut Run, matcher: &str, mount: &str, secs: u64) -> Answer {
    let labels = BTreeMap::from([("mount".to_owned(), mount.to_owned())]);
    let (reason, by) = ("move".into(), "root".into());
    let new = NewSilence { matcher: matcher.into(), labels, secs, reason, by, force: false };
    let answer = r.engine.order(r.now, Order::Silence(new), &mut r.out).expect("a silence");
    r.drop_kept();
    answer
}

/// So many readings of one disk, 10 s apart.
pub(super) fn hold(r: &mut Run, times: usize, mount: &str, percent: f64) {
    for _ in 0..times {
        r.disks(&[(mount, percent)]);
    }
}

fn full(r: &mut Run, times: usize) {
    for _ in 0..times {
        r.disks(&[("/a", 85.0), ("/b", 85.0)]);
    }
}

#[test]
fn a_silence_holds_back_is_seen_and_at_its_end_what_stands_is_told() {
    let mut r = run(0);
    assert_eq!(silence(&mut r, "disk_used_percent", "/a", 100), Answer::Silenced { id: 1, unkept: None });
    full(&mut r, 5);
    r.check(&["firing warn Disk usage of /b is 85 %, over 80 % for 30 s"]);
    let view = r.engine.view(r.now);
    let held: Vec<_> =
        view.active.iter().map(|a| (&*a.labels["mount"], a.suppressed_by.as_deref())).collect();
    assert!(held.contains(&("/a", Some("silence 1"))) && held.contains(&("/b", None)), "{view:#?}");
    assert_eq!((view.suppressed["silence"], view.silences[0].held, view.silences.len()), (1, 1, 1));
    full(&mut r, 7);
    let told = r.told();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(
        told[1],
        "firing warn Disk usage of /a is 85 %, over 80 % for 1 min 40 s (held back until now: silence 1)"
    );
    assert!(r.engine.view(r.now).silences.is_empty());
}

#[test]
fn a_silence_by_the_labels_of_the_host_holds_its_alerts_back() {
    for (given, held) in [("prod", true), ("test", false)] {
        let mut r = with(|settings| drop(settings.identity.labels.insert("env".into(), "prod".into())));
        let labels = BTreeMap::from([("env".to_owned(), given.to_owned())]);
        let new = NewSilence { matcher: "*".into(), labels, secs: 1000, ..NewSilence::default() };
        r.engine.order(r.now, Order::Silence(new), &mut r.out).expect("a silence");
        r.drop_kept();
        hold(&mut r, 5, "/a", 85.0);
        assert_eq!(r.told().is_empty(), held, "{given}: {:#?}", r.told());
    }
}

#[test]
fn what_ends_while_it_is_silenced_is_never_told_and_a_recovery_always_is() {
    let mut r = run(0);
    full(&mut r, 5);
    assert_eq!(r.told().len(), 2);
    silence(&mut r, "*", "/a", 1000);
    silence(&mut r, "*", "/c", 1000);
    for _ in 0..5 {
        r.disks(&[("/a", 10.0), ("/c", 99.0)]);
    }
    r.disks(&[("/c", 1.0)]);
    let told = r.told();
    assert_eq!(told[2..], ["resolved warn Disk usage of /a is back to 10 % after 50 s"]);
    assert_eq!(r.engine.view(r.now).suppressed["over before it was told"], 1);
}

#[test]
fn a_revoked_silence_lets_go_at_once() {
    let mut r = run(0);
    silence(&mut r, "disk_used_percent", "/a", 1000);
    full(&mut r, 5);
    let answer = r.engine.order(r.now, Order::Revoke(1), &mut r.out);
    assert!(matches!(answer, Ok(Answer::Revoked { silence, .. }) if silence.held == 1));
    assert_eq!(r.told().len(), 2, "{:#?}", r.told());
    assert!(r.engine.order(r.now, Order::Revoke(1), &mut r.out).is_err());
}

#[test]
fn a_maintenance_window_holds_back_and_lets_go() {
    let mut r = with(|settings| {
        // It is Sunday, 16:30.
        let schedule = Schedule::parse("Sun 16:00-16:32").expect("a schedule");
        let labels = vec![("env".to_owned(), "prod".to_owned())];
        settings.maintenance = vec![Window { name: "patch".into(), schedule, labels }];
    });
    full(&mut r, 6);
    r.check(&[]);
    let view = r.engine.view(r.now);
    assert_eq!((view.maintenance[0].left_secs, view.suppressed["maintenance patch"]), (60, 2));
    full(&mut r, 7);
    assert_eq!(r.told().len(), 2, "{:#?}", r.told());
    assert!(r.engine.view(r.now).maintenance.is_empty());
}

#[test]
fn what_nobody_mends_becomes_an_emergency_once() {
    let mut r = with(|settings| settings.escalation.emergency_after_mins = 5);
    for _ in 0..60 {
        r.disks(&[("/", 95.0)]);
    }
    r.disks(&[("/", 10.0)]);
    let told = r.told();
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told[1].starts_with("updated emergency Disk usage of / is 95 %"), "{told:#?}");
    assert!(told[1].ends_with("(critical for 5 min, so it counts as an emergency)"), "{told:#?}");
    assert!(told[2].starts_with("resolved emergency Disk usage of / is back"), "{told:#?}");
}

#[test]
fn a_warning_that_comes_again_and_again_is_critical() {
    let mut r = with(|settings| {
        settings.escalation.critical_after = 1;
        settings.manners.dedup_secs = [0; 4];
        settings.manners.min_interval_secs = 0;
    });
    for _ in 0..2 {
        for value in [85.0; 60] {
            r.disks(&[("/", value)]);
        }
        r.disks(&[("/", 10.0)]);
    }
    let told = r.told();
    assert_eq!(told.len(), 4, "{told:#?}");
    assert!(told[0].starts_with("firing warn") && told[2].starts_with("firing critical"), "{told:#?}");
    assert!(told[2].ends_with("(it began 2 times in a row, so it counts as critical)"), "{told:#?}");
    assert!(told[3].starts_with("resolved critical"), "{told:#?}");
}

#[test]
fn what_flaps_more_often_than_the_escalation_allows_is_critical_too() {
    let mut r = with(|settings| {
        settings.escalation.critical_after = 4;
        settings.manners.dedup_secs = [0; 4];
        settings.manners.min_interval_secs = 0;
    });
    for _ in 0..6 {
        hold(&mut r, 4, "/", 85.0);
        hold(&mut r, 1, "/", 10.0);
    }
    let told = r.told();
    let of_flapping: Vec<_> = told.iter().filter(|t| t.contains("coming and going")).collect();
    assert_eq!(of_flapping.len(), 2, "{told:#?}");
    assert!(of_flapping[0].starts_with("firing warn"), "{told:#?}");
    assert!(of_flapping[1].starts_with("updated critical"), "{told:#?}");
    assert!(of_flapping[1].contains("it began 5 times in a row"), "{told:#?}");
}

const LOST: Metric = Metric { name: "gpu_lost", labels: &["gpu"], unit: Unit::Count, ..USED };
const HOT: Metric = Metric { name: "gpu_temperature_celsius", labels: &["gpu"], unit: Unit::Celsius, ..USED };

#[test]
fn a_lost_gpu_hides_its_own_readings_and_says_so() {
    let mut r = with(|settings| {
        let rule = |metric: &str| Rule {
            name: metric.into(),
            metric: metric.into(),
            subject: metric.to_owned().into(),
            shown: &["gpu"],
            ..settings.rules[0].clone()
        };
        settings.rules = vec![rule("gpu_lost"), rule("gpu_temperature_celsius")];
    });
    let read = |r: &mut Run, lost: f64, hot: f64, times: usize| {
        for _ in 0..times {
            r.samples.begin("gpu", r.now, None);
            r.samples.put(&LOST, &["0"], lost);
            for gpu in ["0", "1"] {
                r.samples.put(&HOT, &[gpu], hot);
            }
            let mut batch = r.samples.finish();
            r.engine.step(r.now, Input::Batch(&mut batch), &mut r.out);
            r.drop_kept();
            r.wait_ms(10_000);
        }
    };
    read(&mut r, 95.0, 1.0, 5);
    read(&mut r, 95.0, 85.0, 10);
    let told = r.told();
    assert!(told[0].starts_with("firing critical gpu_lost 0"), "{told:#?}");
    assert!(told[1].starts_with("firing warn gpu_temperature_celsius 1"), "{told:#?}");
    assert!(told[2].starts_with("updated critical gpu_lost 0"), "{told:#?}");
    assert!(told[2].ends_with("; with it: gpu_temperature_celsius 0 (85 %)"), "{told:#?}");
    assert_eq!(told.len(), 3, "{told:#?}");
    assert_eq!(r.engine.view(r.now).suppressed["inhibited by gpu_lost"], 1);
    // It is back, and still hot.
    read(&mut r, 1.0, 85.0, 3);
    let told = r.told();
    assert!(told[3].starts_with("resolved critical gpu_lost 0"), "{told:#?}");
    assert!(told[4].ends_with("(held back until now: inhibited by gpu_lost)"), "{told:#?}");
}

#[test]
fn an_oom_of_the_group_above_hides_those_below() {
    let mut r = run(0);
    let kill = |pid: u32, group: &str| {
        let What::Oom(mut oom) = oom(pid) else { unreachable!() };
        oom.oom_memcg = Some(group.into());
        oom.victim.cgroup = Some(group.into());
        What::Oom(oom)
    };
    for (pid, group) in [(1, "/a"), (2, "/a/b"), (3, "/ab"), (4, "/a")] {
        r.event(Source::Ebpf, kill(pid, group)).event(Source::Kmsg, kill(pid, group)).wait_ms(200);
    }
    let told: Vec<_> = r.told().into_iter().filter(|t| t.starts_with("firing")).collect();
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told.iter().all(|t| !t.contains("pid 2")), "{told:#?}");
    assert_eq!(r.engine.view(r.now).suppressed["inhibited by oom_kill"], 1);
    r.wait_ms(40_000).event(Source::Ebpf, kill(5, "/a/b")).event(Source::Kmsg, kill(5, "/a/b")).wait_ms(200);
    assert!(r.told().iter().any(|t| t.contains("pid 5")), "{:#?}", r.told());
}

#[test]
fn what_is_on_its_way_is_seen_with_how_long_to_go() {
    let mut r = run(0);
    r.disks(&[("/", 1.0)]).disks(&[("/", 95.0)]);
    let pending = r.engine.view(r.now).pending;
    assert_eq!(pending.len(), 1, "{pending:#?}");
    assert_eq!(
        (pending[0].severity, pending[0].held_secs, pending[0].to_go_secs),
        (Severity::Critical, 20, 10)
    );
}

pub(super) fn flap(r: &mut Run, times: usize, value: f64) {
    for _ in 0..times {
        hold(r, 4, "/", value);
        r.disks(&[("/", 10.0)]);
    }
}

pub(super) fn eager(settings: &mut Settings) {
    settings.manners.dedup_secs = [0; 4];
    settings.manners.min_interval_secs = 0;
}

#[test]
fn what_flaps_as_a_warning_and_gets_critical_is_told() {
    let mut r = with(eager);
    flap(&mut r, 4, 85.0);
    let before = r.told();
    assert_eq!(
        before.iter().filter(|line| line.contains("keeps coming and going: 6")).count(),
        1,
        "{before:#?}"
    );
    flap(&mut r, 3, 95.0);
    let told = r.told();
    let news: Vec<_> = told[before.len()..].iter().filter(|line| line.contains("critical")).collect();
    assert_eq!(news.len(), 1, "{told:#?}");
    assert!(news[0].starts_with("updated critical Disk usage of / is 95 %"), "{told:#?}");
    assert!(news[0].ends_with("; it keeps coming and going"), "{told:#?}");
    for _ in 0..100 {
        r.disks(&[("/", 10.0)]);
    }
    let end = r.told().pop();
    assert!(
        end.as_ref()
            .is_some_and(|line| line.starts_with("resolved critical Disk usage of / (10 %) is stable")),
        "{end:?}"
    );
}

#[test]
fn a_silence_holds_back_flapping_escalation_and_what_waits() {
    let mut r = with(eager);
    silence(&mut r, "*", "/", 100_000);
    flap(&mut r, 5, 85.0);
    r.check(&[]);

    let mut r = with(|settings| {
        eager(settings);
        settings.escalation.emergency_after_mins = 1;
    });
    hold(&mut r, 4, "/", 95.0);
    assert_eq!(r.told().len(), 1);
    silence(&mut r, "disk_used_percent", "/", 600);
    hold(&mut r, 30, "/", 95.0);
    assert_eq!(r.told().len(), 1, "{:#?}", r.told());
    hold(&mut r, 60, "/", 95.0);
    assert!(r.told()[1].starts_with("updated emergency"), "{:#?}", r.told());

    // A repetition that waits for the end of its window.
    let mut r = run(0);
    hold(&mut r, 4, "/", 85.0);
    r.disks(&[("/", 10.0)]);
    hold(&mut r, 4, "/", 85.0);
    let before = r.told().len();
    silence(&mut r, "disk_used_percent", "/", 5000);
    hold(&mut r, 100, "/", 85.0);
    assert_eq!(r.told().len(), before, "{:#?}", r.told());
    let view = r.engine.view(r.now);
    assert_eq!(view.active[0].suppressed_by.as_deref(), Some("silence 1"));
    hold(&mut r, 500, "/", 85.0);
    assert_eq!(r.told().len(), before + 1, "{:#?}", r.told());
}

#[test]
fn a_limit_that_is_taken_away_ends_what_it_began() {
    let mut r = run(0);
    full(&mut r, 5);
    let mut new = settings(0);
    new.rules[0].policy.limits =
        Limits { op: Op::Above, warn: None, critical: Some(99.0), clear: None, whole: false };
    assert!(r.engine.order(r.now, Order::Reload(Box::new(new)), &mut r.out).is_ok());
    full(&mut r, 5);
    let over = r.told().iter().filter(|line| line.starts_with("resolved warn")).count();
    assert_eq!((over, r.engine.view(r.now).active.len()), (2, 0), "{:#?}", r.told());
}

#[test]
fn a_silence_of_a_name_that_nobody_has_is_refused_with_the_nearest() {
    let mut r =
        with(|settings| settings.known = ["memory_used_percent", "oom_kill"].map(str::to_owned).into());
    let mut check = |matcher: &str, force: bool, expect: Option<&str>| {
        let new = NewSilence { matcher: matcher.into(), secs: 60, force, ..NewSilence::default() };
        let answer = r.engine.order(r.now, Order::Silence(new), &mut r.out);
        match expect {
            None => assert!(matches!(answer, Ok(Answer::Silenced { .. })), "{matcher}: {answer:?}"),
            Some(part) => {
                assert!(answer.as_ref().is_err_and(|why| why.contains(part)), "{matcher}: {answer:?}");
            }
        }
    };
    for known in ["*", "oom_kill", "memory_used_percent", "disk_used_percent"] {
        check(known, false, None);
    }
    check("disk_usd_percent", false, Some("is called `disk_usd_percent`. Did you mean `disk_used_percent`?"));
    check("oom_kil", false, Some("Did you mean `oom_kill`?"));
    check("colour\u{1b}[2J", false, Some("is called `colour?[2J`. docs/METRICS.md"));
    check("colour", true, None);
    check("", true, Some("needs the name of a metric"));
}

#[test]
fn a_silence_by_a_label_that_no_alert_has_is_refused() {
    let set = |all: &[&str]| all.iter().map(|label| (*label).to_owned()).collect();
    let mut r = with(|settings| {
        settings.labels.any = set(&["mount", "xid", "env"]);
        settings.labels.of = [("disk_used_percent".to_owned(), set(&["mount", "env"]))].into();
    });
    let mut check = |matcher: &str, label: &str, force: bool, expect: Option<&str>| {
        let labels = [(label.to_owned(), "/".to_owned())].into();
        let new = NewSilence { matcher: matcher.into(), labels, secs: 60, force, ..NewSilence::default() };
        let answer = r.engine.order(r.now, Order::Silence(new), &mut r.out);
        match expect {
            None => assert!(matches!(answer, Ok(Answer::Silenced { .. })), "{matcher} {label}: {answer:?}"),
            Some(part) => {
                assert!(answer.as_ref().is_err_and(|why| why.contains(part)), "{label}: {answer:?}");
            }
        }
    };
    check("disk_used_percent", "mount", false, None);
    check("disk_used_percent", "env", false, None);
    check(
        "disk_used_percent",
        "mont",
        false,
        Some("has a label `mont`, so this would hold back nothing. Did you mean `mount`?"),
    );
    check("disk_used_percent", "xid", false, Some("They have env, mount. --force"));
    check("disk_used_percent", "xid", true, None);
    check("gpu_xid", "xid", false, None);
    check("*", "xid", false, None);
    check("*", "mont", false, Some("Did you mean `mount`?"));
}

#[test]
fn no_message_says_over_of_a_value_that_is_not() {
    let mut r = run(0);
    for value in [10.0, 95.0, 95.0, 95.0, 85.0, 95.0, 95.0, 95.0, 79.0, 40.0] {
        r.disks(&[("/", value)]);
    }
    let told = r.told();
    let parts = [
        "is 95 %, over 90 % for 30 s",
        "is 85 %, still over 80 %; the alert stands for",
        "is 95 %, now over 90 %",
        "is 79 %, not yet clear of 80 %; the alert stands for",
        "is back to 40 %",
    ];
    assert_eq!(told.len(), parts.len(), "{told:#?}");
    for (told, part) in told.iter().zip(parts) {
        assert!(told.contains(part), "{part}: {told}");
    }
    // What a silence held back says how it is by then.
    let mut r = run(0);
    silence(&mut r, "disk_used_percent", "/a", 100);
    r.disks(&[("/a", 10.0)]);
    for value in [85.0, 85.0, 85.0, 88.0, 79.0, 79.0, 79.0, 79.0, 79.0, 79.0] {
        r.disks(&[("/a", value)]);
    }
    let alert = r.alerts().pop().expect("told");
    assert!(alert.message.contains("is 79 %, not yet clear of 80 % after"), "{}", alert.message);
    assert!(alert.context.contains_key("last_minutes"), "{:?}", alert.context);
}

#[test]
fn a_storm_keeps_the_context_of_those_that_the_summary_carries() {
    let mut r = run(30);
    for pid in 1..60 {
        r.event(Source::Ebpf, oom(pid));
    }
    r.wait_ms(60_000);
    let alerts = r.alerts();
    let summary = alerts.last().expect("a summary");
    let context = |name: &str| summary.context[name].as_array().map_or(0, Vec::len);
    assert_eq!((context("members"), context("incidents")), (58, 58), "all are known again after a restart");
    let whole = summary.context["alerts"].as_array().expect("some");
    assert!(whole.len() >= 8 && whole.iter().all(|a| a["context"]["victim_pid"].is_u64()), "{whole:?}");
}
