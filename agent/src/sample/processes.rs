//! The newest look at all processes.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The newest look at all processes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcTable {
    /// One row a process, at most [`MAX_PROC_ROWS`]: first the [`ROWS_IN_ORDER`] with most resident memory, largest
    /// first, then all others.
    pub rows: Vec<ProcRow>,
    /// Processes seen in all.
    pub total: usize,
    /// Command lines of the first rows, at most [`ROWS_WITH_CMDLINE`], in the same order; hostile text.
    pub cmdlines: Vec<Option<Arc<str>>>,
    /// Proportional memory of the first rows, bytes, at most [`ROWS_WITH_PSS`], in the same order.
    pub pss: Vec<Option<u64>>,
    /// Those that read and write most, at most [`MAX_IO_ROWS`], most first; nobody where it may not be known.
    pub io: Vec<IoRow>,
}

impl ProcTable {
    /// The row of a process and its command line, as far as they are known.
    pub fn find(&self, pid: u32) -> Option<(&ProcRow, Option<&str>)> {
        let at = self.rows.iter().position(|row| row.pid == pid)?;
        Some((self.rows.get(at)?, self.cmdlines.get(at).and_then(Option::as_deref)))
    }

    /// The largest, with their command lines and proportional memory, as far as these are known.
    pub fn largest(&self) -> impl Iterator<Item = (&ProcRow, Option<&str>, Option<u64>)> {
        let cmdline = |at: usize| self.cmdlines.get(at).and_then(Option::as_deref);
        let pss = |at: usize| self.pss.get(at).copied().flatten();
        self.rows.iter().enumerate().map(move |(at, row)| (row, cmdline(at), pss(at)))
    }
}

/// Rows a [`ProcTable`] holds at most; those with the least memory are left out.
pub const MAX_PROC_ROWS: usize = 4096;
/// Rows at the head of a [`ProcTable`] that are in the order of their memory.
pub const ROWS_IN_ORDER: usize = 64;
/// Rows at the head of a [`ProcTable`] that know their control group.
pub const ROWS_WITH_CGROUP: usize = 8;
/// Rows at the head of a [`ProcTable`] whose command line is known: an OOM kill takes the largest.
pub const ROWS_WITH_CMDLINE: usize = ROWS_IN_ORDER;

/// Rows at the head of a [`ProcTable`] whose proportional memory is known: those that alerts list.
pub const ROWS_WITH_PSS: usize = 5;

/// Rows of [`ProcTable::io`].
pub const MAX_IO_ROWS: usize = 5;

/// What a process moves from and to disks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct IoRow {
    /// Process id.
    pub pid: u32,
    /// As [`ProcRow::start_ticks`].
    pub start_ticks: u64,
    /// Bytes read a second.
    pub read_per_second: f64,
    /// Bytes written a second.
    pub written_per_second: f64,
}

impl IoRow {
    /// Bytes moved a second.
    pub fn sum(&self) -> f64 {
        self.read_per_second + self.written_per_second
    }
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcRow {
    /// Process id.
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/PID/stat` field 22): with the pid it names one process.
    pub start_ticks: u64,
    /// Name as the kernel keeps it; hostile text.
    pub comm: Comm,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// CPU use since the previous pass, percent of one core; 0 on the first.
    pub cpu_percent: f32,
    /// State letter of `/proc/PID/stat`.
    pub state: u8,
    /// Path of the memory control group, of the largest [`ROWS_WITH_CGROUP`] only; hostile text.
    pub cgroup: Option<Arc<str>>,
}

/// Name of a process, in place: there are thousands of them, and anew at each pass. Longer ones are cut: what a process
/// calls itself has 15 bytes, only the kernel's own workers have more.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Comm {
    bytes: [u8; Self::MAX],
    length: u8,
}

impl Comm {
    /// Bytes of a name at most.
    pub const MAX: usize = 31;
}

impl From<&str> for Comm {
    fn from(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(Self::MAX)];
        let mut bytes = [0; Self::MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Self { bytes, length: text.len() as u8 }
    }
}

impl From<&[u8]> for Comm {
    /// Bytes that are not UTF-8 are replaced.
    fn from(bytes: &[u8]) -> Self {
        Self::from(&*String::from_utf8_lossy(bytes))
    }
}

impl Deref for Comm {
    type Target = str;

    fn deref(&self) -> &str {
        // It was a `str` up to there.
        str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_as_they_are_or_cut() {
        for (bytes, expect) in [
            (&b"java"[..], "java"),
            (b"", ""),
            (b"a) b\n", "a) b\n"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            (b"kworker/u257:3-btrfs-endio-write-high", "kworker/u257:3-btrfs-endio-writ"),
            (b"123456789012345678901234567890\xc3\xa4", "123456789012345678901234567890"),
        ] {
            let comm = Comm::from(bytes);
            assert_eq!(&*comm, expect);
            assert_eq!(Comm::from(&*comm), comm);
        }
        assert_eq!(size_of::<Comm>(), 32);
    }
}
