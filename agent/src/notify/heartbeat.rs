//! Signs of life: to a service that alerts when they stay away, and to NATS. The last one says that the agent stops.

use super::channel::SendError;
use super::http::{self, Http};
#[cfg(feature = "nats")]
use super::nats::Link;
use super::way::Way;
use super::{TIMEOUT, json_body, timestamp};
use crate::config::Config;
use crate::time::Now;
use secrecy::ExposeSecret;
use serde_json::json;
use std::time::Duration;

/// How the agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// All is well.
    Healthy,
    /// A channel fails, or alerts are in memory only.
    Degraded,
    /// It ends in order.
    Stopping,
}

impl Health {
    /// Name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
        }
    }
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
    Nats(Box<Link>),
}

impl Heart {
    /// All that the configuration names.
    ///
    /// # Errors
    /// A sentence without secrets.
    pub fn all(config: &Config) -> Result<Vec<Self>, String> {
        let mut hearts = Vec::new();
        let section = &config.alerting.heartbeat;
        if !section.url.expose_secret().is_empty() {
            let wrong = |why| format!("alerting.heartbeat: {why}");
            let mut http = Http::new(&section.url, "POST", TIMEOUT).map_err(wrong)?;
            http.header("content-type", &http::JSON.into()).map_err(wrong)?;
            http.travel(&Way::of(config)?);
            let to = To::Web(Box::new(http));
            hearts.push(Self { pace: Duration::from_secs(section.interval_secs), to });
        }
        #[cfg(feature = "nats")]
        if config.nats.enabled {
            let pace = Duration::from_secs(config.nats.heartbeat_interval_secs);
            hearts.push(Self { pace, to: To::Nats(Box::new(Link::of(config)?)) });
        }
        Ok(hearts)
    }

    /// Beats once.
    pub async fn beat(
        &self,
        hostname: &str,
        host_uptime_secs: u64,
        health: Health,
        now: Now,
    ) -> Result<(), SendError> {
        let body = json_body(&json!({
            "hostname": hostname,
            "timestamp": timestamp(now),
            "uptime_secs": host_uptime_secs,
            "agent_version": env!("CARGO_PKG_VERSION"),
            "status": health.name(),
        }))?;
        match &self.to {
            To::Web(http) => http.send(body).await,
            #[cfg(feature = "nats")]
            To::Nats(link) => link.send(hostname, "heartbeat", body).await,
        }
    }
}
