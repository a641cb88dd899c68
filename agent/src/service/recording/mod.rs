//! A recording: what the sources of a host gave, one JSON object a line, as `record` writes it and `replay` reads it.
//!
//! ```text
//! {"recording":{"version":1,"hostname":…}}                                 first
//! {"at":[mono,wall],"pass":"cpu","new":[[7,"cpu_usage…","gauge",{labels}]],"values":[[7,12.5],…]}
//! {"at":[mono,wall],"event":{…}}                                           what a source that is no log saw
//! {"at":[mono,wall],"log":"6,1234,98765432,-;text"}                        a record of the kernel log
//! {"end":"time is up"}                                                     last; without it the recording was torn
//! ```
//!
//! Times are nanoseconds on both clocks. A series is named once and is a number from then on. Values are raw: rates and
//! ratios are made of them by the engine, as on the host itself.

mod out;
pub mod record;
pub mod write;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::incident::Witnesses;
use crate::event::Event;
use crate::sample::{DiskWindow, GroupTable};
use crate::time::Now;

/// Version of the format.
pub const VERSION: u32 = 1;
/// Rows of the process table that are kept: the largest, and then those that use most CPU or wait for a disk.
pub const LARGEST: usize = 32;
/// See [`LARGEST`].
pub const BUSIEST: usize = 16;

/// The first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`] of the agent that wrote it.
    pub version: u32,
    /// That agent's own version.
    pub agent: String,
    /// Name of the host.
    pub hostname: String,
    /// Its boot.
    pub boot_id: String,
    /// Seconds its clock is ahead of UTC.
    pub utc_offset_secs: i32,
    /// Sources that were up.
    pub witnesses: Witnesses,
    /// The journal was read too: it, and not the kernel log, tells what systemd-oomd and earlyoom say.
    pub beside_journal: bool,
    /// When it began.
    pub at: Now,
}

/// A series that comes for the first time, or anew: number, metric, kind, labels.
pub type NewSeries = (u32, String, String, BTreeMap<String, String>);

/// Any line, also one that another program wrote: one reading a line, with `timestamp` (or `t`, Unix nanoseconds),
/// `metric`, `labels` and `value`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Line {
    /// The first line.
    pub recording: Option<Box<Header>>,
    /// When, on both clocks, nanoseconds.
    pub at: Option<(u64, i64)>,
    /// Collector whose pass it was.
    pub pass: Option<String>,
    /// Series not known so far.
    pub new: Vec<NewSeries>,
    /// Number of a series, and its value.
    pub values: Vec<(u32, f64)>,
    /// Processes: number, start, name, resident bytes, CPU percent, state, control group; the last two may be missing.
    pub processes: Option<Vec<Vec<serde_json::Value>>>,
    /// How many there were.
    pub total: usize,
    /// What the kernel measured of block devices.
    pub disks: Vec<DiskWindow>,
    /// The memory control groups.
    pub groups: Option<GroupTable>,
    /// What happened.
    pub event: Option<Box<Event>>,
    /// A record of the kernel log.
    pub log: Option<String>,
    /// Why the recording ended.
    pub end: Option<String>,
    /// When, Unix nanoseconds.
    pub t: Option<i64>,
    /// When, RFC 3339, `YYYY-MM-DD HH:MM:SS` or Unix seconds.
    pub timestamp: Option<Scalar>,
    /// Metric of one reading.
    pub metric: Option<String>,
    /// `gauge` or `counter`; of a metric that the agent does not know.
    pub kind: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: Option<Scalar>,
}

/// A number, or what is written instead of one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `12.5`
    Number(f64),
    /// `"12.5"`
    Text(String),
}
