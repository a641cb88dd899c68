//! Visits to the disk, one after the other, none of which is waited for longer than it takes to find that it hangs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

/// Longest wait for the disk. One that has not answered by then is not asked again before it has. A disk that is
/// busy with the writing of others takes two or three seconds for an fsync, and does not hang.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 20 } else { 5 });

/// The way to a directory.
#[derive(Debug)]
pub struct Visits {
    dir: PathBuf,
    /// A visit that has not come back.
    stuck: Option<JoinHandle<()>>,
}

impl Visits {
    /// To `dir`, which need not be there.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), stuck: None }
    }

    /// Does `job` there, which may block. An error is a sentence: the disk hangs.
    pub async fn visit<T: Send + 'static>(
        &mut self,
        job: impl FnOnce(&Path) -> T + Send + 'static,
    ) -> Result<T, String> {
        let hangs = format!("the disk of {} does not answer; see dmesg", self.dir.display());
        if self.stuck.take_if(|visit| visit.is_finished()).is_none() && self.stuck.is_some() {
            return Err(hangs);
        }
        let dir = self.dir.clone();
        let (answer, answered) = oneshot::channel();
        let visit = spawn_blocking(move || {
            // Who asked may have given up.
            let _ = answer.send(job(&dir));
        });
        match timeout(PATIENCE, answered).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(format!("a visit to {} failed in an unforeseen way", self.dir.display())),
            Err(_) => {
                self.stuck = Some(visit);
                Err(hangs)
            }
        }
    }
}
