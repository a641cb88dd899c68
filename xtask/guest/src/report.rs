//! What a guest tells the host: one JSON object a line, each behind [`MARK`].

use serde::{Deserialize, Serialize};

use crate::plan::Rights;

/// Begins each line, so that what firmware or kernel write to the same device is told apart.
pub const MARK: &str = "@@ ";

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum Line {
    /// The kernel that runs, first of all.
    Kernel(Kernel),
    /// How the agent's features stand, by its own `doctor`.
    Doctor(Doctor),
    /// One scenario is over.
    Outcome(Outcome),
    /// Something only the host can do: a command for QEMU's monitor.
    Monitor(Monitor),
    /// The guest itself could not go on.
    Broken(Broken),
    /// All is told.
    Done,
}

/// The kernel and what it offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// `uname -r`.
    pub release: String,
    /// `uname -v`.
    pub version: String,
    /// Whether `/sys/kernel/btf/vmlinux` is there.
    pub btf: bool,
    /// `kernel.perf_event_paranoid`; none where the kernel has no perf events.
    pub perf_event_paranoid: Option<i64>,
    /// Whether tracefs shows events.
    pub tracefs: bool,
    /// Seconds of uptime when the guest began its work.
    pub uptime_secs: f64,
}

/// `sysops-agent doctor --json` with some rights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Doctor {
    /// With which rights it was asked.
    pub rights: Rights,
    /// Its answer.
    pub features: Vec<Feature>,
}

/// One feature as the agent tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// E.g. `ebpf.oom`.
    pub name: String,
    /// `on`, `degraded` or `off`.
    pub state: String,
    /// How it works, or why it does not.
    pub reason: String,
}

/// How one scenario went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Rights of the agent.
    pub rights: Rights,
    /// Name of the scenario.
    pub scenario: String,
    /// Who saw it, as the alert says; empty when rightly nobody did.
    pub sources: Vec<String>,
    /// From the kernel's event to the delivered alert, milliseconds.
    pub latency_ms: Option<f64>,
    /// What is wrong, if anything.
    pub problem: Option<String>,
}

/// A command for QEMU's monitor (HMP).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    /// The command.
    pub command: String,
}

/// Why a guest gave up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Broken {
    /// A sentence.
    pub why: String,
}
