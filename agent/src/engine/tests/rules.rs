//! Rules of the configuration: which series they judge, what they say, and what is missing.

use super::*;
use crate::config::{self, Op as Written};

pub(super) fn with(change: impl FnOnce(&mut Settings)) -> Run {
    let now = Now { mono_ns: 100 * SECOND, wall_ns: 1_771_777_800 * SECOND as i64 };
    let mut settings = settings(0);
    change(&mut settings);
    Run { engine: Engine::new(settings, now), samples: Samples::new(5000), now, out: Vec::new() }
}

fn written(name: &str, op: Written, mount: &str, limits: (Option<f64>, Option<f64>)) -> config::Rule {
    let labels =
        if mount.is_empty() { BTreeMap::new() } else { BTreeMap::from([("mount".into(), mount.into())]) };
    config::Rule {
        name: name.into(),
        metric: "disk_used_percent".into(),
        labels,
        op,
        warn: limits.0,
        critical: limits.1,
        for_secs: 20,
        ..config::Rule::default()
    }
}

fn rules(written: &[config::Rule]) -> Run {
    let (mut values, absences) = own::rules(written, &|_| false);
    with(|settings| {
        values.append(&mut settings.rules);
        (settings.rules, settings.absences) = (values, absences);
    })
}

#[test]
fn a_rule_of_the_configuration_replaces_the_built_in_one_for_its_labels() {
    let data = config::Rule {
        message: "{{labels.mount}} of {{hostname}} is {{value}} % full, {{severity}} over {{threshold}}"
            .into(),
        runbook_url: "https://wiki/full".into(),
        ..written("data-volume", Written::Above, "/data", (Some(95.0), Some(98.0)))
    };
    let mut r = rules(&[data]);
    for _ in 0..5 {
        r.disks(&[("/data", 92.0), ("/", 85.0)]);
    }
    r.check(&["firing warn Disk usage of / is 85 %, over 80 % for 30 s"]);
    for value in [96.0, 96.0, 96.0, 90.0] {
        r.disks(&[("/data", value)]);
    }
    r.check(&[
        "firing warn Disk usage of / is 85 %, over 80 % for 30 s",
        "firing warn /data of h is 96 % full, warn over 95",
        "resolved warn data-volume: disk_used_percent /data is back to 90 % after 40 s",
    ]);
    let alert = r.alerts()[1];
    assert_eq!((&*alert.rule, alert.runbook_url.as_deref()), ("data-volume", Some("https://wiki/full")));
}

#[test]
fn the_rule_with_more_labels_wins_and_another_side_of_the_limit_is_another_matter() {
    let all = written("all", Written::AtLeast, "", (Some(50.0), None));
    let one = written("one", Written::Above, "/a", (Some(60.0), None));
    let low = written("empty", Written::AtMost, "/a", (Some(5.0), None));
    let mut r = rules(&[all, one, low]);
    for _ in 0..4 {
        r.disks(&[("/a", 55.0), ("/b", 50.0)]);
    }
    r.check(&["firing warn all: disk_used_percent /b is 50 %, at or over 50 % for 20 s"]);
    for _ in 0..4 {
        r.disks(&[("/a", 5.0)]);
    }
    let told = r.told();
    assert_eq!(told[1..], ["firing warn empty: disk_used_percent /a is 5 %, at or under 5 % for 20 s"]);
}

#[test]
fn operators_of_equality() {
    let mut r = rules(&[
        written("is", Written::Equal, "/a", (Some(7.0), None)),
        written("is-not", Written::NotEqual, "/b", (None, Some(1.0))),
    ]);
    for (a, b) in [(7.0, 1.0), (7.0, 1.0), (7.0, 2.0), (8.0, 2.0), (8.0, 2.0), (8.0, 1.0)] {
        r.disks(&[("/a", a), ("/b", b)]);
    }
    r.check(&[
        "firing warn is: disk_used_percent /a is 7 %, which is 7 % for 20 s",
        "resolved warn is: disk_used_percent /a is back to 8 % after 30 s",
        "firing critical is-not: disk_used_percent /b is 2 %, not 1 % for 20 s",
        "resolved critical is-not: disk_used_percent /b is back to 1 % after 40 s",
    ]);
}

#[test]
fn what_is_expected_and_not_there_fires_and_comes_back() {
    let mut r = rules(&[written("data-gone", Written::Absent, "/data", (None, Some(1.0)))]);
    for _ in 0..3 {
        r.disks(&[("/", 1.0), ("/data", 1.0)]);
    }
    for _ in 0..4 {
        r.disks(&[("/", 1.0)]);
    }
    r.check(&["firing critical data-gone: disk_used_percent{mount=/data} has not been reported for 30 s"]);
    r.disks(&[("/data", 1.0)]).disks(&[("/data", 1.0)]);
    let told = r.told();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told[1].starts_with("resolved critical data-gone: disk_used_percent{mount=/data} is reported again")
    );
}

#[test]
fn what_was_never_there_is_missing_after_its_time_and_the_warm_up() {
    let mut r = rules(&[written("nfs", Written::Absent, "/nfs", (Some(1.0), None))]);
    r.engine.settings.warmup_secs = 60;
    for _ in 0..5 {
        r.disks(&[("/", 1.0)]);
    }
    r.check(&[]);
    r.disks(&[("/", 1.0)]);
    r.check(&["firing warn nfs: disk_used_percent{mount=/nfs} has not been reported for 1 min"]);
}

#[test]
fn a_reload_keeps_what_stands_and_ends_what_is_judged_no_more() {
    let mut r = rules(&[written("a", Written::Above, "/a", (Some(50.0), None))]);
    for _ in 0..5 {
        r.disks(&[("/a", 60.0), ("/b", 85.0)]);
    }
    assert_eq!(r.told().len(), 2);
    let mut new = settings(0);
    let (own, _) = own::rules(&[written("other", Written::Above, "/a", (Some(99.0), None))], &|_| false);
    new.rules.extend(own);
    let answer = r.engine.order(r.now, control::Order::Reload(Box::new(new)), &mut r.out);
    assert_eq!(answer, Ok(control::Answer::Reloaded { rules: 2, ended: 1 }));
    for _ in 0..5 {
        r.disks(&[("/a", 60.0), ("/b", 85.0)]);
    }
    r.drop_kept();
    let told = r.told();
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told[2].contains("a: disk_used_percent /a is no longer judged"), "{told:#?}");
    assert_eq!(r.engine.view(r.now).active.len(), 1);
}

#[test]
fn an_alert_says_where_its_value_is_going() {
    let mut r = run(0);
    for value in [70.0, 74.0, 78.0, 82.0, 86.0, 90.0, 90.5] {
        r.disks(&[("/", value)]);
    }
    let alert = r.alerts()[0];
    assert!(alert.context["trend"].as_str().is_some_and(|t| t.starts_with("rising 14")), "{alert:#?}");
    assert_eq!(alert.context["sparkline"], "▁▂▄▅▇█");
}

#[test]
fn a_configured_server_that_is_down_is_told() {
    let up = crate::edge::metrics().into_iter().find(|metric| metric.name == "redis_up").expect("a metric");
    let mut r = with(|settings| settings.rules = builtin::rules(&config::Config::default().thresholds));
    // The shortest outage that is told, at the pace of a collector that asks each half minute, and one that is none.
    for value in [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0] {
        r.samples.begin("redis", r.now, None);
        r.samples.put(up, &[], value);
        let mut batch = r.samples.finish();
        r.engine.step(r.now, Input::Batch(&mut batch), &mut r.out);
        r.wait_ms(30_000);
    }
    r.check(&[
        "firing critical The Redis server does not answer. `sysops-agent doctor` says why it cannot be asked",
        "resolved critical The Redis server answers again after 2 min",
    ]);
}
