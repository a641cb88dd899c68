//! Figures of the memory control groups, kept for the alert of a kill: by then the group is often gone.
//! Those of units, containers and pods have series too ([`super::units`]).

mod walk;

use super::units::Units;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::keeping::{Keeping, KeepingHost};
use crate::host::memcg::{self, Hierarchy};
use crate::metric::metrics;
use crate::sample::{GroupTable, Samples};
use walk::Walk;

metrics! {
    COUNT: Gauge Count "memory_cgroups_count" [] "Memory control groups that were read.", "cgroup memory controller";
    SKIPPED: Gauge Count "memory_cgroups_skipped_count" []
        "Memory control groups that were not read because there are more than 2048.", "cgroup memory controller";
}

/// Walks the hierarchy of the memory controller.
#[derive(Default)]
pub struct Cgroup {
    walk: Walk,
    /// Where the groups of the pass before were.
    hierarchy: Option<Hierarchy>,
    keeping: Keeping,
    units: Units,
}

impl Cgroup {
    /// Reads nothing yet.
    pub fn new() -> Self {
        Self::default()
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
    fn pass(&mut self, host: &KeepingHost<'_>, out: &mut Samples) -> Result<(), CollectError> {
        let (hierarchy, table) = self.table(host).ok_or_else(|| CollectError::Absent {
            path: "the memory controller in /sys/fs/cgroup".to_owned(),
        })?;
        out.put(&COUNT, &[], table.rows.len() as f64);
        out.put(&SKIPPED, &[], table.skipped as f64);
        self.units.put(host, hierarchy, &table, out);
        out.put_groups(table);
        Ok(())
    }

    /// The groups, and where they are.
    fn table(&mut self, host: &KeepingHost<'_>) -> Option<(Hierarchy, GroupTable)> {
        let same = self.hierarchy.and_then(|known| Some((known, self.walk.again(host, known)?)));
        // Where a file could not be read again, another group may have taken the name of one.
        same.filter(|_| !host.has_lost()).or_else(|| {
            self.hierarchy = memcg::find(host);
            let found = self.hierarchy?;
            Some((found, self.walk.anew(host, found)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::Bench;
    use crate::sample::MAX_GROUP_ROWS;

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
