//! Block requests that were slow or failed.

use serde::{Deserialize, Serialize};

use super::{LogMatch, Task, fill};
use crate::text::word::Word;

/// A block request over the latency threshold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SlowIo {
    /// Device name as in `/proc/diskstats`, or `major:minor`.
    pub device: String,
    /// The drive's own name; hostile text.
    pub model: Option<String>,
    /// `read`, `write`, `flush`, `discard` or `other`.
    #[serde(deserialize_with = "crate::text::word::one")]
    pub op: Word,
    /// Issue to completion, milliseconds.
    pub latency_ms: f64,
    /// Insert to issue, milliseconds, of a request that waited in a queue.
    pub queue_ms: Option<f64>,
    /// Reads and writes (with all else) issued and not completed a moment later.
    pub in_flight: Option<(u64, u64)>,
    /// The threshold it exceeded, milliseconds.
    pub threshold_ms: f64,
    /// First sector (512 bytes).
    pub sector: u64,
    /// Size, bytes.
    pub bytes: u64,
    /// 0 or a negative errno.
    pub error: i32,
    /// Task that issued it; often a kernel worker.
    pub issuer: Task,
    /// Its control group when it did.
    pub issuer_group: GroupNumber,
}

/// A control group as the kernel numbers it: the inode of its directory, 0 where it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupNumber {
    /// Of the memory controller's hierarchy (version 1), else of the default one (version 2).
    pub of_memory: bool,
    /// The number; before 5.5 with a generation in the upper half.
    pub id: u64,
}

/// A block request that failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IoError {
    /// Device name as in `/proc/diskstats`, or `major:minor`.
    pub device: String,
    /// The drive's own name; hostile text.
    pub model: Option<String>,
    /// `read`, `write`, `flush`, `discard` or `other`.
    #[serde(deserialize_with = "crate::text::word::maybe")]
    pub op: Option<Word>,
    /// First sector (512 bytes).
    pub sector: u64,
    /// Size, bytes.
    pub bytes: Option<u64>,
    /// A negative errno.
    pub error: Option<i32>,
    /// What the kernel log says of it.
    pub log: Option<LogMatch>,
}

impl IoError {
    /// The same error as a kernel-log line tells it, if that line names device and sector.
    pub fn from_log(log: &LogMatch) -> Option<Self> {
        let field = |name: &str| log.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let (device, sector) = (field("device")?.to_owned(), field("sector")?.parse().ok()?);
        // `op 0x1:(WRITE)` is there from 5.1 on.
        let op =
            log.line.split_once(":(").and_then(|(_, rest)| rest.split_once(')')).map(|(op, _)| match op {
                "READ" => "read",
                "WRITE" => "write",
                "FLUSH" => "flush",
                "DISCARD" => "discard",
                _ => "other",
            });
        Some(Self { device, op, sector, log: Some(log.clone()), ..Self::default() })
    }

    /// Takes what `other` knows and this one does not.
    pub fn absorb(&mut self, other: Self) {
        let Self { device: _, model, op, sector: _, bytes, error, log } = other;
        fill(&mut self.model, model);
        fill(&mut self.op, op);
        fill(&mut self.bytes, bytes);
        fill(&mut self.error, error);
        fill(&mut self.log, log);
    }
}
