//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Where the configuration is looked for when none is named.
pub const DEFAULT_CONFIG: &str = "/etc/sysops-agent/config.toml";

const HELP_CONFIG: &str =
    "Configuration file [default: /etc/sysops-agent/config.toml; where that is missing, built-in defaults]";

/// Host monitoring daemon: kernel events, metrics and alerts that arrive.
#[derive(Debug, Parser)]
#[command(name = "sysops-agent", version, about, args_conflicts_with_subcommands = false)]
pub struct Cli {
    /// Configuration file; without one the default file, and built-in defaults where that is missing
    #[arg(long, value_name = "FILE", global = true, help = HELP_CONFIG)]
    pub config: Option<PathBuf>,
    /// How much to log; overrides the configuration
    #[arg(long, value_enum, global = true)]
    pub log_level: Option<LogLevel>,
    /// Check the configuration file and exit: 0 fine, 64 with all its problems
    #[arg(long)]
    pub validate: bool,
    /// Print the inventory as JSON once and exit
    #[arg(long)]
    pub inventory_dump: bool,
    /// What to do instead of running
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do instead of running.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What works on this host, what does not, why, and what would make it work
    Doctor {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Send one marked test alert through every enabled channel
    TestAlert,
    /// Write what is read of this host into a fixture, without names, addresses and serial numbers
    #[command(hide = true)]
    Capture {
        /// Where to; `-` for the output
        file: PathBuf,
        /// Seconds between the two looks
        #[arg(long, default_value_t = 10)]
        wait: u64,
        /// Processes kept at most
        #[arg(long, default_value_t = crate::capture::MAX_PROCESSES)]
        processes: usize,
    },
    /// Print a generated document
    #[command(hide = true)]
    Docs {
        /// Which
        document: Document,
    },
}

/// Documents generated from the tables in the code.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Document {
    /// docs/METRICS.md
    Metrics,
    /// docs/CONFIGURATION.md
    Configuration,
}

/// Log levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// Much.
    Debug,
    /// What an operator may want to know.
    Info,
    /// What is wrong but not stopping.
    Warn,
    /// What stops.
    Error,
}
