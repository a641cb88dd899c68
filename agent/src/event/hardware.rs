//! Faults of the hardware.

use serde::{Deserialize, Serialize};

use crate::alert::Severity;
use crate::text::word::Word;

/// What a tracepoint says of a fault of the hardware.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hardware {
    /// Id of the kernel-log rule for the same faults.
    #[serde(deserialize_with = "crate::text::word::one")]
    pub rule: Word,
    /// Tracepoint: `ras:mc_event`.
    #[serde(deserialize_with = "crate::text::word::one")]
    pub reporter: Word,
    /// How bad; `None`: in order, worth counting only.
    pub severity: Option<Severity>,
    /// What it means, in one line.
    #[serde(deserialize_with = "crate::text::word::one")]
    pub meaning: Word,
    /// What was reported, in one line; names in it are the firmware's or a driver's.
    pub text: String,
    /// What is at fault: controller, device, page, interface. Named as in the rule's fields.
    #[serde(deserialize_with = "crate::text::word::each")]
    pub labels: Vec<(Word, String)>,
    /// Everything else, decoded.
    #[serde(deserialize_with = "crate::text::word::each")]
    pub details: Vec<(Word, serde_json::Value)>,
    /// What a person can do.
    #[serde(deserialize_with = "crate::text::word::one")]
    pub advice: Word,
}
