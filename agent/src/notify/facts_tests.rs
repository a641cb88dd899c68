use super::*;
use crate::notify::tests::{alert, gpu};
use serde_json::json;

#[test]
fn numbers_have_the_units_of_their_names() {
    for (name, value, expect) in [
        ("rss_kb", json!(2_097_152), "2.0 GiB"),
        ("limit_bytes", json!(1_048_576), "1.0 MiB"),
        ("blocked_secs", json!(125), "2 min 5 s"),
        ("latency_ms", json!(512.4), "512 ms"),
        ("used_percent", json!(91.26), "91.3 %"),
        ("pid", json!(1234), "1234"),
        ("yes", json!(true), "yes"),
        ("none", json!(null), ""),
        ("list", json!([1, 2, 3, 4, 5, 6]), "1, 2, 3, 4, 5, …"),
        ("empty", json!([]), ""),
        ("map", json!({ "a_b": 1, "c": "d" }), "a b 1, c d"),
        ("victim", json!({ "comm": "java", "pid": 7, "rss_kb": 2048 }), "java, pid 7, rss 2.0 MiB"),
        (
            "tasks",
            json!([{ "comm": "dd", "pid": 7, "cgroup": null, "container": "", "tags": [] }, { "pid": 8, "comm": "cat" }]),
            "dd, pid 7\ncat, pid 8",
        ),
        (
            "x",
            json!({ "name": "sda", "parts": [{ "name": "sda1", "size_kb": 2048 }, { "name": "sda2" }] }),
            "sda, parts (sda1, size 2.0 MiB; sda2)",
        ),
        ("top", json!([{ "name": "a" }, { "name": "b" }]), "a\nb"),
    ] {
        assert_eq!(show(name, &value), expect, "{name}");
    }
}

#[test]
fn people_are_called_when_it_begins_or_gets_worse() {
    for (severity, status, expect) in [
        (Severity::Warn, Status::Firing, false),
        (Severity::Critical, Status::Firing, true),
        (Severity::Critical, Status::Updated, true),
        (Severity::Emergency, Status::Resolved, false),
    ] {
        assert_eq!(calls(&alert("x", severity, status)), expect, "{severity:?} {status:?}");
    }
    let event = Alert { threshold: None, ..alert("x", Severity::Critical, Status::Updated) };
    assert!(!calls(&event));
    let mut over = alert("x", Severity::Critical, Status::Resolved);
    over.context.insert(crate::alert::ONLY_MESSAGE.into(), true.into());
    assert!(calls(&over));
}

#[test]
fn only_pages_are_links() {
    for (url, expect) in [
        ("https://wiki/oom", Some("https://wiki/oom")),
        ("http://wiki", Some("http://wiki/")),
        ("javascript:alert(1)", None),
        ("wiki/oom", None),
        ("https://wiki/a b", Some("https://wiki/a%20b")),
        ("https://wiki/a|b>", None),
        ("", None),
    ] {
        let alert = Alert { runbook_url: Some(url.into()), ..gpu() };
        assert_eq!(runbook(&alert).as_deref(), expect, "{url}");
    }
}

#[test]
fn a_summary_tells_what_it_carries() {
    let mut alert = gpu();
    alert.context.insert("alerts".into(), json!([{ "message": "a\nb" }, { "no": 1 }, 7]));
    assert_eq!(members(&alert), ["a?b"]);
    assert_eq!(members(&gpu()), Vec::<String>::new());
}

#[test]
fn readings_have_units_and_their_last_minutes_a_line() {
    let alert = |metric: &str, value, context: Value| Alert {
        metric: metric.into(),
        value,
        threshold: Some(value),
        context: context.as_object().cloned().unwrap(),
        ..gpu()
    };
    let check = |metric: &str, value, expect: &str| {
        let measured = measured(&alert(metric, value, json!({}))).unwrap();
        assert_eq!(measured, format!("{metric} = {expect} (limit {expect}), for 40 s"));
    };
    check("gpu_temperature_celsius", 87.0, "87 °C");
    check("memory_available_bytes", 3_221_225_472.0, "3.0 GiB");
    check("network_receive_bytes_per_second", 1_048_576.0, "1.0 MiB/s");
    check("context_switches_per_second", 1200.0, "1200/s");
    check("disk_await_ms", 41.26, "41.3 ms");
    check("load_average_per_cpu", 2.5, "2.5");
    let last = |context| {
        let all = facts(&alert("disk_used_percent", 91.0, context));
        all.into_iter().find(|(name, _)| name == "last minutes").map(|(_, value)| value)
    };
    let range = json!({ "min": 61.0, "mean": 80.0, "max": 91.26, "change": 30.0, "samples": 30 });
    assert_eq!(last(json!({ "sparkline": "▁█", "last_minutes": range })).unwrap(), "▁█  61 % to 91.3 %");
    assert_eq!(last(json!({ "last_minutes": { "min": 1, "max": 1 } })).unwrap(), "1 % all the time");
    assert_eq!(last(json!({ "last_minutes": { "min": "x" }, "sparkline": 7 })), None);
}

#[test]
fn what_to_do_is_said_once() {
    let mut alert = gpu();
    alert.context.insert("what_to_do".into(), "Look at fans".into());
    let told = |alert: &Alert| facts(alert).iter().any(|(name, _)| name == "what to do");
    assert!(told(&alert));
    alert.message += ". Look at fans";
    assert!(!told(&alert));
}

#[test]
fn moments_are_told_to_the_second() {
    for (at, expect) in [
        ("2026-02-22T16:30:00.250+09:00", "2026-02-22 16:30:00+09:00"),
        ("2026-02-22T16:30:00Z", "2026-02-22 16:30:00Z"),
        ("not a. time", "not a time"),
    ] {
        assert_eq!(moment(at), expect);
    }
}
