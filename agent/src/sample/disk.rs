//! What the kernel measured of block devices.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::Task;
use crate::text::word::Word;

/// One kind of request to one block device during the interval, as the kernel measured it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskWindow {
    /// Name in `/proc/diskstats`, or `major:minor`.
    pub device: Arc<str>,
    /// `read`, `write`, `flush`, `discard` or `other`.
    #[serde(deserialize_with = "crate::text::word::one")]
    pub op: Word,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Issuer {
    /// Who; often a kernel worker that writes for others.
    pub task: Task,
    /// Requests.
    pub requests: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A control group whose processes issued requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
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
