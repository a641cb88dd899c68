//! What `/proc` and the control group tell about the task of an event, asked at once: an OOM victim
//! stands for some milliseconds after it is named.
//!
//! A few short reads a task. They must not wait: whoever asks reads the kernel's events, and all stands
//! still meanwhile. `cmdline` takes the memory lock of the process, which another of its threads may hold in
//! uninterruptible sleep, whatever state this one is in; `cgroup` takes the lock that all control groups share
//! (`cgroup_mutex` in `proc_cgroup_show`, up to 6.6; then read where it is asked for, since a victim leaves its group
//! within a millisecond). So both are read aside, and given up after a moment.
//!
//! Reading a command line also holds on to all memory of the process meanwhile (`get_task_mm`). A victim's is asked
//! for only where nobody else told it, and never while the whole machine is short of memory.
//! What an event already knows is kept, and if the task with that pid is another one, nothing is taken.

use std::sync::Arc;
use std::time::Duration;

use super::wait;
use crate::cgroup::{owner, path_of};
use crate::event::{Constraint, Event, Hang, LogMatch, Oom, Source, Task, What};
use crate::host::aside::{Answer, Aside};
use crate::host::cgroup_ids::GroupIds;
use crate::host::{Host, block, clock, cmdline, read_text};
use crate::time::Now;

/// Longest command line kept, bytes.
pub const MAX_CMDLINE: usize = 1024;
/// Longest wait for a command line or a path: reading one takes microseconds.
const PATIENCE: Duration = Duration::from_millis(10);
/// Command lines, and paths, that may be waited for in the background; with so many, no other is read.
const MAX_STUCK: usize = 2;

mod gpu;
mod marks;
mod memory;

/// Asks about one event after the other.
pub struct Enricher {
    host: Arc<dyn Host>,
    /// Command lines, each with the moment of the event it was read for.
    cmdlines: Aside<(Now, Option<String>)>,
    /// Texts of `/proc/PID/cgroup`, in the same way.
    cgroups: Aside<(Now, Option<String>)>,
    /// Whether reading `/proc/PID/cgroup` may wait.
    cgroups_wait: bool,
    boards: gpu::Boards,
    marks: marks::Marks,
    /// Groups of those who issued slow requests.
    groups: GroupIds,
    patience: Duration,
}

impl Enricher {
    /// Reads of tasks nothing yet.
    pub fn new(host: Arc<dyn Host>) -> Self {
        let (cmdlines, cgroups) = (Aside::new("cmdline", MAX_STUCK), Aside::new("cgroup", MAX_STUCK));
        let boards = gpu::Boards::new(host.as_ref());
        let marks = marks::Marks::new(host.as_ref(), clock::now());
        let cgroups_wait = !newer_than_6_6(&host.uname().release);
        Self {
            host,
            cmdlines,
            cgroups,
            cgroups_wait,
            boards,
            marks,
            groups: GroupIds::default(),
            patience: PATIENCE,
        }
    }

    /// Fills what a fresh event lacks. Historic ones stay as they are: their tasks are gone.
    pub fn enrich(&mut self, event: &mut Event) {
        if event.historic {
            return;
        }
        let at = event.at;
        let host = self.host.as_ref();
        match &mut event.what {
            What::Oom(oom) => {
                // Before all else: a victim leaves its group within a millisecond.
                let _ = self.look(&mut oom.victim, at);
                oom.uncounted = event.source == Source::Ebpf && self.marks.is_surplus(at);
                self.fill_oom(oom, at);
            }
            What::Hang(hang) => self.fill_hang(hang, at),
            What::SlowIo(io) => {
                io.in_flight = block::in_flight(host, &io.device);
                io.model = block::model(host, &io.device);
                self.groups.learn(host, [io.issuer_group]);
                io.issuer.cgroup = self.groups.path(io.issuer_group).map(str::to_owned);
                self.process(&mut io.issuer, at);
            }
            What::Log(found) if found.rule.starts_with("gpu_") => {
                self.boards.fill(host, found, at, self.patience);
                self.belongs_to(found, at);
            }
            What::IoError(io) => io.model = block::model(host, &io.device),
            What::UserKill(kill) if event.source == Source::Journal => {
                let _ = self.look(&mut kill.victim, at);
            }
            // What any process says it killed is gone, or never was.
            What::UserKill(_)
            | What::Log(_)
            | What::HangFacts(_)
            | What::HostChange(_)
            | What::Released(_)
            | What::Hardware(_)
            | What::Lost(_)
            | What::KmsgMark(_)
            | What::JournalMark(_)
            | What::SyslogMark(_)
            | What::Witness { .. } => {}
        }
    }

    fn fill_oom(&mut self, oom: &mut Oom, at: Now) {
        let host_memory = *oom.host.get_or_insert_with(|| memory::machine(self.host.as_ref()));
        // The victim may stand in the way of memory that others wait for.
        let asks = oom.constraint != Some(Constraint::None) && !host_memory.is_short();
        let Oom { victim, .. } = oom;
        // Every witness knows the victim by the number the kernel gave, be it a thread's: it stays.
        let named = victim.pid;
        let tgid = self.victim(victim, at, asks);
        victim.pid = named;
        oom.victim_tgid = oom.victim_tgid.or(tgid);
        if oom.triggered_itself() {
            // It ran into its own limit.
            oom.trigger.absorb(oom.victim.clone());
        } else {
            self.process(&mut oom.trigger, at);
        }
        memory::fill(self.host.as_ref(), oom);
    }

    /// A victim; its thread group. Of all that is read its memory goes first, and the command line is there.
    fn victim(&mut self, task: &mut Task, at: Now, asks: bool) -> Option<u32> {
        let pid = task.pid.filter(|&pid| pid != 0)?;
        let cmdline = if asks && task.cmdline.is_none() { self.cmdline(pid, at) } else { None };
        // Only now it is known whether that was the task that is meant.
        self.look(task, at)?;
        task.cmdline = task.cmdline.take().or(cmdline);
        belonging(self.host.as_ref(), pid, task)
    }

    /// A process, or a thread that stands for one; its thread group.
    fn process(&mut self, task: &mut Task, at: Now) -> Option<u32> {
        let (pid, state) = self.look(task, at)?;
        let tgid = belonging(self.host.as_ref(), pid, task);
        // Those that sleep so are many when a disk hangs; what can be waited for is left to victims.
        if task.cmdline.is_none() && !matches!(state, b'D' | b'Z' | b'X') {
            task.cmdline = self.cmdline(pid, at);
        }
        tgid
    }

    fn cmdline(&mut self, pid: u32, at: Now) -> Option<String> {
        let host = Arc::clone(&self.host);
        aside(&mut self.cmdlines, pid, at, self.patience, move || cmdline(host.as_ref(), pid, MAX_CMDLINE))
    }

    fn cgroup(&mut self, pid: u32, at: Now) -> Option<String> {
        let host = Arc::clone(&self.host);
        let read = move || read_text(host.as_ref(), &format!("/proc/{pid}/cgroup")).ok();
        if !self.cgroups_wait {
            return path_of(&read()?);
        }
        path_of(&aside(&mut self.cgroups, pid, at, self.patience, read)?)
    }

    /// Container or unit of the process that a line names.
    fn belongs_to(&mut self, found: &mut LogMatch, at: Now) {
        let named = found.fields.iter().find(|(name, _)| name == "pid");
        let Some(pid) = named.and_then(|(_, pid)| pid.parse().ok()) else { return };
        let Some(owner) = self.cgroup(pid, at).map(|path| owner(&path)) else { return };
        let container = owner.container.map(|container| ("container", container.short_id()));
        let belongs = container.or(owner.unit.map(|unit| ("unit", unit)));
        found.fields.extend(belongs.map(|(name, value)| (name.to_owned(), value)));
    }

    /// Start and control group of a task, if it still is the one that is meant; its pid and state.
    fn look(&mut self, task: &mut Task, at: Now) -> Option<(u32, u8)> {
        let pid = task.pid.filter(|&pid| pid != 0)?;
        let path = if task.lacks_cgroup() { self.cgroup(pid, at) } else { None };
        let stat = Stat::read(self.host.as_ref(), pid)?;
        if task.comm.as_deref().is_some_and(|comm| !same_name(comm, &stat.comm))
            || task.start_ticks.is_some_and(|start| start != stat.start_ticks)
        {
            return None;
        }
        // A v1 hierarchy shows exiting tasks in its root (`proc_cgroup_show`, `kernel/cgroup/cgroup.c`). The
        // flag is read after the path, so without it the path is true.
        let path = path.filter(|path| path != "/" || stat.flags & PF_EXITING == 0);
        task.absorb(Task { cgroup: path, ..Task::default() });
        task.comm.get_or_insert(stat.comm);
        task.start_ticks = Some(stat.start_ticks);
        Some((pid, stat.state))
    }

    /// What can be read without waiting long; [`super::hang_facts`] reads the rest aside.
    fn fill_hang(&mut self, hang: &mut Hang, at: Now) {
        if let Some((pid, _)) = self.look(&mut hang.task, at) {
            let host = self.host.as_ref();
            if let Some(status) = Status::read(host, pid) {
                hang.task.uid = hang.task.uid.or(status.uid);
                hang.tgid = hang.tgid.or(status.tgid);
            }
            hang.wchan = hang.wchan.take().or_else(|| wchan(host, pid));
        }
        hang.conclude();
    }
}

/// Whether a kernel release is 6.7 or newer; one that is not understood is not.
fn newer_than_6_6(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().ok());
    matches!((numbers.next().flatten(), numbers.next().flatten()), (Some(6), Some(7..)) | (Some(7..), _))
}

/// Asks about a task aside; a late answer to the question of another event is not taken, since the pid may be
/// another's by now.
fn aside(
    questions: &mut Aside<(Now, Option<String>)>,
    pid: u32,
    at: Now,
    patience: Duration,
    read: impl Fn() -> Option<String> + Clone + Send + 'static,
) -> Option<String> {
    let key = pid.to_string();
    for _ in 0..2 {
        let read = read.clone();
        match questions.ask(&key, at, patience, move || (at, read())) {
            Answer::Done((asked, text)) if asked == at => return text,
            // Late: ask anew.
            Answer::Done(_) => {}
            Answer::Stuck { .. } | Answer::NotAsked => break,
        }
    }
    None
}

/// Function that a task waits in, where this process may know it.
pub(super) fn wchan(host: &dyn Host, pid: u32) -> Option<String> {
    let name = read_text(host, &format!("/proc/{pid}/wchan")).ok()?;
    Some(name.trim().to_owned()).filter(|name| !matches!(name.as_str(), "" | "0"))
}

impl Hang {
    /// Draws what follows from the stack.
    pub fn conclude(&mut self) {
        self.wchan = self.wchan.take().or_else(|| wait::wchan(&self.stack));
        self.lock = self.lock.take().or_else(|| wait::lock(&self.stack));
        let layer = wait::layer(&self.stack, self.wchan.as_deref());
        self.place.layer = self.place.layer.or(layer.map(|layer| layer.name));
    }
}

/// User and thread group of a task, for which its process stands from then on.
fn belonging(host: &dyn Host, pid: u32, task: &mut Task) -> Option<u32> {
    let status = Status::read(host, pid)?;
    task.uid = task.uid.or(status.uid);
    if let Some(tgid) = status.tgid.filter(|&tgid| tgid != pid) {
        // The kernel log names threads; the start was the thread's.
        task.pid = Some(tgid);
        task.start_ticks = None;
    }
    status.tgid
}

/// Whether the name of an event is that of `/proc`, which tells more of kernel threads.
fn same_name(event: &str, proc: &str) -> bool {
    event == proc || proc.starts_with(event) && (event.len() >= 15 || event.starts_with("kworker/"))
}

/// The task is on its way out (`include/linux/sched.h`).
const PF_EXITING: u64 = 4;

/// One line of `/proc/PID/stat`.
pub(super) struct Stat {
    pub(super) comm: String,
    pub(super) state: u8,
    pub(super) flags: u64,
    pub(super) threads: u64,
    pub(super) start_ticks: u64,
    pub(super) virtual_bytes: u64,
}

impl Stat {
    /// Of a process, or of a thread by its id.
    pub(super) fn read(host: &dyn Host, pid: u32) -> Option<Self> {
        Self::parse(&read_text(host, &format!("/proc/{pid}/stat")).ok()?)
    }

    pub(super) fn read_thread(host: &dyn Host, pid: u32, tid: u32) -> Option<Self> {
        Self::parse(&read_text(host, &format!("/proc/{pid}/task/{tid}/stat")).ok()?)
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once(" (")?;
        // The name may hold anything, also ") ": what follows its last bracket is the kernel's.
        let (comm, rest) = rest.rsplit_once(") ")?;
        let state = *rest.as_bytes().first()?;
        let field = |number: usize| rest.split(' ').nth(number - 3)?.parse().ok();
        let (threads, virtual_bytes) = (field(20).unwrap_or(1), field(23).unwrap_or(0));
        Some(Self {
            comm: comm.to_owned(),
            state,
            flags: field(9)?,
            threads,
            start_ticks: field(22)?,
            virtual_bytes,
        })
    }
}

/// The task ended between listing and reading: `ENOENT` before the file was opened, `ESRCH` after.
pub(super) fn vanished(error: &std::io::Error) -> bool {
    let gone = rustix::io::Errno::SRCH.raw_os_error();
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(gone)
}

struct Status {
    tgid: Option<u32>,
    uid: Option<u32>,
}

impl Status {
    fn read(host: &dyn Host, pid: u32) -> Option<Self> {
        let text = read_text(host, &format!("/proc/{pid}/status")).ok()?;
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Self { tgid: value("Tgid:"), uid: value("Uid:") })
    }
}

#[cfg(test)]
mod tests;
