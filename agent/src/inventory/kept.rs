//! The inventory as it was at the last time, in `data_dir`, and when a difference is believed.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::changes::Parts;
use crate::event::HostChange;
use crate::host::state;

/// Raised when older files can no longer be compared with.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct File<P> {
    version: u32,
    inventory: P,
}

/// Remembers what the host was made of.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    /// As it was told.
    known: Option<Parts>,
    /// As it was read last, if that differs.
    seen: Option<Parts>,
    /// `known` is not in the file yet.
    unsaved: bool,
}

/// What one more reading led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What is to be told.
    pub change: Option<HostChange>,
    /// Something differs: the next reading, which should come soon, decides.
    pub undecided: bool,
    /// Why the file could not be written.
    pub problem: Option<String>,
}

impl Kept {
    /// What `data_dir` remembers. A file that is torn or of another version is as good as none.
    pub fn open(data_dir: &Path) -> Self {
        let path = data_dir.join("inventory.json");
        let bytes = state::read(&path).ok().flatten().unwrap_or_default();
        Self { known: parse(&bytes), path, seen: None, unsaved: false }
    }

    /// Takes one reading. A change is believed when two readings in a row show the same: devices are still
    /// being found when the agent starts with the machine. It is saved one reading after it was told, when
    /// the alert has long been in the outbox: a crash before that tells it again.
    pub fn take(&mut self, mut read: Parts) -> Outcome {
        let Some(known) = &self.known else {
            self.known = Some(read);
            return self.save();
        };
        let change = known.change_to(&mut read);
        if change.is_none() {
            self.unsaved |= *known != read;
            self.known = Some(read);
            self.seen = None;
            return if self.unsaved { self.save() } else { Outcome::default() };
        }
        if self.seen.as_ref() != Some(&read) {
            self.seen = Some(read);
            return Outcome { undecided: true, ..Outcome::default() };
        }
        self.known = self.seen.take();
        self.unsaved = true;
        Outcome { change, undecided: true, ..Outcome::default() }
    }

    fn save(&mut self) -> Outcome {
        let file = File { version: VERSION, inventory: self.known.as_ref() };
        let saved = serde_json::to_vec(&file)
            .map_err(std::io::Error::from)
            .and_then(|bytes| state::replace(&self.path, &bytes, 0o600));
        self.unsaved = saved.is_err();
        let problem = saved.err().map(|error| {
            format!(
                "{} cannot be written: {error}. What changes while the agent is down will not be told",
                self.path.display()
            )
        });
        Outcome { problem, ..Outcome::default() }
    }
}

fn parse(bytes: &[u8]) -> Option<Parts> {
    let file: File<Parts> = serde_json::from_slice(bytes).ok()?;
    (file.version == VERSION).then_some(file.inventory)
}

#[cfg(test)]
#[path = "kept_tests.rs"]
mod tests;
