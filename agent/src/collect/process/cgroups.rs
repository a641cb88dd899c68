//! Control groups of the largest processes.

use std::sync::Arc;

use crate::cgroup::path_of;
use crate::host::{Host, read_text};
use crate::sample::{ProcRow, ROWS_WITH_CGROUP};

/// Those of the newest table. A process that has not moved is not asked again, where it is known to have not.
#[derive(Default)]
pub(super) struct Cgroups {
    known: Vec<Known>,
    before: Vec<Known>,
}

/// A process, where it was, and the path of that.
struct Known {
    pid: u32,
    start_ticks: u64,
    groups: u64,
    path: Option<Arc<str>>,
}

impl Cgroups {
    /// Fills the first rows; `groups` is what [`super::rows::Row::groups`] says of them.
    pub(super) fn fill(&mut self, host: &dyn Host, rows: &mut [ProcRow], groups: impl Iterator<Item = u64>) {
        std::mem::swap(&mut self.known, &mut self.before);
        self.known.clear();
        let head = rows.iter_mut().zip(groups).take(ROWS_WITH_CGROUP);
        for (row, groups) in head.filter(|(row, _)| row.rss_bytes > 0) {
            let (pid, start_ticks) = (row.pid, row.start_ticks);
            let same = |known: &&Known| {
                groups != 0 && (known.pid, known.start_ticks, known.groups) == (pid, start_ticks, groups)
            };
            let known = self.before.iter().find(same);
            let path = known.map_or_else(|| read(host, pid), |known| known.path.clone());
            row.cgroup.clone_from(&path);
            self.known.push(Known { pid, start_ticks, groups, path });
        }
    }
}

fn read(host: &dyn Host, pid: u32) -> Option<Arc<str>> {
    let text = read_text(host, &format!("/proc/{pid}/cgroup")).ok()?;
    path_of(&text).map(Into::into)
}
