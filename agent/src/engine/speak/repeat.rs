//! What is remembered of a fingerprint that was told, so that its repetitions are not; and what of all was not told.

use super::super::compose::Draft;
use crate::alert::Severity;
use crate::text::span;
use crate::time::{Now, SECOND};

/// A fingerprint that was told.
#[derive(Debug)]
pub(super) struct Repeat {
    /// Monotonic.
    pub(super) told_ns: u64,
    pub(super) severity: Severity,
    /// Held back since `told_ns`.
    pub(super) held: u64,
    /// Boxed: few of the many remembered have one.
    pub(super) waiting: Option<Box<Draft>>,
}

/// What was not told, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Told at once or later.
    pub told: u64,
    /// Repetitions within the window.
    pub repeated: u64,
    /// Told as part of a summary.
    pub grouped: u64,
    /// Ends of conditions that had not been told.
    pub unneeded: u64,
    /// Fingerprints forgotten because of [`super::MAX_REPEATS`].
    pub forgotten: u64,
}

/// How often what a draft tells happened: one that stands for a flood of lines stands for all of them.
pub(super) fn times(draft: &Draft) -> u64 {
    draft.context.get("lines_count").and_then(serde_json::Value::as_u64).map_or(1, |lines| lines.max(1))
}

/// Says in the message how often it was held back since.
pub(super) fn mention(draft: &mut Draft, held: u64, since_ns: u64, now: Now) {
    if held == 0 {
        return;
    }
    let times = if held == 1 { "time" } else { "times" };
    let secs = now.mono_ns.saturating_sub(since_ns) / SECOND;
    draft.message = format!("{} (occurred {held} {times} in the last {})", draft.message, span(secs));
    draft.context.insert("occurrences".into(), held.into());
}
