//! A kill by a process that watches the memory, as that process tells it.

use serde::{Deserialize, Serialize};

use super::Task;
use crate::text::word::Word;

/// A kill before the kernel had to. Nothing but a line in a log vouches for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserKill {
    /// Who says it killed: `systemd-oomd`, `earlyoom`, `oomd`.
    #[serde(deserialize_with = "crate::text::word::one")]
    pub killer: Word,
    /// Pid of the writer, as the line has it.
    pub killer_pid: Option<u32>,
    /// The killed process, where it was one; `cgroup` where it was a whole group.
    pub victim: Task,
    /// Resident memory of the process, kB.
    pub rss_kb: Option<u64>,
    /// Processes killed of a group, where it is told.
    pub victims_count: Option<u64>,
    /// Memory of the group, kB.
    pub usage_kb: Option<u64>,
    /// Signal that was sent, where it is told.
    #[serde(deserialize_with = "crate::text::word::maybe")]
    pub signal: Option<Word>,
    /// Why, in the killer's words; hostile text.
    pub reason: Option<String>,
}
