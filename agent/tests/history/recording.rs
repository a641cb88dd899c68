//! A recording of what the collectors of a busy machine said: exact where values are whole numbers, seven digits where not.
//!
//! Series of one collector share their moments, so a moment is kept once. A series is its metric's name, whether it is a
//! counter, and its values; labels are left out, so that it names nothing of the machine.

/// First bytes of a file.
pub(super) const MAGIC: &[u8; 8] = b"history1";

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

/// How values are written: as whole numbers, else as `f32`.
pub(super) const WHOLE: u64 = 1 << 3;
/// One value stands for all.
pub(super) const CONSTANT: u64 = 1 << 1;
/// Of a counter.
pub(super) const COUNTER: u64 = 1;

impl Recording {
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
    fn read(rest: &mut &[u8], times: &[Vec<u64>]) -> Option<Self> {
        let length = get(rest)? as usize;
        let metric = String::from_utf8(rest.split_off(..length)?.to_vec()).ok()?;
        let column = get(rest)? as usize;
        let flags = get(rest)?;
        let (whole, constant) = (flags & WHOLE != 0, flags & CONSTANT != 0);
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
        Some(Self { metric, counter: flags & COUNTER != 0, times: column, values })
    }
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
