//! The configuration: one TOML file, judged as a whole before anything starts.
//!
//! Each section is one declaration in `keys`; [`load`] walks a file along them and reports all problems
//! at once, [`docs()`] prints them as a manual page. Reading files and the environment is the caller's.

mod changes;
mod docs;
mod env;
mod keys;
mod must;
mod near;
mod problem;
mod reader;
mod schedule;
mod section;
mod syntax;
mod template;
mod value;

use std::fmt;

use toml::de::{DeTable, DeValue};

pub use changes::{Change, changes};
pub use docs::docs;
pub use env::Lack;
pub use keys::*;
pub use must::{Known, PATTERN_SIZE_LIMIT};
pub use near::nearest;
pub use problem::{Problem, Problems};
pub use schedule::Schedule;
pub use template::{MAX_RENDERED, TEMPLATE_VARIABLES, render, template_environment, unbounded};

use keys::endpoints;
use problem::Lines;
use reader::{Finding, Idle, Reader};
use value::Value;

/// Largest file that is read, bytes.
pub const LARGEST_FILE: usize = 256 << 10;

section::section! {
    /// The whole configuration. Field names are the file's keys.
    pub struct Config, check endpoints {
        /// The agent itself.
        agent: Agent;
        /// What is read from the host.
        collector: Collector;
        /// What the host is made of.
        inventory: Inventory;
        /// Fixed limits.
        thresholds: Thresholds;
        /// Several processors, error-correcting memory.
        cpu: Cpu;
        /// What judges the course of a series.
        analyzer: Analyzer;
        /// History.
        storage: Storage;
        /// The kernel log.
        log_analyzer: LogAnalyzer;
        /// NATS.
        nats: Nats;
        /// Endpoint for Prometheus.
        prometheus: Prometheus;
        /// JSON endpoint.
        http: Http;
        /// HTTP push.
        push: Push;
        /// Log files to an HTTP collector.
        log_shipper: LogShipper;
        /// Kernel events.
        ebpf: Ebpf;
        /// Alerts.
        alerting: Alerting;
    }
}

/// Something in the file that has no effect. The agent starts all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Name of the file.
    pub file: String,
    /// Line, from 1; 0: about the whole file.
    pub line: usize,
    /// What it is.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.text),
            line => write!(f, "{}:{line}: {}", self.file, self.text),
        }
    }
}

/// Reads a configuration. `file` is only a name for messages, `env` looks up what `${NAME}`,
/// `${file:/path}` and `${credential:NAME}` stand for, and
/// names of metrics and collectors are checked against `known`.
///
/// # Errors
/// All problems of the file at once.
pub fn load(
    text: &str,
    file: &str,
    env: &dyn Fn(&str) -> Option<String>,
    known: Known<'_>,
) -> Result<(Config, Vec<Warning>), Problems> {
    load_with_lacks(text, file, env, known).map(|(config, warnings, _)| (config, warnings))
}

/// The same, with the keys that lack a file: with [`Known::alone`] that is no problem.
///
/// # Errors
/// All problems.
pub fn load_with_lacks(
    text: &str,
    file: &str,
    env: &dyn Fn(&str) -> Option<String>,
    known: Known<'_>,
) -> Result<(Config, Vec<Warning>, Vec<Lack>), Problems> {
    if text.len() > LARGEST_FILE {
        return Err(too_large(text, file));
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(syntax::problems(text, file, &errors));
    }
    let span = table.span();
    let node = toml::Spanned::new(span, DeValue::Table(table.into_inner()));
    let mut reader = Reader::new(env, known, Config::KEYS);
    let config = Config::read(&node, &mut reader).unwrap_or_default();
    if !reader.findings.is_empty() {
        return Err(Problems::new(file, text, reader.findings, reader.secrets, reader.dropped));
    }
    let warnings = warnings(text, file, &reader);
    Ok((paced(config, &reader), warnings, std::mem::take(&mut reader.lacking)))
}

fn too_large(text: &str, file: &str) -> Problems {
    let what = format!("The file has {} bytes; a configuration has at most {LARGEST_FILE}.", text.len());
    let fix = "Give the name of the configuration file after --config.".to_owned();
    Problems::new(file, "", vec![Finding { at: 0..0, what, fix }], Vec::new(), 0)
}

/// `agent.collect_interval_secs`, where the file has it, is the pace of every collector without its own.
fn paced(mut config: Config, reader: &Reader<'_>) -> Config {
    if !reader.given.contains("agent.collect_interval_secs") {
        return config;
    }
    let pace = config.agent.collect_interval_secs;
    let c = &mut config.collector;
    for (key, own) in [
        ("cpu", &mut c.cpu_interval_secs),
        ("memory", &mut c.memory_interval_secs),
        ("disk", &mut c.disk_interval_secs),
        ("disk_io", &mut c.disk_io_interval_secs),
        ("network", &mut c.network_interval_secs),
        ("process", &mut c.process_interval_secs),
        ("fd", &mut c.fd_interval_secs),
        ("gpu", &mut c.gpu_interval_secs),
    ] {
        if !reader.given.contains(&format!("collector.{key}_interval_secs")) {
            *own = pace;
        }
    }
    config
}

/// One warning for each feature whose keys are in the file in vain.
fn warnings(text: &str, file: &str, reader: &Reader<'_>) -> Vec<Warning> {
    let lines = Lines::new(text);
    let warning = |at: usize, text: String| {
        let file = crate::text::clean(file, 200);
        Warning { file, line: lines.number(at), text }
    };
    let later = reader.later.iter().map(|(feature, idle)| {
        let text = format!("{} no effect: this version does not have {feature} yet.", names(idle));
        warning(idle.at, text)
    });
    let absent = reader.absent.iter().map(|(feature, idle)| {
        let text = format!("{} no effect: this is a build without the cargo feature {feature}.", names(idle));
        warning(idle.at, text)
    });
    let both = cfg!(all(feature = "tls-rustls", feature = "tls-native")).then(|| {
        warning(0, "This is a build with both tls-rustls and tls-native; one of them is meant.".to_owned())
    });
    let advice = reader.advice.iter().map(|(at, text)| warning(*at, text.clone()));
    let mut all: Vec<_> = later.chain(absent).chain(advice).chain(both).collect();
    all.sort_by_key(|warning| warning.line);
    all
}

/// Most keys named in one warning.
const MOST_NAMED: usize = 6;

fn names(idle: &Idle) -> String {
    let named: Vec<_> = idle.keys.iter().take(MOST_NAMED).map(|key| format!("`{key}`")).collect();
    match (idle.keys.len(), idle.keys.len().saturating_sub(MOST_NAMED)) {
        (1, _) => format!("{} has", named.join(", ")),
        (_, 0) => format!("{} have", named.join(", ")),
        (_, more) => format!("{} and {more} more have", named.join(", ")),
    }
}
