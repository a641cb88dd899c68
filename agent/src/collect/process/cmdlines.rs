//! Command lines of the largest processes, read once each: when the kernel kills one of them its own is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::host::aside::{Answer, Aside};
use crate::host::{Host, cmdline};
use crate::sample::{Comm, ProcRow, ROWS_WITH_CMDLINE};
use crate::time::Now;

/// Longest command line kept, bytes.
const MAX_CMDLINE: usize = 512;
/// Longest wait for one; a thread of the process may hold its memory lock. A test waits for its own machine, however busy.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 10_000 } else { 10 });
/// Questions that may hang; with so many, no other is asked.
const MAX_STUCK: usize = 2;

/// A process, and its name: `exec` gives it another one with its other arguments.
type Key = (u32, u64, Comm);
type Line = Option<Arc<str>>;

/// Those of the newest table.
pub(super) struct Cmdlines {
    /// With the pass that saw it last.
    known: HashMap<Key, (Line, u64)>,
    pass: u64,
    aside: Aside<(Key, Line)>,
}

impl Default for Cmdlines {
    fn default() -> Self {
        Self { known: HashMap::new(), pass: 0, aside: Aside::new("cmdlines", MAX_STUCK) }
    }
}

impl Cmdlines {
    /// Command lines of the first rows; reads those that are new among them, and forgets all others.
    pub(super) fn fill(&mut self, host: &dyn Host, now: Now, rows: &[ProcRow], lines: &mut Vec<Line>) {
        self.pass += 1;
        let head = rows.iter().take(ROWS_WITH_CMDLINE).take_while(|row| row.rss_bytes > 0);
        lines.extend(head.map(|row| self.line(host, now, row)));
        let pass = self.pass;
        self.known.retain(|_, (_, seen)| *seen == pass);
    }

    fn line(&mut self, host: &dyn Host, now: Now, row: &ProcRow) -> Line {
        let key = (row.pid, row.start_ticks, row.comm);
        if let Some((line, seen)) = self.known.get_mut(&key) {
            *seen = self.pass;
            return line.clone();
        }
        if matches!(row.state, b'D' | b'Z' | b'X') {
            return None;
        }
        let (key, line) = self.ask(host, now, &key)?;
        self.known.insert(key, (line.clone(), self.pass));
        line
    }

    fn ask(&mut self, host: &dyn Host, now: Now, key: &Key) -> Option<(Key, Line)> {
        let (host, asked) = (host.shared(), *key);
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
