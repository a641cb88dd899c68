//! Who issued most requests to a device lately, from the map that the kernel keeps of it. It is read only
//! for a device that may be worth an alert.

use std::collections::HashMap;

use agent_common::IoIssuer;
use agent_common::limits::MAX_ISSUERS as MAX_ENTRIES;
use aya::maps::{HashMap as BpfHashMap, Map, MapData, MapError};

use super::decode::{group_of, name};
use crate::cgroup;
use crate::collect::stat_line::StatLine;
use crate::event::{GroupNumber, Task};
use crate::host::cgroup_ids::GroupIds;
use crate::host::{Host, read_text};
use crate::sample::{DiskScene, Issuer, IssuerGroup, MAX_ISSUERS};
use crate::time::SECOND;

/// The map; values as plain words, which aya moves as they are.
pub(super) struct Issuers {
    map: BpfHashMap<MapData, [u32; 2], [u64; VALUE_WORDS]>,
    /// log2 of the nanoseconds of a window.
    shift: u32,
    /// Paths of the groups that were asked for.
    groups: GroupIds,
}

const VALUE_WORDS: usize = size_of::<IoIssuer>() / 8;

impl Issuers {
    pub(super) fn new(map: MapData, shift: u32) -> Result<Self, MapError> {
        Ok(Self { map: BpfHashMap::try_from(Map::LruHashMap(map))?, shift, groups: GroupIds::default() })
    }

    /// Puts the busiest issuers of a device in, and the busiest control groups. A map that cannot be read leaves them
    /// unknown.
    pub(super) fn fill(&mut self, host: &dyn Host, dev: u32, now_ns: u64, scene: &mut DiskScene) {
        // Entries may come and go while they are read; the walk ends with the map's size.
        let keys = self.map.keys().take(MAX_ENTRIES as usize).filter_map(Result::ok);
        let own = keys.filter(|key| key[0] == dev);
        let found = own.filter_map(|key| Some((key[1], bytemuck::cast(self.map.get(&key, 0).ok()?))));
        let window = (now_ns >> self.shift) as u32;
        let found: Vec<Found> = found.filter_map(|(pid, entry)| Found::within(window, pid, &entry)).collect();
        let begun = (now_ns >> self.shift).saturating_sub(1) << self.shift;
        scene.issuers_secs = now_ns.saturating_sub(begun) / SECOND;
        self.groups.learn(host, found.iter().map(|found| found.group));
        rank(found, &self.groups, scene);
        for issuer in &mut scene.issuers {
            look(host, &mut issuer.task, begun);
        }
    }
}

/// The name of the process, where the kernel counted under that of one of its threads, and its control group if the
/// kernel told none; only where the number has been this process's for as long as is looked back.
fn look(host: &dyn Host, task: &mut Task, begun_ns: u64) {
    let Some(pid) = task.pid else { return };
    let file = |name: &str| read_text(host, &format!("/proc/{pid}/{name}")).ok();
    let path = file("cgroup").and_then(|text| cgroup::path_of(&text));
    let comm = file("comm").map(|text| text.trim_end_matches('\n').to_owned());
    // Read last: what was read before is of a process that stood then already.
    let Some(line) = file("stat") else { return };
    let Some(stat) = StatLine::parse(line.as_bytes()) else { return };
    // Since boot, the time in suspend included: later than on the monotonic clock, if anything.
    let start_ns = stat.start_ticks.saturating_mul(SECOND / host.ticks_per_second());
    if start_ns <= begun_ns {
        task.comm = comm.or(task.comm.take());
        task.cgroup = task.cgroup.take().or(path);
    }
}

/// What a process issued in the current window and the one before.
struct Found {
    pid: u32,
    comm: Option<String>,
    group: GroupNumber,
    requests: u64,
    bytes: u64,
}

impl Found {
    fn within(window: u32, pid: u32, entry: &IoIssuer) -> Option<Self> {
        let (requests, bytes) = match window.wrapping_sub(entry.window) {
            0 => (
                entry.requests.saturating_add(entry.requests_before),
                entry.bytes.saturating_add(entry.bytes_before),
            ),
            // The second: begun after the time was taken.
            1 | u32::MAX => (entry.requests, entry.bytes),
            _ => return None,
        };
        let group = group_of(entry.hierarchy, entry.cgroup_id);
        Some(Self { pid, comm: name(&entry.comm), group, requests: requests.into(), bytes })
    }
}

/// The busiest processes, and the busiest groups.
fn rank(found: Vec<Found>, paths: &GroupIds, scene: &mut DiskScene) {
    let mut groups: HashMap<GroupNumber, (u64, u64)> = HashMap::new();
    scene.requests = found.iter().map(|found| found.requests).sum();
    for Found { pid, comm, group, requests, bytes } in found {
        let sum = groups.entry(group).or_default();
        *sum = (sum.0.saturating_add(requests), sum.1.saturating_add(bytes));
        let cgroup = paths.path(group).map(str::to_owned);
        let task = Task { pid: Some(pid), comm, cgroup, ..Task::default() };
        scene.issuers.push(Issuer { task, requests, bytes });
        scene.issuers.sort_by_key(|issuer| std::cmp::Reverse((issuer.requests, issuer.bytes)));
        scene.issuers.truncate(MAX_ISSUERS);
    }
    scene.groups = groups
        .into_iter()
        .filter_map(|(group, (requests, bytes))| {
            Some(IssuerGroup { path: paths.path(group)?.to_owned(), requests, bytes })
        })
        .collect();
    scene.groups.sort_by(|a, b| (b.requests, b.bytes, &a.path).cmp(&(a.requests, a.bytes, &b.path)));
    scene.groups.truncate(MAX_ISSUERS);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;
    use bytemuck::Zeroable;

    fn entry(window: u32, requests: u32, requests_before: u32) -> IoIssuer {
        let bytes = u64::from(requests) * 4096;
        IoIssuer { window, requests, requests_before, bytes, ..IoIssuer::zeroed() }
    }

    /// Entries by pid; expects `pid:requests` of the busiest, most first, and the requests of all.
    fn check(entries: &[(u32, IoIssuer)], expect: &str, all: u64) {
        let mut scene = DiskScene::default();
        let found = entries.iter().filter_map(|(pid, entry)| Found::within(100, *pid, entry)).collect();
        rank(found, &GroupIds::default(), &mut scene);
        let got: Vec<_> =
            scene.issuers.iter().map(|i| format!("{}:{}", i.task.pid.unwrap_or(0), i.requests)).collect();
        assert_eq!((got.join(" ").as_str(), scene.requests), (expect, all));
    }

    #[test]
    fn the_busiest_come_first() {
        check(&[], "", 0);
        check(&[(1, entry(100, 5, 0)), (2, entry(100, 50, 0))], "2:50 1:5", 55);
        let many: Vec<_> = (1..=9).map(|pid| (pid, entry(100, pid, 0))).collect();
        check(&many, "9:9 8:8 7:7 6:6 5:5", 45);
    }

    #[test]
    fn only_the_last_two_windows_count() {
        check(&[(1, entry(100, 5, 7)), (2, entry(99, 9, 1000)), (3, entry(98, 99, 99))], "1:12 2:9", 21);
        check(&[(1, entry(101, 3, 4))], "1:3", 3);
        check(&[(1, entry(0, 3, 4)), (2, entry(u32::MAX, 3, 4))], "", 0);
        check(&[(1, entry(100, u32::MAX, u32::MAX))], "1:4294967295", u64::from(u32::MAX));
    }

    #[test]
    fn groups_are_ranked_by_all_of_their_processes() {
        let host = FixtureHost::parse(
            "//- inode /sys/fs/cgroup/memory/io.service 7\n//- /sys/fs/cgroup/memory/io.service/tasks\n\
             //- /proc/99/comm\nother\n//- /proc/99/cgroup\n5:memory:/wrong\n\
             //- /proc/99/stat\n99 (other) S 1 1 1 0 -1 0 9 0 0 0 1 0 0 0 20 0 1 0 900 4096 1 18 1\n\
             //- /proc/98/comm\npostgres\n//- /proc/98/cgroup\n5:memory:/right\n\
             //- /proc/98/stat\n98 (postgres) S 1 1 1 0 -1 0 9 0 0 0 1 0 0 0 20 0 1 0 100 4096 1 18 1\n",
        )
        .expect("valid");
        let of =
            |hierarchy, cgroup_id, requests| IoIssuer { hierarchy, cgroup_id, ..entry(100, requests, 0) };
        let mut found: Vec<_> = (1..=24).filter_map(|pid| Found::within(100, pid, &of(1, 7, 1))).collect();
        found.extend(Found::within(100, 50, &of(0, 1, 9)));
        let mut paths = GroupIds::default();
        paths.learn(&host, found.iter().map(|found| found.group));
        let mut scene = DiskScene::default();
        rank(found, &paths, &mut scene);
        let groups: Vec<_> = scene.groups.iter().map(|g| (g.path.as_str(), g.requests)).collect();
        assert_eq!((groups, scene.requests), (vec![("/io.service", 24)], 33));
        assert_eq!(scene.issuers[0].task.pid, Some(50));
        assert_eq!(scene.issuers[1].task.cgroup.as_deref(), Some("/io.service"));
        let task = |pid| Task { pid: Some(pid), comm: Some("dd".into()), ..Task::default() };
        let (mut reused, mut same) = (task(99), task(98));
        look(&host, &mut reused, 5 * SECOND);
        look(&host, &mut same, 5 * SECOND);
        assert_eq!((reused.comm.as_deref(), reused.cgroup), (Some("dd"), None), "another process by now");
        assert_eq!((same.comm.as_deref(), same.cgroup.as_deref()), (Some("postgres"), Some("/right")));
    }
}
