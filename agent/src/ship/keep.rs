//! The places on disk: written once a second at most, and at the end.

use std::path::PathBuf;

use super::places::{self, Places};
use crate::host::state;
use crate::host::tail::Resume;
use crate::time::{Now, SECOND};

/// Least time between two writes. After a kill, what the server took within it is sent again.
pub const EVERY_NS: u64 = SECOND;
/// Name in the data directory.
const FILE: &str = "ship-places";

/// The file, and what is to be in it.
#[derive(Debug)]
pub struct Keep {
    path: PathBuf,
    reached: Vec<(PathBuf, Resume)>,
    written: Vec<(PathBuf, Resume)>,
    written_ns: Option<u64>,
    /// Why it cannot be written; told already.
    pub trouble: Option<String>,
}

impl Keep {
    /// The file in `data_dir`, and what an earlier run left there.
    pub fn open(data_dir: &std::path::Path) -> (Self, Option<Places>) {
        let path = data_dir.join(FILE);
        let found = match state::read(&path) {
            Ok(found) => found.map(|bytes| places::decode(&bytes)),
            Err(error) => {
                tracing::warn!(
                    "{}; the log files are read as if never seen before",
                    state::trouble("read", &path, &error)
                );
                None
            }
        };
        let keep = Self { path, reached: Vec::new(), written: Vec::new(), written_ns: None, trouble: None };
        (keep, found)
    }

    /// Everything up to these places is taken.
    pub fn reached(&mut self, places: Vec<(PathBuf, Resume)>) {
        self.reached = places;
    }

    /// When it is to be written (monotonic, nanoseconds); none while nothing is new.
    pub fn due_ns(&self) -> Option<u64> {
        let is_new = self.reached != self.written;
        is_new.then(|| self.written_ns.map_or(0, |written| written.saturating_add(EVERY_NS)))
    }

    /// Writes what is new. May wait for the disk.
    pub fn write(&mut self, now: Now) {
        if self.reached == self.written {
            return;
        }
        self.written_ns = Some(now.mono_ns);
        let content = places::encode(now.wall_ns, &self.reached);
        match state::replace(&self.path, &content, 0o600) {
            Ok(()) => {
                self.written.clone_from(&self.reached);
                if self.trouble.take().is_some() {
                    tracing::info!("{} is written again", self.path.display());
                }
            }
            Err(error) => {
                let why = format!(
                    "{}; after a kill or a crash, lines since the last place that was written are sent again",
                    state::trouble("write", &self.path, &error)
                );
                if self.trouble.is_none() {
                    tracing::warn!("{why}");
                }
                self.trouble = Some(why);
            }
        }
    }
}
