//! Collectors: one file, one source, one row in [`COLLECTORS`]. Synchronous, raw values only:
//! rates and judgements are the engine's.

use crate::host::Host;
use crate::sample::Samples;

pub mod agent;
pub mod bonding;
pub mod cgroup;
pub mod clock;
pub mod conntrack;
pub mod cpu;
pub mod diskstats;
pub mod docker;
mod docs;
pub mod edac;
pub mod fd;
pub mod filesystem;
pub mod gpu;
pub mod hugepages;
pub mod hwmon;
pub mod kept;
pub mod link;
pub mod load;
pub mod md;
pub mod memory;
pub mod names;
pub mod netstat;
pub mod network;
pub mod numa;
pub mod ports;
pub mod pressure;
pub mod process;
pub mod readings;
pub mod redis;
pub mod runner;
pub mod schedule;
pub mod smart;
pub mod sockets;
pub mod softnet;
pub mod stat_line;
pub mod systemd;
mod table;
#[cfg(test)]
pub(crate) mod testing;
pub mod topology;
pub mod units;
pub mod uptime;
pub mod vmstat;
pub mod zfs;

pub use docs::metrics_doc;
pub use table::{COLLECTORS, Entry, enabled, metrics};

/// Why a collector has nothing to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectError {
    /// The host does not have it.
    #[error("{path} does not exist on this host")]
    Absent {
        /// What is not there.
        path: String,
    },
    /// The host has it, but this process may not read it.
    #[error("{path} may not be read: it needs {needs}")]
    Denied {
        /// What was refused.
        path: String,
        /// Capability or right that opens it.
        needs: &'static str,
    },
    /// Reading failed otherwise.
    #[error("{path} cannot be read: {error}")]
    Read {
        /// What was read.
        path: String,
        /// The system's words.
        error: String,
    },
    /// The content is not what the kernel writes.
    #[error("{path} is not as expected: {why}")]
    Parse {
        /// What was read.
        path: String,
        /// What was wrong.
        why: String,
    },
}

/// Reads one source.
pub trait Collector: Send {
    /// Puts the current readings into `out`. What was put before an error counts.
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError>;
}

#[cfg(test)]
mod tests;
