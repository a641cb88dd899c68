//! The limits of the ledger: how much of them is used, and what goes when they are reached.

use super::{Entry, Ledger, MAX_ALERTS, MAX_BYTES, MAX_UNSTORED, Seq};

impl Ledger {
    /// How much of its limits the alerts take that somebody has still to tell, percent. Told ones make room.
    pub fn used_percent(&self) -> u64 {
        let waiting = Use::of(self.entries.values().filter(|entry| !entry.due.is_empty()));
        let share = |part: u64, whole: u64| part.saturating_mul(100) / whole;
        share(waiting.alerts as u64, MAX_ALERTS as u64)
            .max(share(waiting.unstored as u64, MAX_UNSTORED as u64))
            .max(share(waiting.bytes, MAX_BYTES))
    }

    /// Drops alerts until all limits hold; returns those that somebody still had to tell.
    pub fn enforce(&mut self) -> Vec<(Seq, Entry)> {
        let mut use_ = Use::of(self.entries.values());
        if use_.fits() {
            return Vec::new();
        }
        let rank = |e: &Entry| if e.due.is_empty() { None } else { Some(e.severity) };
        let mut order: Vec<_> = self.entries.iter().map(|(seq, e)| (rank(e), *seq)).collect();
        order.sort_unstable();
        let mut lost = Vec::new();
        for (rank, seq) in order {
            let Some(entry) = self.entries.get(&seq).filter(|e| use_.gains_by(e)) else { continue };
            use_.take(entry);
            lost.extend(self.entries.remove_entry(&seq).filter(|_| rank.is_some()));
        }
        lost
    }
}

/// How much of the limits is used.
#[derive(Debug)]
struct Use {
    alerts: usize,
    unstored: usize,
    bytes: u64,
}

impl Use {
    fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut all = Self { alerts: 0, unstored: 0, bytes: 0 };
        for entry in entries {
            all.alerts += 1;
            all.unstored += usize::from(entry.place.is_none());
            all.bytes += entry.bytes();
        }
        all
    }
    fn fits(&self) -> bool {
        self.alerts <= MAX_ALERTS && self.unstored <= MAX_UNSTORED && self.bytes <= MAX_BYTES
    }
    /// Whether a limit is broken and dropping `entry` helps.
    fn gains_by(&self, entry: &Entry) -> bool {
        self.alerts > MAX_ALERTS
            || self.bytes > MAX_BYTES && entry.place.is_some()
            || self.unstored > MAX_UNSTORED && entry.place.is_none()
    }
    fn take(&mut self, entry: &Entry) {
        self.alerts -= 1;
        self.unstored -= usize::from(entry.place.is_none());
        self.bytes -= entry.bytes();
    }
}
