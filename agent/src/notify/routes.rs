//! From the configuration to channels: which kinds there are, and how each is made.

use super::backoff::Backoff;
use super::channel::{Channel, Route, Severities};
use super::terminal::Screen;
use super::unmade::{Again, Unmade};
use super::way::Way;
use crate::alert::Severity;
use crate::config::{Config, Lack, passes};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// How a kind of channel comes from the configuration: none if it is not enabled.
pub type Make = fn(&Config, Screen) -> Result<Option<Made>, String>;

/// A channel as its section of the configuration describes it.
pub struct Made {
    /// The channel.
    pub channel: Arc<dyn Channel>,
    /// Pace of its retries.
    pub backoff: Backoff,
}

/// `min_severity` and `severity_filter` of a section.
type Wants = fn(&Config) -> (Option<Severity>, &[Severity]);

/// A kind of channel.
pub struct Kind {
    /// Its section below `[alerting]`.
    pub name: &'static str,
    /// Least severity it gets unless its section says otherwise.
    pub least: Severity,
    /// Makes it.
    pub make: Make,
    wants: Wants,
}

/// A module, the least severity, and the path of its section.
macro_rules! kind {
    ($module:ident, $least:ident, $($section:ident).+) => {
        Kind {
            name: super::$module::NAME,
            least: Severity::$least,
            make: super::$module::make,
            wants: |config| (config.$($section).+.min_severity, &config.$($section).+.severity_filter),
        }
    };
}

/// Every kind of channel. One more: one file and one line here.
pub const CHANNELS: &[Kind] = &[
    kind!(terminal, Info, alerting.terminal),
    kind!(syslog, Info, alerting.syslog),
    kind!(webhook, Info, alerting.webhook),
    kind!(discord, Warn, alerting.discord),
    kind!(slack, Warn, alerting.slack),
    kind!(email, Critical, alerting.email),
    kind!(telegram, Critical, alerting.telegram),
    kind!(pagerduty, Critical, alerting.pagerduty),
    kind!(ntfy, Warn, alerting.ntfy),
    kind!(alertmanager, Info, alerting.alertmanager),
    kind!(exec, Info, alerting.exec),
    #[cfg(feature = "nats")]
    kind!(nats, Info, nats),
];

/// Keys that every channel that speaks HTTP is made of.
const COMMON: &[&str] = &["alerting.proxy", "alerting.ca_file"];

/// Whether a channel is made of a key, itself or its words.
pub fn is_of(channel: &str, key: &str) -> bool {
    let own = |section: &str| key.strip_prefix(section).is_some_and(|rest| rest.starts_with(['.', '[']));
    let template = key.strip_prefix("alerting.templates.") == Some(channel);
    // One section is no part of `[alerting]`.
    let beside = channel == "nats" && own(channel);
    template || COMMON.contains(&key) || own(&format!("alerting.{channel}")) || beside
}

/// All enabled channels, and all problems of the configuration.
pub fn routes(config: &Config, screen: Screen) -> (Vec<Route>, Vec<String>) {
    let (routes, problems) = routes_in_any_case(config, screen, &[], None);
    (routes.into_iter().filter(|route| route.unmade.is_none()).collect(), problems)
}

/// The same, with a place for each channel that cannot be made: it tries `again`. `lacking` are keys whose values are
/// not to be had now.
pub fn routes_in_any_case(
    config: &Config,
    screen: Screen,
    lacking: &[Lack],
    again: Option<&Again>,
) -> (Vec<Route>, Vec<String>) {
    let way = way(config, lacking);
    let mut problems: Vec<String> = way.as_ref().err().cloned().into_iter().collect();
    let mut routes = Vec::new();
    for kind in CHANNELS {
        match kind.route(config, screen, &way, lacking) {
            Ok(route) => routes.extend(route),
            Err(why) => {
                routes.push(kind.place(config, why.clone(), again));
                if !problems.contains(&why) {
                    problems.push(why);
                }
            }
        }
    }
    (routes, problems)
}

/// One channel; none if it is not enabled.
///
/// # Errors
/// A sentence: why it cannot be made.
pub fn route(name: &str, config: &Config, screen: Screen, lacking: &[Lack]) -> Result<Option<Route>, String> {
    let kind = CHANNELS.iter().find(|kind| kind.name == name);
    kind.map_or(Ok(None), |kind| kind.route(config, screen, &way(config, lacking), lacking))
}

fn way(config: &Config, lacking: &[Lack]) -> Result<Way, String> {
    match lacking.iter().find(|lack| COMMON.contains(&lack.key.as_str())) {
        Some(lack) => Err(lack.to_string()),
        None => Way::of(config),
    }
}

impl Kind {
    fn route(
        &self,
        config: &Config,
        screen: Screen,
        way: &Result<Way, String>,
        lacking: &[Lack],
    ) -> Result<Option<Route>, String> {
        let made = (self.make)(config, screen);
        let lack = lacking.iter().find(|lack| is_of(self.name, &lack.key) && !COMMON.contains(&&*lack.key));
        let mut made = match (made, lack) {
            (Ok(None), _) => return Ok(None),
            (_, Some(lack)) => return Err(lack.to_string()),
            (Ok(Some(made)), None) => made,
            (Err(why), None) => return Err(why),
        };
        let mut hasher = DefaultHasher::new();
        // Nobody else has it yet.
        if let Some(channel) = Arc::get_mut(&mut made.channel) {
            channel.files().hash(&mut hasher);
            if let Some(http) = channel.http() {
                let way = way.as_ref().map_err(Clone::clone)?;
                http.travel(way);
                way.files().hash(&mut hasher);
            }
        }
        let Made { channel, backoff } = made;
        let severities = self.severities(config);
        Ok(Some(Route { channel, severities, backoff, files: hasher.finish(), unmade: None }))
    }

    fn severities(&self, config: &Config) -> Severities {
        let (min_severity, filter) = (self.wants)(config);
        let routing: Vec<_> = Severity::ALL.into_iter().filter(|s| *s >= self.least).collect();
        Severity::ALL.into_iter().filter(|s| passes(min_severity, filter, &routing, *s)).collect()
    }

    fn place(&self, config: &Config, why: String, again: Option<&Again>) -> Route {
        let unmade = Unmade { name: self.name, why, again: again.cloned() };
        let severities = self.severities(config);
        Route { severities, unmade: Some(unmade.clone()), ..Route::new(Arc::new(unmade)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Switch;

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
