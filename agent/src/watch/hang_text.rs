//! From the kernel's words about hung tasks (`kernel/hung_task.c`) to [`Hang`]s.
//!
//! ```text
//! INFO: task NAME:PID blocked for more than N seconds.      told at once
//! Call Trace: …                                             told again with the stack,
//! INFO: task NAME:PID is blocked on a mutex likely owned …  and with the lock (6.16 and later)
//! Showing all locks held in the system: …                   and with its locks (lockdep)
//! ```

mod lock;

use std::collections::VecDeque;

use super::rules::cut;
use super::wait;
use crate::event::{Hang, Task};

/// Frames kept, innermost first.
pub const MAX_FRAMES: usize = 16;
/// Longest frame or lock kept, bytes; a symbol has at most 512 (`KSYM_NAME_LEN`), few more than 60.
const MAX_FRAME: usize = 256;
/// Lines of others that may stand between those of one stack.
const MAX_FOREIGN: u8 = 8;
/// Hung tasks of which later lines may tell more: the kernel reports ten by default.
const MAX_RECENT: usize = 64;
/// Locks kept of one task.
const MAX_LOCKS: usize = 8;

/// Lower-case texts of which one is in every line that matters while nothing is [`pending`](HangText::pending).
pub(super) const OPENINGS: &[&str] = &["info: task ", " held by "];

/// Puts the lines of hung tasks together. Its memory is a few [`Hang`]s and the names of `MAX_RECENT`.
#[derive(Debug, Default)]
pub struct HangText {
    pending: Option<Box<Pending>>,
    recent: VecDeque<Recent>,
    /// Whose locks are being listed.
    held: Option<(Recent, Vec<String>)>,
}

/// A hang whose stack may follow.
#[derive(Debug)]
struct Pending {
    time_us: u64,
    hang: Hang,
    at: At,
    foreign: u8,
}

/// A hung task that was told.
#[derive(Clone, Debug)]
struct Recent {
    time_us: u64,
    pid: u32,
    comm: String,
}

/// How far a report has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the stack.
    Head,
    /// In the stack.
    Stack,
    /// Behind it; the line about what the task waits for may follow (since 6.16).
    End,
}

impl HangText {
    /// Takes the text of one record of the kernel's own; `tell` gets a hang and the kernel time of its
    /// first line.
    pub fn line(&mut self, time_us: u64, text: &str, tell: &mut dyn FnMut(u64, Hang)) {
        if let Some(info) = text.strip_prefix("INFO: task ")
            && self.info(time_us, info, tell)
        {
            return;
        }
        if self.locks(text, tell) {
            return;
        }
        let Some(pending) = self.pending.as_mut() else { return };
        pending.line(text);
        let patience = if pending.at == At::End { 0 } else { MAX_FOREIGN };
        if pending.foreign > patience {
            self.flush(tell);
        }
    }

    /// Whether a stack or a list of locks is being read.
    pub fn pending(&self) -> bool {
        self.pending.is_some() || self.held.is_some()
    }

    /// The log is quiet: what has come is all there is.
    pub fn flush(&mut self, tell: &mut dyn FnMut(u64, Hang)) {
        if let Some(pending) = self.pending.take() {
            let Pending { time_us, mut hang, .. } = *pending;
            if !hang.stack.is_empty() || hang.lock.is_some() {
                hang.wchan = wait::wchan(&hang.stack);
                tell(time_us, hang);
            }
        }
        self.end_locks(tell);
    }

    /// Whether a line that begins with `INFO: task ` is about a hang.
    fn info(&mut self, time_us: u64, info: &str, tell: &mut dyn FnMut(u64, Hang)) -> bool {
        if let Some(hang) = blocked(info) {
            self.flush(tell);
            self.remember(time_us, &hang.task);
            tell(time_us, hang.clone());
            self.pending = Some(Box::new(Pending { time_us, hang, at: At::Head, foreign: 0 }));
            return true;
        }
        let Some((who, lock)) = self
            .recent
            .iter()
            .rev()
            .find_map(|task| Some((task, lock::blocker(info, &task.comm, task.pid)?)))
        else {
            return false;
        };
        match self.pending.as_mut() {
            Some(pending) if pending.hang.task.pid == Some(who.pid) => pending.hang.lock = Some(lock),
            _ => tell(who.time_us, Hang { lock: Some(lock), ..who.hang() }),
        }
        self.flush(tell);
        true
    }

    fn remember(&mut self, time_us: u64, task: &Task) {
        let Some(pid) = task.pid else { return };
        self.recent.retain(|recent| recent.pid != pid);
        if self.recent.len() >= MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Recent { time_us, pid, comm: task.comm.clone().unwrap_or_default() });
    }

    /// Whether a line is of lockdep's list of locks.
    fn locks(&mut self, text: &str, tell: &mut dyn FnMut(u64, Hang)) -> bool {
        if let Some((_, lines)) = self.held.as_mut()
            && lock::is_held(text)
        {
            if lines.len() < MAX_LOCKS {
                lines.push(cut(text.trim_start(), MAX_FRAME).to_owned());
            }
            return true;
        }
        let Some(task) = lock::holder(text) else {
            if self.held.is_some() && lock::is_end(text) {
                self.flush(tell);
            }
            return false;
        };
        self.flush(tell);
        let ours = self.recent.iter().rev().find(|recent| format!("{}/{}", recent.comm, recent.pid) == task);
        self.held = ours.map(|recent| (recent.clone(), Vec::new()));
        true
    }

    fn end_locks(&mut self, tell: &mut dyn FnMut(u64, Hang)) {
        if let Some((who, held_locks)) = self.held.take()
            && !held_locks.is_empty()
        {
            tell(who.time_us, Hang { held_locks, ..who.hang() });
        }
    }
}

impl Recent {
    fn hang(&self) -> Hang {
        let task = Task { pid: Some(self.pid), comm: Some(self.comm.clone()), ..Task::default() };
        Hang { task, ..Hang::default() }
    }
}

impl Pending {
    fn line(&mut self, text: &str) {
        let before = self.at;
        let known = match before {
            At::Head => self.head(text),
            At::Stack => self.frame(text),
            // The rest of the frames, and the registers of the system call.
            At::End => text.starts_with([' ', 'R']),
        };
        if self.at != before {
            self.foreign = 0;
        } else if !known {
            self.foreign += 1;
        }
    }

    /// Whether a line before the stack is known.
    fn head(&mut self, text: &str) -> bool {
        if let Some(rest) = text.strip_prefix("task:") {
            // The state of another task: the holder of the lock (since 6.16).
            if rest.rsplit_once(" pid:").and_then(|(_, pid)| number(pid)) != self.hang.task.pid {
                self.at = At::End;
            }
            self.hang.tgid = rest.rsplit_once(" tgid:").and_then(|(_, tgid)| number(tgid));
        } else if text.starts_with("Call Trace:") || text.starts_with("Call trace:") {
            self.at = At::Stack;
        } else {
            // `      Not tainted 6.1.0`, `"echo 0 > …`, and the raw stack of 3.10.
            return text.starts_with([' ', '"']);
        }
        true
    }

    /// Whether a line within the stack is known.
    fn frame(&mut self, text: &str) -> bool {
        if text == " </TASK>" || text.starts_with("RIP: ") {
            self.at = At::End;
        } else if let Some(frame) = frame(text) {
            if !frame.starts_with("? ") {
                self.hang.stack.push(cut(frame, MAX_FRAME).to_owned());
            }
            if self.hang.stack.len() >= MAX_FRAMES {
                self.at = At::End;
            }
        } else {
            return text == " <TASK>";
        }
        true
    }
}

/// `NAME:PID blocked for more than N seconds.`, since 6.19 also `blocked in I/O wait for …`.
fn blocked(info: &str) -> Option<Hang> {
    let (task, rest) = info.rsplit_once(" blocked ")?;
    let io_wait = rest.strip_prefix("in I/O wait ");
    let secs = io_wait.unwrap_or(rest).strip_prefix("for more than ")?.strip_suffix(" seconds.")?;
    let (comm, pid) = task.rsplit_once(':')?;
    let task = Task { pid: Some(pid.parse().ok()?), comm: Some(comm.to_owned()), ..Task::default() };
    Some(Hang { task, blocked_secs: Some(secs.parse().ok()?), io_wait: io_wait.is_some(), ..Hang::default() })
}

/// ` schedule+0x23/0xa0` or ` [<ffffffff816c40a9>] schedule+0x29/0x70`.
fn frame(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let text = match text.strip_prefix("[<") {
        Some(address) => address.split_once(">] ")?.1,
        None => text,
    };
    let name = text.strip_prefix("? ").unwrap_or(text);
    let (name, offset) = name.split_once("+0x")?;
    (!name.contains(' ') && offset.contains("/0x")).then_some(text)
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim_start();
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests;
