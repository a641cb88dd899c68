//! Who gets how many of the series that may be kept: a collector with thousands of things leaves room for the others.

use super::Samples;

/// A collector that puts readings.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) name: &'static str,
    pub(super) passes: u32,
    pub(super) series: usize,
    /// Series that it may have in any case: room for them is kept.
    pub(super) granted: usize,
}

/// Room kept for a collector beyond what it has, once it has come: one that finds nothing needs little.
const MARGIN: usize = 8;

impl Reader {
    pub(super) const fn new(name: &'static str, granted: usize) -> Self {
        Self { name, passes: 0, series: 0, granted }
    }

    /// Room that is kept for it.
    pub(super) const fn unused(&self) -> usize {
        self.granted.saturating_sub(self.series)
    }
}

impl Samples {
    /// Half of the series are shared out among these, so that one with thousands of things leaves room for the others.
    #[must_use]
    pub fn shared_by(mut self, collectors: impl Iterator<Item = &'static str>) -> Self {
        self.readers = collectors.map(|name| Reader::new(name, 0)).collect();
        self.share = self.max_series / 2 / self.readers.len().max(1);
        self.readers.iter_mut().for_each(|reader| reader.granted = self.share);
        self
    }

    pub(super) fn keep_for_others(&mut self) {
        let others = self.readers.iter().enumerate().filter(|(nth, _)| *nth != usize::from(self.reader));
        self.kept = others.map(|(_, reader)| reader.unused()).sum();
    }

    /// What is kept for the collector that has just come: a little more than it has, as far as there is room.
    pub(super) fn grant(&mut self) {
        let Some(own) = self.readers.get(usize::from(self.reader)) else { return };
        let wish = self.share.min(own.series + MARGIN);
        let room = self.max_series.saturating_sub(self.len() + self.kept + own.unused());
        let granted = wish.min(own.granted + room);
        self.readers[usize::from(self.reader)].granted = granted;
    }

    /// Whether the collector whose pass this is may have one series more.
    pub(super) fn has_room(&self) -> bool {
        let own = self.readers.get(usize::from(self.reader));
        let is_due = own.is_some_and(|own| own.unused() > 0);
        let kept = if is_due { 0 } else { self.kept };
        self.len().saturating_add(kept) < self.max_series
    }
}
