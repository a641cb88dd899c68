//! The configuration as its users meet it: sample files, defaults and documentation.

// Without TLS every https URL is a problem, without eBPF its section warns: that has tests of its own.
#![cfg(all(feature = "ebpf", any(feature = "tls-rustls", feature = "tls-native")))]

#[path = "config/broken.rs"]
mod broken;
#[path = "config/secrets.rs"]
mod secrets;

use secrecy::ExposeSecret;
use sysops_agent::alert::Severity;
use sysops_agent::config::{self, Config, Known, Problems, Threshold, Warning};

const MINIMAL: &str = include_str!("config/minimal.toml");
const FULL: &str = include_str!("config/full.toml");
const FURTHER: &str = include_str!("config/further.toml");

const KNOWN: Known<'_> = Known {
    metrics: &["cpu_usage_percent", "disk_used_percent", "memory_used_percent"],
    collectors: &["cpu", "memory", "disk"],
    alone: false,
    variables: false,
    labels: &[&["core"], &["mount", "device"], &[]],
    rules: &["segfault", "network_up", "oom_kill", "hung_task", "gpu_xid"],
    witnessed: &["oom_kill", "hung_task"],
};

fn env(name: &str) -> Option<String> {
    match name {
        "TOKEN" => Some("s3cret".to_owned()),
        "WORD" => Some("hello".to_owned()),
        _ => None,
    }
}

fn load(text: &str) -> Result<(Config, Vec<Warning>), Problems> {
    config::load(text, "config.toml", &env, KNOWN)
}

fn good(text: &str) -> Config {
    load(text).unwrap_or_else(|problems| panic!("{problems}")).0
}

/// The warnings of a good file, a line each; the problems of a broken one.
fn outcome(text: &str) -> String {
    match load(text) {
        Err(problems) => problems.to_string(),
        Ok((_, warnings)) => {
            warnings.iter().fold(String::new(), |text, warning| text + &format!("{warning}\n"))
        }
    }
}

#[test]
fn sample_files_load_unchanged() {
    for text in [MINIMAL, FULL, FURTHER, ""] {
        good(text);
    }
    insta::assert_snapshot!("minimal", outcome(MINIMAL));
    insta::assert_snapshot!("full", outcome(FULL));
    insta::assert_snapshot!("further", outcome(FURTHER));
    assert_eq!(outcome(""), "");
}

#[test]
fn values_of_the_samples_arrive() {
    let minimal = good(MINIMAL);
    assert_eq!(minimal.agent.hostname, "web-server-01");
    assert!(minimal.alerting.discord.enabled);
    assert!(minimal.alerting.discord.webhook_url.expose_secret().ends_with("/YOUR/WEBHOOK"));
    let full = good(FULL);
    assert_eq!(full.collector.disk_interval_secs, 60);
    assert_eq!(full.log_analyzer.custom_patterns.len(), 2);
    assert_eq!(full.log_analyzer.custom_patterns[0].severity, Severity::Critical);
    assert_eq!(full.nats.url.expose_secret(), "nats://nats-server:4222");
    assert_eq!(full.nats.max_reconnect_attempts, -1);
    let further = good(FURTHER);
    assert_eq!(further.alerting.rules[0].labels["mount"], "/data");
    assert_eq!(further.alerting.rules[0].clear, Some(93.0));
    assert_eq!(further.alerting.maintenance[0].schedule, "Sun 02:00-04:00");
}

/// Each says what, where, why and what to do.
#[test]
fn patterns_that_would_cost_or_tell_too_much_are_refused() {
    let pattern = |name: &str, text: &str| {
        format!("[[log_analyzer.custom_patterns]]\nname = \"{name}\"\npattern = '{text}'\n")
    };
    let many: String = (0..257).map(|n| pattern(&format!("p{n}"), &format!("word{n}"))).collect();
    for (text, parts) in [
        (many, ["`log_analyzer.custom_patterns` has 257 entries, 256 may be", "Join some with `|`"]),
        (pattern("any", "(error)*"), ["matches an empty line, and so every line", "`a+` instead of `a*`"]),
        (pattern("torn", "(error"), ["unclosed group", "pattern"]),
        (pattern("large", "(?:[a-z]{100}){1000}"), ["too large", "pattern"]),
        (pattern("one", "a") + &pattern("one", "b"), ["one", "name"]),
    ] {
        let said = outcome(&text);
        println!("{said}");
        assert!(parts.iter().all(|part| said.contains(part)), "{parts:?} in {said}");
        assert!(said.starts_with("config.toml:"), "{said}");
    }
}

/// Secrets are redacted in `Debug`, but all of them are empty by default.
fn shown(config: &Config) -> String {
    format!("{config:#?}")
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(shown(&good("")), shown(&Config::default()));
    assert_eq!(shown(&good("# nothing\n\n")), shown(&Config::default()));
    assert_eq!(shown(&good("[agent]\n[alerting.webhook]\n")), shown(&Config::default()));
}

/// The second sample of the contract says of itself that it holds the defaults.
#[test]
fn defaults_are_those_of_the_contract() {
    let mut further = good(FURTHER);
    let default = Config::default();
    further.alerting.rules.clear();
    further.alerting.maintenance.clear();
    // Lists that end in «…» there.
    further.collector.exclude_fstypes.clone_from(&default.collector.exclude_fstypes);
    further.collector.exclude_devices.clone_from(&default.collector.exclude_devices);
    further.collector.exclude_interfaces.clone_from(&default.collector.exclude_interfaces);
    assert_eq!(shown(&further), shown(&default));
}

/// Each default in the documentation, written into a file, changes nothing.
#[test]
fn documented_defaults_are_the_defaults() {
    let mut file = String::new();
    let mut rows = 0;
    let mut skip = false;
    for line in config::docs().lines() {
        if let Some(title) = line.strip_prefix("## `[").and_then(|rest| rest.strip_suffix('`')) {
            skip = title.starts_with('[');
            file.extend(["[", title, "\n"]);
        } else if let Some(row) =
            line.strip_prefix("| `").filter(|_| !skip && line.matches(" | ").count() == 3)
        {
            let cells: Vec<_> = row.trim_end_matches(" |").split(" | ").collect();
            let (key, default) = (cells[0].trim_end_matches('`'), cells[2].trim_matches('`'));
            if !default.is_empty() && default != "*needed*" {
                file.extend([key, " = ", default, "\n"]);
                rows += 1;
            }
        }
        if skip {
            file = file.trim_end_matches(|c| c != '\n').to_owned();
            file.truncate(file.trim_end().rfind("\n[[").map_or(file.len(), |at| at + 1));
        }
    }
    assert!(rows > 150, "only {rows} rows were found in the documentation");
    // What is written is a limit of the operator's own, even where it says what is built in.
    let own = shown(&good(&file)).replace("is_builtin: false", "is_builtin: true");
    assert_eq!(own, shown(&Config::default()));
}

#[test]
fn the_committed_documentation_is_the_code() {
    let committed = include_str!("../../docs/CONFIGURATION.md");
    assert!(committed == config::docs(), "docs/CONFIGURATION.md is stale; run: cargo xtask docs");
}

#[test]
fn thresholds_take_numbers_tables_and_off() {
    fn check(value: &str, warn: Option<f64>, critical: Option<f64>, for_secs: u64, clear: Option<f64>) {
        let config = good(&format!("[thresholds]\ncpu_percent = {value}\n"));
        let expect = Threshold { warn, critical, for_secs, clear, is_builtin: false };
        assert_eq!(config.thresholds.cpu_percent, expect, "{value}");
    }
    check("90", None, Some(90.0), 30, None);
    check("90.5", None, Some(90.5), 30, None);
    check("0x10", None, Some(16.0), 30, None);
    check("\"off\"", None, None, 30, None);
    check("{ warn = 70 }", Some(70.0), None, 30, None);
    check("{ warn = 97, critical = 99 }", Some(97.0), Some(99.0), 30, None);
    check("{ for_secs = 300 }", Some(80.0), Some(95.0), 300, None);
    check("{ clear = 60 }", Some(80.0), Some(95.0), 30, Some(60.0));
    check("{}", Some(80.0), Some(95.0), 30, None);
    check(
        "{ warn = 80.0, critical = 95.0, for_secs = 30, clear = 75.0 }",
        Some(80.0),
        Some(95.0),
        30,
        Some(75.0),
    );
    let limits = Config::default().thresholds;
    assert!((limits.cpu_percent.clears_at(80.0, false) - 76.0).abs() < 1e-9);
    assert!((limits.disk_full_hours.clears_at(72.0, true) - 75.6).abs() < 1e-9);
    assert!(!limits.gpu_utilization_percent.is_on());
}

#[test]
fn the_agents_pace_is_that_of_collectors_without_their_own() {
    fn check(text: &str, cpu: u64, disk: u64) {
        let collector = good(text).collector;
        assert_eq!((collector.cpu_interval_secs, collector.disk_interval_secs), (cpu, disk), "{text}");
    }
    check("", 10, 60);
    check("[agent]\ncollect_interval_secs = 5", 5, 5);
    check("[agent]\ncollect_interval_secs = 5\n[collector]\ndisk_interval_secs = 120", 5, 120);
    check("[collector]\ncpu_interval_secs = 3", 3, 60);
}

#[test]
fn variables_come_from_the_environment() {
    let config = good(
        "[agent]\nhostname = \"${WORD}-$${WORD}\"\nlabels = { a = '${WORD}' }\n\
         [alerting.webhook]\nurl = \"https://example.com/${TOKEN}\"\nheaders = { Authorization = 'Bearer ${TOKEN}' }",
    );
    assert_eq!(config.agent.hostname, "hello-${WORD}");
    assert_eq!(config.agent.labels["a"], "hello");
    assert_eq!(config.alerting.webhook.url.expose_secret(), "https://example.com/s3cret");
    assert_eq!(config.alerting.webhook.headers["Authorization"].expose_secret(), "Bearer s3cret");
}

#[test]
fn windows_and_switches_have_two_forms() {
    let windows = |value: &str| {
        let config = good(&format!("[alerting]\ndedup_window_secs = {value}"));
        Severity::ALL.map(|severity| config.alerting.dedup_window_secs.of(severity))
    };
    assert_eq!(windows("60"), [60; 4]);
    assert_eq!(windows("{ warn = 60 }"), [600, 60, 600, 0]);
    let switch = |value: &str| good(&format!("[ebpf]\nenabled = {value}")).ebpf.enabled.name();
    assert_eq!(["true", "false", "\"auto\"", "\"on\""].map(switch), ["on", "off", "auto", "on"]);
    assert_eq!(good("[alerting.telegram]\nchat_id = -100123").alerting.telegram.chat_id, "-100123");
}

#[cfg(feature = "prometheus")]
#[test]
fn who_listens_beyond_the_host_asks_for_a_key() {
    let check = |text: &str, expect: &[&str]| {
        let said = outcome(text);
        for part in expect {
            assert!(said.contains(part), "{text}: {said}");
        }
        assert_eq!(said.is_empty(), expect.is_empty(), "{text}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    };
    let (json, text) = (
        "[http]\nenabled = true\nbind = '0.0.0.0:1'\n",
        "[prometheus]\nenabled = true\nbind = '0.0.0.0:1'\n",
    );
    let key = "auth_key = '${TOKEN}'\n";
    check("[http]\nbind = '0.0.0.0:1'\n", &[]);
    check("[http]\nenabled = true\nbind = '[::1]:1'\n", &[]);
    check(json, &["config.toml:3: `http.bind` lets other hosts ask", "`http.auth_key` is empty"]);
    check(text, &["config.toml:3: `prometheus.bind` lets other hosts ask"]);
    check(&format!("{json}{key}"), &[]);
    check(&format!("{text}{key}"), &[]);
    check(&format!("{json}{key}{text}"), &[]);
    check(&format!("{json}{key}{}", text.replace(":1", ":2")), &["config.toml:7: `prometheus.bind`"]);
    check(&format!("{json}{text}"), &["`http.bind`", "`prometheus.bind`"]);
    let taken = "[prometheus]\nenabled = true\npath = '/status'\n";
    check(taken, &["`prometheus.path` is /status, where something else is.", "like \"/metrics\""]);
}

#[test]
fn warnings_are_one_for_each_feature() {
    for (text, expect) in [
        ("[alerting.discord]\nenabled = false\nusername = 'x'", ""),
        ("[alerting.discord]", ""),
        ("[ebpf]\ntransport = 'ring'", ""),
        ("[ebpf]\nenabled = 'off'", ""),
        (
            "[storage]\nsqlite_retention_days = 5\n[alerting.recovery]\nnotify_once = true",
            if cfg!(feature = "sqlite") {
                ""
            } else {
                "config.toml:2: `storage.sqlite_retention_days` has no effect: this is a build without the cargo feature sqlite.\n"
            },
        ),
    ] {
        assert_eq!(outcome(text), expect, "{text}");
    }
}
