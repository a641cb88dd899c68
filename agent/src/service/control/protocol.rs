//! What is asked and answered on the control socket: one JSON object a line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::Engine;
use crate::engine::control::{NewSilence, View};
use crate::notify::stats::{ChannelStats, OutboxStats};
use crate::service::features::Feature;
use crate::service::history::query::Question;
use crate::service::outlets::Outlet;
use crate::time::{Now, SECOND};

/// A question or an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Request {
    /// Health of each part: a [`Status`].
    Status,
    /// What stands, waits and is held back: [`Alerts`].
    Alerts,
    /// Hold alerts back. The `by` in it is overwritten by who asks.
    Silence(NewSilence),
    /// End a silence.
    Revoke {
        /// Its id.
        id: u64,
    },
    /// What history has of a metric: [`crate::service::history::query::Answer`].
    Query(Question),
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// What was asked for.
    Ok(Value),
    /// A sentence.
    Error(String),
}

/// Health of each part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Name of the host in alerts.
    pub hostname: String,
    /// File of the configuration.
    pub config: String,
    /// Seconds since the agent's start.
    pub uptime_secs: u64,
    /// Collectors, by name.
    pub collectors: Vec<CollectorView>,
    /// Sources of events and probes, as they were at the start.
    pub features: Vec<Feature>,
    /// Channels.
    pub channels: Vec<ChannelStats>,
    /// Alerts on disk.
    pub outbox: OutboxStats,
    /// What goes out besides alerts.
    #[serde(default)]
    pub outlets: Vec<Outlet>,
    /// How often each limit was met since the start; see "Limits" in docs/DESIGN.md.
    pub limits: BTreeMap<String, u64>,
    /// Events since the start, by counter and label.
    pub events: BTreeMap<String, u64>,
    /// The log shipper, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_shipper: Option<crate::ship::view::View>,
}

/// One collector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CollectorView {
    /// Its name.
    pub name: String,
    /// Whether its newest pass read everything.
    pub up: bool,
    /// How long that took, milliseconds.
    pub took_ms: f64,
    /// Seconds since then.
    pub age_secs: u64,
    /// Why it did not read everything.
    pub error: Option<String>,
}

/// What stands, waits and is held back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Alerts {
    /// The engine's.
    #[serde(flatten)]
    pub view: View,
    /// Queues of the channels.
    pub channels: Vec<ChannelStats>,
}

/// What the engine knows of the agent's own state.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Collectors, without their errors.
    pub collectors: Vec<CollectorView>,
    /// Limits met.
    pub limits: BTreeMap<String, u64>,
    /// Events.
    pub events: BTreeMap<String, u64>,
}

/// Metrics of collectors that count what a limit left out.
const LEFT_OUT: &[&str] = &[
    "series_refused_total",
    "processes_skipped_count",
    "memory_cgroups_skipped_count",
    "cgroups_left_out_count",
    "listening_ports_left_out_count",
    "ebpf_recursion_misses_total",
    "log_shipper_files_left_out_count",
    "log_shipper_lost_bytes_total",
    "journal_unreadable_total",
];
/// Counters of what a limit left out, by this label.
const LEFT_OUT_BY: &[(&str, &str)] = &[("ebpf_drops_total", "reason")];

impl Counts {
    /// Read out of the engine.
    pub fn of(engine: &Engine, now: Now) -> Self {
        let mut collectors: BTreeMap<&str, CollectorView> = BTreeMap::new();
        let mut limits: BTreeMap<String, u64> =
            engine.limits_met().into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        for (_, series) in engine.series().iter().filter(|(_, series)| series.at_ns > 0) {
            let name = series.metric.name;
            if LEFT_OUT.contains(&name) {
                *limits.entry(name.to_owned()).or_default() += series.value.max(0.0) as u64;
            }
            if let Some((_, label)) = LEFT_OUT_BY.iter().find(|(counter, _)| *counter == name) {
                let reason = series.label(label).unwrap_or_default();
                limits.insert(format!("{name} {reason}"), series.value.max(0.0) as u64);
            }
            let Some(label) = series.label("collector").filter(|_| name.starts_with("collector_")) else {
                continue;
            };
            let view = collectors.entry(label).or_default();
            label.clone_into(&mut view.name);
            match name {
                "collector_up" => view.up = series.value > 0.0,
                "collector_duration_seconds" => {
                    view.took_ms = series.value * 1000.0;
                    view.age_secs = now.mono_ns.saturating_sub(series.at_ns) / SECOND;
                }
                _ => {}
            }
        }
        let tally = engine.tally();
        limits.extend(tally.lost.iter().map(|((part, why), n)| (format!("lost_{part}_{why}"), *n)));
        let event = |((name, label), n): (&(&'static str, String), &u64)| {
            (if label.is_empty() { (*name).to_owned() } else { format!("{name} {label}") }, *n)
        };
        Self {
            collectors: collectors.into_values().collect(),
            limits,
            events: tally.events.iter().map(event).collect(),
        }
    }
}
