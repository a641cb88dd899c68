//! A hung task, and what it waits for.

use serde::{Deserialize, Serialize};

use super::{Task, fill};
use crate::text::word::Word;

/// A hung task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Its type.
    pub kind: LockKind,
    /// As what the task wants it, where that matters.
    pub wanted_as: Option<Side>,
    /// Who has it, or had it last, as far as the kernel can tell.
    pub owner: Option<LockOwner>,
}

/// Types of kernel locks (`enum blocker_type`, `include/linux/hung_task.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockKind {
    /// A mutex: has one owner.
    KMutex,
    /// A semaphore: the kernel knows the last holder.
    Semaphore,
    /// A read-write semaphore.
    Rwsem,
}

impl LockKind {
    /// Name in alerts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KMutex => "mutex",
            Self::Semaphore => "semaphore",
            Self::Rwsem => "rwsem",
        }
    }
}

/// Side of a read-write semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockOwner {
    /// Thread id.
    pub pid: u32,
    /// Name; hostile text.
    pub comm: String,
    /// As what it has the lock, where that matters.
    pub held_as: Option<Side>,
}

/// Where in the kernel a task waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Place {
    /// Part of the kernel: `NFS`, `ext4`, `block layer` …
    #[serde(deserialize_with = "crate::text::word::maybe")]
    pub layer: Option<Word>,
    /// Block device (`sda1`, `dm-0`) or what a network filesystem is mounted from.
    pub device: Option<String>,
    /// Mount point.
    pub mount: Option<String>,
}

/// Hung tasks that are followed until they go on; further ones are counted at least once.
pub const MAX_FOLLOWED: usize = 4096;

/// One task of one life: the pid alone may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// Thread id.
    pub pid: u32,
    /// Start, clock ticks since boot; `None` where nobody could read it.
    pub start_ticks: Option<u64>,
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
