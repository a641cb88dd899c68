//! A frame: up to [`FRAME`] samples of one series, readable by itself.
//!
//! ```text
//! count, length (2 bytes), unit of time │ moments, packed │ form of the values │ values, packed
//! ```
//!
//! Moments are kept to the nanosecond, microsecond or millisecond, the coarsest that is at most a hundredth of the usual step.

use super::bytes::{Reader, Writer};
use super::pack::{self, FRAME};
use super::value;

/// Bytes before the moments.
const HEAD: usize = 4;
/// Units of time, nanoseconds.
const UNITS: [u64; 3] = [1, 1000, 1_000_000];

/// Samples that were read.
pub(super) struct Frame {
    pub(super) count: usize,
    pub(super) times: [u64; FRAME],
    pub(super) values: [f64; FRAME],
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Written {
    /// Bytes.
    pub(super) len: usize,
    /// Earliest and latest moment, as they will be read.
    pub(super) span: (u64, u64),
}

/// Writes samples, one at least, whose moments are told as distance to `base`. `None`: there is no room for them.
pub(super) fn write(times: &[u64], values: &[f64], base: u64, room: &mut [u8]) -> Option<Written> {
    let mut moments = [0; FRAME];
    let moments = moments.get_mut(..times.len())?;
    let unit = unit(times, base);
    let ns = UNITS[unit];
    let mut span = (u64::MAX, 0);
    for (moment, time) in moments.iter_mut().zip(times) {
        *moment = rounded(time.wrapping_sub(base) as i64, unit);
        let time = moment_of(base, *moment, ns);
        span = (span.0.min(time), span.1.max(time));
    }
    let mut out = Writer::new(room);
    out.byte(times.len() as u8);
    out.byte(0);
    out.byte(0);
    out.byte(unit as u8);
    pack::pack(moments, &mut out);
    value::write(values, &mut out);
    let len = out.len();
    *room.get_mut(1..3)?.as_mut_array()? = (len as u16).to_le_bytes();
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
    if base > 1 << 62 || times.iter().any(far) {
        return 0;
    }
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return 0 };
    let step = first.abs_diff(*last) / (times.len() as u64 - 1).max(1);
    if times.len() == 1 { 0 } else { (step >= 100_000_000) as usize + (step >= 100_000) as usize }
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
        wanted: impl FnOnce(&[u64]) -> bool,
    ) -> Option<usize> {
        self.count = 0;
        let &[count, low, high, unit, ..] = data else { return None };
        let len = usize::from(u16::from_le_bytes([low, high]));
        let count = usize::from(count);
        let ns = *UNITS.get(usize::from(unit))?;
        if count == 0 || count > FRAME {
            return None;
        }
        let mut from = Reader::new(data.get(HEAD..len)?);
        let mut moments = [0; FRAME];
        pack::unpack(&mut from, &mut moments[..count])?;
        for (time, moment) in self.times.iter_mut().zip(&moments[..count]) {
            *time = moment_of(base, *moment, ns);
        }
        if wanted(&self.times[..count]) {
            value::read(&mut from, &mut self.values[..count])?;
            self.count = count;
        }
        Some(len)
    }
}
