//! Parts of a JSON line as the engine takes them.

use std::sync::Arc;

use serde_json::Value;

use super::clock::{nanoseconds, seconds, time};
use crate::sample::{Comm, ProcRow};
use crate::service::recording::{Line, Scalar};

/// A process, if its parts are what they should be.
pub(super) fn process(row: &[Value]) -> Option<ProcRow> {
    let text = |at: usize| row.get(at).and_then(Value::as_str);
    let whole = |at: usize| row.get(at).and_then(Value::as_u64);
    Some(ProcRow {
        pid: u32::try_from(whole(0)?).ok()?,
        start_ticks: whole(1)?,
        comm: Comm::from(text(2)?),
        rss_bytes: whole(3)?,
        cpu_percent: row.get(4).and_then(Value::as_f64).unwrap_or_default() as f32,
        state: text(5).and_then(|letter| letter.bytes().next()).unwrap_or(b'S'),
        cgroup: text(6).map(Arc::from),
    })
}

/// The time of a reading.
pub(super) fn moment(line: &Line) -> Option<i64> {
    match (&line.timestamp, line.t) {
        (Some(Scalar::Number(secs)), _) => seconds(*secs),
        (Some(Scalar::Text(text)), _) => time(text),
        (None, Some(wall_ns)) => nanoseconds(wall_ns),
        (None, None) => None,
    }
}

impl Scalar {
    /// A finite number.
    pub(super) fn number(&self) -> Option<f64> {
        let number = match self {
            Self::Number(number) => *number,
            Self::Text(text) => text.trim().parse().ok()?,
        };
        number.is_finite().then_some(number)
    }
}
