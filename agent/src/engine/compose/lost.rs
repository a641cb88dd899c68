//! The alert of events that did not reach the agent: others may be missing, or know less than they would.

use super::{Draft, fingerprint};
use crate::alert::Severity;
use crate::engine::events;
use crate::event::{Event, Lost};

/// Rule of losses.
pub const RULE: &str = "agent_events_lost";

/// What was lost, and what to do, by reason; none where it was left out on purpose, which a limit says by itself.
fn words(reason: &str) -> Option<(&'static str, &'static str)> {
    Some(match reason {
        "buffer_full" => (
            "records of eBPF programs found their buffer full",
            "Raise ebpf.perf_buffer_pages, and look at what keeps the agent from running (`sysops-agent status`)",
        ),
        "histogram_map_full" => (
            "block requests were measured nowhere: there are more devices than room for them",
            "Devices that nobody needs can be detached; the others' figures are right",
        ),
        "in_flight_map_full" => (
            "block requests were not measured: too many were under way",
            "Figures of block I/O are those of the others",
        ),
        "overwritten" => (
            "records of the kernel log were overwritten before they were read",
            "Raise its size (log_buf_len= on the kernel's command line), and look at what floods it (`dmesg`)",
        ),
        "flood" => (
            "lines of the log were not judged one by one: more came in ten seconds than a rule is asked about",
            "Find what floods the log (`dmesg`, `journalctl --output=short-monotonic`); the alerts beside this one name its first lines",
        ),
        _ => return None,
    })
}

/// Whether somebody should know of it: not of what was left out on purpose.
pub fn is_trouble(lost: &Lost) -> bool {
    words(lost.reason).is_some()
}

/// The alert, if it is one.
pub fn draft(event: &Event, lost: &Lost, id: impl FnOnce() -> String) -> Option<Draft> {
    let (what, hint) = words(lost.reason)?;
    let labels = [("part", lost.part), ("reason", lost.reason)];
    Some(Draft {
        rule: RULE.to_owned(),
        noun: "losses of events".into(),
        phrase: format!("{} {what}", lost.count),
        severity: Severity::Warn,
        metric: events::LOST.name.into(),
        value: lost.count as f64,
        message: format!("{} {what}: alerts about them are missing or know less. {hint}", lost.count),
        labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        fingerprint: fingerprint([RULE, lost.part, lost.reason]),
        ..Draft::of(event, id())
    })
}
