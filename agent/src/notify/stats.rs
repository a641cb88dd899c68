//! What `sysops-agent status` shows of the way out.

use serde::{Deserialize, Serialize};

/// The whole way out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Each channel, in the order of the configuration.
    pub channels: Vec<ChannelStats>,
    /// The file.
    pub outbox: OutboxStats,
}

/// One channel, since the start of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStats {
    /// Its name.
    pub name: String,
    /// Messages taken by the other side.
    pub delivered: u64,
    /// Failed tries that were or will be repeated.
    pub retries: u64,
    /// Messages that the other side will never take.
    pub refused: u64,
    /// Messages held back by a rate limit.
    pub limited: u64,
    /// Messages that took so long that they were given up.
    pub expired: u64,
    /// Alerts told together in one message after an outage.
    #[serde(default)]
    pub collapsed: u64,
    /// Updates whose place a newer message about the same incident took.
    pub superseded: u64,
    /// Messages that were lost: dropped at a limit of the outbox, or unreadable there.
    pub lost: u64,
    /// Alerts waiting.
    pub queued: u64,
    /// Failures in a row of what is kept and tried again; 0: all is well.
    pub failing: u32,
    /// Messages refused for good since one was taken, the last of them within an hour.
    #[serde(default)]
    pub refusing: u32,
    /// Seconds until the next try after a failure.
    #[serde(default)]
    pub retry_in_secs: Option<u64>,
    /// The last failure, without secrets; stays after a success.
    pub last_error: Option<String>,
    /// Seconds since then.
    #[serde(default)]
    pub last_error_age_secs: Option<u64>,
}

impl ChannelStats {
    /// Whether something waits for it, and nothing was tried yet: nobody knows how it does.
    pub fn is_untried(&self) -> bool {
        let Self { delivered, retries, refused, failing, .. } = self;
        self.queued > 0 && delivered + retries + refused + u64::from(*failing) == 0
    }
}

/// The outbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxStats {
    /// Where it lies.
    pub path: String,
    /// Alerts in it, told ones that are remembered included.
    pub alerts: u64,
    /// How much of its limits alerts take that somebody has still to tell, percent.
    #[serde(default)]
    pub used_percent: u64,
    /// Alerts that are in memory only.
    pub unstored: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Alerts taken in.
    pub accepted: u64,
    /// Visits to the disk that brought alerts; one serves a whole burst.
    pub commits: u64,
    /// Times that the file was written anew.
    pub compactions: u64,
    /// Damaged places cut out at the start.
    pub torn: u64,
    /// Alerts dropped at a limit before everybody was told.
    pub dropped: u64,
    /// Templates that could not be filled in; the built-in text was sent.
    pub template_errors: u64,
    /// Why alerts are in memory only; none while all is well.
    pub trouble: Option<String>,
}
