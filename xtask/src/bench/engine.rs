//! `cargo xtask bench engine`: what a sample costs on its way through rates, history and all analyzers, into docs/COST.md.

use std::process::Command;

use crate::vm::page;
use crate::{probe_cost, sh};

/// Measures and writes the table.
pub(super) fn run(profile: &str) -> Result<(), String> {
    let build = ["build", "--profile", profile, "--package", "sysops-agent", "--example", "engine_bench"];
    sh::run(&mut sh::cargo(&build))?;
    let table = sh::output(&mut Command::new(sh::target_dir().join(profile).join("examples/engine_bench")))?;
    println!("{table}");
    let machine = probe_cost::machine();
    let machine = machine.split(": medians").next().unwrap_or_default();
    page::write_to("COST.md", "engine", &format!("{machine}, profile `{profile}`.\n\n{table}"))
}
