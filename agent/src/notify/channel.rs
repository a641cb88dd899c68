//! The seam between the worker and a channel. A channel decides one thing: was it taken, is it worth another
//! try, or never. When, how often and what to tell is the worker's.

use super::backoff::Backoff;
use super::terminal::Screen;
use super::way::Way;
use super::{
    alertmanager, discord, email, exec, ntfy, pagerduty, slack, syslog, telegram, terminal, webhook,
};
use crate::alert::{Alert, Severity};
use crate::config::{Config, passes};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A message on its way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<(), SendError>> + Send + 'a>>;

/// One way to a person.
pub trait Channel: Send + Sync {
    /// Its name in the configuration: `webhook`.
    fn name(&self) -> &'static str;
    /// Sends one message; `text` is the channel's template filled in. One is under way at a time.
    fn send<'a>(&'a self, alert: &'a Alert, text: &'a str) -> Sending<'a>;
    /// Which way its requests go; nothing for channels that do not speak HTTP.
    fn travel(&mut self, _: &Way) {}
    /// What of its configuration will not do what it seems to, in a sentence for `doctor`.
    fn doubt(&self) -> Option<String> {
        None
    }
}

/// Why a message was not taken. The sentences go to logs and status pages, so they hold no secret: not a URL,
/// only its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendError {
    /// Worth another try.
    Retry {
        /// The other side's wish, at most [`super::backoff::MAX_RETRY_AFTER`].
        after: Option<Duration>,
        /// A sentence.
        why: String,
    },
    /// No try will ever help this message.
    Refused {
        /// A sentence.
        why: String,
    },
}

impl SendError {
    /// A failure that has passed by the next try, perhaps.
    pub fn retry(why: impl Into<String>) -> Self {
        Self::Retry { after: None, why: why.into() }
    }

    /// A failure for good.
    pub fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }

    /// The sentence.
    pub fn why(&self) -> &str {
        match self {
            Self::Retry { why, .. } | Self::Refused { why } => why,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why())
    }
}

/// A channel with what it is to be told.
#[derive(Clone)]
pub struct Route {
    /// The channel.
    pub channel: Arc<dyn Channel>,
    /// Severities it gets. A recovery goes to whoever got the alert.
    pub severities: Severities,
    /// Pace of its retries.
    pub backoff: Backoff,
}

impl Route {
    /// A channel that is told everything, with the usual pace.
    pub fn new(channel: Arc<dyn Channel>) -> Self {
        Self { channel, severities: Severities::from(Severity::Info), backoff: Backoff::default() }
    }
}

/// A set of severities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Severities(u8);

impl Severities {
    /// This one and all worse ones.
    pub fn from(least: Severity) -> Self {
        Severity::ALL.into_iter().filter(|s| *s >= least).collect()
    }

    /// Whether it is in.
    pub fn has(self, severity: Severity) -> bool {
        self.0 & 1 << severity as u8 != 0
    }
}

impl FromIterator<Severity> for Severities {
    fn from_iter<I: IntoIterator<Item = Severity>>(severities: I) -> Self {
        Self(severities.into_iter().fold(0, |set, s| set | 1 << s as u8))
    }
}

/// How a kind of channel comes from the configuration: none if it is not enabled.
pub type Make = fn(&Config, Screen) -> Result<Option<Made>, String>;

/// A channel as its section of the configuration describes it.
pub struct Made {
    /// The channel.
    pub channel: Arc<dyn Channel>,
    /// Pace of its retries.
    pub backoff: Backoff,
    /// Its `min_severity`.
    pub min_severity: Option<Severity>,
    /// Its `severity_filter`.
    pub severity_filter: Vec<Severity>,
}

impl Made {
    fn route(self, least: Severity) -> Route {
        let Self { channel, backoff, min_severity, severity_filter } = self;
        let routing: Vec<_> = Severity::ALL.into_iter().filter(|s| *s >= least).collect();
        let takes = |severity: &Severity| passes(min_severity, &severity_filter, &routing, *severity);
        Route { channel, severities: Severity::ALL.into_iter().filter(takes).collect(), backoff }
    }
}

/// A kind of channel.
pub struct Kind {
    /// Its section below `[alerting]`.
    pub name: &'static str,
    /// Least severity it gets unless its section says otherwise.
    pub least: Severity,
    /// Makes it.
    pub make: Make,
}

/// Every kind of channel. One more: one file and one line here.
pub const CHANNELS: &[Kind] = &[
    Kind { name: terminal::NAME, least: Severity::Info, make: terminal::make },
    Kind { name: syslog::NAME, least: Severity::Info, make: syslog::make },
    Kind { name: webhook::NAME, least: Severity::Info, make: webhook::make },
    Kind { name: discord::NAME, least: Severity::Warn, make: discord::make },
    Kind { name: slack::NAME, least: Severity::Warn, make: slack::make },
    Kind { name: email::NAME, least: Severity::Critical, make: email::make },
    Kind { name: telegram::NAME, least: Severity::Critical, make: telegram::make },
    Kind { name: pagerduty::NAME, least: Severity::Critical, make: pagerduty::make },
    Kind { name: ntfy::NAME, least: Severity::Warn, make: ntfy::make },
    Kind { name: alertmanager::NAME, least: Severity::Info, make: alertmanager::make },
    Kind { name: exec::NAME, least: Severity::Info, make: exec::make },
    #[cfg(feature = "nats")]
    Kind { name: super::nats::NAME, least: Severity::Info, make: super::nats::make },
];

/// All enabled channels, and all problems of the configuration.
pub fn routes(config: &Config, screen: Screen) -> (Vec<Route>, Vec<String>) {
    let (mut routes, mut problems) = (Vec::new(), Vec::new());
    let way = Way::of(config).unwrap_or_else(|problem| {
        problems.push(problem);
        Way::default()
    });
    for kind in CHANNELS {
        match (kind.make)(config, screen) {
            Ok(Some(mut made)) => {
                // Nobody else has it yet.
                if let Some(channel) = Arc::get_mut(&mut made.channel) {
                    channel.travel(&way);
                }
                routes.push(made.route(kind.least));
            }
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    (routes, problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Switch;

    #[test]
    fn severities_are_sets() {
        let from = |s| Severity::ALL.map(|x| Severities::from(s).has(x));
        assert_eq!(from(Severity::Info), [true; 4]);
        assert_eq!(from(Severity::Critical), [false, false, true, true]);
        let only: Severities = [Severity::Warn].into_iter().collect();
        assert_eq!(Severity::ALL.map(|s| only.has(s)), [false, true, false, false]);
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = CHANNELS.iter().map(|k| k.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHANNELS.len());
    }

    #[test]
    fn enabled_channels_are_made_with_their_severities() {
        let mut config = Config::default();
        config.alerting.syslog.min_severity = Some(Severity::Critical);
        config.alerting.webhook.url = "http://collector/alerts".to_owned().into();
        let names = |config: &Config, tty| {
            let (routes, problems) = routes(config, Screen::new(tty, &|_| None));
            assert_eq!(problems, Vec::<String>::new());
            routes.iter().map(|r| (r.channel.name(), r.severities)).collect::<Vec<_>>()
        };
        let (all, bad) = (Severities::from(Severity::Info), Severities::from(Severity::Critical));
        assert_eq!(names(&config, true), [("terminal", all), ("syslog", bad)]);
        assert_eq!(names(&config, false), [("syslog", bad)]);
        config.alerting.terminal.enabled = Switch::On;
        assert_eq!(names(&config, false), [("terminal", all), ("syslog", bad)]);
        config.alerting.webhook.enabled = true;
        config.alerting.webhook.severity_filter = vec![Severity::Info];
        config.alerting.terminal.enabled = Switch::Off;
        let info = [Severity::Info].into_iter().collect();
        assert_eq!(names(&config, true), [("syslog", bad), ("webhook", info)]);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let mut config = Config::default();
        config.alerting.syslog.address = "http://logs".to_owned();
        config.alerting.webhook.enabled = true;
        let (_, problems) = routes(&config, Screen::new(false, &|_| None));
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
