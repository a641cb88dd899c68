//! A place in the journal: where reading goes on.

use std::sync::Arc;

/// Longest place, bytes: a cursor has some 130.
const MAX_PLACE: usize = 300;
const MICROS: u64 = 1_000_000;

/// Where reading goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind this entry.
    Cursor(Arc<str>),
    /// At this time since the boot, microseconds of `CLOCK_MONOTONIC`: the time of day may be set back.
    Uptime(u64),
}

impl Place {
    /// As it is stored: a cursor (`s=…;i=…`), or `@` and seconds since the boot.
    pub fn text(&self) -> Arc<str> {
        match self {
            Self::Cursor(cursor) => Arc::clone(cursor),
            Self::Uptime(us) => format!("@{}.{:06}", us / MICROS, us % MICROS).into(),
        }
    }

    /// The way back; `None` if it is no place.
    pub fn parse(text: &str) -> Option<Self> {
        let Some(time) = text.strip_prefix('@') else {
            return is_cursor(text).then(|| Self::Cursor(text.into()));
        };
        let (secs, micros) = time.split_once('.')?;
        let micros: u64 = (micros.len() == 6).then(|| micros.parse().ok()).flatten()?;
        Some(Self::Uptime(secs.parse::<u64>().ok()?.checked_mul(MICROS)?.checked_add(micros)?))
    }

    /// Whether an entry is not behind this place: it was read, or is older.
    pub fn is_before(&self, cursor: &str, time_us: u64) -> bool {
        match self {
            Self::Cursor(last) => **last == *cursor,
            Self::Uptime(from) => time_us < *from,
        }
    }
}

/// Whether a text may be a cursor of journald's.
pub fn is_cursor(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'=' | b';');
    text.len() <= MAX_PLACE && text.starts_with("s=") && text.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_stored_and_found_again() {
        for (text, expect) in [
            ("s=1d;i=6;b=e7", Some(Place::Cursor("s=1d;i=6;b=e7".into()))),
            ("@5.000001", Some(Place::Uptime(5_000_001))),
            ("@0.000000", Some(Place::Uptime(0))),
            ("@5", None),
            ("@5.1", None),
            ("@", None),
            ("@.000001", None),
            ("@-5.000001", None),
            ("@5.00000x", None),
            ("@18446744073709551615.000001", None),
            ("s=1 --file=/x", None),
            ("s=1\n", None),
            ("i=6", None),
            ("", None),
        ] {
            let place = Place::parse(text);
            assert_eq!(place, expect, "{text}");
            assert!(place.is_none_or(|place| &*place.text() == text), "{text}");
        }
        assert_eq!(Place::parse(&format!("s={}", "1".repeat(MAX_PLACE))), None);
    }

    #[test]
    fn what_was_read_or_is_older_is_passed_over() {
        let check = |place: &str, cursor: &str, time_us: u64, expect: bool| {
            assert_eq!(Place::parse(place).expect("valid").is_before(cursor, time_us), expect, "{place}");
        };
        check("s=1", "s=1", 9, true);
        check("s=1", "s=2", 0, false);
        check("@5.000000", "s=2", 4_999_999, true);
        check("@5.000000", "s=2", 5_000_000, false);
    }
}
