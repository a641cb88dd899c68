//! The configuration: the part that alerts need.

use crate::alert::Severity;
use minijinja::{Environment, UndefinedBehavior};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Alerts.
    pub alerting: Alerting,
}

/// Alerts: how often, how many, and where to.
#[derive(Clone, Debug)]
pub struct Alerting {
    /// Seconds between two messages about the same condition.
    pub min_interval_secs: u64,
    /// Most messages per minute of one channel.
    pub rate_limit_per_minute: u32,
    /// Most messages per hour of one channel.
    pub max_alerts_per_hour: u32,
    /// Most messages per hour of all channels together.
    pub max_alerts_per_hour_total: u32,
    /// Whether emergencies pass the limits above.
    pub emergency_bypass_rate_limit: bool,
    /// Words of the messages.
    pub templates: Templates,
    /// Messages on the terminal.
    pub terminal: Terminal,
    /// Any HTTP endpoint.
    pub webhook: Webhook,
    /// The system log.
    pub syslog: Syslog,
}

impl Default for Alerting {
    fn default() -> Self {
        Self {
            min_interval_secs: 300,
            rate_limit_per_minute: 10,
            max_alerts_per_hour: 60,
            max_alerts_per_hour_total: 100,
            emergency_bypass_rate_limit: true,
            templates: Templates::default(),
            terminal: Terminal::default(),
            webhook: Webhook::default(),
            syslog: Syslog::default(),
        }
    }
}

/// Words of the messages.
#[derive(Clone, Debug)]
pub struct Templates {
    /// For every channel without its own.
    pub default: String,
    /// For the terminal.
    pub terminal: Option<String>,
    /// For webhooks.
    pub webhook: Option<String>,
    /// For syslog.
    pub syslog: Option<String>,
}

impl Default for Templates {
    fn default() -> Self {
        let default = "[{{severity}}] {{hostname}}: {{message}} ({{metric}}={{value}})".to_owned();
        Self { default, terminal: None, webhook: None, syslog: None }
    }
}

/// On, off, or where it works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    /// Where it works.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// Messages on the terminal.
#[derive(Clone, Debug, Default)]
pub struct Terminal {
    /// Whether it is used.
    pub enabled: Switch,
    /// Least severity it shows.
    pub min_severity: Option<Severity>,
    /// Severities it shows.
    pub severity_filter: Vec<Severity>,
}

/// HTTP method of a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// POST.
    #[default]
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
}

impl Method {
    /// Name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        }
    }
}

/// The alert object as JSON to any HTTP endpoint.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Whether it is used.
    pub enabled: bool,
    /// The endpoint.
    pub url: SecretString,
    /// HTTP method.
    pub method: Method,
    /// Further headers.
    pub headers: BTreeMap<String, SecretString>,
    /// Seconds after which a request has failed.
    pub timeout_secs: u64,
    /// Quick tries after the first.
    pub retry_count: u32,
    /// Least severity it gets.
    pub min_severity: Option<Severity>,
    /// Severities it gets.
    pub severity_filter: Vec<Severity>,
}

impl Default for Webhook {
    fn default() -> Self {
        Self {
            enabled: false,
            url: String::new().into(),
            method: Method::Post,
            headers: BTreeMap::new(),
            timeout_secs: 10,
            retry_count: 10,
            min_severity: None,
            severity_filter: Vec::new(),
        }
    }
}

/// Syslog facility.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Facility {
    /// System services.
    Daemon,
    /// Local use 7.
    Local7,
}

impl Facility {
    /// Its number in RFC 5424.
    pub const fn code(self) -> u8 {
        match self {
            Self::Daemon => 3,
            Self::Local7 => 23,
        }
    }
}

/// Messages to the system log.
#[derive(Clone, Debug)]
pub struct Syslog {
    /// Whether it is used.
    pub enabled: bool,
    /// Facility.
    pub facility: Facility,
    /// Name of the program in the messages.
    pub tag: String,
    /// A server; empty: the local socket.
    pub address: String,
    /// The local socket.
    pub socket: PathBuf,
    /// Least severity it gets.
    pub min_severity: Option<Severity>,
    /// Severities it gets.
    pub severity_filter: Vec<Severity>,
}

impl Default for Syslog {
    fn default() -> Self {
        Self {
            enabled: true,
            facility: Facility::Daemon,
            tag: "sysops-agent".to_owned(),
            address: String::new(),
            socket: "/dev/log".into(),
            min_severity: None,
            severity_filter: Vec::new(),
        }
    }
}

/// Whether a channel takes alerts of this severity.
pub fn passes(
    min_severity: Option<Severity>,
    severity_filter: &[Severity],
    routing: &[Severity],
    severity: Severity,
) -> bool {
    if min_severity.is_none() && severity_filter.is_empty() {
        return routing.contains(&severity);
    }
    let named = severity_filter.is_empty() || severity_filter.contains(&severity);
    named && min_severity.is_none_or(|least| severity >= least)
}

/// What a template may use.
pub const TEMPLATE_VARIABLES: &[&str] =
    &["hostname", "severity", "metric", "value", "threshold", "message", "timestamp", "labels", "trend"];

/// Where templates are checked and rendered: no escaping, no files, an unknown name is an error.
pub fn template_environment() -> Environment<'static> {
    let mut env = Environment::empty();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env
}
