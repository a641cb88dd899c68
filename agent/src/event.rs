//! What happened on the host, whoever saw it: an eBPF program, the kernel log or a counter.
//!
//! Nothing behind these types knows which source spoke; a field that a source cannot tell is `None`
//! and is said to be unknown, never guessed.

mod hang;
mod hardware;
mod inventory;
mod io;
mod oom;
mod user_kill;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::alert::Severity;
use crate::cgroup::CUT;
use crate::text::word::Word;
use crate::time::Now;
pub use hang::{Hang, Lock, LockKind, LockOwner, MAX_FOLLOWED, Place, Side, TaskId};
pub use hardware::Hardware;
pub use inventory::{Change, HostChange, MAX_CHANGES};
pub use io::{GroupNumber, IoError, SlowIo};
pub use oom::{Constraint, HostMemory, KillGroup, MAX_VICTIMS, Oom, Victim};
pub use user_kill::UserKill;

/// Who saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    /// A record of an eBPF program.
    Ebpf,
    /// A record of `/dev/kmsg` whose facility is the kernel's.
    Kmsg,
    /// A line of the kernel, or of a unit that journald vouches for, out of the journal.
    Journal,
    /// A kernel counter that moved.
    Counter,
    /// A log record that a process wrote: it may be forged.
    UserLog,
    /// The agent's own look at tasks in uninterruptible sleep.
    Watch,
    /// The inventory, compared with the one before.
    Inventory,
    /// A line of a syslog file that says it is the kernel's, or one for a pattern of the user: any program may have written it.
    Syslog,
}

impl Source {
    /// Name in alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ebpf => "ebpf",
            Self::Kmsg => "kmsg",
            Self::Journal => "journal",
            Self::Counter => "counter",
            Self::UserLog => "user_log",
            Self::Watch => "dstate",
            Self::Inventory => "inventory",
            Self::Syslog => "syslog",
        }
    }

    /// Whether it hands on what the kernel writes into its log.
    pub const fn is_kernel_log(self) -> bool {
        matches!(self, Self::Kmsg | Self::Journal)
    }
}

/// One thing that happened, as one source saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The kernel's own time of it, both clocks.
    pub at: Now,
    /// Who saw it.
    pub source: Source,
    /// Happened before this agent could have seen it for the first time: counted, never alerted.
    pub historic: bool,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The kernel killed a process for lack of memory.
    Oom(Box<Oom>),
    /// A process says that it killed for lack of memory.
    UserKill(Box<UserKill>),
    /// A task is stuck in uninterruptible sleep.
    Hang(Box<Hang>),
    /// More is known of a task that hangs; nobody saw a new hang.
    HangFacts(Box<Hang>),
    /// Tasks that hung go on, or are gone.
    Released(Vec<TaskId>),
    /// A block request took longer than the threshold.
    SlowIo(Box<SlowIo>),
    /// A block request failed.
    IoError(Box<IoError>),
    /// A kernel-log line that a rule names and that is none of the above.
    Log(Box<LogMatch>),
    /// A tracepoint of the hardware spoke.
    Hardware(Box<Hardware>),
    /// The host is no longer made of what it was.
    HostChange(Box<HostChange>),
    /// A source lost events.
    Lost(Lost),
    /// How far the kernel log has been read; persisted with the effects of what came before.
    #[serde(skip)]
    KmsgMark(KmsgMark),
    /// The same of the journal.
    #[serde(skip)]
    JournalMark(JournalMark),
    /// The same of the syslog file.
    #[serde(skip)]
    SyslogMark(SyslogMark),
    /// The source of this event begins or ceases to hand on the kernel's log.
    Witness {
        /// It does now.
        is_up: bool,
    },
}

/// A process that took part in an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Task {
    /// Process id (of the initial pid namespace).
    pub pid: Option<u32>,
    /// Name; hostile text.
    pub comm: Option<String>,
    /// Command line with spaces between arguments, cut; hostile text.
    pub cmdline: Option<String>,
    /// User id.
    pub uid: Option<u32>,
    /// Start, clock ticks since boot.
    pub start_ticks: Option<u64>,
    /// Path in the memory cgroup hierarchy (v1) or the unified one (v2).
    pub cgroup: Option<String>,
}

/// A kernel-log line that a rule names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogMatch {
    /// Id of the rule.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// What it means, in one line.
    pub meaning: String,
    /// The line; hostile text, cut to [`MAX_LINE`].
    pub line: String,
    /// What was read out of the line, name and value (device, bus address, Xid …).
    pub fields: Vec<(String, String)>,
    /// What to do about it; empty: nobody knows.
    #[serde(deserialize_with = "crate::text::word::one")]
    pub advice: Word,
    /// The lines like it that were not told one by one; `line` is the last of them.
    pub repeats: Option<Box<Repeats>>,
}

impl Default for LogMatch {
    fn default() -> Self {
        Self {
            rule: String::new(),
            severity: Severity::Warn,
            meaning: String::new(),
            line: String::new(),
            fields: Vec::new(),
            advice: "",
            repeats: None,
        }
    }
}

/// A flood of like lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Repeats {
    /// How many.
    pub count: u64,
    /// Within how long, milliseconds.
    pub millis: u64,
    /// The first of them; hostile text, cut to [`MAX_LINE`].
    pub first: String,
}

/// Longest log line kept in an event, bytes.
pub const MAX_LINE: usize = 1024;

/// Events a source could not deliver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Which source or probe.
    #[serde(deserialize_with = "crate::text::word::one")]
    pub part: Word,
    /// How many since the previous report.
    pub count: u64,
    /// Why: `buffer_full`, `kernel_rate_limit`, `kmsg_overwritten` …
    #[serde(deserialize_with = "crate::text::word::one")]
    pub reason: Word,
}

/// A place in the kernel log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KmsgMark {
    /// Sequence number of the last record read.
    pub seq: u64,
}

/// A place in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalMark {
    /// Cursor of the last entry read; before the first one `@` and microseconds of wall-clock time.
    pub place: Arc<str>,
}

/// A place in the syslog file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogMark {
    /// As it is stored: file and offset.
    pub place: Arc<str>,
}

impl Task {
    /// Takes what `other` knows and this one does not.
    pub fn absorb(&mut self, other: Self) {
        let Self { pid, comm, cmdline, uid, start_ticks, cgroup } = other;
        fill(&mut self.pid, pid);
        fill(&mut self.comm, comm);
        fill(&mut self.cmdline, cmdline);
        fill(&mut self.uid, uid);
        fill(&mut self.start_ticks, start_ticks);
        if self.lacks_cgroup() {
            self.cgroup = cgroup.or_else(|| self.cgroup.take());
        }
    }

    /// Whether its control group is not known, or not where that is.
    pub fn lacks_cgroup(&self) -> bool {
        self.cgroup.as_deref().is_none_or(|path| path.starts_with(CUT))
    }
}

fn fill<T>(mine: &mut Option<T>, theirs: Option<T>) {
    if mine.is_none() {
        *mine = theirs;
    }
}
