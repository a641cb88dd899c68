//! Tasks in uninterruptible sleep: those that do not come out of it are reported, long before the kernel
//! would, and also those that the kernel never reports (waits that a kill ends, `TASK_KILLABLE`); and hung
//! tasks are followed until they go on.
//!
//! A task that sleeps so contributes to the load average: where that is near zero, nothing is looked for.

mod excuse;
mod scan;

use std::collections::HashMap;
use std::time::Duration;

use super::enrich;
use crate::event::{Event, Hang, MAX_FOLLOWED, Source, Task, TaskId, What};
use crate::host::tasks::Tasks;
use crate::host::{Host, namespace, read_text};
use crate::time::{Now, SECOND};
use scan::Scan;

/// Tasks in uninterruptible sleep that are remembered from look to look; others wait for room.
pub const MAX_SEEN: usize = 4096;
/// Pace at which hung tasks are followed, and that for more than [`FEW`] of them.
const FOLLOW_NS: [u64; 2] = [2 * SECOND, 5 * SECOND];
const FEW: usize = 64;

/// The watch.
pub struct DState {
    /// Uninterruptible sleep that is reported, nanoseconds; 0: none is looked for.
    after_ns: u64,
    scan: Scan,
    seen: HashMap<u32, Sleep>,
    followed: HashMap<u32, Followed>,
    next_scan_ns: u64,
    next_follow_ns: u64,
}

/// A task in uninterruptible sleep.
#[derive(Debug)]
struct Sleep {
    switches: u64,
    since_ns: u64,
    /// Reported, or known to be harmless.
    done: bool,
}

/// A hung task.
#[derive(Debug)]
struct Followed {
    id: TaskId,
    switches: Option<u64>,
}

/// How a task that shall be followed is.
#[derive(Debug)]
pub enum Standing {
    /// It hangs, and is followed.
    Hangs,
    /// It went on before: the event that says so.
    Over(Event),
    /// This process cannot see it.
    Hidden,
}

/// What `/proc/TID/status` says. It takes no lock of the task.
struct Status {
    state: u8,
    tgid: Option<u32>,
    parent: Option<u32>,
    switches: u64,
    dumping: bool,
}

impl Status {
    fn read(host: &dyn Host, pid: u32) -> std::io::Result<Option<Self>> {
        Ok(Self::parse(&read_text(host, &format!("/proc/{pid}/status"))?))
    }

    fn parse(text: &str) -> Option<Self> {
        // The name is the first line, its line breaks escaped (`proc_task_name`, `fs/proc/array.c`).
        let value = |key: &str| text.lines().skip(1).find_map(|line| line.strip_prefix(key)).map(str::trim);
        let number = |key: &str| value(key)?.parse::<u64>().ok();
        let pid = |key: &str| number(key).and_then(|pid| u32::try_from(pid).ok());
        Some(Self {
            state: *value("State:")?.as_bytes().first()?,
            tgid: pid("Tgid:"),
            parent: pid("PPid:"),
            // Only compared: a sum that wraps is as good as any.
            switches: number("voluntary_ctxt_switches:")?
                .wrapping_add(number("nonvoluntary_ctxt_switches:")?),
            dumping: number("CoreDumping:") == Some(1),
        })
    }
}

impl DState {
    /// Reports tasks that sleep for `after_secs`; 0: only follows what others report. Without `tasks`, sleepers are
    /// looked for in `/proc`.
    pub fn new(after_secs: u64, tasks: Option<Box<dyn Tasks>>) -> Self {
        let after_ns = after_secs.saturating_mul(SECOND);
        Self {
            after_ns,
            scan: Scan::new(tasks),
            seen: HashMap::new(),
            followed: HashMap::new(),
            next_scan_ns: 0,
            next_follow_ns: 0,
        }
    }

    /// Follows a hung task until it goes on, and says how it is now: a report may be older than its hang's end.
    pub fn follow(&mut self, host: &dyn Host, id: TaskId, now: Now) -> Standing {
        if self.followed.is_empty() {
            self.next_follow_ns = now.mono_ns + FOLLOW_NS[0];
        }
        let mut task = Followed { id, switches: None };
        match task.look(host, id.pid) {
            Some(true) => return Standing::Over(event(now, What::Released(vec![id]))),
            None => return Standing::Hidden,
            Some(false) => {}
        }
        if self.followed.len() < MAX_FOLLOWED || self.followed.contains_key(&id.pid) {
            self.followed.insert(id.pid, task);
        }
        Standing::Hangs
    }

    /// Time to the next look.
    pub fn idle(&self, now: Now) -> Duration {
        let scan = (self.after_ns > 0).then_some(self.next_scan_ns);
        let follow = (!self.followed.is_empty()).then_some(self.next_follow_ns);
        let next = scan.into_iter().chain(follow).min();
        next.map_or(Duration::MAX, |next| Duration::from_nanos(next.saturating_sub(now.mono_ns)))
    }

    /// Looks at what is due; hangs lack what [`super::hang_facts`] reads.
    pub fn look(&mut self, host: &dyn Host, now: Now, out: &mut Vec<Event>) {
        if !self.followed.is_empty() && now.mono_ns >= self.next_follow_ns {
            self.next_follow_ns = now.mono_ns + FOLLOW_NS[usize::from(self.followed.len() > FEW)];
            let released = self.released(host);
            if !released.is_empty() {
                out.push(event(now, What::Released(released)));
            }
        }
        if self.after_ns > 0 && now.mono_ns >= self.next_scan_ns {
            self.next_scan_ns = now.mono_ns + self.pace_ns();
            self.sleepers(host, now, out);
        }
    }

    /// Half the time of which is reported: a sleep is reported at most so much later.
    fn pace_ns(&self) -> u64 {
        (self.after_ns / 2).clamp(SECOND, 60 * SECOND)
    }

    /// Followed tasks that go on: gone, another one, not asleep, or asleep anew.
    fn released(&mut self, host: &dyn Host) -> Vec<TaskId> {
        let mut released = Vec::new();
        self.followed.retain(|&pid, task| match task.look(host, pid) {
            Some(true) => {
                released.push(task.id);
                false
            }
            Some(false) => true,
            None => false,
        });
        released
    }

    fn sleepers(&mut self, host: &dyn Host, now: Now, out: &mut Vec<Event>) {
        if !scan::may_sleep(host, self.pace_ns()) {
            self.seen.clear();
            return;
        }
        let mut long = Vec::new();
        let after_ns = self.after_ns;
        self.seen.retain(|&pid, sleep| {
            let Ok(Some(status)) = Status::read(host, pid) else { return false };
            let same = status.state == b'D' && status.switches == sleep.switches;
            if same && !sleep.done && now.mono_ns.saturating_sub(sleep.since_ns) >= after_ns {
                sleep.done = true;
                long.push((pid, sleep.since_ns, status));
            }
            same
        });
        for (pid, since_ns, status) in long {
            out.extend(hang(host, pid, &status, now, since_ns).map(|hang| event(now, hang)));
        }
        let seen = &mut self.seen;
        self.scan.find(host, &mut |pid| {
            if seen.len() < MAX_SEEN
                && !seen.contains_key(&pid)
                && let Ok(Some(status)) = Status::read(host, pid)
                // Like the kernel, which skips tasks that were made and have not run yet.
                && status.state == b'D' && status.switches > 0
            {
                seen.insert(pid, Sleep { switches: status.switches, since_ns: now.mono_ns, done: false });
            }
        });
    }
}

impl Followed {
    /// Whether it goes on; `None` where nobody can tell.
    fn look(&mut self, host: &dyn Host, pid: u32) -> Option<bool> {
        let first = self.switches.is_none();
        if first && namespace::has_own_pids(host) {
            return None;
        }
        let status = match Status::read(host, pid) {
            Ok(status) => status?,
            Err(error) if enrich::vanished(&error) => {
                // A task that was never seen may be one that this process must not see (`hidepid`).
                let was_seen = !first || self.id.start_ticks.is_some();
                return (was_seen || namespace::shows_others(host)).then_some(true);
            }
            Err(_) => return None,
        };
        if first
            && self
                .id
                .start_ticks
                .is_some_and(|start| enrich::Stat::read(host, pid).is_some_and(|s| s.start_ticks != start))
        {
            return Some(true);
        }
        let before = *self.switches.get_or_insert(status.switches);
        Some(status.state != b'D' || status.switches != before)
    }
}

/// The hang of a task that has slept since `since_ns`, unless there is an excuse for it.
fn hang(host: &dyn Host, pid: u32, status: &Status, now: Now, since_ns: u64) -> Option<What> {
    let stat = enrich::Stat::read(host, pid)?;
    let wchan = enrich::wchan(host, pid);
    if let Some(why) = excuse::of(host, pid, &stat, status, wchan.as_deref()) {
        tracing::debug!("task {pid} in uninterruptible sleep is not hung: {why}");
        return None;
    }
    let task = Task {
        pid: Some(pid),
        comm: Some(stat.comm),
        start_ticks: Some(stat.start_ticks),
        ..Task::default()
    };
    let blocked_secs = Some(now.mono_ns.saturating_sub(since_ns) / SECOND);
    Some(What::Hang(Box::new(Hang { task, tgid: status.tgid, blocked_secs, wchan, ..Hang::default() })))
}

fn event(at: Now, what: What) -> Event {
    Event { at, source: Source::Watch, historic: false, what }
}

#[cfg(test)]
mod tests;
