//! What each command line does, and its exit code.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::{Cli, Command, DEFAULT_CONFIG, Document, LogLevel};
use crate::config::{self, Config, Lack, Switch, Warning};
use crate::host::{clock, state};
use crate::service::recording::record;
use crate::service::{self, Start, control, doctor, features, replay};
use crate::{capture, collect, edge, inventory, notify};

/// Failed at run time.
const FAILED: u8 = 1;
/// Bad configuration.
const BAD_CONFIG: u8 = 64;

/// Runs the command line.
pub fn run(cli: &Cli) -> ExitCode {
    if let Some(Command::Docs { document }) = cli.command {
        return print(&docs(document));
    }
    if let Some(asked) = cli.command.as_ref().and_then(|command| ask_agent(cli, command)) {
        return match asked {
            Ok(text) => print(&text),
            Err(problem) => fail(&problem),
        };
    }
    if cli.validate {
        return validate(cli.config.as_deref());
    }
    let how: Load = match cli.command {
        None | Some(Command::TestAlert) if !cli.inventory_dump => edge::load_in_any_case,
        Some(Command::Doctor { .. }) => edge::load_for_doctor,
        _ => |path| edge::load(path).map(|(config, warnings)| (config, warnings, Vec::new())),
    };
    let (config, file, warnings, lacking) = match configuration(cli.config.as_deref(), how) {
        Ok(loaded) => loaded,
        Err(problem) => {
            complain(problem.trim_end());
            return ExitCode::from(BAD_CONFIG);
        }
    };
    if let Err(problem) = logging(&config, cli.log_level) {
        complain(&problem);
        return ExitCode::from(FAILED);
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    match cli.command {
        Some(Command::Doctor { json }) => {
            let found = doctor::examine(&config, &service::host(&config), &lacking);
            print(&if json { features::json(&found) + "\n" } else { features::table(&found) })
        }
        Some(Command::TestAlert) => test_alert(&config, &lacking),
        Some(Command::Record { ref file, secs, max_mib }) => {
            let how = record::Wish { secs, max_bytes: max_mib.saturating_mul(1 << 20) };
            match record::run(&config, file, how) {
                Ok(()) => ExitCode::SUCCESS,
                Err(problem) => fail(&problem),
            }
        }
        Some(Command::Replay { ref file, ref log, json, ends }) => {
            replay_file(&config, file.as_deref(), log.as_deref(), replay::Options { json, ends })
        }
        Some(Command::Capture { ref file, wait, processes }) => write_capture(&config, file, wait, processes),
        Some(
            Command::Docs { .. }
            | Command::Status { .. }
            | Command::Alerts { .. }
            | Command::Silence(_)
            | Command::Query(_),
        ) => ExitCode::SUCCESS,
        None if cli.inventory_dump => dump_inventory(&config),
        None => match service::run(Start { config, file, lacking }) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                tracing::error!("{problem}");
                ExitCode::from(FAILED)
            }
        },
    }
}

fn validate(named: Option<&Path>) -> ExitCode {
    let path = named.unwrap_or(Path::new(DEFAULT_CONFIG));
    if named.is_none() && !state::is_there(path) {
        return print("the built-in configuration is valid\n");
    }
    match edge::validate(path) {
        Ok(warnings) => {
            for warning in &warnings {
                complain(&format!("warning: {warning}"));
            }
            print(&format!("{} is valid\n", path.display()))
        }
        Err(problem) => {
            complain(problem.trim_end());
            ExitCode::from(BAD_CONFIG)
        }
    }
}

/// Commands to the running agent. All they need of the configuration is where the socket is: one that may not be read,
/// or has a problem, does not stop them.
fn ask_agent(cli: &Cli, command: &Command) -> Option<Result<String, String>> {
    let file = cli.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG));
    let is_asked = matches!(command, Command::Status { .. } | Command::Alerts { .. } | Command::Silence(_));
    if !is_asked && !matches!(command, Command::Query(_)) {
        return None;
    }
    if cli.config.is_some() && !state::is_there(file) {
        return Some(Err(format!(
            "{}: there is no such file; --config names the one the agent was started with",
            file.display()
        )));
    }
    if let Command::Query(asked) = command {
        return Some(service::query::run(asked, &edge::history(file)));
    }
    let data_dir = edge::data_dir(file).unwrap_or_else(|| Config::default().agent.data_dir);
    control::commands::run(command, &data_dir)
}

/// How a file is read: some do without a secret for now.
type Load = fn(&Path) -> Result<(Config, Vec<Warning>, Vec<Lack>), String>;
type Loaded = (Config, Option<PathBuf>, Vec<Warning>, Vec<Lack>);

/// The named file; without one the default file; where that is missing, the built-in defaults, with
/// alerts on the terminal whatever the output is.
fn configuration(named: Option<&Path>, load: Load) -> Result<Loaded, String> {
    let path = named.unwrap_or(Path::new(DEFAULT_CONFIG));
    if named.is_none() && !state::is_there(path) {
        let mut config = Config::default();
        config.alerting.terminal.enabled = Switch::On;
        return Ok((config, None, Vec::new(), Vec::new()));
    }
    let (config, warnings, lacking) = load(path)?;
    Ok((config, Some(path.to_owned()), warnings, lacking))
}

fn logging(config: &Config, asked: Option<LogLevel>) -> Result<(), String> {
    let level = match (asked, config.agent.log_level) {
        (Some(LogLevel::Trace), _) | (None, config::LogLevel::Trace) => LevelFilter::TRACE,
        (Some(LogLevel::Debug), _) | (None, config::LogLevel::Debug) => LevelFilter::DEBUG,
        (Some(LogLevel::Info), _) | (None, config::LogLevel::Info) => LevelFilter::INFO,
        (Some(LogLevel::Warn), _) | (None, config::LogLevel::Warn) => LevelFilter::WARN,
        (Some(LogLevel::Error), _) | (None, config::LogLevel::Error) => LevelFilter::ERROR,
    };
    // Other crates tell of connections in detail, with passwords that stand in addresses: only their complaints are of use.
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), level);
    // A log that cannot be written must not end the task that wanted to write: no panic on a full disk or a
    // closed pipe.
    let base = tracing_subscriber::fmt().with_max_level(level).with_target(false).log_internal_errors(false);
    let file = &config.agent.log_file;
    if file.as_os_str().is_empty() {
        let base = base.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
        base.finish().with(targets).init();
        return Ok(());
    }
    let out = state::append_to(file)
        .map_err(|e| format!("agent.log_file {} cannot be written: {e}", file.display()))?;
    base.with_ansi(false).with_writer(std::sync::Arc::new(out)).finish().with(targets).init();
    Ok(())
}

fn docs(document: Document) -> String {
    match document {
        Document::Metrics => collect::metrics_doc(&edge::metrics_beside_collectors()),
        Document::Configuration => config::docs(),
        Document::LogRules => crate::watch::catalogue::rules_doc(),
    }
}

fn test_alert(config: &Config, lacking: &[Lack]) -> ExitCode {
    use std::fmt::Write as _;

    // One that cannot be used says so in the table.
    let (routes, _) = edge::routes_in_any_case(config, None, lacking);
    let templates = match notify::Templates::of(config) {
        Ok(templates) => templates,
        Err(problem) => return fail(&problem),
    };
    let name = service::hostname(config, service::host(config).as_ref());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let trials = match runtime {
        Ok(runtime) => runtime.block_on(notify::test_alert(&routes, &templates, &name, clock::now)),
        Err(error) => return fail(&format!("the runtime cannot be started: {error}")),
    };
    let taken = |trial: &notify::trial::Trial| trial.result == notify::trial::Verdict::Delivered;
    let failed = trials.is_empty() || !trials.iter().all(taken);
    let mut out = if trials.is_empty() { String::new() } else { notify::trial::table(&trials) };
    for channel in routes.iter().map(|route| &route.channel) {
        if let Some(doubt) = channel.doubt() {
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{}: but {doubt}", channel.name());
        }
    }
    if trials.is_empty() {
        out +=
            "no channel is enabled: nobody would hear of an alert. See docs/CONFIGURATION.md, [alerting.…]\n";
    }
    print(&out);
    ExitCode::from(if failed { FAILED } else { 0 })
}

fn dump_inventory(config: &Config) -> ExitCode {
    let host = service::host(config);
    let inventory = inventory::collect(host.as_ref(), &inventory::Options::of(config), clock::now());
    match serde_json::to_string_pretty(&inventory) {
        Ok(text) => print(&(text + "\n")),
        Err(error) => fail(&format!("the inventory cannot be printed: {error}")),
    }
}

fn replay_file(config: &Config, file: Option<&Path>, log: Option<&Path>, how: replay::Options) -> ExitCode {
    let by_rules = |log: &Path| replay::log_by_rules(config, log, how.json, std::io::stderr().is_terminal());
    match file.map(|file| replay::file(config, file, how)).or(log.map(by_rules)).unwrap_or(Ok(())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail(&problem),
    }
}

fn write_capture(config: &Config, file: &Path, wait: u64, processes: usize) -> ExitCode {
    let wait = std::time::Duration::from_secs(wait.min(3600));
    let text = capture::capture(&service::host(config), wait, processes);
    if file == Path::new("-") {
        return print(&text);
    }
    match state::replace(file, text.as_bytes(), 0o640) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{} cannot be written: {error}", file.display())),
    }
}

/// A line on standard error, if somebody takes it.
fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn fail(problem: &str) -> ExitCode {
    complain(problem);
    ExitCode::from(FAILED)
}

/// Prints to standard output; a reader that went away (`| head`) is not an error.
fn print(text: &str) -> ExitCode {
    use std::io::ErrorKind;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => fail(&format!("standard output: {error}")),
        _ => ExitCode::SUCCESS,
    }
}
