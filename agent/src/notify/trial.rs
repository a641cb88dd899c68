//! `test-alert`: one marked alert through every channel at once, past all limits and past the outbox.

use super::channel::{Channel, Route, SendError};
use super::template::Templates;
use super::{Clock, own_alert};
use crate::alert::{Alert, Severity};
use crate::text;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Rule of the alert.
pub(super) const RULE: &str = "test_alert";
/// Longest wait for a channel.
const PATIENCE: Duration = Duration::from_secs(30);
/// Characters of a reason.
const MAX_WHY: usize = 300;

/// How a channel fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Its name.
    pub channel: &'static str,
    /// Whether it was taken.
    pub result: Verdict,
    /// How long that took.
    pub took: Duration,
}

/// What the other side made of the alert; sentences without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Taken.
    Delivered,
    /// No try will ever help: wrong credentials, wrong address.
    Refused(String),
    /// Not taken now, or no answer at all; the agent would try again.
    Failed(String),
}

/// Sends the alert; the result has the order of `routes`.
pub async fn test_alert(routes: &[Route], templates: &Templates, hostname: &str, clock: Clock) -> Vec<Trial> {
    let message = format!("Test alert from sysops-agent on {hostname}: nothing is wrong, this channel works");
    let alert = Arc::new(own_alert(hostname, RULE, Severity::Info, message, clock()));
    let mut tries = JoinSet::new();
    for (index, route) in routes.iter().enumerate() {
        let (channel, alert) = (Arc::clone(&route.channel), Arc::clone(&alert));
        let (text, _) = templates.text(channel.name(), &alert);
        tries.spawn(async move { (index, try_once(channel.as_ref(), &alert, &text, clock).await) });
    }
    let mut results: BTreeMap<usize, _> = BTreeMap::new();
    while let Some(done) = tries.join_next().await {
        results.extend(done.ok());
    }
    let unforeseen = || (Verdict::Failed("the channel failed in an unforeseen way".into()), Duration::ZERO);
    let of = |(index, route): (usize, &Route)| {
        let (result, took) = results.remove(&index).unwrap_or_else(unforeseen);
        Trial { channel: route.channel.name(), result, took }
    };
    routes.iter().enumerate().map(of).collect()
}

async fn try_once(channel: &dyn Channel, alert: &Alert, text: &str, clock: Clock) -> (Verdict, Duration) {
    let begin = clock();
    let result = match timeout(PATIENCE, channel.send(alert, text)).await {
        Ok(Ok(())) => Verdict::Delivered,
        Ok(Err(
            SendError::Refused { why } | SendError::Barred { why } | SendError::Partly { why, again: false },
        )) => Verdict::Refused(text::clean(&why, MAX_WHY)),
        Ok(Err(SendError::Retry { why, .. } | SendError::Partly { why, .. })) => {
            Verdict::Failed(text::clean(&why, MAX_WHY))
        }
        Err(_) => Verdict::Failed(format!("no answer within {} s", PATIENCE.as_secs())),
    };
    (result, Duration::from_nanos(clock().since(begin)))
}

/// The table of `test-alert`: channel, result, milliseconds, and the reason of a failure.
pub fn table(trials: &[Trial]) -> String {
    let width = trials.iter().map(|t| t.channel.len()).max().unwrap_or(0).max("channel".len());
    let mut out = format!("{:width$}  {:9}  {:>8}\n", "channel", "result", "time");
    for Trial { channel, result, took } in trials {
        let (word, why) = match result {
            Verdict::Delivered => ("delivered", ""),
            Verdict::Refused(why) => ("REFUSED", why.as_str()),
            Verdict::Failed(why) => ("FAILED", why.as_str()),
        };
        let line = format!("{channel:width$}  {word:9}  {:>5} ms  {why}", took.as_millis());
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_channel() {
        let trial = |channel, result, ms| Trial { channel, result, took: Duration::from_millis(ms) };
        let shown = table(&[
            trial("syslog", Verdict::Delivered, 0),
            trial("alertmanager", Verdict::Refused("am:9093 answered 404 (nothing there)".into()), 12),
            trial("webhook", Verdict::Failed("10.0.0.1 did not answer within 20 s".into()), 20_001),
        ]);
        let expect = "channel       result         time\n\
                      syslog        delivered      0 ms\n\
                      alertmanager  REFUSED       12 ms  am:9093 answered 404 (nothing there)\n\
                      webhook       FAILED     20001 ms  10.0.0.1 did not answer within 20 s\n";
        assert_eq!(shown, expect);
    }
}
