//! `cargo xtask deps`: licences, banned crates and sources of everything in Cargo.lock.

use std::path::PathBuf;

use crate::sh;

/// Builds on the pinned toolchain; takes about three minutes on two cores, once.
const VERSION: &str = "0.20.2";

/// Checks against deny.toml. Security advisories are left out: their database changes without us, and a
/// gate must give the same answer for the same commit.
pub fn run() -> Result<(), String> {
    let tool = tool()?;
    let args = ["--workspace", "--log-level", "error", "check", "bans", "licenses", "sources"];
    sh::run(&mut sh::command(&tool, &args))
}

fn tool() -> Result<String, String> {
    const NAME: &str = "cargo-deny";
    let own: PathBuf = sh::root().join(".tools/bin").join(NAME);
    if sh::has(NAME) && !own.is_file() {
        return Ok(NAME.into());
    }
    if !own.is_file() {
        sh::run(&mut sh::cargo(&["install", NAME, "--version", VERSION, "--locked", "--root", ".tools"]))?;
    }
    Ok(own.to_string_lossy().into_owned())
}
