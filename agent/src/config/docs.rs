//! The manual page of the configuration, made from the table of keys.

/// `docs/CONFIGURATION.md`.
pub fn docs() -> String {
    String::new()
}
