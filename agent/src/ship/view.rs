//! How shipping stands, for `status`, metrics and `doctor`.

use serde::{Deserialize, Serialize};

/// Counters since the start, and how things stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Host and port that lines go to.
    pub server: String,
    /// Whether the last try succeeded.
    pub up: bool,
    /// Failures in a row.
    pub failing: u64,
    /// Files that are followed.
    pub files: u64,
    /// Files beyond the limit.
    pub left_out: u64,
    /// Files that cannot be read.
    pub unreadable: u64,
    /// Bytes that are not read yet, as of the last look.
    pub unread_bytes: u64,
    /// Lines that wait for more of them, or for the server.
    pub pending: u64,
    /// Lines that the server took.
    pub lines: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Tries that failed.
    pub failures: u64,
    /// Times a file was renamed, cut or replaced.
    pub rotations: u64,
    /// Bytes gone before they were read.
    pub lost_bytes: u64,
    /// Cuts through lines that were too long.
    pub split: u64,
    /// Lines that were not UTF-8.
    pub not_utf8: u64,
    /// Lines that the server refused, each for itself.
    pub refused: u64,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// Why the places cannot be kept.
    pub trouble: Option<String>,
}

impl View {
    /// What keeps the agent from being healthy: short names of reasons.
    pub fn troubles(&self) -> Vec<&'static str> {
        let troubles = [
            (self.failing > 0, "log lines are not taken"),
            (self.unreadable > 0, "log files cannot be read"),
            (self.left_out > 0, "log files are left out"),
            (self.trouble.is_some(), "the places in log files are not saved"),
        ];
        troubles.into_iter().filter(|(is, _)| *is).map(|(_, why)| why).collect()
    }
}
