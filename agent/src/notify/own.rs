//! Alerts about a channel itself: never told through it, and with what only this side knows.

use super::stats::ChannelStats;
use crate::alert::{Alert, Status};
use crate::text::clean;

/// Metric of alerts about a channel, and its label.
const METRIC: &str = "agent_channel_failing";
/// Metric of what it refused for good.
const REFUSING: &str = "agent_channel_refusing";
const LABEL: &str = "channel";
/// Characters of the last error.
const MAX_ERROR: usize = 300;

/// The channel that an alert is about.
pub(super) fn about(alert: &Alert) -> Option<&str> {
    [METRIC, REFUSING]
        .contains(&alert.metric.as_str())
        .then(|| alert.labels.get(LABEL).map(String::as_str))?
}

/// Adds why the channel fails, or refused an alert, and what waits for it.
pub(super) fn explain(alert: &mut Alert, stats: &ChannelStats) {
    if alert.status == Status::Resolved {
        return;
    }
    let why = stats.last_error.as_deref().map(|why| clean(why, MAX_ERROR));
    if let Some(why) = &why {
        alert.message = format!("{} ({why})", alert.message);
    }
    alert.context.insert("alerts_waiting".into(), stats.queued.into());
    let (key, count) = if alert.metric == METRIC {
        ("tries_in_a_row", stats.failing)
    } else {
        ("refused_in_a_row", stats.refusing)
    };
    alert.context.insert(key.into(), count.into());
    alert.context.extend(why.map(|why| ("last_error".to_owned(), why.into())));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;
    use crate::notify::tests::alert;

    #[test]
    fn an_alert_about_a_channel_says_why() {
        let mut about_slack = alert("x", Severity::Critical, Status::Firing);
        assert_eq!(about(&about_slack), None);
        about_slack.metric = METRIC.into();
        assert_eq!(about(&about_slack), None, "of all channels together");
        about_slack.labels.insert(LABEL.into(), "slack".into());
        assert_eq!(about(&about_slack), Some("slack"));
        let last_error = Some("hooks.slack.com answered 403\x1b".to_owned());
        let stats = ChannelStats { failing: 7, queued: 3, last_error, ..ChannelStats::default() };
        let mut over = Alert { status: Status::Resolved, ..about_slack.clone() };
        explain(&mut over, &stats);
        assert_eq!(over.message, "about x");
        explain(&mut about_slack, &stats);
        assert_eq!(about_slack.message, "about x (hooks.slack.com answered 403?)");
        assert_eq!(
            (&about_slack.context["alerts_waiting"], &about_slack.context["tries_in_a_row"]),
            (&3.into(), &7.into())
        );
    }
}
