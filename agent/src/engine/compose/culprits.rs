//! The processes worth naming beside a condition.

use serde_json::{Map, Value, json};

use super::oom::place;
use crate::cgroup::owner;
use crate::engine::series::SeriesTable;
use crate::sample::{ProcRow, ProcTable};
use crate::text::clean;

/// Characters of a command line.
const MAX_CMDLINE: usize = 200;
/// State letter of uninterruptible sleep.
const WAITS_FOR_DISK: u8 = b'D';
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
    /// Those that read and write most, and those that wait for a disk now.
    Waiting,
}

/// A process among the largest: what it holds, where it lives, and how it was called.
pub(super) fn by_memory((row, cmdline, pss): (&ProcRow, Option<&str>, Option<u64>)) -> Value {
    let mut out = Map::new();
    let mut put = |name: &str, value: Option<Value>| value.map(|value| out.insert(name.to_owned(), value));
    put("pid", Some(row.pid.into()));
    put("comm", Some((*row.comm).into()));
    put("rss_kb", Some((row.rss_bytes / 1024).into()));
    put("pss_kb", pss.map(|bytes| (bytes / 1024).into()));
    put("cmdline", cmdline.map(|line| clean(line, MAX_CMDLINE).into()));
    if let Some(path) = row.cgroup.as_deref() {
        match place(&owner(path)) {
            Some(place) => put("in", Some(place.into())),
            None => put("cgroup", Some(path.into())),
        };
    }
    Value::Object(out)
}

/// Those that read and write most, then those that wait for a disk, the largest first.
fn by_io(table: &ProcTable) -> Vec<Value> {
    let waits = |row: &ProcRow| (row.state == WAITS_FOR_DISK).then_some("waits for a disk");
    let moving = table.io.iter().map(|io| {
        let row = table.rows.iter().find(|row| (row.pid, row.start_ticks) == (io.pid, io.start_ticks));
        let mut out = json!({
            "pid": io.pid,
            "comm": row.map_or("", |row| &*row.comm),
            "read_bytes_per_second": io.read_per_second.round(),
            "written_bytes_per_second": io.written_per_second.round(),
        });
        if let (Some(state), Value::Object(out)) = (row.and_then(waits), &mut out) {
            out.insert("state".to_owned(), state.into());
        }
        out
    });
    let is_moving = |row: &ProcRow| table.io.iter().any(|io| io.pid == row.pid);
    let waiting = table.rows.iter().filter(|row| !is_moving(row)).filter_map(|row| {
        waits(row).map(|state| json!({ "pid": row.pid, "comm": &*row.comm, "state": state }))
    });
    moving.chain(waiting).take(TOP).collect()
}

impl Culprits {
    /// The first three, as far as they are known.
    pub(super) fn top(self, processes: Option<&ProcTable>, table: Option<&SeriesTable>) -> Option<Value> {
        let rows = || processes.into_iter().flat_map(|table| &table.rows);
        let list: Vec<Value> = match self {
            Self::Nobody => return None,
            Self::Memory => {
                processes.into_iter().flat_map(ProcTable::largest).take(TOP).map(by_memory).collect()
            }
            Self::Cpu => {
                let mut rows: Vec<_> = rows().collect();
                rows.sort_by(|a, b| b.cpu_percent.total_cmp(&a.cpu_percent));
                let shown = rows.into_iter().take(TOP);
                shown
                    .map(|r| json!({ "pid": r.pid, "comm": &*r.comm, "cpu_percent": r.cpu_percent }))
                    .collect()
            }
            Self::Waiting => processes.map(by_io).unwrap_or_default(),
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
