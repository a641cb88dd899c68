//! The way out watches itself: a channel that fails is told through the others, never through itself; an outbox
//! that fills up through all.

use super::own_alert;
use super::stats::ChannelStats;
use crate::alert::{Alert, Severity, Status};
use crate::text::clean;
use crate::time::{Now, SECOND};
use std::collections::BTreeMap;

/// Rule of alerts about a channel.
const CHANNEL: &str = "agent_channel_failing";
/// Rule of alerts about the outbox.
const OUTBOX: &str = "agent_outbox_full";
/// Failures in a row from which a channel is told of: with the waits between them some 15 to 30 seconds.
const FAILURES: u32 = 5;
/// Use of the outbox that is told, percent; and below which that is over.
const FULL_PERCENT: u64 = 80;
const ROOM_PERCENT: u64 = 70;

/// Begins that were told and are not over, by channel; the outbox under an empty name.
pub(super) type Watched = BTreeMap<String, Begin>;

/// When it began.
pub(super) struct Begin {
    at: Now,
    id: String,
    started_at: String,
}

/// The channel that an alert of this module is about.
pub(super) fn about(alert: &Alert) -> Option<&str> {
    (alert.rule == CHANNEL).then(|| alert.labels.get("channel").map(String::as_str))?
}

/// News of a channel.
pub(super) fn judge(watched: &mut Watched, host: &str, stats: &ChannelStats, now: Now) -> Option<Alert> {
    let ChannelStats { name, failing, last_error, queued, .. } = stats;
    let mut alert = if *failing >= FAILURES && !watched.contains_key(name) {
        let why = clean(last_error.as_deref().unwrap_or("no reason was given"), 300);
        let message = format!(
            "Alerts do not get through to {name}: {failing} tries in a row failed, {queued} alerts wait ({why})"
        );
        begin(watched, name, own_alert(host, CHANNEL, Severity::Critical, message, now), now)
    } else if *failing == 0 && watched.contains_key(name) {
        end(
            watched,
            name,
            own_alert(host, CHANNEL, Severity::Critical, format!("Alerts get through to {name} again"), now),
            now,
        )?
    } else {
        return None;
    };
    alert.labels.insert("channel".to_owned(), name.clone());
    alert.fingerprint = format!("{CHANNEL} {name}");
    alert.value = f64::from(*failing);
    alert.threshold = Some(f64::from(FAILURES));
    Some(alert)
}

/// News of the outbox, which is `used` percent full.
pub(super) fn outbox(watched: &mut Watched, host: &str, used: u64, now: Now) -> Option<Alert> {
    let own = |message| own_alert(host, OUTBOX, Severity::Critical, message, now);
    let mut alert = if used >= FULL_PERCENT && !watched.contains_key("") {
        begin(
            watched,
            "",
            own(format!(
                "The outbox is {used} % full: beyond its limit the oldest alerts of least severity are given up"
            )),
            now,
        )
    } else if used < ROOM_PERCENT && watched.contains_key("") {
        end(watched, "", own(format!("The outbox has room again ({used} % full)")), now)?
    } else {
        return None;
    };
    alert.value = used as f64;
    alert.threshold = Some(FULL_PERCENT as f64);
    Some(alert)
}

fn begin(watched: &mut Watched, name: &str, mut alert: Alert, now: Now) -> Alert {
    if !name.is_empty() {
        alert.id = format!("{}-{name}", alert.id);
    }
    let begin = Begin { at: now, id: alert.id.clone(), started_at: alert.started_at.clone() };
    watched.insert(name.to_owned(), begin);
    alert
}

fn end(watched: &mut Watched, name: &str, mut alert: Alert, now: Now) -> Option<Alert> {
    let begin = watched.remove(name)?;
    alert.status = Status::Resolved;
    alert.ended_at = Some(alert.timestamp.clone());
    (alert.id, alert.started_at) = (begin.id, begin.started_at);
    alert.duration_secs = now.since(begin.at) / SECOND;
    Some(alert)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Now {
        Now::default().plus_secs(secs)
    }

    #[test]
    fn a_channel_is_told_of_once_and_once_when_it_works_again() {
        let mut watched = Watched::default();
        let mut check = |failing: u32, secs: u64| {
            let stats = ChannelStats { name: "slack".into(), failing, ..ChannelStats::default() };
            judge(&mut watched, "h", &stats, at(secs))
        };
        assert_eq!(check(FAILURES - 1, 0), None);
        let begun = check(FAILURES, 10).unwrap();
        assert_eq!((begun.status, about(&begun)), (Status::Firing, Some("slack")));
        assert_eq!(check(FAILURES + 9, 20), None);
        let over = check(0, 70).unwrap();
        assert_eq!((over.status, over.duration_secs), (Status::Resolved, 60));
        assert_eq!((over.id, about(&begun)), (begun.id.clone(), Some("slack")));
        assert_eq!(check(0, 80), None);
    }

    #[test]
    fn an_outbox_that_fills_up_is_told_with_some_slack() {
        let mut watched = Watched::default();
        let mut check = |used, expect: Option<Status>| {
            assert_eq!(outbox(&mut watched, "h", used, at(0)).map(|a| a.status), expect, "{used}");
        };
        check(79, None);
        check(80, Some(Status::Firing));
        check(99, None);
        check(75, None);
        check(69, Some(Status::Resolved));
        check(0, None);
    }
}
