//! What a kill leads to by itself, and is no news beside it.
//!
//! A victim may not wait for memory any more: what it asks for on its way out fails at once, and the kernel logs that as
//! `page allocation failure: order:0` (`__alloc_pages_slowpath`, `mm/page_alloc.c`: `tsk_is_oom_victim` goes to `nopage`).

use std::collections::VecDeque;

use crate::event::LogMatch;
use crate::time::{Now, SECOND};

/// Victims remembered.
const MAX_VICTIMS: usize = 64;
/// How long a victim may take to end.
const WITHIN_NS: u64 = 30 * SECOND;

/// Victims of the last seconds.
#[derive(Debug, Default)]
pub struct Aftermath {
    victims: VecDeque<(u64, String)>,
}

impl Aftermath {
    /// A process of this name was killed.
    pub fn note(&mut self, now: Now, comm: &str) {
        self.victims.retain(|(at, known)| now.mono_ns.saturating_sub(*at) <= WITHIN_NS && known != comm);
        if self.victims.len() == MAX_VICTIMS {
            self.victims.pop_front();
        }
        self.victims.push_back((now.mono_ns, comm.to_owned()));
    }

    /// Whether a line of the kernel log only tells of a victim's end.
    pub fn explains(&self, now: Now, found: &LogMatch) -> bool {
        let field =
            |name| found.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        found.rule == "page_allocation_failure"
            && field("order") == Some("0")
            && self.victims.iter().any(|(at, comm)| {
                now.mono_ns.saturating_sub(*at) <= WITHIN_NS && field("task") == Some(comm.as_str())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;

    fn failure(rule: &str, task: &str, order: &str) -> LogMatch {
        LogMatch {
            rule: rule.into(),
            severity: Severity::Warn,
            meaning: String::new(),
            line: String::new(),
            fields: [("task", task), ("order", order)].map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
        }
    }

    #[test]
    fn only_what_a_victim_asks_for_is_explained() {
        let at = |secs| Now::default().plus_secs(secs);
        let mut after = Aftermath::default();
        let rule = "page_allocation_failure";
        assert!(!after.explains(at(0), &failure(rule, "hog", "0")));
        after.note(at(100), "hog");
        for (secs, found, expect) in [
            (100, failure(rule, "hog", "0"), true),
            (130, failure(rule, "hog", "0"), true),
            (131, failure(rule, "hog", "0"), false),
            (100, failure(rule, "hog", "4"), false),
            (100, failure(rule, "java", "0"), false),
            (100, failure("oops", "hog", "0"), false),
        ] {
            assert_eq!(after.explains(at(secs), &found), expect, "{secs} {found:?}");
        }
        for number in 0..100 {
            after.note(at(101), &number.to_string());
        }
        assert!(!after.explains(at(101), &failure(rule, "hog", "0")), "the oldest is forgotten");
        assert_eq!(after.victims.len(), MAX_VICTIMS);
    }
}
