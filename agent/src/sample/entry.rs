//! By what a series is known again, pass after pass: in one line of the processor's cache, as long as its labels are short.

use crate::metric::Metric;

/// Bytes of labels in place.
const ROOM: usize = 33;
/// Behind each label; in no text.
const END: u8 = 0xff;
/// Length that stands for labels that had no room.
const LONG: u8 = u8::MAX;

/// What the interner looks at.
#[repr(align(64))]
pub(super) struct Entry {
    pub(super) metric: &'static Metric,
    pub(super) hash: u64,
    /// Who read it last, in which of its passes, and in which second of the monotonic clock.
    pub(super) reader: u16,
    pub(super) last_pass: u32,
    pub(super) last_secs: u32,
    /// Slot of the series that came after it the last time.
    pub(super) next: u32,
    length: u8,
    labels: [u8; ROOM],
}

const _: () = assert!(size_of::<Option<Entry>>() == 64);

impl Entry {
    pub(super) fn new(metric: &'static Metric, labels: &[&str], hash: u64) -> Self {
        let mut entry = Self {
            metric,
            hash,
            reader: 0,
            last_pass: 0,
            last_secs: 0,
            next: 0,
            length: 0,
            labels: [END; ROOM],
        };
        entry.length = entry.fill(labels).unwrap_or(LONG);
        entry
    }

    fn fill(&mut self, labels: &[&str]) -> Option<u8> {
        let mut at = 0;
        for label in labels {
            self.labels.get_mut(at..at + label.len())?.copy_from_slice(label.as_bytes());
            at += label.len() + 1;
        }
        (at <= ROOM).then_some(at as u8)
    }

    /// Whether these are its labels; `None`: they had no room here.
    pub(super) fn has(&self, labels: &[&str]) -> Option<bool> {
        if self.length == LONG {
            return None;
        }
        let mut rest = &self.labels[..usize::from(self.length)];
        for label in labels {
            let Some(behind) = rest.strip_prefix(label.as_bytes()) else { return Some(false) };
            let [END, behind @ ..] = behind else { return Some(false) };
            rest = behind;
        }
        Some(rest.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Kind, Unit};

    static METRIC: Metric = Metric {
        name: "m",
        prometheus: "m",
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &[],
        help: "",
        source: "",
    };

    #[test]
    fn labels_are_told_apart() {
        let long = "x".repeat(ROOM);
        let just = &long[1..];
        let all: [&[&str]; 15] = [
            &[],
            &[""],
            &["", ""],
            &["a"],
            &["a", ""],
            &["", "a"],
            &["a", "b"],
            &["ab"],
            &["ab", ""],
            &["a\u{ff}b"],
            &["ä"],
            &[just],
            &[&just[1..], ""],
            &[&just[2..], ""],
            &[&just[2..], "a"],
        ];
        for (nth, labels) in all.iter().enumerate() {
            let entry = Entry::new(&METRIC, labels, 0);
            let room: usize = labels.iter().map(|label| label.len() + 1).sum();
            for (other, others) in all.iter().enumerate() {
                assert_eq!(
                    entry.has(others),
                    (room <= ROOM).then_some(nth == other),
                    "{labels:?} {others:?}"
                );
            }
        }
        assert_eq!(Entry::new(&METRIC, &[&long], 0).has(&[&long]), None);
    }
}
