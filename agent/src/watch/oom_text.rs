//! From the kernel's words about an OOM kill to one [`Oom`] per killed process.
//!
//! `mm/oom_kill.c` writes many lines and then the one that counts: `Killed process PID (COMM) …`.
//! The lines before it are kept as a `Context` of fixed size; at the kill they are joined and told
//! at once. Any of them may be missing (overwritten, rate-limited), so each is taken for itself.

mod lines;
#[cfg(test)]
mod tests;

use crate::event::{Constraint, KillGroup, Oom, Task};
use lines::{Killed, Line, Verdict};

/// Kernel time after which lines no longer belong to one kill: a table of thousands of tasks on a
/// serial console takes long.
const MAX_AGE_US: u64 = 60_000_000;

/// Lower-case texts of which one is in every line that matters while no dump is being read.
pub(super) const OPENINGS: &[&str] = &[
    " invoked oom-killer: ",
    "oom-kill:",
    ",cpuset=",
    ",oom_memcg=",
    ",global_oom",
    ",task_memcg=",
    ",task=",
    "memory: usage ",
    "task in /",
    "tasks in ",
    "out of memory",
    "killed process ",
];

/// Puts the lines of OOM kills together. Its memory is one `Context`.
#[derive(Debug, Default)]
pub struct OomText {
    context: Option<Box<Context>>,
}

/// What the lines before a kill told.
#[derive(Debug, Default)]
struct Context {
    last_us: u64,
    /// Trigger, allocation and the group's figures: true of the next kill because they stand before it.
    around: Oom,
    /// The line that names its victim, and so is true of that one whatever stands between.
    verdict: Option<Verdict>,
    /// `Task in …`: the path of the process that the announcement after it names.
    task_path: Option<String>,
    /// `Kill process …`: the victim, unless one of its children is taken.
    announced: Option<u32>,
    /// Two dumps at once (before 4.19 nothing keeps memcg kills apart): what stands around is nobody's.
    mixed: bool,
    /// The victim was killed.
    spent: Option<u32>,
    /// `memory.oom.group`: the rest of the victim's group follows.
    group: Option<KillGroup>,
}

impl OomText {
    /// Whether a dump is being read: lines without any of `OPENINGS` may be of it.
    pub fn is_open(&self) -> bool {
        self.context.as_ref().is_some_and(|context| context.spent.is_none())
    }

    /// Takes the text of one record of the kernel's own; gives the kill that it tells.
    pub fn line(&mut self, time_us: u64, text: &str) -> Option<Oom> {
        let line = Line::parse(text)?;
        if self.context.as_ref().is_some_and(|c| time_us.saturating_sub(c.last_us) > MAX_AGE_US) {
            self.context = None;
        }
        let oom = self.take(line);
        if let Some(context) = self.context.as_mut() {
            context.last_us = time_us;
        }
        oom
    }

    fn take(&mut self, line: Line<'_>) -> Option<Oom> {
        match line {
            Line::Killed(killed) => return self.kill(killed),
            Line::Invoked(around) => self.begin(*around),
            Line::Detail(text) => self.detail(text),
            Line::Verdict(verdict) => self.open().verdict.get_or_insert_default().absorb(verdict),
            Line::TaskIn { task, limit } => {
                let context = self.open();
                context.task_path = Some(task.to_owned());
                context.around.oom_memcg = limit.map(str::to_owned);
            }
            Line::Announced { pid, memcg } => {
                let context = self.open();
                context.announced = Some(pid);
                if memcg {
                    context.around.constraint = Some(Constraint::Memcg);
                }
            }
            Line::Group(path) => {
                if let Some(context) = self.context.as_mut().filter(|c| c.spent.is_some()) {
                    context.group =
                        Some(KillGroup { path: path.map(str::to_owned), first: context.spent, serial: None });
                }
            }
            Line::Over => self.context = self.context.take().filter(|c| c.spent.is_some()),
        }
        None
    }

    /// A new dump. If the one before it never came to its kill, the two may be mixed.
    fn begin(&mut self, around: Oom) {
        let mixed =
            self.context.as_ref().is_some_and(|c| c.spent.is_none() && c.around.trigger.comm.is_some());
        self.context = Some(Box::new(Context { around, mixed, ..Context::default() }));
    }

    /// The context that a line belongs to; after a kill a new one.
    fn open(&mut self) -> &mut Context {
        self.context.take_if(|c| c.spent.is_some());
        self.context.get_or_insert_default()
    }

    fn detail(&mut self, text: &str) {
        if let Some([usage, limit, failures]) = lines::memory(text) {
            let around = &mut self.open().around;
            around.usage_kb = usage;
            around.limit_kb = limit.filter(|&kb| kb < NO_LIMIT_KB);
            around.failcnt = failures;
        } else if let Some(context) = self.context.as_mut().filter(|c| c.spent.is_none())
            && let Some(name) = context.around.trigger.comm.as_deref()
            && let Some((thread, uid)) = lines::cpu(text, name)
        {
            context.around.trigger.pid = Some(thread);
            context.around.trigger_tid = Some(thread);
            context.around.trigger.uid = uid;
        }
    }

    fn kill(&mut self, killed: Killed) -> Option<Oom> {
        let Killed { memcg, oom } = killed;
        let mut oom = *oom;
        let pid = oom.victim.pid?;
        match self.context.as_deref_mut() {
            // The walk over the group may meet its first victim again.
            Some(context) if context.group.is_some() && context.spent == Some(pid) => return None,
            Some(context) if context.group.is_some() => {
                oom.absorb(context.around.clone());
                oom.group.clone_from(&context.group);
            }
            Some(context) if context.spent.is_none() => context.join(pid, &mut oom),
            _ => self.context = Some(Box::new(Context { spent: Some(pid), ..Context::default() })),
        }
        if memcg {
            oom.constraint.get_or_insert(Constraint::Memcg);
        }
        Some(oom)
    }
}

/// Limits from here on are «none»: `PAGE_COUNTER_MAX` is 9007199254740988 kB with 4 KiB pages,
/// `RES_COUNTER_MAX` of 3.10 is larger.
const NO_LIMIT_KB: u64 = 1 << 52;

impl Context {
    /// Gives a victim what is true of it; from then on `around` is what its group shares with it.
    fn join(&mut self, pid: u32, oom: &mut Oom) {
        self.spent = Some(pid);
        let Verdict { constraint, oom_memcg, task_memcg, pid: named, uid } =
            self.verdict.take().unwrap_or_default();
        // The pid is another one when a child was taken instead, or a thread with memory left.
        let named = named == Some(pid);
        if self.mixed {
            self.around = Oom::default();
        }
        if named || !self.mixed {
            self.around.constraint = constraint.or(self.around.constraint.take());
            self.around.oom_memcg = oom_memcg.or(self.around.oom_memcg.take());
        }
        let cgroup = if named {
            task_memcg
        } else {
            self.task_path.take().filter(|_| self.announced == Some(pid) && !self.mixed)
        };
        oom.victim.absorb(Task { uid: uid.filter(|_| named), cgroup, ..Task::default() });
        oom.absorb(self.around.clone());
    }
}
