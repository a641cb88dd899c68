//! The configuration.

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Config {}
