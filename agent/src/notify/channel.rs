//! The seam between the worker and a channel. A channel decides one thing: was it taken, is it worth another
//! try, or never. When, how often and what to tell is the worker's.

use super::backoff::Backoff;
use super::http::Http;
use super::unmade::Unmade;
use crate::alert::{Alert, Severity};
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
    /// Whether the other side follows each incident by a key of its own: then no message may stand for several.
    fn follows_incidents(&self) -> bool {
        false
    }
    /// Whether its messages stay on this host: then they are not counted over all channels.
    fn is_local(&self) -> bool {
        false
    }
    /// What sends its requests, before the first of them; none for channels that do not speak HTTP.
    fn http(&mut self) -> Option<&mut Http> {
        None
    }
    /// A hash of the files that it was made of, besides those of its [`Http`]: other files make another channel.
    fn files(&self) -> u64 {
        0
    }
    /// What it was told by an earlier run, or by the channel that it follows, and still stands; only asked of those that
    /// follow incidents. Messages may come before.
    fn resume(&self, _standing: Vec<Arc<Alert>>) {}
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
    /// Some of those it is for have it, others do not.
    Partly {
        /// A sentence.
        why: String,
        /// Whether another try may reach the others.
        again: bool,
    },
    /// The channel is set up wrong or shut out: no message gets through until somebody mends it.
    Barred {
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

    /// A failure of the channel itself, whatever the message.
    pub fn barred(why: impl Into<String>) -> Self {
        Self::Barred { why: why.into() }
    }

    /// The sentence.
    pub fn why(&self) -> &str {
        match self {
            Self::Retry { why, .. }
            | Self::Partly { why, .. }
            | Self::Barred { why }
            | Self::Refused { why } => why,
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
    /// A hash of the files that it was made of.
    pub files: u64,
    /// It is only the place of a channel that cannot be made yet.
    pub unmade: Option<Unmade>,
}

impl Route {
    /// A channel that is told everything, with the usual pace.
    pub fn new(channel: Arc<dyn Channel>) -> Self {
        let severities = Severities::from(Severity::Info);
        Self { channel, severities, backoff: Backoff::default(), files: 0, unmade: None }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_sets() {
        let from = |s| Severity::ALL.map(|x| Severities::from(s).has(x));
        assert_eq!(from(Severity::Info), [true; 4]);
        assert_eq!(from(Severity::Critical), [false, false, true, true]);
        let only: Severities = [Severity::Warn].into_iter().collect();
        assert_eq!(Severity::ALL.map(|s| only.has(s)), [false, true, false, false]);
    }
}
