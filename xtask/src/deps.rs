//! `cargo xtask deps`: licences, banned crates and sources of everything in Cargo.lock.

use crate::{sh, tools};

/// Builds on the pinned toolchain; takes about three minutes on two cores, once.
const VERSION: &str = "0.20.2";

/// Checks against deny.toml. Security advisories are left out: their database changes without us, and a
/// gate must give the same answer for the same commit.
pub fn run() -> Result<(), String> {
    let tool = tools::ensure("cargo-deny", VERSION)?;
    let args = ["--workspace", "--log-level", "error", "check", "bans", "licenses", "sources"];
    sh::run(&mut sh::command(&tool, &args))
}
