//! Figures of the memory control groups, kept for the alert of a kill: by then the group is often gone.
//! Those of units, containers and pods have series too ([`super::units`]).

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::units::Units;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::keeping::Keeping;
use crate::host::memcg::{self, Hierarchy, Room};
use crate::metric::metrics;
use crate::sample::{GroupRow, GroupTable, MAX_GROUP_ROWS, Samples};

metrics! {
    COUNT: Gauge Count "memory_cgroups_count" [] "Memory control groups that were read.", "cgroup memory controller";
    SKIPPED: Gauge Count "memory_cgroups_skipped_count" []
        "Memory control groups that were not read because there are more than 2048.", "cgroup memory controller";
}

/// Walks the hierarchy of the memory controller.
#[derive(Default)]
pub struct Cgroup {
    /// Groups of the pass before: their paths are used again.
    known: HashSet<Arc<str>>,
    /// Groups to be looked into.
    queue: VecDeque<Arc<str>>,
    path: String,
    room: Room,
    keeping: Keeping,
    units: Units,
}

impl Cgroup {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn table(&mut self, host: &dyn Host, hierarchy: Hierarchy) -> GroupTable {
        let mut table = GroupTable { recursive: hierarchy.unified, ..GroupTable::default() };
        self.queue.clear();
        self.below(host, hierarchy, "", &mut table);
        while let Some(path) = self.queue.pop_front() {
            if let Some(memory) = hierarchy.read(host, &path, &mut self.room) {
                table.rows.push(GroupRow { path: Arc::clone(&path), memory });
            }
            self.below(host, hierarchy, &path, &mut table);
        }
        self.known.clear();
        self.known.extend(table.rows.iter().map(|row| Arc::clone(&row.path)));
        table
    }

    /// Queues the groups below one. It may have vanished meanwhile.
    fn below(&mut self, host: &dyn Host, hierarchy: Hierarchy, parent: &str, table: &mut GroupTable) {
        let Self { known, queue, path, .. } = self;
        let room = MAX_GROUP_ROWS - table.rows.len().min(MAX_GROUP_ROWS);
        let skipped = &mut table.skipped;
        let each = &mut |name: &str| {
            if queue.len() >= room {
                *skipped += 1;
                return;
            }
            path.clear();
            path.extend([parent, "/", name]);
            queue.push_back(known.get(path.as_str()).map_or_else(|| path.as_str().into(), Arc::clone));
        };
        let dir = [hierarchy.root, parent].concat();
        // Nothing to list is nothing below.
        let _ = host.has_no_dirs(&dir) || host.list_dirs(&dir, each).is_ok();
    }
}

impl Collector for Cgroup {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let keeping = std::mem::take(&mut self.keeping);
        let result = self.pass(&keeping.over(host), out);
        self.keeping = keeping;
        result
    }
}

impl Cgroup {
    fn pass(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let hierarchy = memcg::find(host).ok_or_else(|| CollectError::Absent {
            path: "the memory controller in /sys/fs/cgroup".to_owned(),
        })?;
        let table = self.table(host, hierarchy);
        out.put(&COUNT, &[], table.rows.len() as f64);
        out.put(&SKIPPED, &[], table.skipped as f64);
        self.units.put(host, hierarchy, &table, out);
        out.put_groups(table);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;

    const V2: &str = "\
//- /sys/fs/cgroup/cgroup.controllers
memory
//- /sys/fs/cgroup/system.slice/memory.max
max
//- /sys/fs/cgroup/system.slice/memory.events
oom_kill 1
//- /sys/fs/cgroup/system.slice/web.service/memory.max
1048576
//- /sys/fs/cgroup/system.slice/web.service/memory.oom.group
1
//- /sys/fs/cgroup/nothing/cgroup.procs

";

    fn pass(bench: &mut Bench) -> GroupTable {
        bench.pass().unwrap();
        bench.groups.take().unwrap()
    }

    #[test]
    fn version_2() {
        let mut bench = Bench::new(V2, Cgroup::new());
        let table = pass(&mut bench);
        let rows: Vec<_> =
            table.rows.iter().map(|r| (&*r.path, r.memory.limit_kb, r.memory.oom_group)).collect();
        assert_eq!(rows, [("/system.slice", None, false), ("/system.slice/web.service", Some(1024), true)]);
        assert!(table.recursive);
        bench.expect(&[("memory_cgroups_count", 2.0), ("memory_cgroups_skipped_count", 0.0)]);
        bench.host.remove("/sys/fs/cgroup/system.slice/web.service");
        assert_eq!(pass(&mut bench).rows.len(), 1, "what is gone is gone");
    }

    #[test]
    fn version_1_below_other_controllers() {
        let text = "//- /sys/fs/cgroup/cpu/docker/cpu.shares\n2\n\
            //- /sys/fs/cgroup/memory/memory.usage_in_bytes\n5\n\
            //- /sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes\n2048\n\
            //- /sys/fs/cgroup/memory/docker/x/memory.oom_control\noom_kill 3\n";
        let table = pass(&mut Bench::new(text, Cgroup::new()));
        assert_eq!(table.rows.len(), 1, "a group without figures has no row: {table:?}");
        assert_eq!((&*table.rows[0].path, table.rows[0].memory.events.oom_kill), ("/docker/x", Some(3)));
        assert!(!table.recursive);
    }

    #[test]
    fn without_the_controller_it_is_absent() {
        for text in ["", "//- /sys/fs/cgroup/cgroup.controllers\ncpu\n"] {
            let mut bench = Bench::new(text, Cgroup::new());
            assert!(matches!(bench.pass(), Err(CollectError::Absent { .. })));
        }
    }

    #[test]
    fn the_table_is_bounded_and_says_so() {
        let text = "//- /sys/fs/cgroup/cgroup.controllers\nmemory\n".to_owned();
        let wide = (0..MAX_GROUP_ROWS).map(|n| format!("//- /sys/fs/cgroup/g{n}/memory.max\nmax\n"));
        let deep = (0..5).map(|n| format!("//- /sys/fs/cgroup/g{n}/deep/memory.max\nmax\n"));
        let text: String = std::iter::once(text).chain(wide).chain(deep).collect();
        let table = pass(&mut Bench::new(&text, Cgroup::new()));
        assert_eq!((table.rows.len(), table.skipped), (MAX_GROUP_ROWS, 5));
        assert!(table.rows.iter().all(|row| !row.path.ends_with("deep")));
    }
}
