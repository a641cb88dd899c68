//! What `/proc` and the control group tell about the task of an event, asked at once: an OOM victim
//! stands for some milliseconds after it is named.
//!
//! A few short reads a task. Two things keep it from waiting itself: nothing is read that takes the
//! memory lock of a task in uninterruptible sleep (`cmdline` does), and the command line comes last.
//! What an event already knows is kept, and if the task with that pid is another one, nothing is taken.

use super::wait;
use crate::cgroup::path_of;
use crate::event::{Event, Hang, Oom, Task, What};
use crate::host::{Host, block, read_text};

/// Longest command line kept, bytes.
pub const MAX_CMDLINE: usize = 1024;

mod memory;

/// Fills what a fresh event lacks. Historic ones stay as they are: their tasks are gone.
pub fn enrich(host: &dyn Host, event: &mut Event) {
    if event.historic {
        return;
    }
    match &mut event.what {
        What::Oom(oom) => fill_oom(host, oom),
        What::Hang(hang) => fill_hang(host, hang),
        What::SlowIo(io) => {
            io.in_flight = block::in_flight(host, &io.device);
            io.model = block::model(host, &io.device);
            process(host, &mut io.issuer);
        }
        What::IoError(io) => io.model = block::model(host, &io.device),
        // What a process says it killed is gone, or never was.
        What::UserKill(_)
        | What::HangFacts(_)
        | What::Released(_)
        | What::Log(_)
        | What::Hardware(_)
        | What::Lost(_)
        | What::KmsgMark(_) => {}
    }
}

fn fill_oom(host: &dyn Host, oom: &mut Oom) {
    let Oom { victim, trigger, .. } = oom;
    // Every witness knows the victim by the number the kernel gave, be it a thread's: it stays.
    let named = victim.pid;
    let tgid = process(host, victim);
    victim.pid = named;
    if trigger.pid.is_some() && trigger.pid == victim.pid {
        // It ran into its own limit.
        trigger.absorb(victim.clone());
    } else {
        process(host, trigger);
    }
    oom.victim_tgid = oom.victim_tgid.or(tgid);
    memory::fill(host, oom);
}

/// What can be read without waiting; [`super::hang_facts`] reads the rest aside.
fn fill_hang(host: &dyn Host, hang: &mut Hang) {
    let task = &mut hang.task;
    if let Some((pid, _)) = look(host, task) {
        if let Some(status) = Status::read(host, pid) {
            task.uid = task.uid.or(status.uid);
            hang.tgid = hang.tgid.or(status.tgid);
        }
        hang.wchan = hang.wchan.take().or_else(|| wchan(host, pid));
    }
    hang.conclude();
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

/// A process, or a thread that stands for one; its thread group.
fn process(host: &dyn Host, task: &mut Task) -> Option<u32> {
    let (pid, state) = look(host, task)?;
    let status = Status::read(host, pid);
    if let Some(status) = &status {
        task.uid = task.uid.or(status.uid);
        if let Some(tgid) = status.tgid.filter(|&tgid| tgid != pid) {
            // The kernel log names threads; the start was the thread's.
            task.pid = Some(tgid);
            task.start_ticks = None;
        }
    }
    if task.cmdline.is_none() && !matches!(state, b'D' | b'Z' | b'X') {
        task.cmdline = cmdline(host, pid);
    }
    status?.tgid
}

/// Start and control group of a task, if it still is the one that is meant; its pid and state.
fn look(host: &dyn Host, task: &mut Task) -> Option<(u32, u8)> {
    let pid = task.pid.filter(|&pid| pid != 0)?;
    let path = match task.cgroup {
        None => read_text(host, &format!("/proc/{pid}/cgroup")).ok().and_then(|text| path_of(&text)),
        Some(_) => None,
    };
    let stat = Stat::read(host, pid)?;
    if task.comm.as_deref().is_some_and(|comm| !same_name(comm, &stat.comm))
        || task.start_ticks.is_some_and(|start| start != stat.start_ticks)
    {
        return None;
    }
    // A v1 hierarchy shows exiting tasks in its root (`proc_cgroup_show`, `kernel/cgroup/cgroup.c`). The
    // flag is read after the path, so without it the path is true.
    let path = path.filter(|path| path != "/" || stat.flags & PF_EXITING == 0);
    task.cgroup = task.cgroup.take().or(path);
    task.comm.get_or_insert(stat.comm);
    task.start_ticks = Some(stat.start_ticks);
    Some((pid, stat.state))
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

fn cmdline(host: &dyn Host, pid: u32) -> Option<String> {
    let mut bytes = Vec::new();
    host.read(&format!("/proc/{pid}/cmdline"), &mut bytes).ok()?;
    bytes.truncate(MAX_CMDLINE);
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    for byte in &mut bytes {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
