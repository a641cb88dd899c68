//! Names of the labels that alerts may have: what a silence or a maintenance window can ask for.

use std::collections::{BTreeMap, BTreeSet};

use super::metrics;
use crate::config::{Config, nearest};
use crate::engine::events;
use crate::text::clean;
use crate::watch::catalogue;

/// Labels of events besides those of their counters and those that are groups of a pattern.
const OF_EVENTS: &[&str] = &[
    "class",
    "container",
    "controller",
    "device",
    "dimm",
    "driver",
    "interface",
    "killer",
    "mount",
    "op",
    "page",
    "part",
    "pod_uid",
    "process",
    "program",
    "reason",
    "rule",
    "runtime",
    "scope",
    "sensor",
    "unit",
    "zone",
];

/// All that an alert of this configuration may have.
pub fn all(config: &Config) -> BTreeSet<String> {
    let of_metrics = metrics().into_iter().flat_map(|metric| metric.labels.iter().copied());
    let built_in = catalogue::rules().map(|rule| rule.pattern);
    let own = config.log_analyzer.custom_patterns.iter().map(|pattern| pattern.pattern.as_str());
    let groups = built_in.chain(own).flat_map(groups);
    let fixed = of_metrics.chain(OF_EVENTS.iter().copied()).chain(groups).map(str::to_owned);
    fixed.chain(config.agent.labels.keys().cloned()).collect()
}

/// Those of an alert on what is measured, by metric. Events may have others than their counters.
pub fn of_metrics(config: &Config) -> BTreeMap<&'static str, BTreeSet<String>> {
    let is_event = |name: &str| events::METRICS.iter().any(|metric| metric.name == name);
    let own = || config.agent.labels.keys().cloned();
    let of = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).chain(own()).collect();
    let measured = metrics().into_iter().filter(|metric| !is_event(metric.name));
    measured.map(|metric| (metric.name, of(metric.labels))).collect()
}

/// What to do about a label that is none of `known`.
pub fn instead(label: &str, known: &BTreeSet<String>) -> String {
    match nearest(label, known.iter().map(String::as_str)) {
        Some(near) => format!("Did you mean `{near}`?"),
        None if known.is_empty() => "It has none.".to_owned(),
        None if known.len() > 12 => "docs/METRICS.md lists the labels of each metric.".to_owned(),
        None => format!("It has {}.", known.iter().map(String::as_str).collect::<Vec<_>>().join(", ")),
    }
}

/// Maintenance windows that can hold nothing back: a sentence each.
pub(super) fn idle_windows(config: &Config) -> Vec<String> {
    let known = all(config);
    let windows = config.alerting.maintenance.iter();
    let asked = windows.flat_map(|window| window.labels.keys().map(move |label| (&window.name, label)));
    let unknown = asked.filter(|(_, label)| !known.contains(label.as_str()));
    let sentence = |(window, label): (&String, &String)| {
        format!(
            "The maintenance window `{window}` holds back nothing: no alert has a label `{}`. {}",
            clean(label, 40),
            instead(label, &known)
        )
    };
    unknown.map(sentence).collect()
}

/// Names of the groups of a pattern, as they become labels: without the digits at their end.
fn groups(pattern: &str) -> impl Iterator<Item = &str> {
    let opened = pattern.split("(?").skip(1).map(|rest| rest.strip_prefix('P').unwrap_or(rest));
    let named = opened.filter_map(|rest| rest.strip_prefix('<')?.split_once('>'));
    named.map(|(name, _)| name.trim_end_matches(|c: char| c.is_ascii_digit())).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::LogMatch;
    use crate::watch::rules::RuleSet;

    #[test]
    fn groups_of_patterns_are_labels() {
        let found: Vec<&str> = groups(r"a(?P<dev>x)(?:b)(?<pid2>\d+)(?i)(?<=x)").collect();
        assert_eq!(found, ["dev", "pid"]);
    }

    #[test]
    fn every_label_of_a_line_is_known() {
        let known = all(&Config::default());
        let rules = RuleSet::new(&[], true).expect("built-in rules");
        for line in catalogue::rules().flat_map(|rule| rule.hits) {
            rules.find(line, &mut |found: LogMatch| {
                for (label, _) in found.fields {
                    assert!(known.contains(&label), "{label} of {line}");
                }
            });
        }
    }

    #[test]
    fn a_window_that_no_alert_can_match_is_named() {
        let mut config = Config::default();
        config.agent.labels.insert("site".into(), "x".into());
        let mut window = crate::config::Maintenance { name: "night".into(), ..Default::default() };
        for label in ["mount", "site", "xid", "mont"] {
            window.labels.insert(label.into(), "/".into());
        }
        config.alerting.maintenance.push(window);
        let expect = "The maintenance window `night` holds back nothing: no alert has a label `mont`. Did you mean `mount`?";
        assert_eq!(idle_windows(&config), [expect]);
        let of = of_metrics(&config);
        assert!(of["disk_used_percent"].contains("mount"));
        assert_eq!(instead("x-y-z-no-such", &of["memory_used_percent"]), "It has site.");
        assert!(!of.contains_key("kernel_events_total"), "its alerts have what their lines name");
    }
}
