//! Lines of a syslog file, as rsyslog, syslog-ng and busybox write them. Pure; parsing borrows and does not allocate.
//!
//! A file does not say who wrote a line: the tag `kernel:` is text like any other, and every program may send it
//! (`logger -t kernel`). So a kernel event out of such a file is marked as not proven ([`crate::event::Source::Syslog`]),
//! and is taken from there only where neither `/dev/kmsg` nor the journal can be read.

pub mod follow;
pub mod read;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// One line, taken apart as far as it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When, as written.
    pub stamp: Stamp,
    /// Who says it wrote it, without its process id; empty: nobody.
    pub program: &'a str,
    /// Its process id.
    pub pid: Option<u32>,
    /// What it wrote.
    pub text: &'a str,
}

/// The time of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// None that is known.
    None,
    /// With year and zone: Unix time, nanoseconds.
    Exact(i64),
    /// With a year, in the zone of the host.
    Local(DateTime),
    /// Without a year, in the zone of the host (RFC 3164).
    Yearless(DateTime),
}

/// A clock may be so far ahead before a time without a year is one of last year, seconds.
const AHEAD_SECS: i64 = 86_400;

impl<'a> Line<'a> {
    /// Takes a line apart, without its line break.
    pub fn parse(line: &'a str) -> Self {
        let line = without_priority(line);
        if let Some(rest) = line.strip_prefix("1 ")
            && let Some(parsed) = rfc5424(rest)
        {
            return parsed;
        }
        let (stamp, rest) = stamp(line);
        if stamp == Stamp::None {
            return Self { stamp, program: "", pid: None, text: line };
        }
        // The host's name comes next, but for programs that leave it out.
        let (first, after) = word(rest);
        let has_host = !first.ends_with(':');
        let (program, pid, text) = tag(if has_host { after } else { rest });
        Self { stamp, program, pid, text }
    }

    /// Whether it says that the kernel wrote it, in the way that syslog daemons do.
    pub fn says_kernel(&self) -> bool {
        self.program == "kernel" && self.pid.is_none()
    }

    /// Text and moment of a line of the kernel: microseconds since boot, where the line has them.
    pub fn kernel_time(&self) -> (Option<u64>, &'a str) {
        kernel_time(self.text)
    }
}

/// The same of its text alone.
fn kernel_time(text: &str) -> (Option<u64>, &str) {
    let parsed = || {
        let (secs, rest) = text.strip_prefix('[')?.split_once(']')?;
        let (secs, micros) = secs.trim_start().split_once('.')?;
        let micros: u64 = (micros.len() == 6).then(|| micros.parse().ok())??;
        let time: u64 = secs.parse().ok()?;
        Some((time.checked_mul(1_000_000)?.checked_add(micros)?, rest.strip_prefix(' ').unwrap_or(rest)))
    };
    parsed().map_or((None, text), |(time, rest)| (Some(time), rest))
}

impl Stamp {
    /// Unix time in nanoseconds, read at `now_ns` on a host in `zone`. A time without a year is the last such one.
    pub fn wall_ns(self, now_ns: i64, zone: &TimeZone) -> Option<i64> {
        let unix = |at: DateTime| -> Option<i64> {
            let at = at.to_zoned(zone.clone()).ok()?.timestamp();
            i64::try_from(at.as_nanosecond()).ok()
        };
        match self {
            Self::None => None,
            Self::Exact(ns) => Some(ns),
            Self::Local(at) => unix(at),
            Self::Yearless(at) => {
                let now = Timestamp::from_nanosecond(i128::from(now_ns)).ok()?.to_zoned(zone.clone());
                let limit = now_ns.saturating_add(AHEAD_SECS * 1_000_000_000);
                // 29 February is in few years only.
                let in_year = |back: i16| {
                    at.with().year(now.year() - back).build().ok().and_then(unix).filter(|ns| *ns <= limit)
                };
                (0..=8).find_map(in_year)
            }
        }
    }
}

/// `<13>` at the start of a line that came over the network.
fn without_priority(line: &str) -> &str {
    let rest = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match rest {
        Some((number, rest))
            if (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            rest
        }
        _ => line,
    }
}

/// Time, and what comes behind it.
fn stamp(line: &str) -> (Stamp, &str) {
    match line.as_bytes().first() {
        Some(b'0'..=b'9') => {
            let (first, rest) = word(line);
            if first.len() == 10
                && let (time, after) = word(rest)
                && let Some(stamp) = iso(&[first, "T", time])
            {
                return (stamp, after);
            }
            iso(&[first]).map_or((Stamp::None, line), |stamp| (stamp, rest))
        }
        Some(b'A'..=b'Z') => rfc3164(line).unwrap_or((Stamp::None, line)),
        _ => (Stamp::None, line),
    }
}

/// `2026-11-22T13:45:29.123456+00:00`, with or without fraction and zone; at most 64 bytes.
fn iso(parts: &[&str]) -> Option<Stamp> {
    let mut room = [0_u8; 64];
    let mut len = 0;
    for part in parts {
        room.get_mut(len..len + part.len())?.copy_from_slice(part.as_bytes());
        len += part.len();
    }
    let text = std::str::from_utf8(&room[..len]).ok()?;
    if let Ok(at) = text.parse::<Timestamp>() {
        return i64::try_from(at.as_nanosecond()).ok().map(Stamp::Exact);
    }
    text.parse().ok().map(Stamp::Local)
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `Nov  2 13:45:29`, in some daemons with the year behind the day or a fraction behind the seconds.
fn rfc3164(line: &str) -> Option<(Stamp, &str)> {
    let (month, rest) = word(line);
    let month = MONTHS.iter().position(|name| *name == month)? as i8 + 1;
    let (day, rest) = word(rest.trim_start_matches(' '));
    let (mut time, mut rest) = word(rest);
    let mut year = None;
    if time.len() == 4 {
        year = Some(time.parse::<i16>().ok()?);
        (time, rest) = word(rest);
    }
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = clock.split(':');
    let mut two = || -> Option<i8> {
        let part = parts.next()?;
        (part.len() == 2).then(|| part.parse().ok())?
    };
    // A leap second is told as the one before it.
    let (hour, minute, second) = (two()?, two()?, two()?.min(59));
    let digits: u32 =
        fraction.bytes().take(9).take_while(u8::is_ascii_digit).fold(0, |n, b| n * 10 + u32::from(b - b'0'));
    let nanos = digits.checked_mul(10_u32.checked_pow(9 - (fraction.len().min(9)) as u32)?)? as i32;
    // 2000 had all days that there are.
    let at = jiff::civil::Date::new(year.unwrap_or(2000), month, day.parse().ok()?).ok()?;
    let at = at.to_datetime(jiff::civil::Time::new(hour, minute, second, nanos).ok()?);
    Some((if year.is_some() { Stamp::Local(at) } else { Stamp::Yearless(at) }, rest))
}

/// What stands behind `<165>1 `: time, host, program, process, message id, structured data, text.
fn rfc5424(rest: &str) -> Option<Line<'_>> {
    let (time, rest) = word(rest);
    let stamp = if time == "-" { Stamp::None } else { iso(&[time])? };
    let (_host, rest) = word(rest);
    let (program, rest) = word(rest);
    let (pid, rest) = word(rest);
    let (_id, rest) = word(rest);
    let text = structured_data(rest)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let program = if program == "-" { "" } else { program };
    Some(Line { stamp, program, pid: pid.parse().ok(), text })
}

/// What comes behind the structured data: `-`, or `[a b="c\"]"]` some times.
fn structured_data(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('-') {
        return Some(rest.strip_prefix(' ').unwrap_or(rest));
    }
    let mut rest = text;
    while let Some(inside) = rest.strip_prefix('[') {
        let (mut quoted, mut escaped) = (false, false);
        let end = inside.find(|c| {
            let is_end = c == ']' && !quoted && !escaped;
            quoted ^= c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        })?;
        rest = &inside[end + 1..];
    }
    (rest.len() < text.len()).then(|| rest.strip_prefix(' ').unwrap_or(rest))
}

/// `program[123]: text`; without a tag all of it is text.
fn tag(rest: &str) -> (&str, Option<u32>, &str) {
    let (first, _) = word(rest);
    let Some(name) = first.strip_suffix(':').filter(|name| !name.is_empty()) else { return ("", None, rest) };
    let text = &rest[first.len()..];
    let text = text.strip_prefix(' ').unwrap_or(text);
    let pid = name.strip_suffix(']').and_then(|name| name.split_once('['));
    match pid {
        Some((name, pid)) => (name, pid.parse().ok(), text),
        None => (name, None, text),
    }
}

/// The first word, and what comes behind the blank after it.
fn word(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

#[cfg(test)]
#[path = "syslog_tests.rs"]
mod tests;
