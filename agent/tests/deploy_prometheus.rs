//! What is under deploy/ for Prometheus and Grafana names metrics that exist, and Prometheus accepts it.
// Half of what is shown comes from eBPF.
#![cfg(feature = "ebpf")]
#![expect(clippy::disallowed_methods, reason = "reads the files, runs promtool")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sysops_agent::edge;
use sysops_agent::metric::{Kind, Metric};

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Metrics by the names they have on the page.
fn known() -> BTreeMap<String, &'static Metric> {
    let mut all = BTreeMap::new();
    for metric in edge::metrics().into_iter().filter(|metric| !metric.prometheus.is_empty()) {
        let ends: &[&str] =
            if metric.kind == Kind::Histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        all.extend(ends.iter().map(|end| (format!("sysops_{}{end}", metric.prometheus), metric)));
    }
    all
}

/// Names of ours in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c: char| !is_word(c)).filter(|word| word.starts_with("sysops_")).collect()
}

/// Every name is that of a metric; counters and histograms are grown or counted, not shown as they are.
fn check(place: &str, expression: &str) -> usize {
    let known = known();
    for name in names(expression) {
        let metric = known.get(name).unwrap_or_else(|| panic!("{place}: there is no {name}: {expression}"));
        let grows = ["rate(", "increase("].iter().any(|f| expression.contains(&format!("{f}{name}")));
        assert_eq!(
            metric.kind != Kind::Gauge,
            grows,
            "{place}: {name} is a {}: {expression}",
            metric.kind.name()
        );
        // Labels it is asked for by are its own, or those of the scrape.
        for (at, _) in expression.match_indices(&format!("{name}{{")) {
            let braces = expression[at + name.len() + 1..].split('}').next().unwrap_or_default();
            for label in braces.split(',').filter_map(|pair| pair.split(['=', '!']).next()) {
                assert!(
                    label == "instance" || metric.labels.contains(&label),
                    "{place}: {name} has no label {label}"
                );
            }
        }
    }
    names(expression).len()
}

#[test]
fn dashboards_show_what_there_is() {
    let mut files = 0;
    for entry in fs::read_dir(deploy("grafana")).expect("dashboards") {
        let path = entry.expect("a file").path();
        let place = path.display().to_string();
        let board: Value = serde_json::from_str(&read(&path)).expect(&place);
        let panels = board["panels"].as_array().expect("panels");
        let mut shown = 0;
        for panel in panels {
            for target in panel["targets"].as_array().expect("targets") {
                shown += check(&place, target["expr"].as_str().expect("an expression"));
            }
        }
        let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
        assert_eq!(ids.len(), panels.len(), "{place}");
        assert!(shown >= 10, "{place}: {shown}");
        files += 1;
    }
    assert_eq!(files, 3, "host, kernel events, fleet");
}

#[test]
fn alert_rules_ask_for_what_there_is() {
    let rules = read(&deploy("prometheus/sysops-agent.rules.yml"));
    let known = known();
    let asked = names(&rules);
    for name in &asked {
        assert!(known.contains_key(*name), "there is no {name}");
    }
    assert!(asked.len() >= 12, "{asked:?}");
}

#[test]
fn prometheus_accepts_rules_and_configuration() {
    for (args, file) in [
        (["check", "rules"], "sysops-agent.rules.yml"),
        // Without the files it names, which are the user's.
        (["check", "config"], "prometheus.yml"),
        (["test", "rules"], "../../agent/tests/rules_test.yml"),
    ] {
        let path = deploy("prometheus").join(file);
        let mut command = Command::new("promtool");
        command.args(args);
        if args[1] == "config" {
            command.arg("--syntax-only");
        }
        match command.arg(&path).output() {
            Ok(done) => {
                let said = format!(
                    "{}{}",
                    String::from_utf8_lossy(&done.stdout),
                    String::from_utf8_lossy(&done.stderr)
                );
                assert!(done.status.success() && said.contains("SUCCESS"), "{file}: {said}");
            }
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "promtool cannot be run: {error}");
                println!("SKIPPED: promtool missing ({error}): apt-get install prometheus");
            }
        }
    }
}
