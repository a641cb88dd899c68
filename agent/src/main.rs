//! `sysops-agent`: arguments, configuration, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use sysops_agent::cli::Cli;
use sysops_agent::command;

fn main() -> ExitCode {
    command::run(&Cli::parse())
}
