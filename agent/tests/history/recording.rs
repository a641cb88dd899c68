//! A recording of what the collectors of a busy machine said: exact where values are whole numbers, seven digits where not.
//!
//! Series of one collector share their moments, so a moment is kept once. A series is its metric's name, whether it is a
//! counter, and its values; labels are left out, so that it names nothing of the machine.
#![allow(dead_code, clippy::float_cmp, clippy::allow_attributes, reason = "each program uses its part of it")]

/// First bytes of a file.
const MAGIC: &[u8; 8] = b"history1";

/// The moments of a collector's passes, and the series it read at each of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recording {
    /// Moments, nanoseconds.
    pub(crate) times: Vec<Vec<u64>>,
    /// Series.
    pub(crate) series: Vec<Recorded>,
}

/// A series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recorded {
    /// Name of its metric.
    pub(crate) metric: String,
    /// Whether it is a counter.
    pub(crate) counter: bool,
    /// Which moments are its own.
    pub(crate) times: usize,
    /// Values.
    pub(crate) values: Vec<f64>,
}

/// How values are written.
const CONSTANT: u64 = 0;
const WHOLE: u64 = 2;
const REAL: u64 = 4;

impl Recording {
    /// As a file.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        put(&mut out, self.times.len() as u64);
        for times in &self.times {
            put(&mut out, times.len() as u64);
            let mut last = 0;
            for time in times {
                put(&mut out, time - last);
                last = *time;
            }
        }
        put(&mut out, self.series.len() as u64);
        for series in &self.series {
            series.write(&mut out);
        }
        out
    }

    /// Out of a file. `None` where it is none.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let rest = &mut rest;
        let mut times = Vec::new();
        for _ in 0..get(rest)? {
            let mut last = 0;
            let mut column = Vec::new();
            for _ in 0..get(rest)? {
                last += get(rest)?;
                column.push(last);
            }
            times.push(column);
        }
        let count = get(rest)?;
        let series: Option<Vec<_>> = (0..count).map(|_| Recorded::read(rest, &times)).collect();
        Some(Self { times, series: series? })
    }
}

impl Recorded {
    fn write(&self, out: &mut Vec<u8>) {
        let constant = self.values.windows(2).all(|pair| pair[0] == pair[1]);
        let whole = self.values.iter().all(|v| v.fract() == 0.0 && v.abs() < 9e18);
        let how = if constant { CONSTANT } else { 0 } | if whole { WHOLE } else { REAL };
        put(out, self.metric.len() as u64);
        out.extend(self.metric.as_bytes());
        put(out, self.times as u64);
        put(out, how << 2 | u64::from(constant) << 1 | u64::from(self.counter));
        let values = if constant { &self.values[..self.values.len().min(1)] } else { &self.values };
        let mut last = 0;
        for &value in values {
            if whole {
                let delta = value as i64 - last;
                put(out, (delta << 1 ^ delta >> 63) as u64);
                last = value as i64;
            } else {
                out.extend((value as f32).to_le_bytes());
            }
        }
    }

    fn read(rest: &mut &[u8], times: &[Vec<u64>]) -> Option<Self> {
        let length = get(rest)? as usize;
        let metric = String::from_utf8(rest.split_off(..length)?.to_vec()).ok()?;
        let column = get(rest)? as usize;
        let flags = get(rest)?;
        let (whole, constant) = (flags >> 2 & WHOLE != 0, flags & 2 != 0);
        let count = times.get(column)?.len();
        let mut last = 0;
        let mut values = Vec::with_capacity(count);
        for _ in 0..if constant { count.min(1) } else { count } {
            values.push(if whole {
                let code = get(rest)?;
                last += (code >> 1) as i64 ^ -((code & 1) as i64);
                last as f64
            } else {
                f64::from(f32::from_le_bytes(*rest.split_off(..4)?.as_array()?))
            });
        }
        let newest = values.last().copied().unwrap_or_default();
        values.resize(count, newest);
        Some(Self { metric, counter: flags & 1 != 0, times: column, values })
    }
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn get(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
