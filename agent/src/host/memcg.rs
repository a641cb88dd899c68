//! The memory control groups of the host: version 1, version 2, or both at once, with the memory
//! controller in either.

use super::Host;
use crate::cgroup::memory::{Events, Memory, is_plain};

/// A place where memory groups are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Directory of its root group.
    pub root: &'static str,
    /// Of version 2.
    pub unified: bool,
}

/// All places, the likely ones first.
pub const HIERARCHIES: [Hierarchy; 3] = [
    Hierarchy { root: "/sys/fs/cgroup", unified: true },
    Hierarchy { root: "/sys/fs/cgroup/memory", unified: false },
    Hierarchy { root: "/sys/fs/cgroup/unified", unified: true },
];

/// Buffers that are used again.
#[derive(Debug, Default)]
pub struct Room {
    path: String,
    text: Vec<u8>,
}

/// Figures of a group, in whatever hierarchy it is; `None` if it is gone.
pub fn read(host: &dyn Host, path: &str) -> Option<Memory> {
    let mut room = Room::default();
    HIERARCHIES.iter().find_map(|hierarchy| hierarchy.read(host, path, &mut room))
}

/// The hierarchy that has the memory controller on this host.
pub fn find(host: &dyn Host) -> Option<Hierarchy> {
    let mut room = Room::default();
    HIERARCHIES.into_iter().find(|hierarchy| hierarchy.is_here(host, &mut room))
}

impl Hierarchy {
    fn is_here(self, host: &dyn Host, room: &mut Room) -> bool {
        if !self.unified {
            return self.text(host, "", "memory.usage_in_bytes", room).is_some();
        }
        self.text(host, "", "cgroup.controllers", room)
            .is_some_and(|text| text.split_whitespace().any(|name| name == "memory"))
    }

    /// Figures of a group; `None` if it is not here.
    pub fn read(self, host: &dyn Host, path: &str, room: &mut Room) -> Option<Memory> {
        if !is_plain(path) {
            return None;
        }
        if self.unified { self.read_v2(host, path, room) } else { self.read_v1(host, path, room) }
    }

    fn read_v2(self, host: &dyn Host, path: &str, room: &mut Room) -> Option<Memory> {
        let limit = self.text(host, path, "memory.max", room)?.trim().parse().ok();
        let usage = self.number(host, path, "memory.current", room);
        let events = self.text(host, path, "memory.events", room).map(Events::parse).unwrap_or_default();
        let oom_group = self.number(host, path, "memory.oom.group", room) == Some(1);
        Some(Memory { oom_group, ..Memory::new(limit, usage, events.max, events) })
    }

    fn read_v1(self, host: &dyn Host, path: &str, room: &mut Room) -> Option<Memory> {
        let limit = self.number(host, path, "memory.limit_in_bytes", room)?;
        let usage = self.number(host, path, "memory.usage_in_bytes", room);
        let failcnt = self.number(host, path, "memory.failcnt", room);
        let events = self.text(host, path, "memory.oom_control", room).map(Events::parse).unwrap_or_default();
        Some(Memory::new(Some(limit), usage, failcnt, events))
    }

    fn number(self, host: &dyn Host, path: &str, file: &str, room: &mut Room) -> Option<u64> {
        self.text(host, path, file, room)?.trim().parse().ok()
    }

    fn text<'a>(self, host: &dyn Host, path: &str, file: &str, room: &'a mut Room) -> Option<&'a str> {
        room.path.clear();
        room.path.extend([self.root, path.trim_end_matches('/'), "/", file]);
        host.read(&room.path, &mut room.text).ok()?;
        std::str::from_utf8(&room.text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    fn check(text: &str, root: Option<&str>) {
        let host = FixtureHost::parse(text).unwrap();
        assert_eq!(find(&host).map(|h| h.root), root, "{text}");
    }

    #[test]
    fn the_hierarchy_of_the_memory_controller_is_found() {
        check("//- /sys/fs/cgroup/cgroup.controllers\ncpuset cpu io memory pids\n", Some("/sys/fs/cgroup"));
        check("//- /sys/fs/cgroup/memory/memory.usage_in_bytes\n5\n", Some("/sys/fs/cgroup/memory"));
        let hybrid = "//- /sys/fs/cgroup/unified/cgroup.controllers\n\n//- /sys/fs/cgroup/memory/memory.usage_in_bytes\n5\n";
        check(hybrid, Some("/sys/fs/cgroup/memory"));
        check("//- /sys/fs/cgroup/unified/cgroup.controllers\nmemory\n", Some("/sys/fs/cgroup/unified"));
        check("//- /sys/fs/cgroup/cgroup.controllers\ncpu memory_recursiveprot\n", None);
        check("", None);
    }

    #[test]
    fn figures_of_both_versions() {
        let host = FixtureHost::parse(
            "//- /sys/fs/cgroup/a/memory.max\nmax\n//- /sys/fs/cgroup/a/memory.current\n4096\n\
             //- /sys/fs/cgroup/a/memory.events\nmax 3\noom_kill 1\n//- /sys/fs/cgroup/a/memory.oom.group\n1\n\
             //- /sys/fs/cgroup/memory/b/memory.limit_in_bytes\n8192\n\
             //- /sys/fs/cgroup/memory/b/memory.oom_control\noom_kill_disable 0\nunder_oom 0\noom_kill 2\n\
             //- /sys/fs/cgroup/memory/bad/memory.limit_in_bytes\n-1\n",
        )
        .unwrap();
        let a = read(&host, "/a").unwrap();
        assert_eq!((a.limit_kb, a.usage_kb, a.failcnt, a.oom_group), (None, Some(4), Some(3), true));
        let b = read(&host, "/b").unwrap();
        assert_eq!((b.limit_kb, b.usage_kb, b.events.oom_kill, b.oom_group), (Some(8), None, Some(2), false));
        for gone in ["/bad", "/c", "", "a", "/../a", "/a/.."] {
            assert_eq!(read(&host, gone), None, "{gone}");
        }
    }
}
