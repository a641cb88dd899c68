//! The processes worth naming beside a condition.

use serde_json::{Value, json};

use crate::engine::series::SeriesTable;
use crate::sample::ProcTable;

/// How many are named.
const TOP: usize = 3;
/// Open files of a process.
const OPEN_FILES: &str = "process_open_fds_count";

/// Which processes are worth naming beside a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprits {
    /// None.
    Nobody,
    /// Those that use most CPU.
    Cpu,
    /// Those that hold most memory.
    Memory,
    /// Those that hold most open files.
    Files,
    /// Those that wait for a disk now, the largest first.
    Waiting,
}

/// State letter of uninterruptible sleep.
const WAITS_FOR_DISK: u8 = b'D';

impl Culprits {
    /// The first three, as far as they are known.
    pub(super) fn top(self, processes: Option<&ProcTable>, table: Option<&SeriesTable>) -> Option<Value> {
        let rows = || processes.into_iter().flat_map(|table| &table.rows);
        let list: Vec<Value> = match self {
            Self::Nobody => return None,
            Self::Memory => rows()
                .take(TOP)
                .map(|r| json!({ "pid": r.pid, "comm": &*r.comm, "rss_kb": r.rss_bytes / 1024 }))
                .collect(),
            Self::Cpu => {
                let mut rows: Vec<_> = rows().collect();
                rows.sort_by(|a, b| b.cpu_percent.total_cmp(&a.cpu_percent));
                let shown = rows.into_iter().take(TOP);
                shown
                    .map(|r| json!({ "pid": r.pid, "comm": &*r.comm, "cpu_percent": r.cpu_percent }))
                    .collect()
            }
            Self::Waiting => rows()
                .filter(|r| r.state == WAITS_FOR_DISK)
                .take(TOP)
                .map(|r| json!({ "pid": r.pid, "comm": &*r.comm, "state": "waits for a disk" }))
                .collect(),
            Self::Files => {
                let of = table.into_iter().flat_map(SeriesTable::iter).map(|(_, series)| series);
                let mut all: Vec<_> = of.filter(|s| s.metric.name == OPEN_FILES && s.at_ns > 0).collect();
                all.sort_by(|a, b| b.value.total_cmp(&a.value));
                let shown = all.into_iter().take(TOP);
                shown
                    .map(|s| json!({ "pid": s.label("pid"), "comm": s.label("comm"), "open_fds": s.value }))
                    .collect()
            }
        };
        (!list.is_empty()).then_some(Value::Array(list))
    }
}
