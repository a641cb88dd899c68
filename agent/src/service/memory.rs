//! What the engine keeps over a restart, as a file in the data directory.
//!
//! It is written only when the alerts that it takes for told are in the outbox, one writing at a time and aside: an
//! alert about a dying disk must not wait for it.

use std::future::pending;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use crate::engine::snapshot::{MAX_BYTES, Snapshot};
use crate::host::state;

/// The file.
pub const FILE: &str = "engine-state.json";

/// Somebody who waits until all is on disk; an error is a sentence.
pub type Kept = oneshot::Sender<Result<(), String>>;

/// The file, and what is to be written to it.
#[derive(Debug)]
pub struct Memory {
    path: PathBuf,
    latest: Option<Box<Snapshot>>,
    writing: Option<JoinHandle<io::Result<()>>>,
    /// Why the last writing failed.
    failing: Option<String>,
    asked: Vec<Kept>,
}

impl Memory {
    /// The file in `data_dir`, and what an earlier run left in it. One that cannot be used is put aside.
    pub fn open(data_dir: &Path) -> (Self, Option<Snapshot>) {
        let path = data_dir.join(FILE);
        let found = match state::read(&path) {
            Ok(json) => {
                json.and_then(|json| Snapshot::decode(&json).map_err(|why| put_aside(&path, &why)).ok())
            }
            Err(error) => {
                tracing::warn!(
                    "{} cannot be read: {error}; what stands may be told once more. Give the agent's user the right to \
                     read it",
                    path.display()
                );
                None
            }
        };
        (Self { path, latest: None, writing: None, failing: None, asked: Vec::new() }, found)
    }

    /// The newest state, whose alerts are in the outbox.
    pub fn keep(&mut self, snapshot: Box<Snapshot>) {
        self.latest = Some(snapshot);
        self.pass_on();
    }

    fn pass_on(&mut self) {
        if self.writing.is_some() {
            return;
        }
        let Some(snapshot) = self.latest.take() else { return };
        let path = self.path.clone();
        self.writing = Some(spawn_blocking(move || write(&path, *snapshot)));
    }

    /// The end of the writing; waits for ever when there is none. May be dropped and called again.
    pub async fn written(&mut self) -> Result<io::Result<()>, JoinError> {
        match &mut self.writing {
            Some(writing) => writing.await,
            None => pending().await,
        }
    }

    /// Takes in how the writing went, and writes what has come since.
    pub fn finish(&mut self, done: Result<io::Result<()>, JoinError>) {
        self.writing = None;
        let failed = done.map_err(io::Error::other).and_then(|result| result).err();
        if let Some(error) = failed.as_ref().filter(|_| self.failing.is_none()) {
            tracing::warn!(
                "{} cannot be written: {error}; after a restart what stands may be told once more",
                self.path.display()
            );
        }
        self.failing = failed.map(|error| format!("{} cannot be written: {error}", self.path.display()));
        self.pass_on();
        self.answer();
    }

    /// Answers when what it was given until now is on disk, or cannot be brought there.
    pub fn when_kept(&mut self, kept: Kept) {
        self.asked.push(kept);
        self.answer();
    }

    fn answer(&mut self) {
        if self.writing.is_none() {
            let result = self.failing.clone().map_or(Ok(()), Err);
            // Who asked may have gone.
            self.asked.drain(..).for_each(|kept| drop(kept.send(result.clone())));
        }
    }

    /// Writes what is not written yet.
    pub async fn last(&mut self) {
        while self.writing.is_some() {
            let done = self.written().await;
            self.finish(done);
        }
    }
}

/// Piece by piece: with a storm of alerts standing it is a megabyte of JSON.
fn write(path: &Path, snapshot: Snapshot) -> io::Result<()> {
    let fitting = snapshot.fitting(|snapshot| serde_json::to_writer(Room(MAX_BYTES), snapshot).is_ok());
    state::replace_with(path, 0o600, |file| match fitting {
        Some(snapshot) => serde_json::to_writer(file, &snapshot).map_err(io::Error::from),
        None => Ok(()),
    })
}

/// So many bytes may still be written; they go nowhere.
struct Room(usize);

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn put_aside(path: &Path, why: &str) {
    let to = match state::set_aside(path) {
        Ok(aside) => format!("it was put aside as {}", aside.display()),
        Err(error) => format!("it could not be put aside: {error}"),
    };
    tracing::warn!("{} {why}; {to}, and what stands may be told once more", path.display());
}
