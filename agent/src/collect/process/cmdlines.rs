//! Command lines of the largest processes, read once each: when the kernel kills one of them its own is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::host::aside::{Answer, Aside};
use crate::host::{Host, cmdline};
use crate::sample::{ProcRow, ROWS_WITH_CMDLINE};
use crate::time::Now;

/// Longest command line kept, bytes.
const MAX_CMDLINE: usize = 512;
/// Longest wait for one; a thread of the process may hold its memory lock.
const PATIENCE: Duration = Duration::from_millis(10);
/// Questions that may hang; with so many, no other is asked.
const MAX_STUCK: usize = 2;

/// A process, and its name: `exec` gives it another one with its other arguments.
type Key = (u32, u64, Box<str>);
type Line = Option<Arc<str>>;

/// Those of the newest table.
pub(super) struct Cmdlines {
    known: HashMap<Key, Line>,
    aside: Aside<(Key, Line)>,
}

impl Default for Cmdlines {
    fn default() -> Self {
        Self { known: HashMap::new(), aside: Aside::new("cmdlines", MAX_STUCK) }
    }
}

impl Cmdlines {
    /// Command lines of the first rows; reads those that are new among them, and forgets all others.
    pub(super) fn look(&mut self, host: &dyn Host, now: Now, rows: &[ProcRow]) -> Vec<Line> {
        let mut before = std::mem::take(&mut self.known);
        let head = rows.iter().take(ROWS_WITH_CMDLINE).take_while(|row| row.rss_bytes > 0);
        head.map(|row| {
            let key = (row.pid, row.start_ticks, row.comm.clone());
            let (key, line) = match before.remove_entry(&key) {
                Some(known) => known,
                None if matches!(row.state, b'D' | b'Z' | b'X') => return None,
                None => self.ask(host, now, &key)?,
            };
            self.known.insert(key, line.clone());
            line
        })
        .collect()
    }

    fn ask(&mut self, host: &dyn Host, now: Now, key: &Key) -> Option<(Key, Line)> {
        let (host, asked) = (host.shared(), key.clone());
        let work = move || {
            let line = cmdline(host.as_ref(), asked.0, MAX_CMDLINE);
            (asked, line.map(Into::into))
        };
        match self.aside.ask(&key.0.to_string(), now, PATIENCE, work) {
            // A late answer may be of another process that had this pid.
            Answer::Done(answer) if answer.0 == *key => Some(answer),
            Answer::Done(_) | Answer::Stuck { .. } | Answer::NotAsked => None,
        }
    }
}
