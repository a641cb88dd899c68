//! Faults of the hardware.

use crate::alert::Severity;

/// What a tracepoint says of a fault of the hardware.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hardware {
    /// Id of the kernel-log rule for the same faults.
    pub rule: &'static str,
    /// Tracepoint: `ras:mc_event`.
    pub reporter: &'static str,
    /// How bad; `None`: in order, worth counting only.
    pub severity: Option<Severity>,
    /// What it means, in one line.
    pub meaning: &'static str,
    /// What was reported, in one line; names in it are the firmware's or a driver's.
    pub text: String,
    /// What is at fault: controller, device, page, interface. Named as in the rule's fields.
    pub labels: Vec<(&'static str, String)>,
    /// Everything else, decoded.
    pub details: Vec<(&'static str, serde_json::Value)>,
    /// What a person can do.
    pub advice: &'static str,
}
