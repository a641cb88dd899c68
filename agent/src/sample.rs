//! Samples on their way from a collector to the engine.
//!
//! A collector names a series by metric and label values; [`Samples`] interns it once and from
//! then on moves `(SeriesId, f64)`. The interner lives on the collector thread; the engine learns
//! of a series through [`Batch::defs`] before its first sample, and forgets it through
//! [`Batch::retired`]. Ids of retired series are used again.

mod groups;
mod processes;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::event::Task;
use crate::metric::Metric;
use crate::time::Now;
pub use groups::{GroupRow, GroupTable, MAX_GROUP_ROWS};
pub use processes::{
    Comm, MAX_PROC_ROWS, ProcRow, ProcTable, ROWS_IN_ORDER, ROWS_WITH_CGROUP, ROWS_WITH_CMDLINE,
};

/// Small number that stands for a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(pub u32);

/// What a [`SeriesId`] stands for.
#[derive(Clone, Debug)]
pub struct SeriesDef {
    /// Number used by samples.
    pub id: SeriesId,
    /// Row of the metric table.
    pub metric: &'static Metric,
    /// Label values, in the order of [`Metric::labels`].
    pub labels: Box<[Box<str>]>,
}

/// One pass of one collector.
#[derive(Debug, Default)]
pub struct Batch {
    /// Name in the table of collectors.
    pub collector: &'static str,
    /// When the pass was made.
    pub at: Now,
    /// Series that appear for the first time.
    pub defs: Vec<SeriesDef>,
    /// Readings.
    pub samples: Vec<(SeriesId, f64)>,
    /// Series that were not read for a while and are given up.
    pub retired: Vec<SeriesId>,
    /// The process table, from the process collector only.
    pub processes: Option<ProcTable>,
    /// Block devices, from the eBPF collector only.
    pub disks: Vec<DiskWindow>,
    /// The memory control groups, from their collector only.
    pub groups: Option<GroupTable>,
}

/// One kind of request to one block device during the interval, as the kernel measured it.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskWindow {
    /// Name in `/proc/diskstats`, or `major:minor`.
    pub device: Arc<str>,
    /// `read`, `write`, `flush`, `discard` or `other`.
    pub op: &'static str,
    /// Requests that completed with an error.
    pub errors: u64,
    /// Issue to completion; `None` without requests.
    pub latency: Option<Latency>,
    /// Insert to issue, of the requests that waited in a queue at all.
    pub queue: Option<Latency>,
    /// What surrounds it; only for an interval that may be worth an alert.
    pub scene: Option<Box<DiskScene>>,
}

/// Latencies of some requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// How many.
    pub requests: u64,
    /// Median, milliseconds.
    pub p50_ms: f64,
    /// Nine of ten were faster, milliseconds.
    pub p90_ms: f64,
    /// 99 of 100 were faster, milliseconds.
    pub p99_ms: f64,
    /// 999 of 1000 were faster, milliseconds.
    pub p999_ms: f64,
    /// Longest, milliseconds.
    pub max_ms: f64,
}

/// What else is known of a block device at that moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiskScene {
    /// The drive's own name; hostile text.
    pub model: Option<String>,
    /// Reads and writes (with all else) issued and not completed.
    pub in_flight: Option<(u64, u64)>,
    /// Who issued most lately, most first; at most [`MAX_ISSUERS`].
    pub issuers: Vec<Issuer>,
    /// Their control groups at that moment, most first; at most [`MAX_ISSUERS`], of those whose path is known.
    pub groups: Vec<IssuerGroup>,
    /// Requests of all issuers in that time.
    pub requests: u64,
    /// How far back `issuers` looks, seconds.
    pub issuers_secs: u64,
}

/// A process that issued requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Issuer {
    /// Who; often a kernel worker that writes for others.
    pub task: Task,
    /// Requests.
    pub requests: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A control group whose processes issued requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IssuerGroup {
    /// Its path; hostile text.
    pub path: String,
    /// Requests.
    pub requests: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Issuers, and control groups of issuers, named with a device.
pub const MAX_ISSUERS: usize = 5;

struct Entry {
    def: SeriesDef,
    hash: u64,
    last_pass: u64,
    /// Slot of the series that came after it the last time.
    next: u32,
}

/// Interner and buffer a collector writes into.
pub struct Samples {
    batch: Batch,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_hash: HashMap<u64, Vec<u32>>,
    hasher: RandomState,
    max_series: usize,
    refused: u64,
    pass: u64,
    /// Slot of the newest reading's series.
    newest: u32,
    /// Pass in which idle series were last looked for.
    swept: u64,
    /// A process table that is no longer used, for its buffers.
    spare_table: Option<ProcTable>,
}

/// Passes (of any collector) after which a series that was not read is given up, once room is needed.
const IDLE_PASSES: u64 = 512;

impl Samples {
    /// An empty interner for at most `max_series` series.
    pub fn new(max_series: usize) -> Self {
        Self {
            batch: Batch::default(),
            entries: Vec::new(),
            free: Vec::new(),
            by_hash: HashMap::new(),
            hasher: RandomState::new(),
            max_series,
            refused: 0,
            pass: 0,
            newest: 0,
            swept: 0,
            spare_table: None,
        }
    }

    /// Starts a pass; `spare` gives its buffers back for use.
    pub fn begin(&mut self, collector: &'static str, at: Now, spare: Option<Batch>) {
        let mut batch = spare.unwrap_or_default();
        batch.defs.clear();
        batch.samples.clear();
        batch.retired.clear();
        self.spare_table = batch.processes.take().or(self.spare_table.take());
        batch.disks.clear();
        batch.groups = None;
        batch.collector = collector;
        batch.at = at;
        self.batch = batch;
        self.pass += 1;
    }

    /// When this pass was begun.
    pub fn at(&self) -> Now {
        self.batch.at
    }

    /// One reading. `labels` are the label values in the order of `metric.labels`.
    /// A value that is not finite is left out; a new series over the limit is refused and counted.
    pub fn put(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        debug_assert_eq!(metric.labels.len(), labels.len(), "labels of {}", metric.name);
        if !value.is_finite() {
            return;
        }
        if let Some(id) = self.intern(metric, labels) {
            self.batch.samples.push((id, value));
        }
    }

    /// An empty process table, if possible with the buffers of an old one.
    pub fn empty_table(&mut self) -> ProcTable {
        let mut table = self.spare_table.take().unwrap_or_default();
        table.rows.clear();
        table.cmdlines.clear();
        table
    }

    /// The next reading of a series, if it is known, is that of another thing with the same name (an interface that was
    /// renamed): its growth is not told.
    pub fn anew(&mut self, metric: &'static Metric, labels: &[&str]) {
        if let Some(slot) = self.find(metric, labels, self.hasher.hash_one((metric.name, labels)))
            && let Some(entry) = self.entry(slot)
        {
            self.batch.defs.push(entry.def.clone());
        }
    }

    /// Hands the process table over with this pass.
    pub fn put_processes(&mut self, table: ProcTable) {
        self.batch.processes = Some(table);
    }

    /// Hands one window of a block device over with this pass.
    pub fn put_disk(&mut self, window: DiskWindow) {
        self.batch.disks.push(window);
    }

    /// Hands the memory control groups over with this pass.
    pub fn put_groups(&mut self, table: GroupTable) {
        self.batch.groups = Some(table);
    }

    /// Ends the pass.
    pub fn finish(&mut self) -> Batch {
        std::mem::take(&mut self.batch)
    }

    /// Series refused because of the limit, since the start.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Series known now.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether no series is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Collectors put the same series in the same order pass after pass: the one that followed the last time is the likely one.
    fn intern(&mut self, metric: &'static Metric, labels: &[&str]) -> Option<SeriesId> {
        let likely = self.entry(self.newest).map(|newest| newest.next);
        let slot = match likely.filter(|&slot| self.is(slot, metric, labels)) {
            Some(slot) => slot,
            None => self.look_up(metric, labels)?,
        };
        self.newest = slot;
        let entry = self.entries[slot as usize].as_mut()?;
        entry.last_pass = self.pass;
        Some(entry.def.id)
    }

    fn look_up(&mut self, metric: &'static Metric, labels: &[&str]) -> Option<u32> {
        let hash = self.hasher.hash_one((metric.name, labels));
        let slot = self.find(metric, labels, hash).or_else(|| self.define(metric, labels, hash))?;
        if let Some(Some(newest)) = self.entries.get_mut(self.newest as usize) {
            newest.next = slot;
        }
        Some(slot)
    }

    fn find(&self, metric: &'static Metric, labels: &[&str], hash: u64) -> Option<u32> {
        self.by_hash.get(&hash)?.iter().copied().find(|&slot| self.is(slot, metric, labels))
    }

    fn entry(&self, slot: u32) -> Option<&Entry> {
        self.entries.get(slot as usize)?.as_ref()
    }

    fn is(&self, slot: u32, metric: &'static Metric, labels: &[&str]) -> bool {
        self.entry(slot).is_some_and(|entry| {
            std::ptr::eq(entry.def.metric, metric)
                && entry.def.labels.iter().map(|l| &**l).eq(labels.iter().copied())
        })
    }

    fn define(&mut self, metric: &'static Metric, labels: &[&str], hash: u64) -> Option<u32> {
        if self.len() >= self.max_series && self.swept != self.pass {
            self.swept = self.pass;
            self.retire_idle();
        }
        if self.len() >= self.max_series {
            self.refused += 1;
            return None;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.entries.len() as u32 - 1
        });
        let def =
            SeriesDef { id: SeriesId(slot), metric, labels: labels.iter().map(|&l| l.into()).collect() };
        self.batch.defs.push(def.clone());
        self.entries[slot as usize] = Some(Entry { def, hash, last_pass: self.pass, next: 0 });
        self.by_hash.entry(hash).or_default().push(slot);
        Some(slot)
    }

    fn retire_idle(&mut self) {
        for slot in 0..self.entries.len() {
            let idle = self.entries[slot]
                .as_ref()
                .is_some_and(|e| self.pass.saturating_sub(e.last_pass) > IDLE_PASSES);
            if !idle {
                continue;
            }
            if let Some(entry) = self.entries[slot].take() {
                self.batch.retired.push(entry.def.id);
                self.free.push(slot as u32);
                if let Some(slots) = self.by_hash.get_mut(&entry.hash) {
                    slots.retain(|&s| s as usize != slot);
                    if slots.is_empty() {
                        self.by_hash.remove(&entry.hash);
                    }
                }
            }
        }
    }
}
