//! A stretch of history as bytes: what was read since the last one, of all series.
//!
//! ```text
//! saved (both clocks) │ boot │ series ─ metric, labels   (once a segment)
//!                            │ moments ─ as in a frame   (once a chunk for all who share them)
//!                            │ values ─ series, moments, as in a frame
//! ```
//!
//! Chunks of one segment belong together: a series is named in the first that has it and is a number from then on.
//! What is read may be anything: it is checked, and never more than what was promised by its length is taken.

use std::collections::HashMap;

use super::bytes::{Reader, Writer};
use super::frame::{read_moments, write_moments};
use super::kept::{KeptId, Key};
use super::pack::FRAME;
use super::{Store, value};
use crate::time::Now;

/// Longest name or label value that is kept, bytes; a series with a longer one is not.
const MAX_TEXT: usize = 4096;
/// Most labels of a series.
const MAX_LABELS: usize = 16;
/// Bytes that a frame of any values or moments needs at most.
const FRAME_ROOM: usize = 1024;
/// Moments of a chunk that are looked through for the like.
const RECENT: usize = 64;

const SERIES: u8 = 0;
const MOMENTS: u8 = 1;
const VALUES: u8 = 2;

/// Series of the segment that is being written.
#[derive(Debug, Default)]
pub struct Names(HashMap<Key, u32>);

/// A chunk that is being written.
#[derive(Debug)]
pub struct Chunk {
    bytes: Vec<u8>,
    /// Moments written so far.
    moments: Vec<Vec<u64>>,
    samples: usize,
}

impl Chunk {
    /// An empty one of the run with this boot id.
    pub fn new(saved: Now, boot_id: &str) -> Self {
        let mut chunk = Self { bytes: Vec::new(), moments: Vec::new(), samples: 0 };
        chunk.bytes.extend(saved.mono_ns.to_le_bytes());
        chunk.bytes.extend(saved.wall_ns.to_le_bytes());
        chunk.text(boot_id.get(..MAX_TEXT).unwrap_or(boot_id));
        chunk
    }

    /// Adds samples of a series: moments (monotonic nanoseconds) and values.
    pub fn add(&mut self, names: &mut Names, key: Key, samples: &[(u64, f64)]) {
        let too_long = |text: &str| text.len() > MAX_TEXT;
        if samples.is_empty()
            || too_long(&key.metric)
            || key.labels.len() > MAX_LABELS
            || key.labels.iter().any(|l| too_long(l))
        {
            return;
        }
        let series = if let Some(series) = names.0.get(&key) {
            *series
        } else {
            let series = names.0.len() as u32;
            self.name(&key);
            names.0.insert(key, series);
            series
        };
        for part in samples.chunks(FRAME) {
            self.frame(series, part);
        }
    }

    /// Samples in it.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Its bytes.
    pub fn bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn frame(&mut self, series: u32, samples: &[(u64, f64)]) {
        let (mut times, mut values) = ([0; FRAME], [0.0; FRAME]);
        let count = samples.len();
        for (i, (at, value)) in samples.iter().enumerate() {
            (times[i], values[i]) = (*at, *value);
        }
        let moments = self.moments(&times[..count]);
        let mut room = [0; FRAME_ROOM];
        let mut out = Writer::new(&mut room);
        value::write(&values[..count], &mut out);
        let len = out.len();
        if let (Some(moments), Some(data)) = (moments, room.get(..len)) {
            self.bytes.push(VALUES);
            self.number(u64::from(series));
            self.number(moments as u64);
            self.number(len as u64);
            self.bytes.extend(data);
            self.samples += count;
        }
    }

    /// The number of these moments; they are written if they are new.
    fn moments(&mut self, times: &[u64]) -> Option<usize> {
        let recent = self.moments.len().saturating_sub(RECENT);
        if let Some(found) = self.moments.get(recent..)?.iter().position(|have| have == times) {
            return Some(recent + found);
        }
        let base = *times.first()?;
        let mut room = [0; FRAME_ROOM];
        let len = write_moments(times, base, &mut room)?.len;
        self.bytes.push(MOMENTS);
        self.bytes.push(times.len() as u8);
        self.bytes.extend(base.to_le_bytes());
        self.number(len as u64);
        self.bytes.extend(room.get(..len)?);
        self.moments.push(times.to_vec());
        Some(self.moments.len() - 1)
    }

    fn name(&mut self, key: &Key) {
        self.bytes.push(SERIES);
        self.text(&key.metric);
        self.number(key.labels.len() as u64);
        key.labels.iter().for_each(|label| self.text(label));
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes.extend(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        let mut room = [0; 10];
        let mut out = Writer::new(&mut room);
        out.number(number);
        let len = out.len();
        self.bytes.extend(room.get(..len).unwrap_or_default());
    }
}

/// Reads chunks back into a store, oldest first.
#[derive(Debug)]
pub struct Loader<'a> {
    store: &'a mut Store,
    boot_id: &'a str,
    now: Now,
    /// Older samples than this many nanoseconds are passed over.
    span_ns: u64,
    /// Series of the segment; `None`: there was no room for it.
    series: Vec<Option<KeptId>>,
    /// Samples taken.
    pub samples: usize,
}

impl<'a> Loader<'a> {
    /// Into `store`, in the boot `boot_id`.
    pub fn new(store: &'a mut Store, boot_id: &'a str, now: Now, span_ns: u64) -> Self {
        Self { store, boot_id, now, span_ns, series: Vec::new(), samples: 0 }
    }

    /// Another segment begins.
    pub fn segment(&mut self) {
        self.series.clear();
    }

    /// Reads a chunk; gives when it was saved. `None`: it is no chunk; what came before the place where that showed was taken.
    pub fn chunk(&mut self, bytes: &[u8]) -> Option<Now> {
        let mut from = Reader::new(bytes);
        let mono_ns = u64::from_le_bytes(*from.take(8)?.as_array()?);
        let wall_ns = i64::from_le_bytes(*from.take(8)?.as_array()?);
        let saved = Now { mono_ns, wall_ns };
        let boot = text(&mut from)?;
        // What its moments are on today's clock: of another boot the wall clock tells.
        let shift = if boot == self.boot_id {
            0
        } else {
            let boot_wall = |at: Now| at.wall_ns.saturating_sub(at.mono_ns as i64);
            boot_wall(saved).saturating_sub(boot_wall(self.now))
        };
        let mut moments = Vec::new();
        while !from.is_empty() {
            match from.byte()? {
                SERIES => self.name(&mut from)?,
                MOMENTS => moments.push(times(&mut from, shift)?),
                VALUES => self.values(&mut from, &moments)?,
                _ => return None,
            }
        }
        Some(saved)
    }

    fn name(&mut self, from: &mut Reader) -> Option<()> {
        let metric = text(from)?.into();
        let count = from.number()?;
        if count > MAX_LABELS as u64 {
            return None;
        }
        let labels: Option<Box<[Box<str>]>> = (0..count).map(|_| text(from).map(Into::into)).collect();
        let id = self.store.keep_for(&Key { metric, labels: labels? });
        self.series.push(id);
        Some(())
    }

    fn values(&mut self, from: &mut Reader, moments: &[Vec<i64>]) -> Option<()> {
        let series = *self.series.get(usize::try_from(from.number()?).ok()?)?;
        let times = moments.get(usize::try_from(from.number()?).ok()?)?;
        let len = from.number()?;
        let data = from.take(usize::try_from(len).ok()?)?;
        let mut values = [0.0; FRAME];
        let values = values.get_mut(..times.len())?;
        value::read(&mut Reader::new(data), values)?;
        let Some(id) = series else { return Some(()) };
        let now = self.now.mono_ns as i64;
        let oldest = now.saturating_sub_unsigned(self.span_ns);
        for (at, value) in times.iter().zip(values).filter(|(at, _)| (oldest..=now).contains(*at)) {
            self.store.put_back(id, *at, *value);
            self.samples += 1;
        }
        Some(())
    }
}

fn times(from: &mut Reader, shift: i64) -> Option<Vec<i64>> {
    let count = usize::from(from.byte()?);
    let base = u64::from_le_bytes(*from.take(8)?.as_array()?);
    let len = from.number()?;
    let data = from.take(usize::try_from(len).ok()?)?;
    let mut times = [0; FRAME];
    let times = times.get_mut(..count)?;
    read_moments(&mut Reader::new(data), base, times)?;
    Some(times.iter().map(|at| (*at as i64).saturating_add(shift)).collect())
}

fn text<'a>(from: &mut Reader<'a>) -> Option<&'a str> {
    let len = usize::try_from(from.number()?).ok().filter(|len| *len <= MAX_TEXT)?;
    std::str::from_utf8(from.take(len)?).ok()
}
