//! Samples on their way from a collector to the engine.
//!
//! A collector names a series by metric and label values; [`Samples`] interns it once and from
//! then on moves `(SeriesId, f64)`. The interner lives on the collector thread; the engine learns
//! of a series through [`Batch::defs`] before its first sample, and forgets it through
//! [`Batch::retired`]. Ids of retired series are used again.

mod disk;
mod entry;
mod groups;
pub mod histogram;
pub mod newest;
mod processes;
mod share;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::metric::Metric;
use crate::time::{Now, SECOND};
pub use disk::{DiskScene, DiskWindow, Issuer, IssuerGroup, Latency, MAX_ISSUERS};
use entry::Entry;
pub use groups::{GroupRow, GroupTable, MAX_GROUP_ROWS};
use histogram::Histogram;
pub use processes::{
    Comm, IoRow, MAX_IO_ROWS, MAX_PROC_ROWS, ProcRow, ProcTable, ROWS_IN_ORDER, ROWS_WITH_CGROUP,
    ROWS_WITH_CMDLINE, ROWS_WITH_PSS,
};
use share::Reader;

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
    /// Histograms, from the eBPF collectors only; for endpoints.
    pub histograms: Vec<Histogram>,
}

/// Interner and buffer a collector writes into.
pub struct Samples {
    batch: Batch,
    entries: Vec<Option<Entry>>,
    /// Id of the first series.
    first: u32,
    /// The same series in full, by the same slots.
    defs: Vec<Option<SeriesDef>>,
    free: Vec<u32>,
    by_hash: HashMap<u64, Vec<u32>>,
    hasher: RandomState,
    max_series: usize,
    refused: u64,
    /// Those that were left out in the first round only, for who had not come yet.
    deferred: u64,
    /// Collectors that have come or will.
    readers: Vec<Reader>,
    /// Series that each of them gets, however many others want.
    share: usize,
    /// In this pass: room that is kept for the others, and whether some of them have not come yet.
    kept: usize,
    is_first_round: bool,
    /// The one whose pass this is, and the number of that pass.
    reader: u16,
    pass: u32,
    /// Slot of the newest reading's series.
    newest: u32,
    /// Idle series were looked for in this pass.
    swept: bool,
    /// A process table that is no longer used, for its buffers.
    spare_table: Option<ProcTable>,
}

/// Passes of its own collector, and time, after which a series that was not read is given up once room is needed: later
/// than a condition that stands on it is ended (`engine::judge`), so that none ends for want of room.
const IDLE_PASSES: u32 = 6;
const IDLE_SECS: u32 = 330;
/// The same for what is of one process and ends with it: this many passes suffice.
const IDLE_PROCESS_PASSES: u32 = 2;
/// Series of the agent's own state. It has a source of its own, whose ids begin at 0; those of the collectors follow.
pub const OWN_SERIES: u32 = 256;

impl Samples {
    /// An empty interner for at most `max_series` series.
    pub fn new(max_series: usize) -> Self {
        Self::beginning(0, max_series)
    }

    /// The same with ids from `first` on.
    pub fn beginning(first: u32, max_series: usize) -> Self {
        Self {
            batch: Batch::default(),
            entries: Vec::new(),
            first,
            defs: Vec::new(),
            free: Vec::new(),
            by_hash: HashMap::new(),
            hasher: RandomState::new(),
            max_series,
            refused: 0,
            readers: Vec::new(),
            share: 0,
            kept: 0,
            is_first_round: false,
            deferred: 0,
            reader: 0,
            pass: 0,
            newest: 0,
            swept: false,
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
        batch.histograms.clear();
        batch.collector = collector;
        batch.at = at;
        self.batch = batch;
        self.swept = false;
        let known = self.readers.iter().position(|reader| reader.name == collector);
        let at = known.unwrap_or_else(|| {
            self.readers.push(Reader::new(collector, 0));
            self.readers.len() - 1
        });
        self.readers[at].passes += 1;
        (self.reader, self.pass) = (at as u16, self.readers[at].passes);
        self.is_first_round = self.readers.iter().any(|reader| reader.passes == 0);
        self.keep_for_others();
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

    /// The same for a reading that says how the collectors do: there is always room for it.
    pub fn put_always(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        let limit = std::mem::replace(&mut self.max_series, usize::MAX);
        self.put(metric, labels, value);
        self.max_series = limit;
    }

    /// An empty process table, if possible with the buffers of an old one.
    pub fn empty_table(&mut self) -> ProcTable {
        let mut table = self.spare_table.take().unwrap_or_default();
        table.rows.clear();
        table.cmdlines.clear();
        table.pss.clear();
        table.io.clear();
        table
    }

    /// The next reading of a series, if it is known, is that of another thing with the same name (an interface that was
    /// renamed): its growth is not told.
    pub fn anew(&mut self, metric: &'static Metric, labels: &[&str]) {
        if let Some(slot) = self.find(metric, labels, self.hasher.hash_one((metric.name, labels)))
            && let Some(Some(def)) = self.defs.get(slot as usize)
        {
            self.batch.defs.push(def.clone());
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

    /// Hands a histogram over with this pass.
    pub fn put_histogram(&mut self, histogram: Histogram) {
        self.batch.histograms.push(histogram);
    }

    /// Hands the memory control groups over with this pass.
    pub fn put_groups(&mut self, table: GroupTable) {
        self.batch.groups = Some(table);
    }

    /// Ends the pass.
    pub fn finish(&mut self) -> Batch {
        self.grant();
        std::mem::take(&mut self.batch)
    }

    /// Series refused because of the limit, since the start.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Series that would be known if there were no limit, after a first round.
    pub fn wanted(&self) -> u64 {
        self.len() as u64 + self.refused + self.deferred
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
        let (reader, pass, secs) = (self.reader, self.pass, self.secs());
        let entry = self.entries[slot as usize].as_mut()?;
        if entry.reader != reader {
            self.readers[usize::from(entry.reader)].series -= 1;
            self.readers[usize::from(reader)].series += 1;
        }
        (entry.reader, entry.last_pass, entry.last_secs) = (reader, pass, secs);
        Some(SeriesId(self.first + slot))
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
        let in_full = || {
            let def = self.defs.get(slot as usize).and_then(Option::as_ref);
            def.is_some_and(|def| def.labels.iter().map(|l| &**l).eq(labels.iter().copied()))
        };
        self.entry(slot).is_some_and(|entry| {
            std::ptr::eq(entry.metric, metric) && entry.has(labels).unwrap_or_else(in_full)
        })
    }

    fn define(&mut self, metric: &'static Metric, labels: &[&str], hash: u64) -> Option<u32> {
        if !self.has_room() && !self.swept {
            self.swept = true;
            self.retire_idle();
            self.keep_for_others();
        }
        if !self.has_room() {
            let is_deferred = self.is_first_round && self.len() < self.max_series;
            *(if is_deferred { &mut self.deferred } else { &mut self.refused }) += 1;
            return None;
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            self.defs.push(None);
            self.entries.len() as u32 - 1
        });
        let def = SeriesDef {
            id: SeriesId(self.first + slot),
            metric,
            labels: labels.iter().map(|&l| l.into()).collect(),
        };
        self.batch.defs.push(def.clone());
        let mut entry = Entry::new(metric, labels, hash);
        (entry.reader, entry.last_pass, entry.last_secs) = (self.reader, self.pass, self.secs());
        self.readers[usize::from(self.reader)].series += 1;
        self.entries[slot as usize] = Some(entry);
        self.defs[slot as usize] = Some(def);
        self.by_hash.entry(hash).or_default().push(slot);
        Some(slot)
    }

    fn is_idle(&self, entry: &Entry) -> bool {
        let passes = self.readers.get(usize::from(entry.reader)).map_or(0, |reader| reader.passes);
        let missed = passes.wrapping_sub(entry.last_pass);
        if entry.metric.is_of_process() {
            return missed > IDLE_PROCESS_PASSES;
        }
        missed > IDLE_PASSES && self.secs().saturating_sub(entry.last_secs) > IDLE_SECS
    }

    /// Second of this pass.
    fn secs(&self) -> u32 {
        (self.batch.at.mono_ns / SECOND) as u32
    }

    fn retire_idle(&mut self) {
        for slot in 0..self.entries.len() {
            let idle = self.entry(slot as u32).is_some_and(|entry| self.is_idle(entry));
            if !idle {
                continue;
            }
            if let Some(entry) = self.entries[slot].take() {
                self.readers[usize::from(entry.reader)].series -= 1;
                self.defs[slot] = None;
                self.batch.retired.push(SeriesId(self.first + slot as u32));
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

#[cfg(test)]
mod tests;
