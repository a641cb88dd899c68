//! The memory control groups as they were a moment ago: what an alert tells of a group that is gone, and
//! which group's own counter saw a kill that nobody told of.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cgroup::memory::{Memory, upwards};
use crate::sample::GroupTable;
use crate::time::{Now, SECOND};

/// Groups remembered, those that are gone included; beyond it the ones read longest ago are forgotten.
pub const MAX_GROUPS: usize = 4096;
/// A group that was not read for so long is forgotten.
const KEEP_NS: u64 = 600 * SECOND;

#[derive(Debug)]
struct Known {
    memory: Memory,
    read_ns: u64,
    /// `oom_kill` when counter and incidents last agreed.
    base: u64,
    /// Kills told since then, where the counter counts them.
    told: u64,
}

/// All groups by path.
#[derive(Debug, Default)]
pub struct Groups {
    known: HashMap<Arc<str>, Known>,
    /// Counters hold those of the groups below (v2).
    recursive: bool,
    started: bool,
    forgotten: u64,
}

impl Groups {
    /// Takes a look at all groups, made at `at`.
    pub fn take(&mut self, at: Now, table: GroupTable) {
        self.recursive = table.recursive;
        for row in table.rows {
            let kills = row.memory.events.oom_kill.unwrap_or(0);
            // A group that is new since the first look began to count at 0.
            let base = if self.started { 0 } else { kills };
            let known =
                self.known.entry(row.path).or_insert(Known { memory: row.memory, read_ns: 0, base, told: 0 });
            if kills < known.memory.events.oom_kill.unwrap_or(0) {
                // Removed and made anew.
                (known.base, known.told) = (0, 0);
            }
            (known.memory, known.read_ns) = (row.memory, at.mono_ns);
        }
        self.started = true;
        self.forget(at.mono_ns);
    }

    fn forget(&mut self, now_ns: u64) {
        self.known.retain(|_, known| now_ns.saturating_sub(known.read_ns) < KEEP_NS);
        let surplus = self.known.len().saturating_sub(MAX_GROUPS);
        if surplus == 0 {
            return;
        }
        let mut ages: Vec<u64> = self.known.values().map(|known| known.read_ns).collect();
        let (older, newest_to_go, _) = ages.select_nth_unstable(surplus - 1);
        let limit = *newest_to_go;
        // Of those read at that very moment, as many as are still too many.
        let mut left = surplus - older.iter().filter(|age| **age < limit).count();
        self.known.retain(|_, known| {
            let goes = known.read_ns < limit || known.read_ns == limit && left > 0;
            left -= usize::from(known.read_ns == limit && goes);
            !goes
        });
        self.forgotten += surplus as u64;
    }

    /// Newest figures of a group.
    pub fn look(&self, path: &str) -> Option<Memory> {
        self.known.get(path).map(|known| known.memory)
    }

    /// Age of these figures, seconds.
    pub fn age_secs(&self, path: &str, now: Now) -> Option<u64> {
        self.known.get(path).map(|known| now.mono_ns.saturating_sub(known.read_ns) / SECOND)
    }

    /// Kills in a group were told: its counter will show them, or does already.
    pub fn told(&mut self, path: &str, kills: u64) {
        for path in upwards(path).take(if self.recursive { usize::MAX } else { 1 }) {
            if let Some(known) = self.known.get_mut(path) {
                known.told += kills;
            }
        }
    }

    /// Incidents and the machine's counter agree: what the groups counted so far is accounted for.
    pub fn settle(&mut self) {
        for known in self.known.values_mut() {
            known.base = known.memory.events.oom_kill.unwrap_or(0);
            known.told = 0;
        }
    }

    /// Groups that counted kills nobody told of, with their number, the most first. A group that is gone
    /// shows in the one above it.
    pub fn untold(&self) -> Vec<(Arc<str>, u64)> {
        let mut rest: HashMap<&str, u64> = self
            .known
            .iter()
            .map(|(path, known)| (&**path, known.untold()))
            .filter(|(_, n)| *n > 0)
            .collect();
        if self.recursive {
            let of_children: Vec<(&str, u64)> =
                rest.iter().filter_map(|(path, n)| Some((path.rsplit_once('/')?.0, *n))).collect();
            for (parent, n) in of_children {
                if let Some(own) = rest.get_mut(parent) {
                    *own = own.saturating_sub(n);
                }
            }
        }
        let mut found: Vec<(Arc<str>, u64)> = rest
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .filter_map(|(path, n)| Some((Arc::clone(self.known.get_key_value(path)?.0), n)))
            .collect();
        found.sort_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
        found
    }

    /// Groups forgotten because of [`MAX_GROUPS`].
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

impl Known {
    fn untold(&self) -> u64 {
        self.memory.events.oom_kill.unwrap_or(0).saturating_sub(self.base + self.told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::memory::Events;
    use crate::sample::GroupRow;

    fn at(secs: u64) -> Now {
        Now::default().plus_secs(secs)
    }

    fn table(recursive: bool, rows: &[(&str, u64)]) -> GroupTable {
        let row = |(path, kills): &(&str, u64)| {
            let events = Events { oom_kill: Some(*kills), ..Events::default() };
            GroupRow { path: (*path).into(), memory: Memory::new(Some(4096), Some(1024), Some(9), events) }
        };
        GroupTable { rows: rows.iter().map(row).collect(), skipped: 0, recursive }
    }

    fn check(groups: &Groups, expect: &[(&str, u64)]) {
        let found = groups.untold();
        assert_eq!(found.iter().map(|(path, n)| (&**path, *n)).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn a_group_that_is_gone_is_remembered_for_a_while() {
        let mut groups = Groups::default();
        groups.take(at(0), table(true, &[("/a", 0), ("/b", 0)]));
        groups.take(at(10), table(true, &[("/b", 0)]));
        assert_eq!(groups.look("/a").and_then(|m| m.limit_kb), Some(4));
        assert_eq!((groups.age_secs("/a", at(12)), groups.age_secs("/b", at(12))), (Some(12), Some(2)));
        groups.take(at(601), table(true, &[("/b", 0)]));
        assert_eq!((groups.look("/a"), groups.age_secs("/a", at(601))), (None, None));
    }

    #[test]
    fn version_1_counts_in_the_group_itself() {
        let mut groups = Groups::default();
        groups.take(at(0), table(false, &[("/a", 5), ("/a/b", 2)]));
        check(&groups, &[]);
        groups.take(at(10), table(false, &[("/a", 6), ("/a/b", 4), ("/new", 1)]));
        check(&groups, &[("/a/b", 2), ("/a", 1), ("/new", 1)]);
        groups.told("/a/b", 1);
        groups.told("/new", 1);
        check(&groups, &[("/a", 1), ("/a/b", 1)]);
        groups.settle();
        check(&groups, &[]);
    }

    #[test]
    fn version_2_counts_upwards_too() {
        let mut groups = Groups::default();
        groups.take(at(0), table(true, &[("/s", 0), ("/s/a", 0), ("/s/b", 0)]));
        groups.take(at(10), table(true, &[("/s", 2), ("/s/a", 1), ("/s/b", 1)]));
        check(&groups, &[("/s/a", 1), ("/s/b", 1)]);
        groups.told("/s/a", 1);
        check(&groups, &[("/s/b", 1)]);
        // `/s/b` was told but removed before its counter was read again; `/s/x` was never read.
        let mut groups = Groups::default();
        groups.take(at(0), table(true, &[("/s", 0), ("/s/b", 0)]));
        groups.told("/s/b", 1);
        groups.take(at(10), table(true, &[("/s", 2)]));
        check(&groups, &[("/s", 1)]);
        groups.told("/s/x", 1);
        check(&groups, &[]);
    }

    #[test]
    fn a_group_made_anew_counts_anew() {
        let mut groups = Groups::default();
        groups.take(at(0), table(true, &[("/a", 7)]));
        groups.take(at(10), table(true, &[("/a", 1)]));
        check(&groups, &[("/a", 1)]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut groups = Groups::default();
        for pass in 0..20 {
            let paths: Vec<String> = (0..1000).map(|n| format!("/{pass}/{n}")).collect();
            let rows: Vec<(&str, u64)> = paths.iter().map(|p| (p.as_str(), 0)).collect();
            groups.take(at(pass), table(true, &rows));
        }
        assert_eq!((groups.known.len(), groups.forgotten()), (MAX_GROUPS, 20_000 - MAX_GROUPS as u64));
        assert!(groups.look("/19/999").is_some() && groups.look("/0/0").is_none());
    }
}
