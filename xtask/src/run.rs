//! `cargo xtask run`: the release agent with everything on.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use crate::sh;

/// Builds it and becomes it: signals (Ctrl-C too) reach the agent and nobody else.
pub fn run(args: &[String]) -> Result<(), String> {
    let agent = build()?;
    let error = std::process::Command::new(&agent).args(args).exec();
    Err(format!("{} cannot be started: {error}", agent.display()))
}

/// Builds the release agent with everything on and tells where it is.
pub fn build() -> Result<PathBuf, String> {
    sh::run(&mut sh::cargo(&[
        "build",
        "--release",
        "--package",
        "sysops-agent",
        "--features",
        sh::ALL_FEATURES,
    ]))?;
    Ok(sh::target_dir().join("release/sysops-agent"))
}
