//! What differs between builds: each part that a build lacks is named where a configuration asks for it.

use sysops_agent::config::{self, Known};

const HAS_TLS: bool = cfg!(any(feature = "tls-rustls", feature = "tls-native"));

/// Errors, or else warnings.
fn outcome(text: &str) -> String {
    match config::load(text, "c.toml", &|_| None, Known::default()) {
        Ok((_, warnings)) => warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Err(problems) => problems.to_string(),
    }
}

fn check(text: &str, is_there: bool, lack: &str) {
    let told = outcome(text);
    let expected =
        if is_there { told.is_empty() } else { told.starts_with("c.toml:") && told.contains(lack) };
    assert!(expected, "{text}: {told:?}");
}

#[test]
fn keys_of_a_missing_cargo_feature_warn_once() {
    for (text, feature, is_there) in [
        ("[ebpf]\noom = false\nblock_io = false", "ebpf", cfg!(feature = "ebpf")),
        ("[nats]\nenabled = true\nurl = 'nats://127.0.0.1'", "nats", cfg!(feature = "nats")),
        ("[prometheus]\nenabled = true", "prometheus", cfg!(feature = "prometheus")),
        ("[storage]\nsqlite_retention_days = 5", "sqlite", cfg!(feature = "sqlite")),
    ] {
        check(text, is_there, &format!("this is a build without the cargo feature {feature}."));
        assert!(outcome(text).lines().count() <= 1, "{text}: {}", outcome(text));
    }
}

#[test]
fn addresses_that_need_tls_are_errors_without_it() {
    for text in [
        "[alerting.webhook]\nenabled = true\nurl = 'https://collector/alerts'",
        "[alerting.ntfy]\nenabled = true\nurl = 'https://ntfy'\ntopic = 'a'",
        "[alerting]\nproxy = 'https://proxy:3128'",
    ] {
        check(text, HAS_TLS, "needs TLS, and this program was built without it.");
        check(&text.replace("https", "http"), true, "");
    }
}
