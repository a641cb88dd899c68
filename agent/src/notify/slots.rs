//! Channels as bits: each alert keeps several sets of them.

/// Most channels, over all configurations that one file has seen.
pub const MAX_CHANNELS: usize = 32;

/// A channel's place in a [`Set`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub(super) u8);

impl Slot {
    /// Its place in a list of [`MAX_CHANNELS`].
    pub(super) fn index(self) -> usize {
        usize::from(self.0) % MAX_CHANNELS
    }

    /// Its name in a list as [`super::ledger::Ledger::all_names`] gives it.
    pub fn of(self, names: &[String]) -> Option<&str> {
        names.get(usize::from(self.0)).map(String::as_str)
    }
}

/// A set of channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set(pub(super) u32);

impl Set {
    /// Whether nobody is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// Whether `slot` is in it.
    pub fn has(self, slot: Slot) -> bool {
        self.0 & 1 << slot.0 != 0
    }
    /// Adds `slot`.
    pub fn add(&mut self, slot: Slot) {
        self.0 |= 1 << slot.0;
    }
    /// Takes `slot` out.
    pub fn remove(&mut self, slot: Slot) {
        self.0 &= !(1 << slot.0);
    }
    /// Both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// What is only in `self`.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
    /// All members.
    pub fn slots(self) -> impl Iterator<Item = Slot> {
        (0..MAX_CHANNELS as u8).map(Slot).filter(move |s| self.has(*s))
    }
}
