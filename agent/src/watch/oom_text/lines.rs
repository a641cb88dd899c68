//! The single lines, of all kernels from 3.10 on. Names in them are chosen by whoever runs the process:
//! they may hold brackets, commas and words of the kernel, so each line is read from the side where
//! the kernel's own words are certain.

use crate::cgroup::memory::contains;
use crate::event::{Constraint, Oom, Task};

/// A line about an OOM kill.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// `X invoked oom-killer: …`: a dump begins.
    Invoked(Box<Oom>),
    /// A line that matters only within a dump.
    Detail(&'a str),
    /// `oom-kill:constraint=…` (since 5.0, `ef8444ea01d7`), or the end of it as a record of its own.
    Verdict(Verdict),
    /// `Task in A killed as a result of limit of B` (up to 4.20).
    TaskIn { task: &'a str, limit: Option<&'a str> },
    /// `… Kill process 1 (x) score 9 or sacrifice child` (up to 5.2).
    Announced { pid: u32, memcg: bool },
    /// `Killed process …`
    Killed(Killed),
    /// `Tasks in … are going to be killed due to memory.oom.group set` (since 4.19).
    Group(Option<&'a str>),
    /// This dump ends without a kill.
    Over,
}

/// What an `oom-kill:` line tells.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) constraint: Option<Constraint>,
    pub(super) oom_memcg: Option<String>,
    pub(super) task_memcg: Option<String>,
    pub(super) pid: Option<u32>,
    pub(super) uid: Option<u32>,
}

/// A kill.
#[derive(Debug)]
pub(super) struct Killed {
    /// The line itself says that a control group ran out.
    pub(super) memcg: bool,
    pub(super) oom: Box<Oom>,
}

/// Longest task name, bytes: `TASK_COMM_LEN` less its NUL, each byte perhaps replaced by U+FFFD.
const MAX_COMM: usize = 45;

impl<'a> Line<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        if let Some(around) = invoked(text) {
            return Some(Self::Invoked(Box::new(around)));
        }
        match text.as_bytes().first()? {
            b'o' | b',' => verdict(text).map(Self::Verdict),
            b'm' => text.starts_with("memory: usage ").then_some(Self::Detail(text)),
            b'C' => text.starts_with("CPU: ").then_some(Self::Detail(text)),
            b'T' => task_in(text).or_else(|| group(text)),
            b'K' | b'O' | b'M' => kill(text),
            _ => None,
        }
    }
}

/// `java invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0`
fn invoked(text: &str) -> Option<Oom> {
    const SAID: &str = " invoked oom-killer: ";
    let head = text.get(..text.floor_char_boundary(MAX_COMM + SAID.len()))?;
    let (comm, _) = head.split_once(SAID)?;
    let rest = &text[comm.len() + SAID.len()..];
    let value = |key: &str| rest.split(", ").find_map(|part| part.strip_prefix(key));
    Some(Oom {
        trigger: Task { comm: Some(comm.to_owned()), ..Task::default() },
        gfp_mask: value("gfp_mask=").map(str::to_owned),
        order: value("order=").and_then(|n| n.parse().ok()),
        count: 1,
        ..Oom::default()
    })
}

/// Thread and user of `CPU: 1 UID: 0 PID: 12 Comm: java Not tainted …`, if it is about `name`.
pub(super) fn cpu(text: &str, name: &str) -> Option<(u32, Option<u32>)> {
    let (head, tail) = text.split_once(" Comm: ")?;
    if !tail.strip_prefix(name)?.starts_with([' ', '\t']) {
        return None;
    }
    let value = |key: &str| head.split_once(key).and_then(|(_, rest)| leading(rest)).map(|(n, _)| n);
    Some((value(" PID: ")?, value(" UID: ")))
}

/// Usage, limit and failures of `memory: usage 5kB, limit 6kB, failcnt 7`.
pub(super) fn memory(text: &str) -> Option<[Option<u64>; 3]> {
    let rest = text.strip_prefix("memory: usage ")?;
    let mut parts = rest.split(", ");
    let usage = parts.next().and_then(kb);
    let limit = parts.next().and_then(|p| kb(p.strip_prefix("limit ")?));
    let failures = parts.next().and_then(|p| p.strip_prefix("failcnt ")?.trim_end().parse().ok());
    Some([usage, limit, failures])
}

/// `oom-kill:constraint=…,nodemask=…,cpuset=…,mems_allowed=…,{oom_memcg=…|global_oom},task_memcg=…,
/// task=…,pid=…,uid=…`, or an end of it.
fn verdict(text: &str) -> Option<Verdict> {
    const PARTS: [&str; 6] =
        ["oom-kill:", ",cpuset=", ",oom_memcg=", ",global_oom", ",task_memcg=", ",task="];
    PARTS.iter().any(|part| text.starts_with(part)).then_some(())?;
    // From the right: the kernel's numbers stand after the name that a process gives itself.
    let (rest, uid) = last_number(text.trim_end(), ",uid=");
    let (rest, pid) = last_number(rest, ",pid=");
    // No name is longer than MAX_COMM, so the path before it stays what it is even if the name holds ",task=".
    let earliest = rest.len().saturating_sub(MAX_COMM + ",task=".len());
    let at = rest.match_indices(",task=").map(|(at, _)| at).find(|&at| at >= earliest);
    let rest = &rest[..at.unwrap_or(rest.len())];
    let (oom_memcg, task_memcg) = groups(rest);
    let constraint = text.strip_prefix("oom-kill:constraint=").and_then(|r| r.split(',').next());
    Some(Verdict { constraint: constraint.map(constraint_of), oom_memcg, task_memcg, pid, uid })
}

fn constraint_of(word: &str) -> Constraint {
    match word {
        "CONSTRAINT_NONE" => Constraint::None,
        "CONSTRAINT_CPUSET" => Constraint::Cpuset,
        "CONSTRAINT_MEMORY_POLICY" => Constraint::MemoryPolicy,
        "CONSTRAINT_MEMCG" => Constraint::Memcg,
        other => Constraint::Other(other.to_owned()),
    }
}

/// Paths of `…,oom_memcg=PATH,task_memcg=PATH`; the kernel ends a record that is too long behind a key or a path. The
/// first path may hold the second key: a line that can be read in several ways, or in none, names no group.
fn groups(text: &str) -> (Option<String>, Option<String>) {
    const TASK: &str = ",task_memcg=";
    let known = |path: &str| path.starts_with('/').then(|| path.to_owned());
    // No cpuset has a slash in its name, so the first key with a path, or with nothing behind it, is the kernel's.
    let value_of = |key: &str| {
        let begins = |at: &usize| matches!(text[at + key.len()..].bytes().next(), None | Some(b'/'));
        text.match_indices(key).map(|(at, _)| at).find(begins).map(|at| (at, &text[at + key.len()..]))
    };
    let oom = value_of(",oom_memcg=").filter(|(at, _)| value_of(TASK).is_none_or(|(task, _)| at < &task));
    let Some((_, rest)) = oom else {
        return (None, value_of(TASK).and_then(|(_, path)| known(path)));
    };
    let split = |(at, key): (usize, &str)| (&rest[..at], &rest[at + key.len()..]);
    // The victim lives below the limit.
    let fits = |(oom, task): &(&str, &str)| task.is_empty() || contains(oom, task);
    let mut ways = rest.match_indices(TASK).map(split).filter(fits);
    match (ways.next(), ways.next()) {
        (Some((oom, task)), None) => (known(oom), known(task)),
        (None, None) if !rest.contains(TASK) => (known(rest), None),
        _ => (None, None),
    }
}

fn last_number<'a>(text: &'a str, key: &str) -> (&'a str, Option<u32>) {
    // `uid=%d`: the kernel prints ids over 2^31 as negative numbers.
    match text.rsplit_once(key).and_then(|(before, n)| Some((before, n.parse::<i64>().ok()?))) {
        Some((before, n)) => (before, Some(n as u32)),
        None => (text, None),
    }
}

impl Verdict {
    /// Takes what the end of a broken line tells.
    pub(super) fn absorb(&mut self, rest: Self) {
        let Self { constraint, oom_memcg, task_memcg, pid, uid } = rest;
        self.constraint = self.constraint.take().or(constraint);
        self.oom_memcg = self.oom_memcg.take().or(oom_memcg);
        self.task_memcg = self.task_memcg.take().or(task_memcg);
        self.pid = self.pid.or(pid);
        self.uid = self.uid.or(uid);
    }
}

fn task_in(text: &str) -> Option<Line<'_>> {
    let (task, rest) = text.strip_prefix("Task in ")?.split_once(" killed")?;
    let limit = rest.strip_prefix(" as a result of limit of ").map(str::trim_end);
    let limit = limit.filter(|path| path.starts_with('/'));
    task.starts_with('/').then_some(Line::TaskIn { task, limit })
}

fn group(text: &str) -> Option<Line<'_>> {
    const SAID: &str = " are going to be killed due to memory.oom.group set";
    let path = text.strip_prefix("Tasks in ")?.trim_end().strip_suffix(SAID)?;
    Some(Line::Group(Some(path).filter(|path| path.starts_with('/'))))
}

/// `Killed process …`, `Out of memory: Kill process …`, `Memory cgroup out of memory: OOM victim …`.
fn kill(text: &str) -> Option<Line<'_>> {
    let (why, rest) = match text.split_once(": ") {
        Some((why, rest)) if why.starts_with("Out of memory") => (why, rest),
        Some((why, rest)) if why.starts_with("Memory cgroup out of memory") => (why, rest),
        _ if text.starts_with("Out of memory and no killable processes") => return Some(Line::Over),
        _ => ("", text),
    };
    let memcg = why.starts_with("Memory");
    if let Some(rest) = rest.strip_prefix("Killed process ") {
        return killed(rest).map(|oom| Line::Killed(Killed { memcg, oom }));
    }
    if why.is_empty() {
        return None;
    }
    if let Some(rest) = rest.strip_prefix("Kill process ") {
        return leading(rest).map(|(pid, _)| Line::Announced { pid, memcg });
    }
    // `OOM victim 1 (x) is already exiting. Skip killing the task`: no kill, and not counted as one.
    (rest.starts_with("OOM victim ") || rest.contains("no killable processes")).then_some(Line::Over)
}

/// `PID (COMM) total-vm:…`, of RHEL 7 `PID (COMM), UID N, total-vm:…`, of RHEL 6 `PID, UID N, (COMM) total-vm:…`.
fn killed(text: &str) -> Option<Box<Oom>> {
    let (pid, rest) = leading(text)?;
    // After the last of these there is no more text of a process.
    let (head, figures) = rest.rsplit_once("total-vm:").unwrap_or((rest, ""));
    let mut oom = Oom { count: 1, ..Oom::default() };
    let (comm, uid) = name(head.trim_end());
    oom.victim.pid = Some(pid);
    oom.victim.uid = uid;
    oom.victim.comm = comm.map(str::to_owned);
    oom.total_vm_kb = kb(figures);
    for word in figures.split([' ', ',']) {
        let Some((key, value)) = word.split_once(':') else { continue };
        match key {
            "anon-rss" => oom.anon_rss_kb = kb(value),
            "file-rss" => oom.file_rss_kb = kb(value),
            "shmem-rss" => oom.shmem_rss_kb = kb(value),
            "pgtables" => oom.pgtables_kb = kb(value),
            "UID" => oom.victim.uid = value.parse().ok(),
            "oom_score_adj" => oom.oom_score_adj = value.trim_end().parse().ok(),
            _ => {}
        }
    }
    Some(Box::new(oom))
}

/// Name and user of ` (COMM)`, ` (COMM), UID N,` and `, UID N, (COMM)`.
fn name(text: &str) -> (Option<&str>, Option<u32>) {
    if let Some((uid, comm)) = text.strip_prefix(", UID ").and_then(|t| t.split_once(", (")) {
        return (comm.strip_suffix(')'), uid.parse().ok());
    }
    let Some(text) = text.strip_prefix(" (") else { return (None, None) };
    match text.strip_suffix(',').and_then(|t| t.rsplit_once("), UID ")) {
        Some((comm, uid)) => (Some(comm), uid.parse().ok()),
        None => (text.strip_suffix(')'), None),
    }
}

/// The number a text begins with, and what follows it.
fn leading(text: &str) -> Option<(u32, &str)> {
    let end = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// The number before `kB`.
fn kb(text: &str) -> Option<u64> {
    text.split_once("kB")?.0.parse().ok()
}
