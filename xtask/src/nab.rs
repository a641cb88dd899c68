//! `cargo xtask nab DIR`: how well the shipped detector finds labelled anomalies, through the agent's own engine.

use std::path::Path;
use std::process::Command;

use crate::sh;

/// Runs every series of the corpus in `dir` and prints the table of its scorer. With `alerts`, writes what was told there; with
/// `quick` without link-time optimisation, in which a sample takes half as long again; with `changed`, the table of changed series
/// beside known detectors.
pub fn run(dir: &Path, alerts: Option<&Path>, quick: bool, changed: bool) -> Result<(), String> {
    if !dir.join("windows.json").is_file() {
        return Err(format!(
            "{} has no windows.json: name the folder with the Numenta Anomaly Benchmark's `data` and windows",
            dir.display()
        ));
    }
    let profile = if quick { "quick" } else { "release" };
    let build = ["build", "--profile", profile, "--package", "sysops-agent", "--example", "nab"];
    sh::run(&mut sh::cargo(&build))?;
    let mut command = Command::new(sh::target_dir().join(profile).join("examples/nab"));
    command.arg(dir);
    if let Some(alerts) = alerts {
        command.arg("--alerts").arg(alerts);
    }
    if changed {
        command.arg("--changed");
    }
    sh::run(&mut command)
}
