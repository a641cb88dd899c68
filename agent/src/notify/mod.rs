//! Notify: from an alert to a person.
//!
//! ```text
//! accept ─► journal (on disk before accept returns)
//!    └────► ledger ─► one lane per channel: order, limits, retries ─► channel ─► mark in the journal
//! ```
//!
//! Delivery is at least once: what was accepted is told, over crashes and days without network, and may in rare
//! cases be told twice (a crash between the other side's answer and the mark). What we refuse: a second queue
//! beside the journal, limits or retries inside channels, silence about what was held back or lost.

use crate::alert::{Alert, Severity, Status};
use crate::config::Config;
use crate::time::Now;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub mod alertmanager;
pub mod backlog;
pub mod backoff;
pub mod channel;
pub mod discord;
mod disguise;
mod disk;
pub mod email;
pub mod exec;
pub mod facts;
pub mod fit;
pub mod heartbeat;
pub mod http;
pub mod journal;
pub mod lane;
pub mod ledger;
pub mod limit;
pub mod mail;
pub mod mail_html;
#[cfg(feature = "nats")]
pub mod nats;
pub mod ntfy;
mod own;
pub mod pagerduty;
pub mod prometheus;
pub mod record;
pub mod routes;
#[cfg(test)]
mod samples;
pub mod slack;
pub mod slots;
pub mod stats;
mod swap;
pub mod syslog;
pub mod telegram;
pub mod template;
pub mod terminal;
pub mod trial;
pub mod unmade;
pub mod way;
pub mod webhook;
mod worker;

pub use channel::{Channel, Route, SendError};
pub use journal::{Outbox, Recovered};
pub use limit::Limits;
pub use routes::{CHANNELS, routes};
pub use stats::Stats;
pub use template::Templates;
pub use trial::test_alert;

/// Reads both clocks: [`crate::host::clock::now`], or a test's own.
pub type Clock = fn() -> Now;

/// Commands that may wait for the worker. A full queue makes `accept` wait.
const MAX_COMMANDS: usize = 64;
/// Longest time for a request to one of the services.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What the worker needs besides outbox and channels.
#[derive(Clone)]
pub struct Options {
    /// Host name for messages of its own.
    pub hostname: String,
    /// Rate limits.
    pub limits: Limits,
    /// Texts.
    pub templates: Arc<Templates>,
    /// For the jitter: anything that differs between hosts and starts.
    pub seed: u64,
}

impl Options {
    /// As the configuration says; `hostname` is the effective one.
    ///
    /// # Errors
    /// A sentence about a template that is none.
    pub fn of(config: &Config, hostname: &str, seed: u64) -> Result<Self, String> {
        let alerting = &config.alerting;
        let limits = Limits {
            per_minute: alerting.rate_limit_per_minute,
            per_hour: alerting.max_alerts_per_hour,
            total_per_hour: alerting.max_alerts_per_hour_total,
            emergency_bypass: alerting.emergency_bypass_rate_limit,
            min_interval_secs: alerting.min_interval_secs,
        };
        Ok(Self { hostname: hostname.to_owned(), limits, templates: Arc::new(Templates::of(config)?), seed })
    }
}

/// The handle. Clones share one worker.
#[derive(Clone)]
pub struct Notifier {
    commands: mpsc::Sender<Command>,
}

use swap::Swap;
use worker::{Command, Worker};

impl Notifier {
    /// Starts the worker on the present tokio runtime. What an earlier run left undelivered goes out at once.
    pub fn start(
        options: Options,
        (outbox, found): (Outbox, &Recovered),
        routes: Vec<Route>,
        clock: Clock,
    ) -> (Self, JoinHandle<()>) {
        let (commands, inbox) = mpsc::channel(MAX_COMMANDS);
        let worker = Worker::new(options, outbox, found, routes, clock);
        (Self { commands }, tokio::spawn(worker.run(inbox)))
    }

    /// Takes alerts in; returns when they are on disk. False if they are in memory only: the disk fails, or
    /// has not answered for two seconds. They are delivered either way.
    pub async fn accept(&self, alerts: Vec<Arc<Alert>>) -> bool {
        let (done, durable) = oneshot::channel();
        let asked = self.commands.send(Command::Accept(alerts, done)).await;
        asked.is_ok() && durable.await.unwrap_or(false)
    }

    /// How things stand; empty once the worker has ended.
    pub async fn stats(&self) -> Stats {
        let (done, stats) = oneshot::channel();
        // A send that fails drops `done`, and the answer is the default.
        let _ = self.commands.send(Command::Stats(done)).await;
        stats.await.unwrap_or_default()
    }

    /// For each of these incidents the channels whose rate limits hold it back.
    pub async fn limited(&self, ids: Vec<String>) -> Vec<Vec<String>> {
        let (done, limited) = oneshot::channel();
        let _ = self.commands.send(Command::Limited(ids, done)).await;
        limited.await.unwrap_or_default()
    }

    /// Goes on with other channels, limits and words; `same` are those that are as they were. Nothing that waits
    /// is lost: see `swap`. Returns which of those that stay began anew.
    pub async fn swap(
        &self,
        options: Options,
        routes: Vec<Route>,
        same: Vec<&'static str>,
    ) -> Vec<&'static str> {
        let (done, swapped) = oneshot::channel();
        let _ = self.commands.send(Command::Swap(Box::new(Swap { options, routes, same }), done)).await;
        // A worker that has ended has nothing to swap.
        swapped.await.unwrap_or_default()
    }

    /// Sends what can be sent within `patience`, writes the outbox and ends the worker. Returns how many alerts
    /// are left in the outbox for the next start.
    pub async fn drain(&self, patience: Duration) -> usize {
        let (done, left) = oneshot::channel();
        let _ = self.commands.send(Command::Drain(patience, done)).await;
        left.await.unwrap_or(0)
    }
}

/// A body for HTTP.
fn json_body(body: &serde_json::Value) -> Result<Vec<u8>, SendError> {
    serde_json::to_vec(body).map_err(|error| SendError::refused(format!("the message is no JSON: {error}")))
}

/// An alert that the agent makes about itself.
fn own_alert(hostname: &str, metric: &str, severity: Severity, message: String, now: Now) -> Alert {
    let timestamp = timestamp(now);
    Alert {
        hostname: hostname.to_owned(),
        severity,
        metric: metric.to_owned(),
        value: 1.0,
        threshold: None,
        message,
        labels: BTreeMap::new(),
        status: Status::Firing,
        id: format!("{metric}-{}", now.wall_ns),
        fingerprint: metric.to_owned(),
        started_at: timestamp.clone(),
        timestamp,
        ended_at: None,
        duration_secs: 0,
        rule: metric.to_owned(),
        source: vec!["agent".to_owned()],
        runbook_url: None,
        context: serde_json::Map::new(),
    }
}

fn timestamp(now: Now) -> String {
    let at = Timestamp::from_nanosecond(i128::from(now.wall_ns)).unwrap_or_default();
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The example of the contract.
    pub(crate) fn gpu() -> Alert {
        let mut alert = own_alert(
            "gpu-server-01",
            "gpu_temperature_celsius",
            Severity::Critical,
            String::new(),
            Now::default(),
        );
        alert.timestamp = "2026-02-22T16:30:00+09:00".into();
        alert.started_at = "2026-02-22T16:29:20+09:00".into();
        alert.value = 87.0;
        alert.threshold = Some(85.0);
        alert.message = "GPU 0 temperature 87°C exceeds threshold 85°C".into();
        alert.labels = [("gpu", "0"), ("model", "A100")].map(|(k, v)| (k.into(), v.into())).into();
        alert.duration_secs = 40;
        alert.id = "gpu-1".into();
        alert.source = vec!["nvml".into()];
        alert.context.insert("trend".into(), "rising".into());
        alert
    }

    /// A message about an incident.
    pub(crate) fn alert(id: &str, severity: Severity, status: Status) -> Alert {
        Alert { id: id.into(), severity, status, message: format!("about {id}"), ..gpu() }
    }
}
