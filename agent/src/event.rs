//! What happened on the host, whoever saw it: an eBPF program, the kernel log or a counter.
//!
//! Nothing behind these types knows which source spoke; a field that a source cannot tell is `None`
//! and is said to be unknown, never guessed.

use crate::alert::Severity;
use crate::time::Now;

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

/// A hung task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hang {
    /// The stuck task; `pid` is a thread id.
    pub task: Task,
    /// Process that the thread belongs to.
    pub tgid: Option<u32>,
    /// How long it has been blocked at least, seconds.
    pub blocked_secs: Option<u64>,
    /// The kernel says that it waits for I/O (since 6.19).
    pub io_wait: bool,
    /// Kernel function it waits in.
    pub wchan: Option<String>,
    /// First lines of its kernel stack, innermost first.
    pub stack: Vec<String>,
    /// The same as return addresses, until somebody names them.
    pub addresses: Vec<u64>,
    /// Lock it waits for.
    pub lock: Option<Lock>,
    /// Lines of lockdep about the locks that it holds and the one it wants; hostile text.
    pub held_locks: Vec<String>,
    /// Part of the kernel that it waits in, and what that works on.
    pub place: Place,
}

/// A lock in the kernel that a task waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its type.
    pub kind: LockKind,
    /// As what the task wants it, where that matters.
    pub wanted_as: Option<Side>,
    /// Who has it, or had it last, as far as the kernel can tell.
    pub owner: Option<LockOwner>,
}

/// Types of kernel locks (`enum blocker_type`, `include/linux/hung_task.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// A mutex: has one owner.
    Mutex,
    /// A semaphore: the kernel knows the last holder.
    Semaphore,
    /// A read-write semaphore.
    Rwsem,
}

impl LockKind {
    /// Name in alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mutex => "mutex",
            Self::Semaphore => "semaphore",
            Self::Rwsem => "rwsem",
        }
    }
}

/// Side of a read-write semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Shared.
    Reader,
    /// Exclusive.
    Writer,
}

impl Side {
    /// Name in alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
        }
    }
}

/// The task that a lock is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockOwner {
    /// Thread id.
    pub pid: u32,
    /// Name; hostile text.
    pub comm: String,
    /// As what it has the lock, where that matters.
    pub held_as: Option<Side>,
}

/// Where in the kernel a task waits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Part of the kernel: `NFS`, `ext4`, `block layer` …
    pub layer: Option<&'static str>,
    /// Block device (`sda1`, `dm-0`) or what a network filesystem is mounted from.
    pub device: Option<String>,
    /// Mount point.
    pub mount: Option<String>,
}

/// Hung tasks that are followed until they go on; further ones are counted at least once.
pub const MAX_FOLLOWED: usize = 4096;

/// One task of one life: the pid alone may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    /// Thread id.
    pub pid: u32,
    /// Start, clock ticks since boot; `None` where nobody could read it.
    pub start_ticks: Option<u64>,
}

/// A block request over the latency threshold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SlowIo {
    /// Device name as in `/proc/diskstats`, or `major:minor`.
    pub device: String,
    /// The drive's own name; hostile text.
    pub model: Option<String>,
    /// `read`, `write`, `flush`, `discard` or `other`.
    pub op: &'static str,
    /// Issue to completion, milliseconds.
    pub latency_ms: f64,
    /// Insert to issue, milliseconds, of a request that waited in a queue.
    pub queue_ms: Option<f64>,
    /// Reads and writes (with all else) issued and not completed a moment later.
    pub in_flight: Option<(u64, u64)>,
    /// The threshold it exceeded, milliseconds.
    pub threshold_ms: f64,
    /// First sector (512 bytes).
    pub sector: u64,
    /// Size, bytes.
    pub bytes: u64,
    /// 0 or a negative errno.
    pub error: i32,
    /// Task that issued it; often a kernel worker.
    pub issuer: Task,
}

/// A block request that failed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IoError {
    /// Device name as in `/proc/diskstats`, or `major:minor`.
    pub device: String,
    /// The drive's own name; hostile text.
    pub model: Option<String>,
    /// `read`, `write`, `flush`, `discard` or `other`.
    pub op: Option<&'static str>,
    /// First sector (512 bytes).
    pub sector: u64,
    /// Size, bytes.
    pub bytes: Option<u64>,
    /// A negative errno.
    pub error: Option<i32>,
    /// What the kernel log says of it.
    pub log: Option<LogMatch>,
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

impl Hang {
    /// Takes what `other` knows and this one does not.
    pub fn absorb(&mut self, other: Self) {
        let Self { task, tgid, blocked_secs, io_wait, wchan, stack, addresses: _, lock, held_locks, place } =
            other;
        self.task.absorb(task);
        fill(&mut self.tgid, tgid);
        self.blocked_secs = self.blocked_secs.max(blocked_secs);
        self.io_wait |= io_wait;
        fill(&mut self.wchan, wchan);
        if self.stack.is_empty() {
            self.stack = stack;
        }
        // A stack tells the type of a lock; only the kernel's own words tell its owner.
        if self.lock.as_ref().is_none_or(|lock| lock.owner.is_none()) && lock.is_some() {
            self.lock = lock;
        }
        if self.held_locks.is_empty() {
            self.held_locks = held_locks;
        }
        fill(&mut self.place.layer, place.layer);
        if self.place.device.is_none() && self.place.mount.is_none() {
            (self.place.device, self.place.mount) = (place.device, place.mount);
        }
    }

    /// The task; `None` without a pid.
    pub fn id(&self) -> Option<TaskId> {
        Some(TaskId { pid: self.task.pid?, start_ticks: self.task.start_ticks })
    }
}

impl IoError {
    /// The same error as a kernel-log line tells it, if that line names device and sector.
    pub fn from_log(log: &LogMatch) -> Option<Self> {
        let field = |name: &str| log.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let (device, sector) = (field("device")?.to_owned(), field("sector")?.parse().ok()?);
        // `op 0x1:(WRITE)` is there from 5.1 on.
        let op =
            log.line.split_once(":(").and_then(|(_, rest)| rest.split_once(')')).map(|(op, _)| match op {
                "READ" => "read",
                "WRITE" => "write",
                "FLUSH" => "flush",
                "DISCARD" => "discard",
                _ => "other",
            });
        Some(Self { device, op, sector, log: Some(log.clone()), ..Self::default() })
    }

    /// Takes what `other` knows and this one does not.
    pub fn absorb(&mut self, other: Self) {
        let Self { device: _, model, op, sector: _, bytes, error, log } = other;
        fill(&mut self.model, model);
        fill(&mut self.op, op);
        fill(&mut self.bytes, bytes);
        fill(&mut self.error, error);
        fill(&mut self.log, log);
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
