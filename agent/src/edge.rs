//! The one edge where the configuration meets the file system and the environment.

pub mod labels;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{self, Config, Known, Lack, Warning};
use crate::engine::events;
use crate::host::state;
use crate::metric::{Metric, Unit};
use crate::notify::terminal::Screen;
use crate::notify::unmade::Again;
use crate::notify::{self, Route};
use crate::service::query::Places;
use crate::service::{journal_health, push, vitals};
use crate::watch::catalogue::rules;
use crate::watch::rules::Kind;
use crate::{collect, formulas};

/// Reads and judges a configuration file, and the files that its secrets are in. The error is ready to print.
pub fn load(path: &Path) -> Result<(Config, Vec<Warning>), String> {
    judged(path, Strict).map(|(config, warnings, _)| (config, warnings))
}

/// Whether nothing at all is in a file: it may be about to be written.
pub fn is_blank(path: &Path) -> bool {
    state::read_user_file(path).is_ok_and(|text| text.trim().is_empty())
}

/// Judges the file alone: a secret's file that cannot be read here is a warning.
pub fn validate(path: &Path) -> Result<Vec<Warning>, String> {
    judged(path, Alone).map(|(_, warnings, _)| warnings)
}

/// The same as [`load`], for the start: a channel's secret that is not there is no reason to watch nothing. Such keys
/// come with it; they are of `[alerting]` and `[nats]` only.
pub fn load_in_any_case(path: &Path) -> Result<(Config, Vec<Warning>, Vec<Lack>), String> {
    let (config, warnings, lacking) = judged(path, Alone)?;
    let of_channel = |lack: &Lack| ["alerting.", "nats."].iter().any(|section| lack.key.starts_with(section));
    if lacking.iter().all(of_channel) {
        return Ok((config, warnings, lacking));
    }
    load(path).map(|(config, warnings)| (config, warnings, Vec::new()))
}

fn judged(path: &Path, how: How) -> Result<(Config, Vec<Warning>, Vec<Lack>), String> {
    let text = state::read_user_file(path).map_err(|error| {
        format!(
            "The configuration {} cannot be read: {error}.\n\
             Name the right file with --config, or give the agent's user the right to read it.",
            path.display()
        )
    })?;
    let all = metrics();
    let metrics: Vec<&str> = all.iter().map(|m| m.name).collect();
    let labels: Vec<&[&str]> = all.iter().map(|m| m.labels).collect();
    let collectors: Vec<&str> = collect::COLLECTORS
        .iter()
        .map(|c| c.name)
        .chain(["ebpf", "ebpf_tcp", "ebpf_waits", "journal", "nats", "push"])
        .collect();
    let witnessed: Vec<&str> =
        rules().filter(|rule| rule.kind == Kind::Assembled).map(|rule| rule.id).collect();
    let rules: Vec<&str> = rules().map(|rule| rule.id).collect();
    let (alone, variables) = (how != Strict, how == Elsewhere);
    let known = Known {
        metrics: &metrics,
        collectors: &collectors,
        labels: &labels,
        rules: &rules,
        witnessed: &witnessed,
        alone,
        variables,
    };
    let secrets = Secrets::default();
    let name = path.display().to_string();
    let loaded = config::load_with_lacks(&text, &name, &|name| secrets.look_up(name), known);
    let notes = secrets.notes.into_inner();
    match loaded {
        Ok((config, mut warnings, lacking)) => {
            let note = |(file, text)| Warning { file, line: 0, text };
            let idle = labels::idle_windows(&config).into_iter().map(|text| (name.clone(), text));
            warnings.extend(notes.into_iter().chain(unread(&config, &name)).chain(idle).map(note));
            Ok((config, warnings, lacking))
        }
        Err(problems) => {
            let notes: Vec<_> = notes.iter().map(|(file, text)| format!("{file}: {text}\n")).collect();
            Err(format!("{problems}{}", notes.concat()))
        }
    }
}

/// Rules on metrics that no collector of this configuration reads: they never fire, or for ever.
fn unread(config: &Config, file: &str) -> Vec<(String, String)> {
    let on: BTreeSet<&str> = collect::enabled(config).map(|entry| entry.name).collect();
    let of_rule = |rule: &config::Rule| {
        let all = collect::COLLECTORS.iter();
        let makers = all.filter(|entry| entry.all_metrics().any(|m| m.name == rule.metric));
        let off: Vec<&str> = makers.map(|entry| entry.name).collect();
        let what = if rule.op == config::Op::Absent { "fires for ever" } else { "never fires" };
        let sentence = format!(
            "The rule `{}` {what}: the collector {} is off, and nothing else reads {}.",
            rule.name,
            off.join(", "),
            rule.metric
        );
        let unread = !off.is_empty() && off.iter().all(|name| !on.contains(name));
        unread.then_some((file.to_owned(), sentence))
    };
    config.alerting.rules.iter().filter_map(of_rule).collect()
}

/// What stands for `${…}`: the environment, and files with one secret each.
#[derive(Default)]
struct Secrets {
    /// File, and what is to be said of it.
    notes: RefCell<BTreeSet<(String, String)>>,
}

/// Largest file of a secret, bytes.
const MAX_SECRET: usize = 64 << 10;

impl Secrets {
    fn look_up(&self, name: &str) -> Option<String> {
        if let Some(path) = name.strip_prefix("file:") {
            return self.read(Path::new(path));
        }
        let Some(credential) = name.strip_prefix("credential:") else { return environment(name) };
        let Some(dir) = environment("CREDENTIALS_DIRECTORY") else {
            return self.note(
                Path::new(credential),
                "the agent was started without credentials; see LoadCredential= in systemd.exec(5)",
            );
        };
        self.read(&Path::new(&dir).join(credential))
    }

    fn read(&self, path: &Path) -> Option<String> {
        let text = match state::read_user_file(path) {
            Ok(text) if text.len() > MAX_SECRET => {
                return self.note(path, "is larger than 64 KiB: not a secret");
            }
            Ok(text) => text,
            Err(error) => return self.note(path, &format!("cannot be read: {error}")),
        };
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return self.note(path, "is empty: the secret is missing");
        }
        if state::mode(path).is_ok_and(|mode| mode & 0o007 != 0) {
            self.note(path, "a secret that everybody on this host can read or change; chmod 600 it");
        }
        Some(secret.to_owned())
    }

    fn note(&self, path: &Path, text: &str) -> Option<String> {
        self.notes.borrow_mut().insert((path.display().to_string(), text.to_owned()));
        None
    }
}

/// The enabled channels on this process's terminal, and the problems of the others.
pub fn routes(config: &Config) -> (Vec<Route>, Vec<String>) {
    notify::routes(config, screen())
}

/// The same for the start, with a place for each channel that cannot be made yet: the file is read for it again.
pub fn routes_in_any_case(
    config: &Config,
    file: Option<&Path>,
    lacking: &[Lack],
) -> (Vec<Route>, Vec<String>) {
    let again = file.map(Path::to_owned).map(|file| -> Again {
        Arc::new(move |name| {
            let (config, _, lacking) = load_in_any_case(&file)?;
            notify::routes::route(name, &config, screen(), &lacking)
        })
    });
    notify::routes::routes_in_any_case(config, screen(), lacking, again.as_ref())
}

/// The configuration as soon as nothing of a section is lacking; reads files.
pub fn once_complete(
    file: PathBuf,
    section: &'static str,
) -> impl Fn() -> Result<Config, String> + Send + Sync {
    move || {
        let (config, _, lacking) = load_in_any_case(&file)?;
        match lacking.into_iter().find(|lack| lack.key.starts_with(section)) {
            Some(lack) => Err(lack.to_string()),
            None => Ok(config),
        }
    }
}

/// The same for who looks at everything: whatever a value stands for may be lacking.
pub fn load_for_doctor(path: &Path) -> Result<(Config, Vec<Warning>, Vec<Lack>), String> {
    judged(path, Elsewhere)
}

/// How much must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Strict,
    /// Files may be missing.
    Alone,
    /// Files and variables: the agent itself may have them.
    Elsewhere,
}
use How::{Alone, Elsewhere, Strict};

fn screen() -> Screen {
    Screen::new(std::io::IsTerminal::is_terminal(&std::io::stdout()), &environment)
}

/// `agent.data_dir` of a file that may have problems elsewhere.
pub fn data_dir(path: &Path) -> Option<PathBuf> {
    let table: toml::Table = state::read_user_file(path).ok()?.parse().ok()?;
    table.get("agent")?.get("data_dir")?.as_str().map(PathBuf::from)
}

/// Where history is, by a file that may have problems elsewhere.
pub fn history(path: &Path) -> Places {
    let default = Config::default();
    let text = state::read_user_file(path).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let storage = |key: &str| table.get("storage").and_then(|storage| storage.get(key));
    let enabled = storage("sqlite_enabled").and_then(toml::Value::as_bool).unwrap_or(false);
    let named = storage("sqlite_path").and_then(toml::Value::as_str).map(PathBuf::from);
    Places {
        data_dir: data_dir(path).unwrap_or(default.agent.data_dir),
        sqlite: enabled.then(|| named.unwrap_or(default.storage.sqlite_path)),
    }
}

/// Where systemd made a directory for the control socket.
pub fn runtime_dir() -> Option<PathBuf> {
    // Several are separated by colons.
    let dirs = environment("RUNTIME_DIRECTORY")?;
    dirs.split(':').next().filter(|dir| dir.starts_with('/')).map(PathBuf::from)
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Whether the metric of this name is a whole number.
pub fn is_count(name: &str) -> bool {
    metrics().iter().any(|metric| metric.name == name && metric.unit == Unit::Count)
}

/// Every metric of this build.
pub fn metrics() -> Vec<&'static Metric> {
    let mut all = collect::metrics();
    all.extend(metrics_beside_collectors());
    all
}

#[cfg(feature = "ebpf")]
const EBPF: &[&[&Metric]] =
    &[crate::ebpf::io_metrics::METRICS, crate::ebpf::remotes::METRICS, crate::ebpf::waits::METRICS];
#[cfg(not(feature = "ebpf"))]
const EBPF: &[&[&Metric]] = &[];

#[cfg(feature = "nats")]
const NATS: &[&Metric] = crate::service::publish::METRICS;
#[cfg(not(feature = "nats"))]
const NATS: &[&Metric] = &[];

/// Those that no collector of the table puts out: computed ones, counts of events, eBPF's.
pub fn metrics_beside_collectors() -> Vec<&'static Metric> {
    let (formulas, events, journal) = (formulas::METRICS, events::METRICS, journal_health::METRICS);
    let ship = crate::service::ship::METRICS;
    [&[formulas, events, journal, NATS, push::METRICS, ship, vitals::METRICS], EBPF].concat().concat()
}
