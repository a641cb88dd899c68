//! One screen at the start: what host this is, how it does, what is watched, and what is not and why.

use std::fmt::Write as _;
use std::sync::Arc;

use super::Start;
use super::features::{Feature, State};
use super::pipeline::FirstRound;
use crate::edge;
use crate::engine::Engine;
use crate::host::{Host, read_text};
use crate::text::{clean, kib, number, span};

/// Mounts shown, fullest first.
const MOUNTS: usize = 4;

/// Prints the screen once every collector has read once.
pub(super) fn first_round(
    start: &Start,
    host: &Arc<dyn Host>,
    features: Vec<Feature>,
    batches: u64,
) -> FirstRound {
    let (host, config) = (Arc::clone(host), start.config.clone());
    let (file, lacking) = (start.file.clone(), start.lacking.clone());
    let from = start.file.as_ref().map_or("built-in defaults".to_owned(), |f| f.display().to_string());
    let print = move |engine: &Engine| {
        let (routes, _) = edge::routes_in_any_case(&config, file.as_deref(), &lacking);
        let channels: Vec<&str> =
            routes.iter().filter(|r| r.unmade.is_none()).map(|r| r.channel.name()).collect();
        let screen = screen(host.as_ref(), engine, &features, &channels, &from);
        // Nobody may be listening; that is no reason to stop.
        let _ = std::io::Write::write_all(&mut std::io::stdout().lock(), screen.as_bytes());
    };
    FirstRound { batches, then: Box::new(print) }
}

fn screen(host: &dyn Host, engine: &Engine, features: &[Feature], channels: &[&str], from: &str) -> String {
    let uname = host.uname();
    let mut out = String::new();
    let _ = writeln!(
        out,
        "sysops-agent {} on {} ({}, Linux {}, {}) with {from}\n",
        env!("CARGO_PKG_VERSION"),
        clean(&uname.nodename, 64),
        distribution(host),
        clean(&uname.release, 64),
        uname.machine,
    );
    let width = features.iter().map(|f| f.name.len()).max().unwrap_or(0).max("alerts to".len()) + 2;
    let mut line = |name: &str, text: &str| {
        let _ = writeln!(out, "  {name:<width$}{text}");
    };
    line("host", &vital_signs(engine));
    line("disks", &disks(engine));
    for feature in features.iter().filter(|f| f.state == State::On) {
        line(&feature.name, &clean(&feature.reason, 200));
    }
    for feature in features.iter().filter(|f| f.state != State::On) {
        line(
            &feature.name,
            &format!("{}: {}", feature.state.name().to_uppercase(), clean(&feature.reason, 300)),
        );
        if let Some(remedy) = &feature.remedy {
            line("", &format!("-> {}", clean(remedy, 300)));
        }
    }
    line(
        "alerts to",
        &if channels.is_empty() { "NOBODY: no channel is enabled".into() } else { channels.join(", ") },
    );
    out.push('\n');
    out
}

fn distribution(host: &dyn Host) -> String {
    let text = read_text(host, "/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown distribution");
    clean(name.trim_matches('"'), 64)
}

/// Newest value of the metric `name` without labels.
fn value(engine: &Engine, name: &str) -> Option<f64> {
    engine.series().iter().find(|(_, s)| s.metric.name == name && s.at_ns > 0).map(|(_, s)| s.value)
}

fn vital_signs(engine: &Engine) -> String {
    let mut parts = Vec::new();
    let get = |name| value(engine, name);
    parts.extend(get("cpu_online_count").map(|n| format!("{} CPU threads", number(n))));
    parts.extend(get("load_1min").map(|v| format!("load {v:.2}")));
    if let (Some(used), Some(total)) = (get("memory_used_bytes"), get("memory_total_bytes")) {
        parts.push(format!("memory {} of {} used", kib(used as u64 / 1024), kib(total as u64 / 1024)));
    }
    parts.extend(get("processes_count").map(|n| format!("{} processes", number(n))));
    parts.extend(get("host_uptime_seconds").map(|s| format!("up {}", span(s as u64))));
    parts.join(", ")
}

fn disks(engine: &Engine) -> String {
    let mut mounts: Vec<(f64, String)> = engine
        .series()
        .iter()
        .filter(|(_, s)| s.metric.name == "disk_used_percent" && s.at_ns > 0)
        .map(|(_, s)| (s.value, clean(s.label("mount").unwrap_or("?"), 60)))
        .collect();
    mounts.sort_by(|a, b| b.0.total_cmp(&a.0));
    let more = mounts.len().saturating_sub(MOUNTS);
    let mut shown: Vec<String> =
        mounts.iter().take(MOUNTS).map(|(v, m)| format!("{m} {} %", number(*v))).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    if shown.is_empty() { "none to watch".into() } else { shown.join(", ") }
}
