//! What is held back because somebody said so, or because its cause was told already.

pub mod silence;
