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
    /// Ask the running agent: health of each part, channels and their queues, last errors
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Ask the running agent: what stands, what is pending, what is held back and by what
    Alerts {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Hold alerts of a metric or rule back for a while
    #[command(arg_required_else_help = true)]
    Silence(Silence),
    /// What history has of a metric: from the running agent, and from the database for what is older
    #[command(arg_required_else_help = true)]
    Query(Query),
    /// Write samples, events and log lines of this host into a file, for `replay`
    Record {
        /// Where to; must not exist yet; packed (zstd) if its name ends in `.zst`
        file: PathBuf,
        /// For how long: `10m`, `2h`; without it until Ctrl-C
        #[arg(long = "for", value_name = "TIME", value_parser = seconds, allow_hyphen_values = true)]
        secs: Option<u64>,
        /// Largest size of the file, MiB; the recording ends there
        #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..))]
        max_mib: u64,
    },
    /// Run what was recorded through the engine as it is configured: print what would have alerted
    Replay {
        /// A recording, readings as CSV (`timestamp,value`) or JSON lines, or the text of a kernel log; may be packed (zstd)
        #[arg(required_unless_present = "log", conflicts_with = "log")]
        file: Option<PathBuf>,
        /// Instead: what the rules find in each line of a kernel log (`dmesg`, `/dev/kmsg` records) or syslog text
        #[arg(long, value_name = "FILE")]
        log: Option<PathBuf>,
        /// A JSON object a line
        #[arg(long)]
        json: bool,
        /// The ends of alerts too
        #[arg(long, conflicts_with = "log")]
        ends: bool,
    },
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

/// A silence: made, listed, revoked.
#[derive(Debug, clap::Args)]
pub struct Silence {
    /// Name of a metric or a rule; `*`: everything
    #[arg(value_name = "METRIC|RULE", required_unless_present_any = ["list", "revoke"])]
    pub matcher: Option<String>,
    /// Label an alert must have; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label, requires = "matcher")]
    pub label: Vec<(String, String)>,
    /// For how long: `30m`, `2h`, `1d12h`
    #[arg(long = "for", value_name = "TIME", value_parser = seconds, allow_hyphen_values = true, required_unless_present_any = ["list", "revoke"])]
    pub secs: Option<u64>,
    /// Why, for those who look
    #[arg(long, value_name = "TEXT", required_unless_present_any = ["list", "revoke"])]
    pub reason: Option<String>,
    /// Also a name that no metric and no rule has
    #[arg(long, requires = "matcher")]
    pub force: bool,
    /// Show the silences that stand
    #[arg(long, conflicts_with_all = ["matcher", "revoke"])]
    pub list: bool,
    /// End this one
    #[arg(long, value_name = "ID", conflicts_with = "matcher")]
    pub revoke: Option<u64>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// Longest look back, seconds: ten years.
const LONGEST_LOOK_BACK: u64 = 3650 * 86_400;

/// A look back.
#[derive(Debug, clap::Args)]
pub struct Query {
    /// Name of the metric (docs/METRICS.md)
    #[arg(value_name = "METRIC")]
    pub metric: String,
    /// How far back: `30m`, `6h`, `7d`
    #[arg(long, value_name = "TIME", value_parser = look_back, default_value = "6h", allow_hyphen_values = true)]
    pub since: u64,
    /// Label a series must have; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// All points as JSON
    #[arg(long, conflicts_with_all = ["csv", "plot"])]
    pub json: bool,
    /// All points as CSV, a line each
    #[arg(long, conflicts_with = "plot")]
    pub csv: bool,
    /// A plot of each series
    #[arg(long)]
    pub plot: bool,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a label is written KEY=VALUE, like mount=/data".to_owned()),
    }
}

/// `90s`, `30m`, `2h`, `1d12h`, `1w`.
fn look_back(text: &str) -> Result<u64, String> {
    let secs = seconds(text)?;
    if secs > LONGEST_LOOK_BACK { Err("history is at most ten years: 3650d".to_owned()) } else { Ok(secs) }
}

fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || "write a time like 30m, 2h or 1d12h".to_owned();
    let (mut total, mut number) = (0_u64, String::new());
    for letter in text.chars() {
        let unit = match letter {
            '0'..='9' => {
                number.push(letter);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(wrong()),
        };
        let count: u64 = number.parse().map_err(|_| wrong())?;
        total = count.checked_mul(unit).and_then(|secs| total.checked_add(secs)).ok_or_else(wrong)?;
        number.clear();
    }
    if total == 0 || !number.is_empty() { Err(wrong()) } else { Ok(total) }
}

/// Documents generated from the tables in the code.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Document {
    /// docs/METRICS.md
    Metrics,
    /// docs/CONFIGURATION.md
    Configuration,
    /// docs/LOG-RULES.md
    LogRules,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let check = |text, expect: Option<u64>| assert_eq!(seconds(text).ok(), expect, "{text}");
        check("90s", Some(90));
        check("2h", Some(7200));
        check("1d12h", Some(129_600));
        for bad in
            ["", "2", "h", "-2h", "2 h", "2x", "0h", "1h30", "99999999999999999999s", "99999999999999999w"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn a_negative_time_is_told_as_a_wrong_time() {
        for args in [["query", "m", "--since", "-5h"], ["record", "f", "--for", "-2m"]] {
            let error = Cli::try_parse_from(["sysops-agent"].into_iter().chain(args)).expect_err("no time");
            assert!(error.to_string().contains("write a time like 30m"), "{error}");
        }
    }

    #[test]
    fn a_silence_needs_a_time_and_a_reason_or_another_wish() {
        let check = |args: &str, fine: bool| {
            let parsed =
                Cli::try_parse_from(["sysops-agent", "silence"].into_iter().chain(args.split_whitespace()));
            assert_eq!(parsed.is_ok(), fine, "{args}: {parsed:?}");
        };
        check("cpu_usage_percent --for 2h --reason x", true);
        check("disk --label mount=/data --label a= --for 2h --reason x", true);
        check("--list", true);
        check("--revoke 3", true);
        for bad in
            ["", "cpu", "cpu --for 2h", "cpu --reason x", "--for 2h --reason x", "cpu --for 2x --reason x"]
        {
            check(bad, false);
        }
        check("cpu --for 2h --reason x --label nothing", false);
        check("cpu --list", false);
        check("--revoke x", false);
        check("--list --revoke 3", false);
    }
}
