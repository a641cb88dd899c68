//! Who of several recipients has a mail already. Pure.

use std::collections::VecDeque;

use lettre::Address;

/// Tries for those who do not have a mail that others have; at one a minute, half an hour. Greylisting is over by then, and a
/// mailbox that stays full must not hold up what the others are to get.
pub(super) const MAX_TRIES: u32 = 30;
/// Messages of which it is remembered; beyond it the one tried longest ago is forgotten. Many more than the limits of a channel let
/// through while one has its tries: one that is still tried and was forgotten would go to everybody again.
const MAX_SHARES: usize = 1024;

/// Who has one message.
#[derive(Debug, Default)]
pub(super) struct Share {
    id: String,
    taken: Vec<Address>,
    tries: u32,
}

impl Share {
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
}

/// Messages that some have and others do not: while one of them waits for its next try, others are sent.
#[derive(Debug, Default)]
pub(super) struct Shares {
    all: VecDeque<Share>,
    /// What was said last of who does not get mail: once is enough.
    told: String,
}

impl Shares {
    /// What is known of this message; it is forgotten unless it is [kept](Self::keep) again.
    pub(super) fn take(&mut self, id: &str) -> Share {
        let known = self.all.iter().position(|share| share.id == id).and_then(|at| self.all.remove(at));
        known.unwrap_or_else(|| Share { id: id.to_owned(), ..Share::default() })
    }

    /// Some have it, and there is another try for the others.
    pub(super) fn keep(&mut self, share: Share) {
        if self.all.len() >= MAX_SHARES {
            self.all.pop_front();
        }
        self.all.push_back(share);
    }

    /// Whether this is news of somebody who gets no mail.
    pub(super) fn is_news(&mut self, why: &str) -> bool {
        let is_news = self.told != why;
        why.clone_into(&mut self.told);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_mail_is_known_while_others_are_sent() {
        let ops: Address = "ops@example.com".parse().unwrap();
        let mut shares = Shares::default();
        let mut a = shares.take("a");
        a.took(&ops);
        shares.keep(a);
        assert!(shares.take("b").is_empty(), "another message");
        let a = shares.take("a");
        assert!(a.has(&ops));
        assert!(shares.take("a").is_empty(), "it is over, or is kept");
        for id in 0..2 * MAX_SHARES {
            shares.keep(Share { id: id.to_string(), ..Share::default() });
        }
        assert_eq!(shares.all.len(), MAX_SHARES);
    }
}
