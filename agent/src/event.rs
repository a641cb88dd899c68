//! What happened on the host, whoever saw it: an eBPF program, the kernel log or a counter.
//!
//! Nothing behind these types knows which source spoke; a field that a source cannot tell is `None`
//! and is said to be unknown, never guessed.

mod hang;
mod io;

use crate::alert::Severity;
use crate::time::Now;
pub use hang::{Hang, Lock, LockKind, LockOwner, MAX_FOLLOWED, Place, Side, TaskId};
pub use io::{IoError, SlowIo};

/// Who saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A record of an eBPF program.
    Ebpf,
    /// A record of `/dev/kmsg` whose facility is the kernel's.
    Kmsg,
    /// A kernel counter that moved.
    Counter,
    /// The agent's own look at tasks in uninterruptible sleep.
    Watch,
}

impl Source {
    /// Name in alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ebpf => "ebpf",
            Self::Kmsg => "kmsg",
            Self::Counter => "counter",
            Self::Watch => "dstate",
        }
    }
}

/// One thing that happened, as one source saw it.
#[derive(Clone, Debug, PartialEq)]
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
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The kernel killed a process for lack of memory.
    Oom(Box<Oom>),
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
    /// A source lost events.
    Lost(Lost),
    /// How far the kernel log has been read; persisted with the effects of what came before.
    KmsgMark(KmsgMark),
}

/// A process that took part in an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// An OOM kill.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Oom {
    /// The killed process; its `pid` is the number the kernel gave, be it a thread's.
    pub victim: Task,
    /// Thread group of the victim.
    pub victim_tgid: Option<u32>,
    /// The process whose allocation started it.
    pub trigger: Task,
    /// Victim's total virtual memory, kB.
    pub total_vm_kb: Option<u64>,
    /// Victim's anonymous resident memory, kB.
    pub anon_rss_kb: Option<u64>,
    /// Victim's file-backed resident memory, kB.
    pub file_rss_kb: Option<u64>,
    /// Victim's shared resident memory, kB.
    pub shmem_rss_kb: Option<u64>,
    /// Victim's resident memory in the newest process table, kB: where no source told the parts.
    pub table_rss_kb: Option<u64>,
    /// Victim's page tables, kB.
    pub pgtables_kb: Option<u64>,
    /// Victim's `oom_score_adj`, -1000..=1000.
    pub oom_score_adj: Option<i32>,
    /// What ran out.
    pub constraint: Option<Constraint>,
    /// Control group whose limit was hit (memcg kills).
    pub oom_memcg: Option<String>,
    /// Limit of that group, kB.
    pub limit_kb: Option<u64>,
    /// Usage of that group at the kill, kB.
    pub usage_kb: Option<u64>,
    /// Times that group hit its limit.
    pub failcnt: Option<u64>,
    /// Allocation flags of the trigger, as the kernel prints them.
    pub gfp_mask: Option<String>,
    /// Order of the trigger's allocation (2^order pages).
    pub order: Option<i32>,
    /// How many kills, when only a counter told; 1 otherwise.
    pub count: u64,
}

/// Which memory ran out (`oom_constraint_text`, `mm/oom_kill.c`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// The whole machine's.
    None,
    /// That of a cpuset's nodes.
    Cpuset,
    /// That of a memory policy's nodes.
    MemoryPolicy,
    /// That of a memory control group.
    Memcg,
    /// A word this agent does not know, verbatim.
    Other(String),
}

/// A kernel-log line that a rule names.
#[derive(Clone, Debug, PartialEq)]
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
}

/// Longest log line kept in an event, bytes.
pub const MAX_LINE: usize = 1024;

/// Events a source could not deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which source or probe.
    pub part: &'static str,
    /// How many since the previous report.
    pub count: u64,
    /// Why: `perf_buffer_full`, `kernel_rate_limit`, `kmsg_overwritten` …
    pub reason: &'static str,
}

/// A place in the kernel log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KmsgMark {
    /// Sequence number of the last record read.
    pub seq: u64,
}

impl Oom {
    /// Resident memory in kB, if any part of it is known.
    pub fn rss_kb(&self) -> Option<u64> {
        let parts = [self.anon_rss_kb, self.file_rss_kb, self.shmem_rss_kb];
        let known = parts.iter().any(Option::is_some);
        let sum = parts.into_iter().flatten().fold(0_u64, u64::saturating_add);
        if known { Some(sum) } else { self.table_rss_kb }
    }

    /// Takes what `other` knows and this one does not.
    pub fn absorb(&mut self, other: Self) {
        let Self {
            victim,
            victim_tgid,
            trigger,
            total_vm_kb,
            anon_rss_kb,
            file_rss_kb,
            shmem_rss_kb,
            table_rss_kb,
            pgtables_kb,
            oom_score_adj,
            constraint,
            oom_memcg,
            limit_kb,
            usage_kb,
            failcnt,
            gfp_mask,
            order,
            count,
        } = other;
        self.victim.absorb(victim);
        fill(&mut self.victim_tgid, victim_tgid);
        self.trigger.absorb(trigger);
        fill(&mut self.total_vm_kb, total_vm_kb);
        fill(&mut self.anon_rss_kb, anon_rss_kb);
        fill(&mut self.file_rss_kb, file_rss_kb);
        fill(&mut self.shmem_rss_kb, shmem_rss_kb);
        fill(&mut self.table_rss_kb, table_rss_kb);
        fill(&mut self.pgtables_kb, pgtables_kb);
        fill(&mut self.oom_score_adj, oom_score_adj);
        fill(&mut self.constraint, constraint);
        fill(&mut self.oom_memcg, oom_memcg);
        fill(&mut self.limit_kb, limit_kb);
        fill(&mut self.usage_kb, usage_kb);
        fill(&mut self.failcnt, failcnt);
        fill(&mut self.gfp_mask, gfp_mask);
        fill(&mut self.order, order);
        self.count = self.count.max(count);
    }
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
        fill(&mut self.cgroup, cgroup);
    }
}

fn fill<T>(mine: &mut Option<T>, theirs: Option<T>) {
    if mine.is_none() {
        *mine = theirs;
    }
}
