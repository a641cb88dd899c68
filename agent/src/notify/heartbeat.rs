//! Signs of life: to a service that alerts when they stay away, and to NATS. The last one says that the agent stops.

use super::channel::SendError;
use super::http::{self, Http};
#[cfg(feature = "nats")]
use super::nats::{Link, Outgoing};
use super::way::Way;
use super::{TIMEOUT, json_body, timestamp};
use crate::config::Config;
use crate::time::Now;
use secrecy::ExposeSecret;
use serde_json::json;
#[cfg(feature = "nats")]
use std::sync::Arc;
use std::time::Duration;

/// How the agent does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It works; with a sentence for each thing that does not. None: all is well.
    Running(Vec<String>),
    /// It ends in order.
    Stopping,
}

impl Health {
    /// Name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Running(reasons) if reasons.is_empty() => "healthy",
            Self::Running(_) => "degraded",
            Self::Stopping => "stopping",
        }
    }

    fn reasons(&self) -> &[String] {
        match self {
            Self::Running(reasons) => reasons,
            Self::Stopping => &[],
        }
    }
}

/// Whose sign of life it is.
#[derive(Clone, Debug)]
pub struct Whose {
    /// Name of the host.
    pub hostname: String,
    /// The agent's own id.
    pub agent_id: String,
}

/// One place that wants them.
#[derive(Debug)]
pub struct Heart {
    /// How often.
    pub pace: Duration,
    to: To,
}

#[derive(Debug)]
enum To {
    Web(Box<Http>),
    #[cfg(feature = "nats")]
    Nats(Arc<Link>),
}

impl Heart {
    /// To `alerting.heartbeat.url`; none without one.
    ///
    /// # Errors
    /// A sentence without secrets.
    pub fn web(config: &Config) -> Result<Option<Self>, String> {
        let section = &config.alerting.heartbeat;
        if section.url.expose_secret().is_empty() {
            return Ok(None);
        }
        let wrong = |why| format!("alerting.heartbeat: {why}");
        let mut http = Http::new(&section.url, "POST", TIMEOUT).map_err(wrong)?;
        http.header("content-type", &http::JSON.into()).map_err(wrong)?;
        http.travel(&Way::of(config)?);
        let to = To::Web(Box::new(http));
        Ok(Some(Self { pace: Duration::from_secs(section.interval_secs), to }))
    }

    /// To NATS, over a connection that others use, too.
    #[cfg(feature = "nats")]
    pub fn nats(config: &Config, link: Arc<Link>) -> Self {
        Self { pace: Duration::from_secs(config.nats.heartbeat_interval_secs), to: To::Nats(link) }
    }

    /// Beats once.
    pub async fn beat(
        &self,
        whose: &Whose,
        host_uptime_secs: u64,
        health: &Health,
        now: Now,
    ) -> Result<(), SendError> {
        let body = json_body(&json!({
            "hostname": whose.hostname,
            "agent_id": whose.agent_id,
            "timestamp": timestamp(now),
            "uptime_secs": host_uptime_secs,
            "agent_version": env!("CARGO_PKG_VERSION"),
            "status": health.name(),
            "reasons": health.reasons(),
        }))?;
        match &self.to {
            To::Web(http) => http.send(body).await,
            #[cfg(feature = "nats")]
            To::Nats(link) => {
                let message = Outgoing::plain(link.subject(&whose.hostname, "heartbeat"), body);
                link.deliver(vec![message], false).await
            }
        }
    }
}
