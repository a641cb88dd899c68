//! The pid file, when one is configured.

use std::path::{Path, PathBuf};

use crate::host::state;

/// A pid file that is removed when dropped.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes this process's id. One that cannot be written is a sentence for the log, not the end.
    pub fn write(path: &Path) -> Result<Self, String> {
        let content = format!("{}\n", std::process::id());
        state::replace(path, content.as_bytes(), 0o644)
            .map(|()| Self { path: path.to_owned() })
            .map_err(|e| format!("pid file {} cannot be written: {e}; going on without it", path.display()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let mine = state::read(&self.path)
            .ok()
            .flatten()
            .is_some_and(|c| c.trim_ascii() == std::process::id().to_string().as_bytes());
        if mine && let Err(error) = state::remove(&self.path) {
            tracing::warn!("pid file {} cannot be removed: {error}", self.path.display());
        }
    }
}
