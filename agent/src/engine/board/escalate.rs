//! What nobody mends gets worse: by beginning again and again, and by standing for long.

use super::{Scene, Standing};
use crate::alert::{Severity, Status};
use crate::engine::compose::Draft;
use crate::text::span;
use crate::time::{Now, SECOND};

/// When a severity is raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Escalation {
    /// Begins in a row after which a warning is critical; 0: never.
    pub critical_after: u32,
    /// Minutes after which a critical alert is an emergency; 0: never.
    pub emergency_after_mins: u64,
}

/// A condition begins for the `row`th time in a row.
pub(super) fn by_row(entry: &mut Standing, draft: &mut Draft, row: u32, scene: &Scene<'_>) {
    let after = scene.settings.escalation.critical_after;
    if after > 0 && row > after && draft.severity == Severity::Warn {
        entry.raised = Some(Severity::Critical);
        draft.message =
            format!("{} (it began {row} times in a row, so it counts as critical)", draft.message);
    }
}

/// A new draft of an alert that was raised, and since when it is critical.
pub(super) fn follow(entry: &mut Standing, draft: &mut Draft, now: Now) {
    if draft.severity < Severity::Critical && entry.raised == Some(Severity::Emergency) {
        entry.raised = None;
    }
    draft.severity = draft.severity.max(entry.raised.unwrap_or(Severity::Info));
    let since = entry.critical_ns.unwrap_or(now.mono_ns);
    entry.critical_ns = (draft.severity >= Severity::Critical).then_some(since);
}

/// Whether an alert was told as critical and stands for so long that it is an emergency.
pub(super) fn is_due(entry: &Standing, after_ns: u64, now: Now) -> bool {
    let since = entry.critical_ns.filter(|since| now.mono_ns.saturating_sub(*since) >= after_ns);
    let was_told = entry.told.is_some() && entry.held.is_none();
    since.is_some() && was_told && entry.draft.severity == Severity::Critical
}

/// It is an emergency from now on.
pub(super) fn by_time(entry: &mut Standing, now: Now) -> Option<Draft> {
    let since = entry.critical_ns?;
    entry.raised = Some(Severity::Emergency);
    entry.draft.severity = Severity::Emergency;
    let lasted = span(now.mono_ns.saturating_sub(since) / SECOND);
    let draft = entry.tell();
    let message = format!("{} (critical for {lasted}, so it counts as an emergency)", draft.message);
    Some(Draft { status: Status::Updated, message, ..draft })
}
