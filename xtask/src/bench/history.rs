//! `cargo xtask bench history`: bytes and time a sample of a day of history, into docs/COST.md.

use std::process::Command;

use crate::vm::page;
use crate::{probe_cost, sh};

/// What is tiled to a day; `agent/examples/record_history.rs` makes it.
const RECORDING: &str = "agent/tests/history/busy.rec";

/// Measures and writes the table.
pub(super) fn run() -> Result<(), String> {
    sh::run(&mut sh::cargo(&[
        "build",
        "--release",
        "--package",
        "sysops-agent",
        "--features",
        "sqlite",
        "--example",
        "history_bench",
        "--example",
        "sqlite_bench",
    ]))?;
    let measured = |tool: &str| {
        let tool = sh::target_dir().join("release/examples").join(tool);
        sh::output(Command::new(tool).arg(sh::root().join(RECORDING)))
    };
    let tables = format!("{}\n{}", measured("history_bench")?, measured("sqlite_bench")?);
    println!("{tables}");
    let machine = probe_cost::machine();
    let machine = machine.split(": medians").next().unwrap_or_default();
    page::write_to("COST.md", "history", &format!("{machine}.\n\n{tables}"))
}
