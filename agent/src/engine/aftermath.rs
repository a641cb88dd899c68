//! What a kill leads to by itself, and is no news beside it.
//!
//! A victim may not wait for memory any more: what it asks for on its way out fails at once, and the kernel logs that as
//! `page allocation failure: order:0` (`__alloc_pages_slowpath`, `mm/page_alloc.c`: `tsk_is_oom_victim` goes to `nopage`).

use std::collections::VecDeque;

use crate::event::{Constraint, LogMatch, Oom};
use crate::time::{Now, SECOND};

/// Victims remembered.
const MAX_VICTIMS: usize = 64;
/// How long after its kill a victim's failure is expected.
const WITHIN_NS: u64 = 5 * SECOND;

/// Victims of the last seconds, of kills for the whole machine: who dies of its group's limit does not empty the zones.
///
/// The line has no pid, so another process of a victim's name can be taken for it: hence one line a victim. The
/// kernel itself writes one in some seconds (`nopage_rs`, `warn_alloc`, `mm/page_alloc.c`).
#[derive(Debug, Default)]
pub struct Aftermath {
    victims: VecDeque<Expected>,
}

#[derive(Debug)]
struct Expected {
    at_ns: u64,
    pid: Option<u32>,
    comm: String,
    /// Its line came.
    used: bool,
}

impl Aftermath {
    /// A process was killed, says one of the witnesses; `at`: the kernel's time.
    pub fn note(&mut self, at: Now, oom: &Oom) {
        let (Some(comm), Some(Constraint::None)) = (&oom.victim.comm, &oom.constraint) else { return };
        let pid = oom.victim.pid;
        self.victims.retain(|known| known.is_recent(at));
        if self.victims.iter().any(|known| known.pid == pid && known.comm == *comm) {
            return;
        }
        if self.victims.len() == MAX_VICTIMS {
            self.victims.pop_front();
        }
        self.victims.push_back(Expected { at_ns: at.mono_ns, pid, comm: comm.clone(), used: false });
    }

    /// Whether a line of the kernel log only tells of a victim's end; a second one does not.
    pub fn explains(&mut self, at: Now, found: &LogMatch) -> bool {
        let field =
            |name| found.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        if found.rule != "page_allocation_failure" || field("order") != Some("0") {
            return false;
        }
        let is_it = |known: &&mut Expected| {
            !known.used && known.is_recent(at) && field("task") == Some(known.comm.as_str())
        };
        let victim = self.victims.iter_mut().find(is_it);
        victim.map(|known| known.used = true).is_some()
    }
}

impl Expected {
    fn is_recent(&self, at: Now) -> bool {
        at.mono_ns.saturating_sub(self.at_ns) <= WITHIN_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;
    use crate::event::Task;

    const RULE: &str = "page_allocation_failure";

    fn failure(rule: &str, task: &str, order: &str) -> LogMatch {
        LogMatch {
            rule: rule.into(),
            severity: Severity::Warn,
            meaning: String::new(),
            line: String::new(),
            fields: [("task", task), ("order", order)].map(|(n, v)| (n.to_owned(), v.to_owned())).into(),
            ..LogMatch::default()
        }
    }

    fn kill(pid: u32, comm: &str, constraint: Option<Constraint>) -> Oom {
        let victim = Task { pid: Some(pid), comm: Some(comm.into()), ..Task::default() };
        Oom { victim, constraint, ..Oom::default() }
    }

    fn at(secs: u64) -> Now {
        Now::default().plus_secs(secs)
    }

    fn check(kills: &[Oom], secs: u64, found: &LogMatch, expect: bool) {
        let mut after = Aftermath::default();
        for oom in kills {
            after.note(at(100), oom);
        }
        assert_eq!(after.explains(at(secs), found), expect, "{secs} {found:?}");
    }

    #[test]
    fn only_what_a_victim_asks_for_is_explained() {
        let global = [kill(1, "hog", Some(Constraint::None))];
        check(&global, 100, &failure(RULE, "hog", "0"), true);
        check(&global, 105, &failure(RULE, "hog", "0"), true);
        check(&global, 106, &failure(RULE, "hog", "0"), false);
        check(&global, 100, &failure(RULE, "hog", "4"), false);
        check(&global, 100, &failure(RULE, "java", "0"), false);
        check(&global, 100, &failure("oops", "hog", "0"), false);
        check(&[], 100, &failure(RULE, "hog", "0"), false);
        check(&[kill(1, "hog", Some(Constraint::Memcg))], 100, &failure(RULE, "hog", "0"), false);
        check(&[kill(1, "hog", None)], 100, &failure(RULE, "hog", "0"), false);
        // The second witness knows what ran out.
        check(
            &[kill(1, "hog", None), kill(1, "hog", Some(Constraint::None))],
            100,
            &failure(RULE, "hog", "0"),
            true,
        );
    }

    #[test]
    fn one_line_a_victim() {
        let mut after = Aftermath::default();
        let explained = |after: &mut Aftermath| {
            (0..5).filter(|_| after.explains(at(101), &failure(RULE, "hog", "0"))).count()
        };
        after.note(at(100), &kill(1, "hog", Some(Constraint::None)));
        assert_eq!(explained(&mut after), 1, "others of that name are told");
        after.note(at(101), &kill(1, "hog", Some(Constraint::None)));
        assert_eq!(explained(&mut after), 0, "another witness of the same kill");
        after.note(at(101), &kill(2, "hog", Some(Constraint::None)));
        after.note(at(101), &kill(3, "hog", Some(Constraint::None)));
        assert_eq!(explained(&mut after), 2);
    }

    #[test]
    fn memory_is_bounded() {
        let mut after = Aftermath::default();
        for pid in 0..100 {
            after.note(at(100), &kill(pid, &pid.to_string(), Some(Constraint::None)));
        }
        assert_eq!(after.victims.len(), MAX_VICTIMS);
        assert!(!after.explains(at(100), &failure(RULE, "0", "0")), "the oldest is forgotten");
        assert!(after.explains(at(100), &failure(RULE, "99", "0")));
    }
}
