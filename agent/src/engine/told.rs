//! Alerts of events told lately, as far as a later run needs them to know the incidents again: the outbox has them,
//! too, unless it was lost or much was told since.

use std::collections::VecDeque;

use serde_json::Map;

use crate::alert::Alert;

/// Alerts kept; beyond it the oldest is forgotten.
pub const MAX_TOLD: usize = 256;
/// Bytes of JSON they take at most.
pub const MAX_TOLD_BYTES: usize = 128 << 10;
/// What [`super::compose::recall`] reads.
const NEEDED: &[&str] = &["incident", "incidents", "tasks", "tasks_count", "device", "mount", "wait_channel"];

/// The newest, oldest first, with their sizes.
#[derive(Debug, Default)]
pub(super) struct Told {
    all: VecDeque<(Alert, usize)>,
    bytes: usize,
}

impl Told {
    /// Takes note of an alert, if it is about incidents. An update takes the place of what was told before.
    pub(super) fn note(&mut self, alert: &Alert) {
        if !["incident", "incidents"].iter().any(|key| alert.context.contains_key(*key)) {
            return;
        }
        let needed = NEEDED.iter().filter_map(|key| alert.context.get_key_value(*key));
        let context: Map<_, _> = needed.map(|(key, value)| (key.clone(), value.clone())).collect();
        let kept = Alert { context, message: String::new(), ..alert.clone() };
        let bytes = serde_json::to_vec(&kept).map_or(usize::MAX, |json| json.len());
        if let Some(at) = self.all.iter().position(|(known, _)| known.id == alert.id) {
            self.remove(at);
        }
        if bytes > MAX_TOLD_BYTES {
            return;
        }
        self.bytes += bytes;
        self.all.push_back((kept, bytes));
        while self.all.len() > MAX_TOLD || self.bytes > MAX_TOLD_BYTES {
            self.remove(0);
        }
    }

    fn remove(&mut self, at: usize) {
        self.bytes -= self.all.remove(at).map_or(0, |(_, bytes)| bytes);
    }

    /// For a snapshot.
    pub(super) fn kept(&self) -> Vec<Alert> {
        self.all.iter().map(|(alert, _)| alert.clone()).collect()
    }
}
