//! `/proc/PID/stat` of all processes, where there is no task iterator.
//!
//! A descriptor that stays open halves the time of a reading, and holds 4.5 KB of kernel memory: so many of them are kept.

use std::collections::HashMap;
use std::fmt::Write;
use std::io;

use super::rows::Rows;
use super::{MAX_PROCESSES, NEEDS};
use crate::collect::CollectError;
use crate::collect::kept::failure;
use crate::collect::stat_line::StatLine;
use crate::host::{Host, HostFile};

/// Files that stay open: 4.5 MB of kernel memory, counted as the agent's where its unit has a limit …
const MAX_KEPT: usize = 1024;
/// … and at most one in so many that the agent may have open.
const SHARE: u64 = 4;

/// Reads them.
#[derive(Default)]
pub(super) struct StatFiles {
    pids: Vec<u32>,
    kept: HashMap<u32, Box<dyn HostFile>>,
    path: String,
    buf: Vec<u8>,
}

impl StatFiles {
    /// All processes. The first error is told, and all else read.
    pub(super) fn read_all(&mut self, host: &dyn Host, rows: &mut Rows) -> Result<(), CollectError> {
        let skipped = self.list(host)?;
        rows.begin();
        rows.skipped = skipped;
        let room = MAX_KEPT.min((host.max_open_files() / SHARE) as usize);
        let (mut result, mut used) = (Ok(()), 0);
        for at in 0..self.pids.len() {
            let pid = self.pids[at];
            if let Err(error) = self.read(pid, host, room) {
                if !vanished(&error) {
                    result = result.and(Err(refused(&self.path, &error)));
                }
                continue;
            }
            used += usize::from(self.kept.contains_key(&pid));
            result = result.and(self.add(host, rows));
        }
        rows.finish();
        if used < self.kept.len() {
            self.pids.sort_unstable();
            self.kept.retain(|pid, _| self.pids.binary_search(pid).is_ok());
        }
        result
    }

    /// One process more.
    pub(super) fn read_one(
        &mut self,
        pid: u32,
        host: &dyn Host,
        rows: &mut Rows,
    ) -> Result<(), CollectError> {
        match self.read(pid, host, 1) {
            Ok(()) => self.add(host, rows).map(|()| rows.finish()),
            Err(error) if vanished(&error) => Ok(()),
            Err(error) => Err(refused(&self.path, &error)),
        }
    }

    /// Fills `pids`; how many were left out.
    fn list(&mut self, host: &dyn Host) -> Result<usize, CollectError> {
        self.pids.clear();
        let mut skipped = 0;
        let pids = &mut self.pids;
        let each = &mut |name: &str| match name.parse() {
            Ok(pid) if pids.len() < MAX_PROCESSES => pids.push(pid),
            Ok(_) => skipped += 1,
            Err(_) => {}
        };
        host.list("/proc", each).map_err(|error| failure("/proc", &error))?;
        Ok(skipped)
    }

    /// Fills `buf`, and `path` where a file is opened.
    fn read(&mut self, pid: u32, host: &dyn Host, room: usize) -> io::Result<()> {
        if let Some(file) = self.kept.get_mut(&pid) {
            if file.read(&mut self.buf).is_ok() {
                return Ok(());
            }
            // The process is gone; another one may have its number.
            self.kept.remove(&pid);
        }
        self.path.clear();
        // Writing to a string does not fail.
        let _ = write!(self.path, "/proc/{pid}/stat");
        if self.kept.len() >= room {
            return host.read(&self.path, &mut self.buf);
        }
        let mut file = host.open(&self.path)?;
        file.read(&mut self.buf)?;
        self.kept.insert(pid, file);
        Ok(())
    }

    fn add(&self, host: &dyn Host, rows: &mut Rows) -> Result<(), CollectError> {
        match StatLine::parse(&self.buf) {
            Some(stat) => rows.add(&stat, host.ticks_per_second()),
            None if self.buf.is_empty() => {}
            None => {
                let why = "it has fewer than 24 fields".to_owned();
                return Err(CollectError::Parse { path: self.path.clone(), why });
            }
        }
        Ok(())
    }
}

/// The process ended between listing and reading: `ENOENT` before the file was opened, `ESRCH` after.
pub(super) fn vanished(error: &io::Error) -> bool {
    let gone = rustix::io::Errno::SRCH.raw_os_error();
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(gone)
}

fn refused(path: &str, error: &io::Error) -> CollectError {
    match failure(path, error) {
        CollectError::Denied { path, .. } => CollectError::Denied { path, needs: NEEDS },
        other => other,
    }
}
