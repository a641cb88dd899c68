//! What differs between two configurations, key by key. Secrets are compared, never shown.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::Config;
use super::value::Value;
use crate::text::clean;

/// Longest value shown, characters.
const LONGEST: usize = 120;

/// A key and what it holds.
#[derive(Debug)]
pub(super) struct Entry {
    path: String,
    shown: String,
    secret: Option<SecretString>,
}

impl Entry {
    /// One that may be shown, as TOML.
    pub(super) fn new(path: &str, shown: String) -> Self {
        Self { path: path.to_owned(), shown, secret: None }
    }

    /// One that may not.
    pub(super) fn secret(path: &str, secret: &SecretString) -> Self {
        Self { path: path.to_owned(), shown: String::new(), secret: Some(secret.clone()) }
    }

    fn same(&self, other: &Self) -> bool {
        let exposed = |entry: &Self| entry.secret.as_ref().map(|s| s.expose_secret().to_owned());
        self.shown == other.shown && exposed(self) == exposed(other)
    }
}

/// One key that differs. Its text holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Path of the key: `alerting.webhook.url`.
    pub key: String,
    /// `80.0 -> 90.0`, or `changed` for a secret.
    pub what: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

/// What differs, in the order of the documentation, keys that are gone last.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let list = |config: &Config| {
        let mut all = Vec::new();
        config.entries("", &mut all);
        all
    };
    let mut before: BTreeMap<String, Entry> = list(old).into_iter().map(|e| (e.path.clone(), e)).collect();
    let mut found = Vec::new();
    for entry in list(new) {
        let was = before.remove(&entry.path);
        if !was.as_ref().is_some_and(|was| was.same(&entry)) {
            found.push(change(was.as_ref(), Some(&entry)));
        }
    }
    found.extend(before.values().map(|was| change(Some(was), None)));
    found
}

fn change(was: Option<&Entry>, is: Option<&Entry>) -> Change {
    let key = was.or(is).map_or(String::new(), |entry| clean(&entry.path, LONGEST));
    let what = if [was, is].into_iter().flatten().any(|entry| entry.secret.is_some()) {
        "changed".to_owned()
    } else {
        let show = |entry: Option<&Entry>| entry.map_or("none".to_owned(), |e| clean(&e.shown, LONGEST));
        format!("{} -> {}", show(was), show(is))
    };
    Change { key, what }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Known, load};

    fn check(old: &str, new: &str, expect: &[&str]) {
        let read = |text| load(text, "c", &|_| None, Known::default()).unwrap().0;
        let found: Vec<_> = changes(&read(old), &read(new)).iter().map(ToString::to_string).collect();
        assert_eq!(found, expect, "{old:?} {new:?}");
    }

    #[test]
    fn keys_that_differ_are_named_and_secrets_are_not_shown() {
        check("", "", &[]);
        check("[agent]\nhostname = \"a\"", "[agent]\nhostname = \"a\"\nlog_level = \"info\"", &[]);
        let hook = |key: &str| {
            format!(
                "[alerting.webhook]\nenabled = true\nurl = \"http://h/{key}\"\nheaders = {{ X = \"{key}\" }}"
            )
        };
        let secret = ["alerting.webhook.url: changed", "alerting.webhook.headers.X: changed"];
        check(&hook("one"), &hook("two"), &secret);
        check(&hook("one"), &hook("one"), &[]);
        check(
            "[thresholds]\ncpu_percent = 80",
            "[thresholds]\ncpu_percent = { critical = 80, for_secs = 9 }\n[alerting]\nmin_interval_secs = 7",
            &[
                "thresholds.cpu_percent: { critical = 80.0 }, for_secs = 30 -> { critical = 80.0 }, for_secs = 9",
                "alerting.min_interval_secs: 300 -> 7",
            ],
        );
        check(
            "[agent.labels]\nenv = \"a\"\nteam = \"x\"",
            "[agent.labels]\nenv = \"b\\u001b\"\ndc = \"y\"",
            &[
                "agent.labels.dc: none -> \"y\"",
                "agent.labels.env: \"a\" -> \"b\\u001B\"",
                "agent.labels.team: \"x\" -> none",
            ],
        );
        check(
            "",
            "[alerting]\nsyslog = { min_severity = \"warn\" }",
            &["alerting.syslog.min_severity: none -> \"warn\""],
        );
    }
}
