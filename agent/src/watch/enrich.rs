//! What `/proc` and the control group tell about the task of an event, asked at once: an OOM victim
//! stands for some milliseconds after it is named.
//!
//! A few short reads a task. Two things keep it from waiting itself: nothing is read that takes the
//! memory lock of a task in uninterruptible sleep (`cmdline` does), and the command line comes last.
//! What an event already knows is kept, and if the task with that pid is another one, nothing is taken.

use super::wait;
use crate::event::{Constraint, Event, Hang, Oom, Task, What};
use crate::host::{Host, block, read_text};

/// Longest command line kept, bytes.
pub const MAX_CMDLINE: usize = 1024;
/// Ancestors of a control group looked at.
const MAX_DEPTH: usize = 16;
/// Limits from here on are none, bytes: v1 shows `LONG_MAX` rounded down to pages.
const NO_LIMIT: u64 = 1 << 60;

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
        What::HangFacts(_) | What::Released(_) | What::Log(_) | What::Lost(_) | What::KmsgMark(_) => {}
    }
}

fn fill_oom(host: &dyn Host, oom: &mut Oom) {
    let Oom { victim, trigger, .. } = oom;
    // Every witness knows the victim by the number the kernel gave, be it a thread's: it stays.
    let named = victim.pid;
    process(host, victim);
    victim.pid = named;
    if trigger.pid.is_some() && trigger.pid == victim.pid {
        // It ran into its own limit.
        trigger.absorb(victim.clone());
    } else {
        process(host, trigger);
    }
    fill_group(host, oom);
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

/// A process, or a thread that stands for one.
fn process(host: &dyn Host, task: &mut Task) {
    let Some((pid, state)) = look(host, task) else { return };
    if let Some(status) = Status::read(host, pid) {
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
}

/// Start and control group of a task, if it still is the one that is meant; its pid and state.
fn look(host: &dyn Host, task: &mut Task) -> Option<(u32, u8)> {
    let pid = task.pid.filter(|&pid| pid != 0)?;
    let path = match task.cgroup {
        None => read_text(host, &format!("/proc/{pid}/cgroup")).ok().and_then(|text| cgroup_of(&text)),
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

/// Path of the memory controller (v1 and hybrid), else of the unified hierarchy.
fn cgroup_of(text: &str) -> Option<String> {
    let mut unified = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        if controllers.split(',').any(|name| name == "memory") {
            return Some(clean(path));
        }
        if controllers.is_empty() {
            unified = Some(clean(path));
        }
    }
    unified
}

fn clean(path: &str) -> String {
    path.strip_suffix(" (deleted)").unwrap_or(path).to_owned()
}

/// Figures of the control group that ran out.
fn fill_group(host: &dyn Host, oom: &mut Oom) {
    if oom.limit_kb.is_some() {
        return;
    }
    match (&oom.constraint, &oom.oom_memcg) {
        (_, Some(path)) => {
            let group = Group::read(host, path);
            oom.set_group(group);
        }
        (None | Some(Constraint::Memcg), None) => {
            let Some(own) = oom.victim.cgroup.as_deref() else { return };
            match hit(host, own) {
                Some((path, group)) => {
                    oom.oom_memcg = Some(path);
                    oom.set_group(Some(group));
                }
                // Nothing says which group it was: the figures of the victim's own one, unnamed.
                None => oom.set_group(Group::read(host, own)),
            }
        }
        (Some(_), None) => {}
    }
}

/// The group of the tightest limit from `path` upwards, if that limit was hit and is still nearly used up.
fn hit(host: &dyn Host, path: &str) -> Option<(String, Group)> {
    let parents = std::iter::successors(Some(path), |path| {
        let (parent, _) = path.rsplit_once('/')?;
        (!parent.is_empty()).then_some(parent)
    });
    let groups = parents.take(MAX_DEPTH).filter_map(|path| Some((path.to_owned(), Group::read(host, path)?)));
    let tightest = groups.filter(|(_, group)| group.limit.is_some()).min_by_key(|(_, group)| group.limit)?;
    tightest.1.is_hit().then_some(tightest)
}

#[derive(Default)]
struct Group {
    limit: Option<u64>,
    usage: Option<u64>,
    failures: Option<u64>,
}

impl Group {
    fn read(host: &dyn Host, path: &str) -> Option<Self> {
        // A path outside this view of the hierarchy begins with `/..`.
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            return None;
        }
        Self::read_v2(host, path).or_else(|| Self::read_v1(host, path))
    }

    fn read_v2(host: &dyn Host, path: &str) -> Option<Self> {
        let file = |name: &str| read_text(host, &format!("/sys/fs/cgroup{path}/{name}")).ok();
        let limit = file("memory.max")?;
        let events = file("memory.events").unwrap_or_default();
        Some(Self {
            limit: limit.trim().parse().ok().filter(|&bytes| bytes < NO_LIMIT),
            usage: file("memory.current").and_then(|text| text.trim().parse().ok()),
            failures: events.lines().find_map(|line| line.strip_prefix("max ")?.parse().ok()),
        })
    }

    fn read_v1(host: &dyn Host, path: &str) -> Option<Self> {
        let file = |name: &str| -> Option<u64> {
            let text = read_text(host, &format!("/sys/fs/cgroup/memory{path}/memory.{name}")).ok()?;
            text.trim().parse().ok()
        };
        let limit = file("limit_in_bytes")?;
        Some(Self {
            limit: Some(limit).filter(|&bytes| bytes < NO_LIMIT),
            usage: file("usage_in_bytes"),
            failures: file("failcnt"),
        })
    }

    fn is_hit(&self) -> bool {
        let near = |limit: u64, usage: u64| usage >= limit - limit / 10;
        self.failures.is_some_and(|n| n > 0) && self.limit.zip(self.usage).is_some_and(|(l, u)| near(l, u))
    }
}

impl Oom {
    fn set_group(&mut self, group: Option<Group>) {
        let Group { limit, usage, failures } = group.unwrap_or_default();
        self.limit_kb = limit.map(|bytes| bytes / 1024);
        self.usage_kb = self.usage_kb.or(usage.map(|bytes| bytes / 1024));
        self.failcnt = self.failcnt.or(failures);
    }
}

#[cfg(test)]
mod tests;
