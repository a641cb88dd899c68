//! Collectors: one file, one source, one line in [`COLLECTORS`]. Synchronous, raw values only:
//! rates and judgements are the engine's.

use std::time::Duration;

use crate::config::Config;
use crate::host::Host;
use crate::metric::Metric;
use crate::sample::Samples;

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

/// One line of the table of collectors.
pub struct Entry {
    /// Name in the configuration, `doctor` and the logs.
    pub name: &'static str,
    /// How often it is read.
    pub pace: fn(&Config) -> Duration,
    /// What it puts out.
    pub metrics: &'static [&'static Metric],
    /// Makes one.
    pub make: fn(&Config) -> Box<dyn Collector>,
}

/// All collectors.
pub const COLLECTORS: &[Entry] = &[];
