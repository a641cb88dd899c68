//! `cargo xtask bench logs`: what the log rules cost, into docs/COST.md.

use std::process::Command;

use crate::vm::page;
use crate::{probe_cost, sh};

/// Measures and writes the table.
pub(super) fn run(profile: &str) -> Result<(), String> {
    let build = ["build", "--profile", profile, "--package", "sysops-agent", "--example", "log_bench"];
    sh::run(&mut sh::cargo(&build))?;
    let tables = sh::output(&mut Command::new(sh::target_dir().join(profile).join("examples/log_bench")))?;
    println!("{tables}");
    let machine = probe_cost::machine();
    let machine = machine.split(": medians").next().unwrap_or_default();
    page::write_to("COST.md", "logs", &format!("{machine}, profile `{profile}`.\n\n{tables}"))
}
