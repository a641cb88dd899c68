//! Alerts to try single channels with. What all channels make of alerts of the engine is in `tests/rendered`.

use super::tests::gpu;
use crate::alert::{Alert, Severity, Status};
use serde_json::{Map, Value, json};

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

/// A kill with what is known about it.
pub(crate) fn oom() -> Alert {
    Alert {
        hostname: "web-1".into(),
        timestamp: "2026-02-22T16:30:00+09:00".into(),
        severity: Severity::Critical,
        metric: "kernel_oom_kills_total".into(),
        value: 1.0,
        threshold: None,
        message:
            "OOM kill: java (pid 1234) of container shop-api was killed; its limit of 2.0 GiB was reached"
                .into(),
        labels: [("comm", "java"), ("container", "shop-api")].map(|(k, v)| (k.into(), v.into())).into(),
        status: Status::Firing,
        id: "oom-1234-99".into(),
        fingerprint: "a1b2".into(),
        started_at: "2026-02-22T16:30:00+09:00".into(),
        duration_secs: 0,
        rule: "kernel_oom_kill".into(),
        source: vec!["ebpf".into(), "kmsg".into()],
        runbook_url: Some("https://wiki.example.com/oom".into()),
        context: map(&json!({
            "victim": { "comm": "java", "pid": 1234, "rss_kb": 2_050_000, "uid": 999 },
            "victim_cmdline": "java -Xmx3g -jar /srv/shop.jar --key=<a&b>",
            "cgroup": "/kubepods/shop-api",
            "limit_bytes": 2_147_483_648_u64,
            "usage_bytes": 2_147_483_648_u64,
            "last_minutes": "▁▂▃▅▆▇██",
            "largest_processes": [{ "comm": "java", "pid": 1234, "rss_kb": 2_050_000 }, { "comm": "log_ship", "rss_kb": 12_000 }],
            "unknown": ["constraint"],
        })),
        ..gpu()
    }
}

/// More became known.
pub(crate) fn update() -> Alert {
    let mut alert = Alert { status: Status::Updated, runbook_url: None, ..oom() };
    alert.context.insert("late_secs".into(), 1.into());
    alert
}

/// The end of a reading over its limit.
pub(crate) fn resolved() -> Alert {
    Alert {
        status: Status::Resolved,
        severity: Severity::Warn,
        message: "/var is back below 90 % (84 %), after 12 min 5 s".into(),
        metric: "disk_used_percent".into(),
        value: 84.2,
        threshold: Some(90.0),
        labels: [("mount".to_owned(), "/var".to_owned())].into(),
        ended_at: Some("2026-02-22T16:30:00+09:00".into()),
        duration_secs: 725,
        context: Map::new(),
        id: "disk-7".into(),
        rule: "disk_used_percent".into(),
        ..gpu()
    }
}

/// Everything that a process name, a log line or a label could do.
pub(crate) fn hostile() -> Alert {
    let evil = "@everyone @here <!channel> <@U12345> <@&99> <b onclick=x>&amp;</b> [a](http://evil) *b* _c_ `d` \\ \"q\" \
                \x1b[31mred\r\nBcc: x@y\u{202e}\u{0}{{message}}";
    Alert {
        hostname: format!("web-1\r\n{evil}"),
        message: evil.into(),
        labels: [
            ("comm".to_owned(), evil.to_owned()),
            ("empty".to_owned(), String::new()),
            (" ".to_owned(), "x".to_owned()),
        ]
        .into(),
        context: map(&json!({ evil: evil, "last_minutes": evil })),
        id: format!("id {evil}"),
        fingerprint: evil.into(),
        rule: evil.into(),
        metric: evil.into(),
        timestamp: "not a time".into(),
        source: vec![evil.into(); 3],
        runbook_url: Some(format!("https://wiki/{evil}")),
        threshold: None,
        duration_secs: 0,
        ..oom()
    }
}

/// As long as it gets, and longer than any channel takes.
pub(crate) fn huge() -> Alert {
    let long = "<&*_@everyone 😀é".repeat(7000);
    let mut alert = Alert {
        hostname: long.clone(),
        message: long.clone(),
        rule: long.clone(),
        id: long.clone(),
        ..hostile()
    };
    for n in 0..200 {
        alert.labels.insert(format!("label {n} {}", &long[..100]), long.clone());
        alert.context.insert(format!("{n} {}", &long[..100]), long.clone().into());
    }
    alert.context.insert("alerts".into(), vec![json!({ "message": long }); 50].into());
    alert
}

/// A message of a service as it is put under snapshot.
pub(crate) fn show(body: &Value) -> String {
    serde_json::to_string_pretty(body).unwrap()
}

/// Every text in it.
pub(crate) fn texts(body: &Value) -> Vec<&str> {
    match body {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
