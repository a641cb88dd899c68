//! The engine is stopped at any moment and goes on: nothing is told twice, nothing is forgotten.

use proptest::prelude::*;

use super::*;
use crate::engine::snapshot::Snapshot;

/// The agent is killed and started again, `away` seconds later, by default in the same boot.
fn restart(r: &mut Run, away: u64, boot: &str) {
    let kept = Snapshot::decode(&r.engine.snapshot(r.now).encode()).expect("its own snapshot");
    r.now = r.now.plus_secs(away);
    if boot != "boot" {
        r.now.mono_ns = 50 * SECOND;
    }
    let mut settings = settings(0);
    settings.identity.boot_id = boot.into();
    r.engine = Engine::new(settings, r.now);
    r.engine.resume(kept, r.now);
    r.samples = Samples::new(100);
}

fn high(r: &mut Run, times: usize) {
    for _ in 0..times {
        r.disks(&[("/", 85.0)]);
    }
}

#[test]
fn no_second_page_and_the_true_duration_of_what_ended_meanwhile() {
    for (boot, away) in [("boot", 100), ("boot", 0), ("next", 100), ("next", 100_000)] {
        let mut r = run(0);
        high(&mut r, 5);
        restart(&mut r, away, boot);
        high(&mut r, 3);
        assert_eq!(r.told().len(), 1, "{boot} {:#?}", r.told());
        restart(&mut r, 0, boot);
        r.disks(&[("/", 10.0)]);
        let alerts = r.alerts();
        assert_eq!(alerts.len(), 2, "{boot} {:#?}", r.told());
        assert_eq!((&alerts[0].id, alerts[1].status), (&alerts[1].id, Status::Resolved));
        assert_eq!(
            (alerts[1].duration_secs, &alerts[0].started_at),
            (80 + away, &alerts[1].started_at),
            "{boot}"
        );
    }
}

#[test]
fn what_does_not_come_again_is_ended_with_its_reason() {
    let mut r = run(0);
    high(&mut r, 5);
    restart(&mut r, 60, "boot");
    r.wait_ms(890_000);
    assert_eq!(r.told().len(), 1);
    r.wait_ms(20_000);
    let told = r.told();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told[1].starts_with(
            "resolved warn Disk usage of / (85 %) has not been reported since the agent was started again; the alert stood for 1"
        ),
        "{told:#?}"
    );
    assert!(r.engine.view(r.now).active.is_empty());
}

#[test]
fn silences_survive_and_what_was_pending_goes_on() {
    let mut r = run(0);
    let new = control::NewSilence { matcher: "*".into(), secs: 300, ..control::NewSilence::default() };
    r.engine.order(r.now, control::Order::Silence(new), &mut r.out).expect("a silence");
    high(&mut r, 2);
    restart(&mut r, 5, "boot");
    high(&mut r, 2);
    r.drop_kept();
    let view = r.engine.view(r.now);
    assert_eq!(
        (view.silences[0].left_secs, view.active[0].suppressed_by.as_deref()),
        (255, Some("silence 1"))
    );
    restart(&mut r, 0, "boot");
    high(&mut r, 28);
    r.drop_kept();
    assert_eq!(r.told().len(), 1, "{:#?}", r.told());
    assert!(r.told()[0].contains("held back until now: silence 1"), "{:#?}", r.told());
}

#[test]
fn what_was_told_after_the_snapshot_is_known_from_the_outbox() {
    let mut r = run(0);
    r.disks(&[("/", 10.0)]);
    let old = r.engine.snapshot(r.now);
    high(&mut r, 5);
    let outbox: Vec<Alert> = r.alerts().into_iter().cloned().collect();
    r.engine = Engine::new(settings(0), r.now);
    r.engine.resume(old, r.now);
    r.engine.remember(&outbox, r.now);
    r.samples = Samples::new(100);
    high(&mut r, 90);
    assert_eq!(r.told().len(), 1, "{:#?}", r.told());
    r.disks(&[("/", 10.0)]);
    assert_eq!(r.alerts()[1].id, r.alerts()[0].id);
}

#[test]
fn foreign_and_torn_snapshots_are_refused() {
    fn check(json: &str, part: &str) {
        let why = Snapshot::decode(json.as_bytes()).expect_err("refused");
        assert!(why.contains(part), "{json}: {why}");
    }
    check("", "cannot be read");
    check("{", "cannot be read");
    check("[]", "cannot be read");
    check("{\"version\":2}", "has the form 2, and this program knows 1");
    check("{\"version\":-1}", "cannot be read");
    check("{\"version\":1}", "cannot be read");
    check("{\"version\":1,\"boot_id\":7}", "cannot be read");
    let whole = String::from_utf8(run(0).engine.snapshot(Now::default()).encode()).expect("JSON");
    assert!(Snapshot::decode(whole.as_bytes()).is_ok());
    for end in 1..whole.len() {
        assert!(Snapshot::decode(&whole.as_bytes()[..end]).is_err());
    }
}

#[test]
fn a_snapshot_stays_small() {
    let mut r = rules::with(|_| {});
    let mounts: Vec<String> = (0..3000).map(|n| format!("/{}/{n}", "x".repeat(180))).collect();
    let values: Vec<(&str, f64)> = mounts.iter().map(|m| (m.as_str(), 85.0)).collect();
    for _ in 0..5 {
        r.disks(&values);
    }
    assert_eq!(r.engine.view(r.now).active.len(), 3000);
    let json = r.engine.snapshot(r.now).encode();
    assert!(json.len() <= snapshot::MAX_BYTES && !json.is_empty(), "{}", json.len());
    assert!(Snapshot::decode(&json).is_ok());
}

/// What is told, without its words; of one moment in the order of mounts.
fn course(r: &Run) -> Vec<(String, Status, Severity)> {
    let mut alerts = r.alerts();
    alerts.sort_by_key(|a| (a.timestamp.clone(), a.labels.get("mount").cloned()));
    let of = |a: &&Alert| (a.labels.get("mount").cloned().unwrap_or_default(), a.status, a.severity);
    alerts.iter().map(of).collect()
}

fn play(levels: &[(u8, u8)], restart_at: Option<usize>) -> Run {
    let mut r = run(0);
    // Within a level: the first reading after a start stands for no interval, and what begins with it begins later.
    for (at, (a, b)) in levels.iter().enumerate() {
        let value = |level: &u8| [10.0, 85.0, 95.0][usize::from(*level % 3)];
        for reading in 0..6 {
            if restart_at == Some(at) && reading == 3 {
                restart(&mut r, 0, "boot");
            }
            r.disks(&[("/a", value(a)), ("/b", value(b))]);
        }
    }
    r
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_at_any_point_changes_nothing_that_is_told(
        levels in prop::collection::vec((0_u8..3, 0_u8..3), 1..40), at in 0_usize..40
    ) {
        let (whole, broken) = (play(&levels, None), play(&levels, Some(at % levels.len())));
        prop_assert_eq!(course(&whole), course(&broken));
    }

    #[test]
    fn each_incident_begins_once_ends_once_and_lasts_no_negative_time(
        levels in prop::collection::vec((0_u8..3, 0_u8..3), 1..60), at in 0_usize..60
    ) {
        let mut r = play(&levels, Some(at));
        for _ in 0..200 {
            r.disks(&[("/a", 10.0), ("/b", 10.0)]);
        }
        let mut open = std::collections::BTreeSet::new();
        for alert in r.alerts() {
            prop_assert!(alert.duration_secs < 100_000, "{:?}", alert);
            match alert.status {
                Status::Firing => prop_assert!(open.insert(&alert.id), "begins twice: {}", alert.message),
                Status::Updated => prop_assert!(open.contains(&alert.id), "not begun: {}", alert.message),
                Status::Resolved => prop_assert!(open.remove(&alert.id), "not open: {}", alert.message),
            }
        }
        prop_assert!(open.is_empty(), "never ended: {:?} of {:#?}", open, r.told());
        prop_assert!(r.engine.view(r.now).active.is_empty());
    }
}

#[test]
fn events_that_were_told_are_known_from_the_snapshot_alone() {
    let mut r = run(30);
    let at = r.now;
    for pid in 1..4 {
        r.event(Source::Ebpf, oom(pid));
    }
    r.event(Source::Watch, hang(7, "f")).wait_ms(60_000);
    let before = r.told().len();
    let hang_id = r.alerts().iter().find(|alert| alert.rule == "hung_task").expect("it hangs").id.clone();
    restart(&mut r, 5, "boot");
    // The kernel log is read again, and the watch sees the task again.
    for pid in 1..5 {
        let event = Event { at, source: Source::Kmsg, historic: false, what: oom(pid) };
        r.engine.step(r.now, Input::Event(event), &mut r.out);
        r.drop_kept();
    }
    r.event(Source::Watch, hang(7, "f")).wait_ms(1000);
    let pids: Vec<_> = r.alerts()[before..].iter().map(|alert| alert.context["victim_pid"].clone()).collect();
    assert_eq!(pids, [4], "{:#?}", r.told());
    // And again: what the first run told is still known.
    restart(&mut r, 5, "boot");
    r.event(Source::Watch, hang(7, "f")).wait_ms(1000).event(Source::Watch, released(7)).wait_ms(1000);
    let last = r.alerts().pop().expect("its end");
    assert_eq!(
        (r.told().len(), &last.id, last.status),
        (before + 2, &hang_id, Status::Resolved),
        "{:#?}",
        r.told()
    );
}

#[test]
fn what_is_kept_of_events_is_bounded() {
    let mut told = told::Told::default();
    let mut r = run(0);
    r.event(Source::Ebpf, oom(1)).event(Source::Kmsg, oom(1)).wait_ms(100);
    let alert = r.alerts()[0].clone();
    for n in 0..2000 {
        told.note(&Alert { id: n.to_string(), ..alert.clone() });
    }
    let kept = told.kept();
    assert!(kept.len() <= told::MAX_TOLD && kept.last().is_some_and(|alert| alert.id == "1999"));
    assert!(serde_json::to_vec(&kept).unwrap().len() < told::MAX_TOLD_BYTES + kept.len() + 2);
    let mut huge = alert.clone();
    huge.context.insert("incidents".into(), "x".repeat(told::MAX_TOLD_BYTES).into());
    told.note(&huge);
    told.note(&Alert { id: "1999".into(), ..alert.clone() });
    assert_eq!(told.kept().len(), kept.len(), "too large, and known");
    told.note(&Alert { context: serde_json::Map::new(), ..alert });
    assert_eq!(told.kept().len(), kept.len(), "about no incident");
}
