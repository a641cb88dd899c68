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
        ("top", json!([{ "name": "a" }, { "name": "b" }]), "a; b"),
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
