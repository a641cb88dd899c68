//! What the host is made of has changed.

use serde::{Deserialize, Serialize};

use crate::text::word::Word;

/// What differs between two inventories, each difference in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostChange {
    /// What changed, the weightiest first; at most [`MAX_CHANGES`].
    pub changes: Vec<Change>,
    /// Further ones that are not listed.
    pub left_out: usize,
}

/// Changes listed in one event.
pub const MAX_CHANGES: usize = 64;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Kind of part: `memory_module`, `disk`, `kernel` …
    #[serde(deserialize_with = "crate::text::word::one")]
    pub part: Word,
    /// The sentence; names in it are the firmware's or a device's.
    pub text: String,
}
