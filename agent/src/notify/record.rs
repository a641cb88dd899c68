//! The lines of the outbox file, encoded and decoded without I/O.
//!
//! `LENGTH CRC JSON\n`: both numbers eight hexadecimal digits, the CRC-32 over the JSON. Text, because an
//! operator can then read the file with `less`, and because a line break is where reading goes on behind damage.

use super::ledger::Seq;
use crate::alert::Alert;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io::{self, BufRead, Read};

/// Longest JSON of one record, bytes. A longer alert is shortened by [`fit`].
pub const MAX_RECORD: usize = 64 << 10;
/// Bytes of `LENGTH CRC ` before the JSON.
const HEAD: usize = 18;
/// Characters that [`fit`] leaves of a text. JSON may take six bytes for each.
const CUT_TEXT: usize = 200;
/// The same of the message.
const CUT_MESSAGE: usize = 1000;
/// Labels and sources that [`fit`] leaves.
const CUT_ITEMS: usize = 8;

/// One line of the file.
#[expect(clippy::large_enum_variant, reason = "one at a time, and mostly alerts")]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record<'a> {
    /// An accepted alert.
    Alert(Stored<'a>),
    /// What became of it on one channel.
    Mark(Mark<'a>),
}

/// An accepted alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored<'a> {
    /// Its number; they only grow.
    pub seq: Seq,
    /// When it was accepted, Unix seconds.
    pub at: i64,
    /// Channels that still have to tell it.
    pub due: Vec<Cow<'a, str>>,
    /// Channels that have told it.
    pub told: Vec<Cow<'a, str>>,
    /// The alert.
    pub alert: Cow<'a, Alert>,
}

/// What became of an alert on one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mark<'a> {
    /// Number of the alert.
    pub seq: Seq,
    /// Name of the channel.
    pub channel: Cow<'a, str>,
    /// What became of it.
    pub outcome: Outcome,
}

/// The end of an alert's way through one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The other side took it.
    Delivered,
    /// The other side will never take it.
    Refused,
    /// It could not be delivered for too long.
    Expired,
    /// A rate limit held it back; it is counted in a later message.
    Limited,
    /// A newer message about the same incident took its place.
    Superseded,
    /// A recovery of something that this channel was not told.
    Untold,
    /// It could not be read back from the outbox.
    Unreadable,
    /// The channel is no longer configured.
    Gone,
    /// It was told together with others after an outage.
    Collapsed,
}

impl Outcome {
    /// Whether the channel was told of the incident.
    pub const fn is_told(self) -> bool {
        matches!(self, Self::Delivered | Self::Collapsed)
    }
}

/// Appends one line.
pub fn encode(record: &Record<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[b' '; HEAD]);
    if serde_json::to_writer(&mut *out, record).is_err() {
        // Writing these types into memory cannot fail; should it ever, half a line must not stay.
        out.truncate(start);
        return;
    }
    let json = &out[start + HEAD..];
    let head = format!("{:08x} {:08x} ", json.len(), crc32fast::hash(json));
    out[start..start + HEAD].copy_from_slice(head.as_bytes());
    out.push(b'\n');
}

/// What JSON can carry and one record can hold: infinities become 0, an oversized alert loses its context
/// and long texts are cut.
pub fn fit(alert: &Alert) -> Cow<'_, Alert> {
    let finite = alert.value.is_finite() && alert.threshold.is_none_or(f64::is_finite);
    let size = serde_json::to_vec(alert).map_or(usize::MAX, |json| json.len());
    // Room for the numbers and channel names around the alert.
    let small = size < MAX_RECORD - 4096;
    if finite && small {
        return Cow::Borrowed(alert);
    }
    let mut alert = alert.clone();
    alert.value = if alert.value.is_finite() { alert.value } else { 0.0 };
    alert.threshold = alert.threshold.filter(|t| t.is_finite());
    if !small {
        shorten(&mut alert, size);
    }
    Cow::Owned(alert)
}

fn shorten(alert: &mut Alert, size: usize) {
    let Alert { hostname, timestamp, metric, message, labels, id, fingerprint, started_at, .. } = alert;
    cut(message, CUT_MESSAGE);
    for text in [hostname, timestamp, metric, id, fingerprint, started_at, &mut alert.rule] {
        cut(text, CUT_TEXT);
    }
    for text in [&mut alert.ended_at, &mut alert.runbook_url].into_iter().flatten() {
        cut(text, CUT_TEXT);
    }
    alert.source.truncate(CUT_ITEMS);
    *labels = std::mem::take(labels).into_iter().take(CUT_ITEMS).collect();
    for value in labels.values_mut().chain(&mut alert.source) {
        cut(value, CUT_TEXT);
    }
    labels.retain(|name, _| name.len() <= CUT_TEXT);
    alert.context.clear();
    alert.context.insert("shortened".into(), format!("the alert had {size} bytes").into());
}

fn cut(text: &mut String, max: usize) {
    if let Some((at, _)) = text.char_indices().nth(max) {
        text.truncate(at);
    }
}

/// Where a record lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// First byte.
    pub offset: u64,
    /// Bytes, without the line break.
    pub len: u32,
}

/// What a pass over a file found besides its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Bytes read.
    pub len: u64,
    /// Lines, or rests of lines, that are no record: torn by a crash or damaged later.
    pub damaged: u64,
    /// Whether the last line is complete, so that the next record may follow at once.
    pub clean_end: bool,
}

/// Reads all records, skipping and counting what is damaged. An error of the reader ends the pass like the end
/// of the file, as damage.
pub fn scan(mut reader: impl BufRead, mut each: impl FnMut(Place, Record<'static>)) -> Scan {
    let mut found = Scan { clean_end: true, ..Scan::default() };
    let mut line = Vec::new();
    loop {
        line.clear();
        match read_line(&mut reader, &mut line) {
            Ok(0) => return found,
            Ok(taken) => {
                found.clean_end = line.pop_if(|b| *b == b'\n').is_some();
                found.damaged += scan_line(&line, found.len, &mut each);
                found.len += taken;
            }
            Err(_) => {
                found.damaged += 1;
                found.clean_end = false;
                return found;
            }
        }
    }
}

/// Reads to the next line break, but keeps no more of the line than two records that lost the break between
/// them. Returns bytes consumed.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let limit = 2 * (HEAD + MAX_RECORD + 1) as u64;
    let taken = reader.by_ref().take(limit).read_until(b'\n', line)? as u64;
    if taken < limit || line.last() == Some(&b'\n') {
        return Ok(taken);
    }
    Ok(taken + reader.skip_until(b'\n')? as u64)
}

/// Records of one line: one, or several where the breaks between them were lost. Returns 1 for damage.
fn scan_line(mut line: &[u8], mut offset: u64, each: &mut impl FnMut(Place, Record<'static>)) -> u64 {
    while !line.is_empty() {
        let Some((json, rest)) = checked(line) else { return 1 };
        let len = (line.len() - rest.len()) as u32;
        match serde_json::from_slice(json) {
            Ok(record) => each(Place { offset, len }, record),
            Err(_) => return 1,
        }
        offset += u64::from(len);
        line = rest;
    }
    0
}

/// The one record that lies at a [`Place`].
pub fn decode(bytes: &[u8]) -> Option<Record<'static>> {
    let (json, rest) = checked(bytes)?;
    if rest.is_empty() { serde_json::from_slice(json).ok() } else { None }
}

/// The JSON of the record at the start of `bytes`, if its checksum is right, and what follows.
fn checked(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, body) = bytes.split_at_checked(HEAD)?;
    if head[8] != b' ' || head[17] != b' ' {
        return None;
    }
    let (json, rest) = body.split_at_checked(hex(&head[..8])? as usize)?;
    (!json.is_empty() && crc32fast::hash(json) == hex(&head[9..17])?).then_some((json, rest))
}

fn hex(digits: &[u8]) -> Option<u32> {
    // `from_str_radix` would also take a sign.
    let text = std::str::from_utf8(digits).ok().filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u32::from_str_radix(text, 16).ok()
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
