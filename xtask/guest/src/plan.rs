//! What the host asks of a guest: a file in its initial file system.

use serde::{Deserialize, Serialize};

/// Where the plan lies.
pub const PATH: &str = "/plan.json";
/// Where the agent's program lies.
pub const AGENT: &str = "/bin/sysops-agent";
/// Where this program lies, beside being `/init`.
pub const GUEST: &str = "/bin/vm-guest";
/// Where `vm-readings` lies, in guests that have it.
pub const READINGS: &str = "/bin/vm-readings";
/// Folder of kernel modules, uncompressed, and of their `NAME.deps`.
pub const MODULES: &str = "/modules";

/// With which rights the agent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rights {
    /// Those of root.
    Root,
    /// Those of nobody with [`CAPABILITIES`] and no others.
    Capable,
    /// Those that its own unit gives it, in a guest with systemd.
    Unit,
}

/// What an agent that is not root gets: bits of `include/uapi/linux/capability.h`, in the order of their names
/// `CAP_DAC_READ_SEARCH`, `CAP_SYSLOG`, `CAP_PERFMON`, `CAP_BPF`.
pub const CAPABILITIES: u64 = 1 << 2 | 1 << 34 | 1 << 38 | 1 << 39;

impl Rights {
    /// Name for tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Capable => "4 capabilities",
            Self::Unit => "its unit",
        }
    }
}

/// One guest's work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Character device for the report.
    pub report: String,
    /// Modules loaded at the start; those that this kernel has built in, or lacks, are passed over.
    pub modules: Vec<String>,
    /// Names out of the table of scenarios, in order.
    pub scenarios: Vec<String>,
    /// The agent runs once with each.
    pub rights: Vec<Rights>,
    /// Whether the first disk is a root file system with a systemd in it.
    pub systemd: bool,
    /// Only a shell on the console, for looking around.
    pub shell: bool,
    /// After so many seconds the guest switches itself off.
    pub deadline_secs: u64,
}
