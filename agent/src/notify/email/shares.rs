//! Who of several recipients has the mail already. Pure.

use lettre::Address;

/// Tries for those who do not have a mail that others have; at one a minute, half an hour. Greylisting is over by then, and a
/// mailbox that stays full must not hold up what the others are to get.
pub(super) const MAX_TRIES: u32 = 30;

/// Of one message, the one that is being sent: a channel sends one at a time.
#[derive(Debug, Default)]
pub(super) struct Shares {
    /// The message.
    id: String,
    /// Who has it.
    taken: Vec<Address>,
    tries: u32,
    /// What was said last of who does not get mail: once is enough.
    told: String,
}

impl Shares {
    /// Begins with this message, or goes on with it.
    pub(super) fn of(&mut self, id: &str) {
        if self.id != id {
            (self.id, self.tries) = (id.to_owned(), 0);
            self.taken.clear();
        }
    }

    pub(super) fn took(&mut self, address: &Address) {
        self.taken.push(address.clone());
    }

    pub(super) fn has(&self, address: &Address) -> bool {
        self.taken.contains(address)
    }

    /// Whether nobody has it.
    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }

    /// Whether it is worth another try for those who do not have it yet.
    pub(super) fn goes_on(&mut self) -> bool {
        self.tries += 1;
        self.tries < MAX_TRIES
    }

    /// Whether this is news of somebody who gets no mail.
    pub(super) fn is_news(&mut self, why: &str) -> bool {
        let is_news = self.told != why;
        why.clone_into(&mut self.told);
        is_news
    }
}
