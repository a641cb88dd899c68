//! Who issued most requests to a device lately, from the map that the kernel keeps of it. It is read only
//! for a device that may be worth an alert.

use agent_common::IoIssuer;
use agent_common::limits::MAX_ISSUERS as MAX_ENTRIES;
use aya::maps::{HashMap as BpfHashMap, Map, MapData, MapError};

use super::decode::name;
use crate::cgroup;
use crate::event::Task;
use crate::host::{Host, read_text};
use crate::sample::{DiskScene, Issuer, MAX_ISSUERS};
use crate::time::SECOND;

/// The map; values as plain words, which aya moves as they are.
pub(super) struct Issuers {
    map: BpfHashMap<MapData, [u32; 2], [u64; VALUE_WORDS]>,
    /// log2 of the nanoseconds of a window.
    shift: u32,
}

const VALUE_WORDS: usize = size_of::<IoIssuer>() / 8;

impl Issuers {
    pub(super) fn new(map: MapData, shift: u32) -> Result<Self, MapError> {
        Ok(Self { map: BpfHashMap::try_from(Map::LruHashMap(map))?, shift })
    }

    /// Puts the busiest issuers of a device in. A map that cannot be read leaves them unknown.
    pub(super) fn fill(&self, host: &dyn Host, dev: u32, now_ns: u64, scene: &mut DiskScene) {
        // Entries may come and go while they are read; the walk ends with the map's size.
        let keys = self.map.keys().take(MAX_ENTRIES as usize).filter_map(Result::ok);
        let own = keys.filter(|key| key[0] == dev);
        let found = own.filter_map(|key| Some((key[1], bytemuck::cast(self.map.get(&key, 0).ok()?))));
        let window = (now_ns >> self.shift) as u32;
        rank(found, window, scene);
        let begun = (now_ns >> self.shift).saturating_sub(1) << self.shift;
        scene.issuers_secs = now_ns.saturating_sub(begun) / SECOND;
        for issuer in &mut scene.issuers {
            look(host, &mut issuer.task);
        }
    }
}

/// Name and control group, if the process still is. The kernel counted under the name of one of its threads.
fn look(host: &dyn Host, task: &mut Task) {
    let Some(pid) = task.pid else { return };
    let file = |name: &str| read_text(host, &format!("/proc/{pid}/{name}")).ok();
    task.cgroup = file("cgroup").and_then(|text| cgroup::path_of(&text));
    task.comm = file("comm").map(|text| text.trim_end_matches('\n').to_owned()).or(task.comm.take());
}

/// The busiest of the current window and the one before.
fn rank(found: impl Iterator<Item = (u32, IoIssuer)>, window: u32, scene: &mut DiskScene) {
    scene.requests = 0;
    for (pid, entry) in found {
        let (requests, bytes) = match window.wrapping_sub(entry.window) {
            0 => (
                entry.requests.saturating_add(entry.requests_before),
                entry.bytes.saturating_add(entry.bytes_before),
            ),
            // The second: begun after the time was taken.
            1 | u32::MAX => (entry.requests, entry.bytes),
            _ => continue,
        };
        scene.requests += u64::from(requests);
        let task = Task { pid: Some(pid), comm: name(&entry.comm), ..Task::default() };
        scene.issuers.push(Issuer { task, requests: u64::from(requests), bytes });
        scene.issuers.sort_by_key(|issuer| std::cmp::Reverse((issuer.requests, issuer.bytes)));
        scene.issuers.truncate(MAX_ISSUERS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::Zeroable;

    fn entry(window: u32, requests: u32, requests_before: u32) -> IoIssuer {
        let bytes = u64::from(requests) * 4096;
        IoIssuer { window, requests, requests_before, bytes, ..IoIssuer::zeroed() }
    }

    /// Entries by pid; expects `pid:requests` of the busiest, most first, and the requests of all.
    fn check(entries: &[(u32, IoIssuer)], expect: &str, all: u64) {
        let mut scene = DiskScene::default();
        rank(entries.iter().copied(), 100, &mut scene);
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
}
