//! What is known of an OOM kill.

mod limit;

use serde::{Deserialize, Serialize};

use super::{Task, fill};
use crate::cgroup::memory::Events;
use limit::{Figures, Limit};

/// An OOM kill: one victim, or all of a control group that the kernel kills together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Oom {
    /// The killed process; its `pid` is the number the kernel gave, be it a thread's.
    pub victim: Task,
    /// Thread group of the victim.
    pub victim_tgid: Option<u32>,
    /// The process whose allocation started it.
    pub trigger: Task,
    /// The thread whose allocation started it.
    pub trigger_tid: Option<u32>,
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
    /// Constraint and group are what a lock of the kernel's suggests: another witness knows better.
    pub limit_inferred: bool,
    /// The group is what its figures suggest: whoever names one knows better.
    pub memcg_guessed: bool,
    /// The group whose files the figures below were read from; `None` where the kernel told them.
    pub figures_of: Option<String>,
    /// Limit of that group, kB.
    pub limit_kb: Option<u64>,
    /// Usage of that group at the kill, kB.
    pub usage_kb: Option<u64>,
    /// Times that group hit its limit.
    pub failcnt: Option<u64>,
    /// Event counters of that group.
    pub events: Events,
    /// Age of those figures of the group that were kept from before the kill, seconds.
    pub figures_age_secs: Option<u64>,
    /// Allocation flags of the trigger, as the kernel prints them.
    pub gfp_mask: Option<String>,
    /// Order of the trigger's allocation (2^order pages).
    pub order: Option<i32>,
    /// Memory of the whole machine at the kill.
    pub host: Option<HostMemory>,
    /// Killed together with others (`memory.oom.group`).
    pub group: Option<KillGroup>,
    /// The others of the group, at most [`MAX_VICTIMS`].
    pub others: Vec<Victim>,
    /// Others beyond that number.
    pub others_more: u64,
    /// How many kills, when only a counter told; 1 otherwise.
    pub count: u64,
    /// The kernel marked the victim, and its own counter of kills did not rise: the task was exiting anyway.
    pub uncounted: bool,
}

/// Victims kept of one group besides the first; further ones are counted.
pub const MAX_VICTIMS: usize = 256;

/// What makes several victims one kill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KillGroup {
    /// The group whose `memory.oom.group` is set.
    pub path: Option<String>,
    /// The kernel's serial number of that group, where eBPF tells.
    pub serial: Option<u64>,
    /// The victim that was chosen, where the kernel log tells: the others died with it.
    pub first: Option<u32>,
}

/// A process that died with the chosen one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Victim {
    /// Who.
    pub task: Task,
    /// Resident memory, kB.
    pub rss_kb: Option<u64>,
}

/// Memory of the whole machine (`/proc/meminfo`, `/proc/pressure/memory`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostMemory {
    /// `MemTotal`, kB.
    pub total_kb: Option<u64>,
    /// `MemAvailable`, kB.
    pub available_kb: Option<u64>,
    /// `SwapTotal`, kB.
    pub swap_total_kb: Option<u64>,
    /// `SwapTotal` less `SwapFree`, kB.
    pub swap_used_kb: Option<u64>,
    /// Share of the last 10 s in which some task waited for memory, percent.
    pub some_avg10: Option<f64>,
    /// Share of the last 10 s in which all tasks waited for memory, percent.
    pub full_avg10: Option<f64>,
}

impl HostMemory {
    /// Whether next to nothing is left: a sixteenth, at most 512 MiB.
    pub fn is_short(&self) -> bool {
        self.total_kb.zip(self.available_kb).is_some_and(|(total, left)| left < (total / 16).min(512 << 10))
    }
}

/// Which memory ran out (`oom_constraint_text`, `mm/oom_kill.c`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

impl Oom {
    /// Resident memory in kB, if any part of it is known.
    pub fn rss_kb(&self) -> Option<u64> {
        let parts = [self.anon_rss_kb, self.file_rss_kb, self.shmem_rss_kb];
        let known = parts.iter().any(Option::is_some);
        let sum = parts.into_iter().flatten().fold(0_u64, u64::saturating_add);
        if known { Some(sum) } else { self.table_rss_kb }
    }

    /// Processes killed.
    pub fn victims(&self) -> u64 {
        1 + self.others.len() as u64 + self.others_more
    }

    /// Whether the victim's own allocation started it. Each number may be that of a thread.
    pub fn triggered_itself(&self) -> bool {
        let victim = [self.victim.pid, self.victim_tgid];
        [self.trigger.pid, self.trigger_tid].into_iter().flatten().any(|id| victim.contains(&Some(id)))
    }

    /// Takes a process that died with this one.
    pub fn add_victim(&mut self, other: Self) {
        let rss_kb = other.rss_kb();
        self.add_other(Victim { task: other.victim, rss_kb });
        // What they have in common: why, and whose limit.
        self.trigger.absorb(other.trigger);
        self.absorb_group(other.group);
        fill(&mut self.trigger_tid, other.trigger_tid);
        fill(&mut self.gfp_mask, other.gfp_mask);
        fill(&mut self.order, other.order);
        // Usage and counters are of each victim's own moment.
        let figures = Figures { of: other.figures_of, limit_kb: other.limit_kb, ..Figures::default() };
        self.absorb_limit(
            Limit {
                constraint: other.constraint,
                inferred: other.limit_inferred,
                memcg: other.oom_memcg,
                guessed: other.memcg_guessed,
            },
            figures,
        );
    }

    /// Takes one of those that died with it.
    pub fn add_other(&mut self, other: Victim) {
        let known = self.others.iter_mut().find(|v| v.task.pid == other.task.pid);
        if let Some(victim) = known {
            victim.task.absorb(other.task);
            fill(&mut victim.rss_kb, other.rss_kb);
        } else if self.others.len() < MAX_VICTIMS {
            self.others.push(other);
        } else {
            self.others_more += 1;
        }
    }

    fn absorb_group(&mut self, other: Option<KillGroup>) {
        match (&mut self.group, other) {
            (Some(mine), Some(theirs)) => {
                fill(&mut mine.path, theirs.path);
                fill(&mut mine.serial, theirs.serial);
                fill(&mut mine.first, theirs.first);
            }
            (mine @ None, theirs) => *mine = theirs,
            (Some(_), None) => {}
        }
    }

    /// Takes what `other` knows and this one does not.
    pub fn absorb(&mut self, other: Self) {
        let Self {
            victim,
            victim_tgid,
            trigger,
            trigger_tid,
            total_vm_kb,
            anon_rss_kb,
            file_rss_kb,
            shmem_rss_kb,
            table_rss_kb,
            pgtables_kb,
            oom_score_adj,
            constraint,
            oom_memcg,
            limit_inferred,
            memcg_guessed,
            figures_of,
            limit_kb,
            usage_kb,
            failcnt,
            events,
            figures_age_secs,
            gfp_mask,
            order,
            host,
            group,
            // Victims are added one by one.
            others: _,
            others_more: _,
            // Of the mark, not of the kill.
            uncounted: _,
            count,
        } = other;
        self.victim.absorb(victim);
        fill(&mut self.victim_tgid, victim_tgid);
        self.trigger.absorb(trigger);
        fill(&mut self.trigger_tid, trigger_tid);
        fill(&mut self.total_vm_kb, total_vm_kb);
        fill(&mut self.anon_rss_kb, anon_rss_kb);
        fill(&mut self.file_rss_kb, file_rss_kb);
        fill(&mut self.shmem_rss_kb, shmem_rss_kb);
        fill(&mut self.table_rss_kb, table_rss_kb);
        fill(&mut self.pgtables_kb, pgtables_kb);
        fill(&mut self.oom_score_adj, oom_score_adj);
        let limit = Limit { constraint, inferred: limit_inferred, memcg: oom_memcg, guessed: memcg_guessed };
        let figures =
            Figures { of: figures_of, limit_kb, usage_kb, failcnt, events, age_secs: figures_age_secs };
        self.absorb_limit(limit, figures);
        // The kernel log names the flags besides their number.
        if gfp_mask.as_ref().is_some_and(|theirs| theirs.starts_with(self.gfp_mask.as_deref().unwrap_or("")))
        {
            self.gfp_mask = gfp_mask;
        }
        fill(&mut self.order, order);
        fill(&mut self.host, host);
        self.absorb_group(group);
        self.count = self.count.max(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_of_the_victim_is_no_foreign_trigger() {
        // Victim and its thread group, trigger and its thread. The kernel names a thread where the leader has exited.
        let check = |[victim, tgid, trigger, tid]: [u32; 4], expect: bool| {
            let known = |id: u32| (id != 0).then_some(id);
            let task = |id| Task { pid: known(id), ..Task::default() };
            let (victim_tgid, trigger_tid) = (known(tgid), known(tid));
            let oom = Oom {
                victim: task(victim),
                victim_tgid,
                trigger: task(trigger),
                trigger_tid,
                ..Oom::default()
            };
            assert_eq!(oom.triggered_itself(), expect, "{victim} {tgid} {trigger} {tid}");
        };
        check([7, 7, 7, 7], true);
        check([8, 7, 7, 8], true);
        check([8, 7, 7, 9], true);
        check([8, 0, 7, 8], true);
        check([7, 0, 7, 0], true);
        check([7, 7, 9, 9], false);
        check([7, 0, 0, 0], false);
        check([0, 0, 0, 0], false);
    }
}
