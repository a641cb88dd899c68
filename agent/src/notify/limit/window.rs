//! A sliding hour, and how its messages are shared out.

use super::Class;
use crate::notify::slots::{MAX_CHANNELS, Set, Slot};
use crate::time::{Now, SECOND};
use std::collections::VecDeque;

/// Of the messages an hour, one in so many is kept free for what is critical or worse ...
const RESERVE: usize = 5;
/// ... and of these, one rule gets one in so many: a storm of one leaves room for the others.
const SHARE: usize = 4;
/// Of the rest of the total, one in so many is split evenly among the channels: each has its part for itself, so that
/// quick ones leave something to slow ones. The others go to whoever comes first.
const SPLIT: usize = 2;
/// A larger hourly limit is cut to this: each message of the hour takes 24 bytes.
const MAX_PER_HOUR: u32 = 10_000;
const HOUR: u64 = 3600 * SECOND;

/// A sliding hour: never more than `limit` within any 3,600 s.
#[derive(Debug)]
pub struct Window {
    limit: u32,
    taken: VecDeque<Taken>,
    used: Used,
    /// Channels that have a part of it for themselves.
    sharers: Set,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    at: u64,
    slot: Slot,
    class: Option<Class>,
    /// It used what is kept free for what is urgent.
    reserved: bool,
}

/// How many messages of the hour there were: what is kept free, and the rest by channel.
#[derive(Clone, Debug, Default)]
struct Used {
    reserved: usize,
    open: usize,
    by: [u16; MAX_CHANNELS],
}

impl Used {
    fn of(&mut self, slot: Slot) -> &mut u16 {
        &mut self.by[slot.index()]
    }

    fn add(&mut self, taken: &Taken) {
        if taken.reserved {
            self.reserved += 1;
        } else {
            self.open += 1;
            *self.of(taken.slot) += 1;
        }
    }

    fn remove(&mut self, taken: &Taken) {
        if taken.reserved {
            self.reserved -= 1;
        } else {
            self.open -= 1;
            *self.of(taken.slot) -= 1;
        }
    }

    /// What the others have still to themselves, of `part` each.
    fn kept_for(&self, others: Set, part: usize) -> usize {
        others.slots().map(|slot| part.saturating_sub(usize::from(self.by[slot.index()]))).sum()
    }
}

impl Window {
    /// A fresh one, in which nobody has a part for himself.
    pub fn new(limit: u32) -> Self {
        let limit = limit.min(MAX_PER_HOUR);
        Self { limit, taken: VecDeque::new(), used: Used::default(), sharers: Set::default() }
    }

    /// Gives each of these channels a part for itself.
    pub fn share_among(&mut self, sharers: Set) {
        self.sharers = sharers;
    }

    /// What is kept free for what is urgent.
    fn reserve(&self) -> usize {
        self.limit as usize / RESERVE
    }

    /// What one rule may use of that.
    fn share(&self) -> usize {
        self.reserve().div_ceil(SHARE)
    }

    /// What each channel has of the rest for itself.
    fn part(&self) -> usize {
        let open = self.limit as usize - self.reserve();
        (open / SPLIT).checked_div(self.sharers.slots().count()).unwrap_or(0)
    }

    /// Whether `used` leaves room for a message of `slot` that is not urgent.
    fn is_open(&self, used: &Used, slot: Slot) -> bool {
        let mut others = self.sharers;
        others.remove(slot);
        let open = self.limit as usize - self.reserve();
        used.open + used.kept_for(others, self.part()) < open
    }

    pub(super) fn has(&mut self, now: Now, slot: Slot, urgent: Option<Class>) -> bool {
        while let Some(taken) =
            self.taken.front().filter(|taken| now.mono_ns.saturating_sub(taken.at) >= HOUR)
        {
            self.used.remove(taken);
            self.taken.pop_front();
        }
        if self.limit == 0 || self.is_open(&self.used, slot) {
            return true;
        }
        let room = self.used.reserved < self.reserve();
        room && urgent.is_some_and(|class| self.reserved_by(class).count() < self.share())
    }

    fn reserved(&self) -> impl DoubleEndedIterator<Item = &Taken> {
        self.taken.iter().filter(|taken| taken.reserved)
    }

    fn reserved_by(&self, class: Class) -> impl DoubleEndedIterator<Item = &Taken> {
        self.reserved().filter(move |taken| taken.class == Some(class))
    }

    /// When there is room for one, if nobody is faster; 0 is now.
    pub(super) fn free_at(&self, slot: Slot, urgent: Option<Class>) -> u64 {
        if self.limit == 0 {
            return 0;
        }
        let open = self.open_at(slot);
        let Some(class) = urgent else { return open };
        let gone = |taken: Option<&Taken>| taken.map_or(0, |taken| taken.at.saturating_add(HOUR));
        let last = |most: usize| most.saturating_sub(1);
        let own = gone(self.reserved_by(class).rev().nth(last(self.share())));
        open.min(own.max(gone(self.reserved().rev().nth(last(self.reserve())))))
    }

    /// When there is room for one that is not urgent.
    fn open_at(&self, slot: Slot) -> u64 {
        let mut used = self.used.clone();
        let mut at = 0;
        for taken in &self.taken {
            if self.is_open(&used, slot) {
                break;
            }
            used.remove(taken);
            at = taken.at.saturating_add(HOUR);
        }
        at
    }

    pub(super) fn take(&mut self, now: Now, slot: Slot, class: Option<Class>) {
        if self.limit > 0 {
            let reserved = !self.is_open(&self.used, slot);
            let taken = Taken { at: now.mono_ns, slot, class, reserved };
            self.used.add(&taken);
            self.taken.push_back(taken);
        }
    }

    pub(super) fn give_back(&mut self, at: Now, slot: Slot) {
        let index = self.taken.iter().rposition(|taken| taken.at == at.mono_ns && taken.slot == slot);
        if let Some(taken) = index.and_then(|index| self.taken.remove(index)) {
            self.used.remove(&taken);
        }
    }

    /// Rules of the urgent ones.
    pub(super) fn classes(&self) -> impl Iterator<Item = Class> {
        self.taken.iter().filter_map(|taken| taken.class)
    }

    /// Whether nothing was taken.
    #[cfg(test)]
    pub(super) fn is_untouched(&self) -> bool {
        self.taken.is_empty() && self.used.open + self.used.reserved == 0
    }
}
