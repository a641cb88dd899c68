//! A frame: up to [`FRAME`] samples of one series.
//!
//! ```text
//! count, length (2 bytes), unit of time │ moments, packed          │ form of the values │ values, packed
//!                          or SHARED    │ block, place in it       │
//! ```
//!
//! Moments are kept to the nanosecond, microsecond or millisecond, the coarsest that is at most a hundredth of the usual step.

use super::axis::Place;
use super::block::Pool;
use super::bytes::{Reader, Writer};
use super::pack::{self, FRAME};
use super::value;

/// Bytes before the moments.
const HEAD: usize = 4;
/// Units of time, nanoseconds.
const UNITS: [u64; 3] = [1, 1000, 1_000_000];
/// Instead of a unit: the moments are elsewhere.
const SHARED: u8 = 3;
/// Bytes that say where.
const PLACE: usize = 6;

/// Samples that were read.
#[derive(Clone)]
pub(super) struct Frame {
    pub(super) count: usize,
    pub(super) times: [u64; FRAME],
    pub(super) values: [f64; FRAME],
}

/// What became of a frame, or of moments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Written {
    /// Bytes.
    pub(super) len: usize,
    /// Earliest and latest moment, as they will be read.
    pub(super) span: (u64, u64),
}

/// The first bytes of a frame.
pub(super) struct Head {
    count: usize,
    /// Bytes of the whole.
    pub(super) len: usize,
    pub(super) moments: Moments,
}

/// Where moments are.
pub(super) enum Moments {
    /// In the frame.
    Here,
    /// In that block, from that byte on.
    At(u32, u16),
}

/// Reads the beginning of the first frame of `data`. `None` where there is none.
pub(super) fn head(data: &[u8]) -> Option<Head> {
    let &[count, low, high, unit, ..] = data else { return None };
    let (count, len) = (usize::from(count), usize::from(u16::from_le_bytes([low, high])));
    let moments = match (unit, data.get(HEAD..HEAD + PLACE)) {
        (SHARED, Some(&[a, b, c, d, low, high])) => {
            Moments::At(u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([low, high]))
        }
        _ => Moments::Here,
    };
    (len > HEAD && (1..=FRAME).contains(&count)).then_some(Head { count, len, moments })
}

/// Writes samples, one at least, with their moments as distance to `base` or the place where they are. `None`: there is no room.
pub(super) fn write(
    times: &[u64],
    values: &[f64],
    base: u64,
    shared: Option<Place>,
    room: &mut [u8],
) -> Option<Written> {
    let head = HEAD - 1;
    let (len, span) = match shared {
        Some(place) => {
            let to = room.get_mut(head..HEAD + PLACE)?;
            to[0] = SHARED;
            to[1..5].copy_from_slice(&place.block.to_le_bytes());
            to[5..].copy_from_slice(&place.offset.to_le_bytes());
            (1 + PLACE, place.span)
        }
        None => write_moments(times, base, room.get_mut(head..)?).map(|w| (w.len, w.span))?,
    };
    let mut out = Writer::new(room.get_mut(head + len..)?);
    value::write(values, &mut out);
    let len = head + len + out.len();
    *room.first_mut()? = times.len() as u8;
    room.get_mut(1..3)?.copy_from_slice(&(len as u16).to_le_bytes());
    (len <= room.len()).then_some(Written { len, span })
}

/// Writes moments: their unit, and distances to `base`.
pub(super) fn write_moments(times: &[u64], base: u64, room: &mut [u8]) -> Option<Written> {
    let mut moments = [0; FRAME];
    let moments = moments.get_mut(..times.len())?;
    let unit = unit(times, base);
    let mut span = (u64::MAX, 0);
    for (moment, time) in moments.iter_mut().zip(times) {
        *moment = rounded(time.wrapping_sub(base) as i64, unit);
        let time = moment_of(base, *moment, UNITS[unit]);
        span = (span.0.min(time), span.1.max(time));
    }
    let mut out = Writer::new(room);
    out.byte(unit as u8);
    pack::pack(moments, &mut out);
    let len = out.len();
    (len <= room.len()).then_some(Written { len, span })
}

/// In nanoseconds again. Those that are exact wrap, so that any 64 bits come back; rounding stays within what there is.
fn moment_of(base: u64, moment: i64, ns: u64) -> u64 {
    if ns == 1 {
        base.wrapping_add(moment as u64)
    } else {
        base.saturating_add_signed(moment.wrapping_mul(ns as i64))
    }
}

/// To the nearest whole unit; written out, since the compiler divides by a constant much faster.
fn rounded(ns: i64, unit: usize) -> i64 {
    match unit {
        0 => ns,
        1 => (ns + 500).div_euclid(1000),
        _ => (ns + 500_000).div_euclid(1_000_000),
    }
}

/// The coarsest unit that is fine enough. Moments too far from `base` for rounding are kept to the nanosecond.
fn unit(times: &[u64], base: u64) -> usize {
    let far = |time: &u64| (time.wrapping_sub(base) as i64).unsigned_abs() > 1 << 60 || *time > 1 << 62;
    let &[first, .., last] = times else { return 0 };
    if base > 1 << 62 || times.iter().any(far) {
        return 0;
    }
    let step = first.abs_diff(last) / (times.len() as u64 - 1);
    usize::from(step >= 100_000_000) + usize::from(step >= 100_000)
}

impl Frame {
    pub(super) fn empty() -> Self {
        Self { count: 0, times: [0; FRAME], values: [0.0; FRAME] }
    }

    /// Reads the first frame of `data`; the values only where `wanted` says so of the moments.
    /// Gives its length; `None` where this is no frame.
    pub(super) fn read(
        &mut self,
        data: &[u8],
        base: u64,
        pool: &Pool,
        wanted: impl FnOnce(&[u64]) -> bool,
    ) -> Option<usize> {
        self.count = 0;
        let head = head(data)?;
        let body = data.get(HEAD - 1..head.len)?;
        let mut from = Reader::new(body);
        let times = &mut self.times[..head.count];
        match head.moments {
            Moments::Here => read_moments(&mut from, base, times)?,
            Moments::At(block, offset) => {
                let block = pool.at(block)?;
                read_moments(&mut Reader::new(block.data.get(usize::from(offset)..)?), block.base, times)?;
                from = Reader::new(body.get(1 + PLACE..)?);
            }
        }
        if wanted(times) {
            value::read(&mut from, &mut self.values[..head.count])?;
            self.count = head.count;
        }
        Some(head.len)
    }
}

pub(super) fn read_moments(from: &mut Reader, base: u64, times: &mut [u64]) -> Option<()> {
    let ns = *UNITS.get(usize::from(from.byte()?))?;
    let mut moments = [0; FRAME];
    let moments = moments.get_mut(..times.len())?;
    pack::unpack(from, moments)?;
    for (time, moment) in times.iter_mut().zip(moments) {
        *time = moment_of(base, *moment, ns);
    }
    Some(())
}
