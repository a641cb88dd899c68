use super::*;
use crate::notify::tests::gpu;
use Severity::{Critical, Emergency, Warn};
use Status::{Firing, Resolved, Updated};

fn at(secs: u64) -> Now {
    Now { mono_ns: 10_000 * SECOND, wall_ns: 1_771_777_800 * SECOND as i64 }.plus_secs(secs)
}

/// A condition's message; `lasted` in its end.
fn level(id: &str, severity: Severity, status: Status, message: &str) -> Alert {
    let mut alert = Alert { id: id.into(), severity, status, message: message.into(), ..gpu() };
    alert.started_at = "2026-02-22T16:02:20+00:00".into();
    alert.duration_secs = 720;
    alert.context = Map::from_iter([("held_secs".to_owned(), 720.into())]);
    alert
}

fn event(id: &str, severity: Severity, message: &str) -> Alert {
    Alert { context: Map::new(), ..level(id, severity, Firing, message) }
}

/// All of them waited an hour.
fn gather(alerts: &[Alert]) -> Alert {
    let mut backlog = Backlog::default();
    for alert in alerts {
        backlog.add(alert, at(0).mono_ns as i64);
    }
    backlog.alert("h", "slack", "b-1".into(), at(3600))
}

#[test]
fn what_stands_comes_first_and_what_is_over_says_how_long_it_was() {
    let alert = gather(&[
        level("a", Warn, Firing, "Disk usage of / is 85 %, over 80 % for 30 s. Find what fills it"),
        event("k", Critical, "Killed java (pid 7)"),
        level("b", Critical, Firing, "Memory use is 95 %, over 90 % for 30 s. See to it"),
        level("c", Warn, Firing, "Swap use is 60 %"),
        level("b", Critical, Resolved, "Memory use is back to 70 % after 12 min"),
        level("a", Critical, Updated, "Disk usage of / is 97 %, now over 90 %. Find what fills it"),
    ]);
    let today = alert.timestamp.get(..10) == Some("2026-02-22");
    let day = if today { "" } else { "2026-02-22 " };
    let expect = format!(
        "slack took nothing for up to 1 h; the 4 alerts of that time in one message. \
         2 still stand: CRITICAL Disk usage of / is 97 %, now over 90 % (since {day}16:02); \
         WARN Swap use is 60 % (since {day}16:02). \
         1 is over: CRITICAL Memory use is back to 70 % after 12 min (began {day}16:02). \
         1 happened: CRITICAL Killed java (pid 7) (at {day}16:02)"
    );
    assert_eq!(alert.message, expect);
    assert_eq!((alert.severity, alert.status, alert.id.as_str()), (Critical, Firing, "b-1"));
    let carried: Vec<_> =
        alert.context["alerts"].as_array().unwrap().iter().map(|a| a["id"].as_str().unwrap()).collect();
    assert_eq!(carried, ["a", "c", "b", "k"]);
    assert_eq!(alert.context["messages"], 6);
    assert!(!alert.context.contains_key("alerts_left_out"));
}

#[test]
fn an_outage_of_which_nothing_is_left_is_told_as_over() {
    let alert = gather(&[level("a", Emergency, Firing, "x"), level("a", Emergency, Resolved, "x is over")]);
    assert!(alert.is_only_message());
    assert_eq!((alert.severity, alert.context["over"].clone()), (Emergency, 1.into()));
}

#[test]
fn summaries_are_opened() {
    let mut group = level("g", Warn, Firing, "3 more disk alerts");
    let one = |id: &str, message: &str| {
        json!({ "id": id, "status": "firing", "severity": "warn", "message": message,
        "labels": {}, "context": { "held_secs": 1 } })
    };
    group.context = Map::from_iter([
        ("members".to_owned(), json!(["m", "n", "o"])),
        ("alerts".to_owned(), json!([one("m", "/a is full"), one("n", "/b is full")])),
        ("alerts_left_out".to_owned(), 1.into()),
    ]);
    let alert = gather(&[group, level("m", Warn, Resolved, "/a has room again")]);
    assert_eq!((&alert.context["standing"], &alert.context["over"]), (&1.into(), &1.into()));
    assert_eq!(alert.context["alerts_left_out"], 1);
    assert!(
        alert.message.contains("1 more were counted only. `sysops-agent alerts` lists all that stand"),
        "{}",
        alert.message
    );
}

#[test]
fn a_thousand_are_counted_and_the_worst_that_stand_are_named() {
    let mut all: Vec<Alert> =
        (0..1000).map(|n| level(&n.to_string(), Warn, Firing, &format!("{n} {}", "x".repeat(900)))).collect();
    all.push(level("last", Emergency, Firing, "the worst"));
    let alert = gather(&all);
    assert!(alert.message.contains("1001 still stand: EMERGENCY the worst (since"), "{}", alert.message);
    assert!(alert.message.contains("; and 991 more. `sysops-agent alerts`"), "{}", alert.message);
    assert_eq!(alert.context["alerts_left_out"], 801);
    assert!(serde_json::to_vec(&alert).unwrap().len() < 200 << 10);
}

#[test]
fn odd_content_does_no_harm() {
    let mut odd = event("x", Warn, "a\u{202e}b\nc");
    odd.started_at = "ö".into();
    odd.context = Map::from_iter([("alerts".to_owned(), json!([7, null, {}, { "id": 7, "context": [] }]))]);
    let mut backlog = Backlog::default();
    assert!(backlog.is_empty());
    backlog.unreadable();
    assert!(backlog.is_empty());
    backlog.add(&odd, i64::MAX);
    let mut plain = event("y", Warn, "a\u{202e}b\nc");
    plain.started_at = "2026-é2-22T16".into();
    backlog.add(&plain, i64::MIN);
    let alert = backlog.alert("h", "slack", "i".into(), at(0));
    assert!(!alert.message.contains(['\n', '\u{202e}']), "{}", alert.message);
    assert!(alert.message.ends_with("1 could not be read back from the outbox"), "{}", alert.message);
}
