//! Figures of the memory control groups, kept for the alert of a kill: by then the group is often gone.
//! Those of units, containers and pods have series too ([`super::units`]).
//!
//! Up to `walk::EACH_PASS` groups are all read at each pass. Where there are more, a pass reads those that have series, and the others in
//! turn, all of them within `walk::SWEEP_NS`: a pass costs the same with two thousand groups as with some hundred.

mod choose;
mod place;
mod walk;

#[cfg(test)]
mod tests;

use super::units::Units;
use super::{CollectError, Collector};
use crate::host::Host;
use crate::host::keeping::{Keeping, KeepingHost};
use crate::host::memcg::{self, Hierarchy};
use crate::host::parse::{key, lines, number};
use crate::metric::metrics;
use crate::sample::{GroupTable, Samples};
use crate::time::SECOND;
pub(super) use place::Place;
use walk::{Look, Walk};

metrics! {
    COUNT: Gauge Count "memory_cgroups_count" [] "Memory control groups that are known.", "cgroup memory controller";
    SKIPPED: Gauge Count "memory_cgroups_skipped_count" []
        "Memory control groups that are not read because there are more than 2048.", "cgroup memory controller";
}

/// After a kill all groups are read, but not more often than this: a storm of kills is no reason to read without end.
const REST_NS: u64 = 10 * SECOND;

/// Walks the hierarchy of the memory controller.
#[derive(Default)]
pub struct Cgroup {
    walk: Walk,
    /// Where the groups of the pass before were.
    hierarchy: Option<Hierarchy>,
    keeping: Keeping,
    units: Units,
    kills: Kills,
}

/// The machine's count of kills, which tells that some group's has changed.
#[derive(Default)]
struct Kills {
    accounted: Option<u64>,
    read_ns: u64,
    text: Vec<u8>,
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
        let result = self.pass(&keeping.over(host), host, out);
        self.keeping = keeping;
        result
    }
}

impl Cgroup {
    fn pass(
        &mut self,
        kept: &KeepingHost<'_>,
        host: &dyn Host,
        out: &mut Samples,
    ) -> Result<(), CollectError> {
        let now_ns = out.at().mono_ns;
        let (hierarchy, table) = self.table(kept, host, now_ns).ok_or_else(|| CollectError::Absent {
            path: "the memory controller in /sys/fs/cgroup".to_owned(),
        })?;
        out.put(&COUNT, &[], self.walk.rows as f64);
        out.put(&SKIPPED, &[], table.skipped as f64);
        let (shown, left_out) = choose::choose(&mut self.walk.places);
        Units::put_counts(shown.len(), left_out, out);
        for path in shown {
            if let Some(place) = self.walk.places.get_mut(&path) {
                self.units.put(kept, hierarchy, &path, place, out);
            }
        }
        out.put_groups(table);
        Ok(())
    }

    /// Those groups that were read in this pass, and where they are.
    fn table(
        &mut self,
        kept: &KeepingHost<'_>,
        host: &dyn Host,
        now_ns: u64,
    ) -> Option<(Hierarchy, GroupTable)> {
        if let Some(hierarchy) = self.hierarchy {
            let everything = !self.walk.is_small() && self.kills.has_more(kept, now_ns);
            let look = Look { kept, host, hierarchy, now_ns };
            if let Some(table) = self.walk.again(look, &mut self.units, everything) {
                return Some((hierarchy, table));
            }
        }
        self.hierarchy = memcg::find(kept);
        let hierarchy = self.hierarchy?;
        let _ = self.kills.has_more(kept, now_ns);
        Some((hierarchy, self.walk.anew(Look { kept, host, hierarchy, now_ns }, &mut self.units)))
    }
}

impl Kills {
    /// Whether somebody was killed since this was so.
    fn has_more(&mut self, host: &dyn Host, now_ns: u64) -> bool {
        if host.read("/proc/vmstat", &mut self.text).is_err() {
            return false;
        }
        let count = lines(&self.text).map(key).find(|(name, _)| *name == b"oom_kill");
        let count = count.and_then(|(_, rest)| number(rest.trim_ascii()));
        let is_first = self.accounted.is_none();
        if count == self.accounted || (!is_first && now_ns.saturating_sub(self.read_ns) < REST_NS) {
            return false;
        }
        (self.accounted, self.read_ns) = (count, now_ns);
        !is_first
    }
}
