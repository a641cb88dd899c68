//! What the engine remembers from before the kill, where nobody could ask any more.

use crate::cgroup::memory::{self, Memory};
use crate::engine::groups::Groups;
use crate::event::{Constraint, KillGroup, Oom};
use crate::sample::ProcTable;
use crate::time::Now;

/// Fills what the incident lacks from the newest process table.
pub fn fill_from_table(oom: &mut Oom, table: &ProcTable) {
    for task in [&mut oom.victim, &mut oom.trigger] {
        let Some((row, cmdline)) = task.pid.and_then(|pid| table.find(pid)) else { continue };
        let known = task.comm.is_some() || task.start_ticks.is_some();
        let same = task.comm.as_deref().is_none_or(|comm| comm == &*row.comm)
            && task.start_ticks.is_none_or(|start| start == row.start_ticks);
        if same {
            task.comm.get_or_insert_with(|| row.comm.to_string());
            task.start_ticks.get_or_insert(row.start_ticks);
            if known && task.cmdline.is_none() {
                task.cmdline = cmdline.map(str::to_owned);
            }
        }
    }
    if oom.rss_kb().is_none()
        && let Some(row) = table.rows.iter().find(|r| Some(r.pid) == oom.victim.pid)
        && oom.victim.comm.as_deref() == Some(&*row.comm)
        && oom.victim.start_ticks.is_none_or(|start| start == row.start_ticks)
    {
        oom.table_rss_kb = Some(row.rss_bytes / 1024);
    }
}

/// Whether the victim's whole group dies (`memory.oom.group`): to be known before its others arrive.
pub fn find_group(oom: &mut Oom, groups: &Groups) {
    let Some(own) = oom.victim.cgroup.as_deref() else { return };
    if oom.group.as_ref().is_some_and(|group| group.path.is_some()) {
        return;
    }
    if let Some(path) = memory::dies_together(own, oom.oom_memcg.as_deref(), |path| groups.look(path)) {
        let path = path.to_owned();
        oom.group.get_or_insert_with(KillGroup::default).path = Some(path);
    }
}

/// Fills figures of the group that ran out from those kept before the kill, and tells their age.
pub fn fill_from_groups(oom: &mut Oom, groups: &Groups, now: Now) {
    if let Some((path, memory)) = blamed(oom, groups)
        && oom.set_figures(&path, &memory)
    {
        oom.figures_age_secs = groups.age_secs(&path, now);
    }
    oom.drop_impossible();
}

/// The group whose figures belong to the kill.
fn blamed(oom: &mut Oom, groups: &Groups) -> Option<(String, Memory)> {
    let look = |path: &str| groups.look(path);
    match (&oom.constraint, &oom.oom_memcg) {
        (_, Some(path)) => Some((path.clone(), look(path)?)),
        (None | Some(Constraint::Memcg), None) => {
            let own = oom.victim.cgroup.clone()?;
            if let Some((path, memory)) = memory::hit(&own, oom.trigger.cgroup.as_deref(), look) {
                oom.guess(path);
                return Some((path.to_owned(), memory));
            }
            let memory = look(&own)?;
            Some((own, memory))
        }
        (Some(_), None) => None,
    }
}
