//! Entries as `journalctl --output=json` prints them: one object a line, every value a text, a list of bytes where it is
//! no UTF-8, a list where a field comes several times, null where it is longer than 4 KiB. Pure.

use std::borrow::Cow;

use serde::Deserialize;

use super::place::is_cursor;
use super::programs::Line;
use super::{KILLED_MESSAGE, killer_of};
use crate::time::Now;

/// Longest line kept, bytes: a few fields, each of 4 KiB at most.
pub const MAX_ENTRY: usize = 64 << 10;

/// Why an entry tells nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not what `journalctl` prints.
    #[error("it is no entry of the journal: {0}")]
    Malformed(String),
    /// It has no cursor, or a strange one.
    #[error("it has no place in the journal")]
    Placeless,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the journal.
    pub cursor: String,
    /// When journald took it, microseconds of `CLOCK_MONOTONIC`.
    pub time_us: u64,
    /// Who said what.
    pub said: Said,
}

/// What an entry says, by the fields that no client can send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A killer, out of its own unit.
    Killer {
        /// Its name.
        name: &'static str,
        /// Its process.
        pid: Option<u32>,
        /// What it said.
        text: String,
    },
    /// systemd itself, of what systemd-oomd killed.
    Systemd {
        /// What it said.
        text: String,
    },
    /// The kernel.
    Kernel {
        /// When, microseconds of its `local_clock`.
        time_us: u64,
        /// The line.
        text: String,
        /// Subsystem and device, as the kernel names them.
        device: [Option<String>; 2],
    },
    /// A process, through `/dev/kmsg`.
    Kmsg {
        /// The line.
        text: String,
    },
    /// Any other program.
    Program(Line),
    /// Nobody who counts, or nothing that can be read.
    Nothing,
}

/// A value.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Value<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Bytes(Vec<u8>),
    /// Several at once, or too long.
    Other(serde::de::IgnoredAny),
}

impl Value<'_> {
    fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Bytes(bytes) => Some(String::from_utf8_lossy(bytes)),
            Self::Other(_) => None,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Fields<'a> {
    #[serde(rename = "__CURSOR", borrow)]
    cursor: Option<Value<'a>>,
    #[serde(rename = "__MONOTONIC_TIMESTAMP")]
    monotonic: Option<Value<'a>>,
    #[serde(rename = "_TRANSPORT")]
    transport: Option<Value<'a>>,
    #[serde(rename = "_SYSTEMD_UNIT")]
    unit: Option<Value<'a>>,
    #[serde(rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<Value<'a>>,
    #[serde(rename = "_COMM")]
    comm: Option<Value<'a>>,
    #[serde(rename = "_PID")]
    pid: Option<Value<'a>>,
    #[serde(rename = "MESSAGE_ID")]
    id: Option<Value<'a>>,
    #[serde(rename = "SYSLOG_FACILITY")]
    facility: Option<Value<'a>>,
    #[serde(rename = "_SOURCE_MONOTONIC_TIMESTAMP")]
    source_monotonic: Option<Value<'a>>,
    #[serde(rename = "_KERNEL_SUBSYSTEM")]
    subsystem: Option<Value<'a>>,
    #[serde(rename = "_KERNEL_DEVICE")]
    device: Option<Value<'a>>,
    #[serde(rename = "MESSAGE")]
    message: Option<Value<'a>>,
}

impl Entry {
    /// Reads one line, without its line break.
    pub fn parse(line: &[u8]) -> Result<Self, EntryError> {
        let fields: Fields<'_> =
            serde_json::from_slice(line).map_err(|error| EntryError::Malformed(error.to_string()))?;
        let cursor = text(fields.cursor.as_ref()).filter(|cursor| is_cursor(cursor));
        let time_us = number(fields.monotonic.as_ref());
        let (cursor, time_us) = cursor.zip(time_us).ok_or(EntryError::Placeless)?;
        Ok(Self { cursor: cursor.into_owned(), time_us, said: fields.said(time_us) })
    }

    /// The moment of the entry; never later than now.
    pub fn at(&self, now: Now) -> Now {
        now.at_mono(self.time_us.saturating_mul(1000).min(now.mono_ns))
    }
}

impl Fields<'_> {
    fn said(&self, time_us: u64) -> Said {
        let Some(text) = text(self.message.as_ref()).map(Cow::into_owned) else { return Said::Nothing };
        if is(self.transport.as_ref(), "kernel") {
            if !is(self.facility.as_ref(), "0") {
                return Said::Kmsg { text };
            }
            let device = [&self.subsystem, &self.device].map(|v| self::text(v.as_ref()).map(Cow::into_owned));
            let time_us = number(self.source_monotonic.as_ref()).unwrap_or(time_us);
            return Said::Kernel { time_us, text, device };
        }
        let pid = number(self.pid.as_ref()).and_then(|pid| u32::try_from(pid).ok());
        // Process 1 is its own journald's; that of a container is another one here.
        if pid == Some(1) && is(self.id.as_ref(), KILLED_MESSAGE) {
            return Said::Systemd { text };
        }
        let unit = self::text(self.unit.as_ref()).unwrap_or_default();
        let Some(name) = killer_of(&unit) else { return self.program(pid, text) };
        // What it starts writes into the same unit. A process that is gone has no name any more.
        match &self.comm {
            Some(_) if !is(self.comm.as_ref(), name) => self.program(pid, text),
            _ => Said::Killer { name, pid, text },
        }
    }

    fn program(&self, pid: Option<u32>, text: String) -> Said {
        if !["journal", "stdout", "syslog"].iter().any(|way| is(self.transport.as_ref(), way)) {
            return Said::Nothing;
        }
        let [name, unit] =
            [&self.identifier, &self.unit].map(|value| self::text(value.as_ref()).map(Cow::into_owned));
        Said::Program(Line { name, unit, pid, text })
    }
}

fn text<'a>(value: Option<&'a Value<'_>>) -> Option<Cow<'a, str>> {
    value.and_then(Value::text)
}

fn is(value: Option<&Value<'_>>, expect: &str) -> bool {
    text(value).is_some_and(|text| text == expect)
}

fn number(value: Option<&Value<'_>>) -> Option<u64> {
    text(value)?.parse().ok()
}

/// Takes a stream of bytes apart into lines; one longer than [`MAX_ENTRY`] is passed over.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    /// The line that has begun is too long.
    passing: bool,
    /// Lines passed over.
    pub too_long: u64,
}

impl Lines {
    /// Takes what has arrived and calls `each` with every line that is complete.
    pub fn take(&mut self, bytes: &[u8], each: &mut dyn FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            self.add(&rest[..end]);
            if !std::mem::take(&mut self.passing) {
                each(&self.begun);
            }
            self.begun.clear();
            rest = &rest[end + 1..];
        }
        self.add(rest);
    }

    /// Another stream begins: the line that has begun never ends.
    pub fn restart(&mut self) {
        self.begun.clear();
        self.passing = false;
    }

    fn add(&mut self, part: &[u8]) {
        if !self.passing && self.begun.len() + part.len() > MAX_ENTRY {
            self.passing = true;
            self.too_long += 1;
            self.begun = Vec::new();
        }
        if !self.passing {
            self.begun.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
