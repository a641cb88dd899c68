//! Which kills by processes were told: a log that is read again tells them again, and earlyoom tells of a victim
//! that does not die until it does.

use std::collections::VecDeque;

use crate::time::{Now, SECOND};

/// Kills remembered; beyond it the one told longest ago is forgotten.
pub const MAX_SEEN: usize = 256;
/// A process of the same number and name is another one after this time.
const SAME_NS: u64 = 600 * SECOND;

/// Kills that were told.
#[derive(Debug, Default)]
pub struct UserKills {
    seen: VecDeque<(String, u64)>,
}

impl UserKills {
    /// Whether the kill of this fingerprint at `at` was not told yet; from now on it was.
    pub fn is_new(&mut self, fingerprint: &str, at: Now) -> bool {
        let is = |(known, seen): &(String, u64)| known == fingerprint && seen.abs_diff(at.mono_ns) < SAME_NS;
        if self.seen.iter().any(is) {
            return false;
        }
        if self.seen.len() >= MAX_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back((fingerprint.to_owned(), at.mono_ns));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_told_once_and_another_one_too() {
        let mut kills = UserKills::default();
        let mut check = |print: &str, secs: u64, expect: bool| {
            assert_eq!(kills.is_new(print, Now::default().plus_secs(secs)), expect, "{print} {secs}");
        };
        check("a", 1, true);
        check("a", 1, false);
        check("b", 1, true);
        check("a", 500, false);
        check("a", 700, true);
        for n in 0..MAX_SEEN {
            check(&format!("n{n}"), 1, true);
        }
        check("b", 2, true);
    }
}
