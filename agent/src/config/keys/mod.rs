//! All sections and keys: struct, default, condition and documentation in one place each.

mod agent;
mod alerting;
mod analysis;
mod channels;
mod collector;
mod endpoints;
mod export;
mod thresholds;

pub use agent::{Agent, Ebpf, Inventory, LogLevel, Switch, Transport};
pub use alerting::{
    Alerting, DedupWindows, Escalation, Grouping, Heartbeat, Maintenance, Op, Recovery, Rule, Templates,
};
pub use analysis::{
    Analyzer, Cpu, CustomPattern, LogAnalyzer, LogSource, Loudness, MAX_CUSTOM_PATTERNS, Storage,
};
pub use channels::{
    Alertmanager, Discord, Email, Exec, Facility, Method, Ntfy, PagerDuty, ParseMode, Slack, SmtpTls, Syslog,
    Telegram, Terminal, Webhook, WebhookFormat, passes,
};
pub use collector::{Collector, Docker, MAX_PATTERNS, Redis};
pub(super) use endpoints::endpoints;
pub use export::{Http, LogShipper, Nats, Prometheus, Push};
pub use thresholds::{Threshold, Thresholds};

/// Seconds in a day, the longest pace of anything.
const DAY: i64 = 86_400;
/// Seconds in a week, the longest hold time or window.
const WEEK: i64 = 7 * DAY;
