//! What the operator writes: the configuration file, message templates, patterns.

use std::collections::BTreeMap;

use sysops_agent::alert::Alert;
use sysops_agent::config::{Known, load};
use sysops_agent::event::MAX_LINE;
use sysops_agent::host::glob::Globs;
use sysops_agent::notify::template::{MAX_TEXT, Templates};
use sysops_agent::watch::rules::{Custom, RuleSet, check_pattern};

use super::pipe::{harmless, severity};

/// Longest list of problems, bytes: a hundred of them, each with its line of the file.
const MAX_PROBLEMS: usize = 256 << 10;

/// A configuration file: understood, or refused with sentences that can be printed.
pub(crate) fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let env = |name: &str| (name != "NONE").then(|| format!("<{name}>"));
    let known = Known {
        metrics: &["cpu_usage_percent"],
        collectors: &["cpu"],
        labels: &[&[]],
        rules: &["segfault", "oom_kill"],
        witnessed: &["oom_kill"],
        alone: data.len().is_multiple_of(2),
        variables: data.len().is_multiple_of(3),
    };
    match load(&text, "fuzz.toml", &env, known) {
        Ok((_, warnings)) => warnings.iter().for_each(|w| harmless("a warning", &w.to_string(), 4096)),
        Err(problems) => {
            let text = problems.to_string();
            assert!(!problems.list.is_empty() && problems.list.len() <= 100, "{text}");
            assert!(text.len() <= MAX_PROBLEMS, "{} bytes", text.len());
            text.lines().for_each(|line| harmless("a problem", line, MAX_PROBLEMS));
        }
    }
}

/// A template, and behind a NUL the message it is filled with: a text of bounded length in bounded time. Only the
/// operator writes templates, and whoever multiplies texts may have large ones: those are left out.
pub(crate) fn template(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (template, message) = text.split_once('\0').unwrap_or((&text, "a message"));
    let grows =
        template.bytes().filter(|b| matches!(b, b'~' | b'+' | b'*')).count() > 4 || template.contains("000");
    if grows || template.chars().count() > 4096 {
        return;
    }
    match Templates::new(template, &BTreeMap::new()) {
        Err(why) => harmless("the reason", &why, 4096),
        Ok(templates) => {
            let (text, failed) = templates.text("webhook", &alert(message));
            assert!(text.chars().count() <= MAX_TEXT + 1, "{} characters", text.chars().count());
            harmless("the reason", failed.as_deref().unwrap_or_default(), 4096);
        }
    }
}

fn alert(message: &str) -> Alert {
    let json = serde_json::json!({
        "hostname": "h", "timestamp": "2026-02-22T16:30:00Z", "severity": "warn", "metric": "m", "value": 1.5,
        "threshold": null, "message": message, "labels": { "mount": "/", "hostile": message }, "status": "firing",
        "id": "1", "fingerprint": "f", "started_at": "2026-02-22T16:30:00Z", "ended_at": null, "duration_secs": 0,
        "rule": "r", "source": [], "runbook_url": null, "context": { "trend": "rising" },
    });
    serde_json::from_value(json).expect("an alert")
}

/// A pattern for kernel-log lines on the first line, lines behind it.
pub(crate) fn pattern(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let pattern = lines.next().unwrap_or_default();
    let custom = [Custom { name: "own", pattern, severity: severity(1) }];
    let checked = check_pattern(pattern);
    let rules = RuleSet::new(&custom, false);
    assert_eq!(checked.is_ok(), rules.is_ok(), "{pattern}");
    if let Err(why) = checked {
        return harmless("the reason", &why, 16 * data.len() + 4096);
    }
    let rules = rules.expect("checked");
    for line in lines.take(64) {
        rules.find(line, &mut |found| {
            assert!(found.line.len() <= MAX_LINE, "{} bytes", found.line.len());
            assert!(found.fields.len() <= 16, "{:?}", found.fields);
            assert!(found.fields.iter().all(|(_, value)| value.len() <= 256), "{:?}", found.fields);
        });
    }
}

/// A name pattern on the first line, names behind it; compared with the plain recursion.
pub(crate) fn glob(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.lines();
    let pattern = lines.next().unwrap_or_default();
    let globs = Globs::new(&[pattern]);
    for name in lines.take(16) {
        let fits = globs.matches(name);
        if pattern.len() + name.len() < 24 {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(fits, plain(&chars(pattern), &chars(name)), "{pattern:?} {name:?}");
        }
    }
}

fn plain(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => plain(rest, name) || !name.is_empty() && plain(pattern, &name[1..]),
        (['?', rest @ ..], [_, more @ ..]) => plain(rest, more),
        ([p, rest @ ..], [n, more @ ..]) => p == n && plain(rest, more),
        _ => false,
    }
}
