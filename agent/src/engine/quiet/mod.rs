//! What is held back because somebody said so, or because its cause was told already.

pub mod inhibit;
pub mod laws;
pub mod maintenance;
pub mod silence;
