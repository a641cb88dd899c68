//! Judgements about one series: pure, O(1) a sample, no memory of alerts. Hold times, hysteresis,
//! repetition and recovery live once, in the engine's state machine.

pub mod ahead;
pub mod baseline;
pub mod course;
pub mod fit;
pub mod leak;
pub mod surprise;
pub mod threshold;
pub mod trend;
pub mod usual;
