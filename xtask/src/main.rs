//! The project's chores: `cargo xtask help` lists them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod bench;
pub mod build_ebpf;
pub mod capture;
pub mod ci;
pub mod compare;
pub mod deps;
pub mod dist;
pub mod docs;
pub mod failures;
pub mod fuzz;
pub mod mail_picture;
pub mod measure;
pub mod nab;
pub mod packages;
pub mod probe_cost;
pub mod run;
pub mod sh;
pub mod test;
pub mod together;
pub mod tools;
pub mod vm;

/// The project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Builds the release agent with everything on and runs it; arguments after `--` go to the agent.
    Run {
        /// Arguments of `sysops-agent`; without any it runs on built-in defaults.
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Runs every test this machine can run and says what it could not.
    Test {
        /// Only the tests that need no second build and no root.
        #[arg(long)]
        quick: bool,
    },
    /// Builds the eBPF object that is committed.
    BuildEbpf {
        /// Fails if the committed object is not the byte-exact result of the source.
        #[arg(long)]
        check: bool,
    },
    /// Writes docs/METRICS.md, docs/CONFIGURATION.md and docs/LOG-RULES.md out of the agent's own tables.
    Docs {
        /// Fails if the committed files are not what the agent says.
        #[arg(long)]
        check: bool,
    },
    /// Every gate a change must pass: format, lints, dependencies, generated files, static build, tests.
    Ci {
        /// Leaves the tests out, for callers that run `cargo xtask test` themselves.
        #[arg(long)]
        skip_tests: bool,
    },
    /// Checks licences, banned crates and sources of all dependencies against deny.toml.
    Deps,
    /// Builds the static binary for any Linux of this architecture into dist/.
    Dist,
    /// Boots real Debian kernels in QEMU, causes kernel events in them and judges what the static agent says.
    Vm(vm::Options),
    /// Lets libFuzzer try every parser of outside text, or one of them.
    Fuzz {
        /// One of the programs in `fuzz/fuzz_targets`.
        target: Option<String>,
        /// How long each is tried: `90s`, `2m`, `1h`.
        #[arg(long = "for", default_value = "60s", value_parser = fuzz::duration)]
        each: std::time::Duration,
    },
    /// Measures what a pass of the collectors costs beside programs that only read (as root), or what a day of history
    /// costs, and writes it into docs/COST.md.
    Bench {
        /// What is measured.
        what: bench::What,
        /// Without link-time optimisation: sooner built, a little slower
        #[arg(long)]
        quick: bool,
    },
    /// Writes what the collectors read of this machine into a fixture, without names, addresses and serial numbers.
    Capture {
        /// A file, or a directory for `captured.host`.
        to: std::path::PathBuf,
        /// Seconds between the two looks.
        #[arg(long, default_value_t = 10)]
        wait: u64,
        /// Processes kept at most.
        #[arg(long, default_value_t = 256)]
        processes: usize,
    },
    /// Compares what the agent reads with what other programs read at the same moment (as root), and writes docs/COMPARISON.md.
    Compare,
    /// Measures what each eBPF probe costs an event (as root), and writes it into docs/KERNELS.md.
    ProbeCost,
    /// Shows the HTML mails as a browser does: pictures under target/mail-picture, wide, on a phone, in a dark scheme.
    MailPicture,
    /// Scores the shipped detector on the Numenta Anomaly Benchmark, through the agent's own engine.
    Nab {
        /// Folder with `data` and `windows.json`; the corpus has a licence of its own, so it is not in the repository.
        #[arg(default_value = "../shared/nab")]
        dir: std::path::PathBuf,
        /// Writes what was told below this folder, for the corpus' own scorer.
        #[arg(long)]
        alerts: Option<std::path::PathBuf>,
        /// Without link-time optimisation: sooner built, slower a sample
        #[arg(long)]
        quick: bool,
        /// Changes the series instead (every second row, halves exchanged, …) and shows beside known detectors what that costs.
        #[arg(long)]
        changed: bool,
    },
    /// Measures what the release agent costs on this machine.
    Measure {
        /// Length of one run, minutes.
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
        /// How many runs.
        #[arg(long, default_value_t = 3)]
        runs: u32,
        /// Arguments of `sysops-agent`; without any it runs on built-in defaults.
        #[arg(last = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().chore {
        Chore::Run { args } => run::run(&args),
        Chore::Test { quick } => test::run(quick),
        Chore::BuildEbpf { check } => build_ebpf::run(check),
        Chore::Docs { check } => docs::run(check),
        Chore::Ci { skip_tests } => ci::run(skip_tests),
        Chore::Deps => deps::run(),
        Chore::Dist => dist::run(),
        Chore::Vm(options) => vm::run(&options),
        Chore::Fuzz { target, each } => fuzz::run(target.as_deref(), each),
        Chore::Bench { what, quick } => bench::run(what, quick),
        Chore::Capture { to, wait, processes } => capture::run(&to, wait, processes),
        Chore::Compare => compare::run(),
        Chore::MailPicture => mail_picture::run(),
        Chore::ProbeCost => probe_cost::run(),
        Chore::Nab { dir, alerts, quick, changed } => nab::run(&dir, alerts.as_deref(), quick, changed),
        Chore::Measure { minutes, runs, args } => measure::run(minutes, runs, &args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
