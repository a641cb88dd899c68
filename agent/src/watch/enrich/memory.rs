//! The memory of the group that ran out and of the machine, at the moment of a kill.

use crate::cgroup::memory::{self, Memory};
use crate::event::{Constraint, HostMemory, KillGroup, Oom};
use crate::host::{Host, memcg, read_text};

/// Fills what is known only now: the group may be gone the next moment.
pub(super) fn fill(host: &dyn Host, oom: &mut Oom) {
    let own = oom.victim.cgroup.clone().unwrap_or_default();
    let way: Vec<_> = memory::upwards(&own).map(|path| (path, memcg::read(host, path))).collect();
    let look = |path: &str| {
        let known = way.iter().find(|(on_way, _)| *on_way == path);
        known.map_or_else(|| memcg::read(host, path), |(_, memory)| *memory)
    };
    figures(oom, &own, look);
    together(oom, &own, look);
}

/// Figures of the control group that ran out.
fn figures(oom: &mut Oom, own: &str, look: impl Fn(&str) -> Option<Memory>) {
    let told = oom.limit_kb.is_some() || oom.usage_kb.is_some();
    let found = match (&oom.constraint, &oom.oom_memcg) {
        (_, Some(path)) => look(path).map(|memory| (path.clone(), memory)),
        (None | Some(Constraint::Memcg), None) => {
            let hit = memory::hit(own, oom.trigger.cgroup.as_deref(), &look);
            // The kernel told figures without a name: the group is one that has this limit.
            let hit = hit.filter(|(_, memory)| !told || memory.limit_kb == oom.limit_kb);
            let hit = hit.map(|(path, memory)| (path.to_owned(), memory));
            if let Some((path, _)) = &hit {
                oom.guess(path);
            }
            // Nothing says which group it was: the figures of the victim's own one, as such.
            hit.or_else(|| Some((own.to_owned(), look(own).filter(|_| own.len() > 1)?)))
        }
        (Some(_), None) => None,
    };
    if let Some((path, memory)) = found {
        set(oom, &path, memory, told);
    }
    oom.drop_impossible();
}

/// What the kernel log told of the limit is of the very moment, and stays.
fn set(oom: &mut Oom, path: &str, memory: Memory, told: bool) {
    let memory =
        if told { Memory { limit_kb: None, usage_kb: None, failcnt: None, ..memory } } else { memory };
    oom.set_figures(path, &memory);
}

/// Whether the victim's whole group dies (`memory.oom.group`).
fn together(oom: &mut Oom, own: &str, look: impl Fn(&str) -> Option<Memory>) {
    if let Some(path) = memory::dies_together(own, oom.oom_memcg.as_deref(), look) {
        let path = path.to_owned();
        oom.group.get_or_insert_with(KillGroup::default).path.get_or_insert(path);
    }
}

/// Memory of the machine.
pub(super) fn machine(host: &dyn Host) -> HostMemory {
    let meminfo = read_text(host, "/proc/meminfo").unwrap_or_default();
    let pressure = read_text(host, "/proc/pressure/memory").unwrap_or_default();
    let kb = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let avg10 = |kind: &str| -> Option<f64> {
        let line = pressure.lines().find_map(|line| line.strip_prefix(kind))?;
        let value: f64 = line.split(' ').find_map(|word| word.strip_prefix("avg10="))?.parse().ok()?;
        value.is_finite().then_some(value)
    };
    HostMemory {
        total_kb: kb("MemTotal"),
        available_kb: kb("MemAvailable"),
        swap_total_kb: kb("SwapTotal"),
        swap_used_kb: kb("SwapTotal").zip(kb("SwapFree")).map(|(total, free)| total.saturating_sub(free)),
        some_avg10: avg10("some "),
        full_avg10: avg10("full "),
    }
}
