//! The one edge where the configuration meets the file system and the environment.

use std::path::{Path, PathBuf};

use crate::config::{Config, Known, Warning, load as judge};
use crate::engine::events;
use crate::host::state;
use crate::metric::Metric;
use crate::notify::terminal::Screen;
use crate::notify::{self, Route};
use crate::{collect, formulas};

/// Reads and judges a configuration file. The error is ready to print.
pub fn load(path: &Path) -> Result<(Config, Vec<Warning>), String> {
    let text = state::read_user_file(path).map_err(|error| {
        format!(
            "The configuration {} cannot be read: {error}.\n\
             Name the right file with --config, or give the agent's user the right to read it.",
            path.display()
        )
    })?;
    let metrics: Vec<&str> = metrics().iter().map(|m| m.name).collect();
    let collectors: Vec<&str> =
        collect::COLLECTORS.iter().map(|c| c.name).chain(["ebpf", "ebpf_tcp", "ebpf_waits"]).collect();
    let known = Known { metrics: &metrics, collectors: &collectors };
    judge(&text, &path.display().to_string(), &environment, known).map_err(|problems| problems.to_string())
}

/// The enabled channels on this process's terminal, and the problems of the others.
pub fn routes(config: &Config) -> (Vec<Route>, Vec<String>) {
    let tty = std::io::IsTerminal::is_terminal(&std::io::stdout());
    notify::routes(config, Screen::new(tty, &environment))
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

/// Those that no collector of the table puts out: computed ones, counts of events, eBPF's.
pub fn metrics_beside_collectors() -> Vec<&'static Metric> {
    [&[formulas::METRICS, events::METRICS], EBPF].concat().concat()
}
