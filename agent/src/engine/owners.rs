//! Nothing stands without somebody who will end it. What an earlier run left is looked through twice: at once for what
//! nobody here knows, and when its series have had their time to come again.

use std::collections::BTreeSet;

use super::Engine;
use super::board;
use super::compose::Draft;
use super::snapshot::UNCLAIMED_NS;
use crate::time::Now;

/// What is still to be done about what an earlier run left.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    /// It was looked through for what nobody knows.
    looked: bool,
}

/// Why an alert ends for which nobody answers.
const NOT_REPORTED: &str = "has not been reported since the agent was started again";
const NOT_JUDGED: &str = "is no longer judged: the configuration has changed";

impl Engine {
    /// Ends what an earlier run told and nobody answers for, or has reported since.
    pub(super) fn end_unclaimed(&mut self, now: Now, told: &mut Vec<Draft>) {
        let Some(resumed) = &mut self.resumed else { return };
        let is_over = now.since(self.start) >= UNCLAIMED_NS;
        if resumed.looked && !is_over {
            return;
        }
        resumed.looked = true;
        if is_over {
            self.resumed = None;
            self.judge.drop_unclaimed();
            self.disks.drop_unclaimed(self.start);
        }
        self.forget_unjudged();
        self.end_unowned(now, told);
    }

    /// The rules have changed: what waits for its series may have lost its own.
    pub(super) fn look_again(&mut self) {
        self.resumed.iter_mut().for_each(|resumed| resumed.looked = false);
    }

    /// What waits for its series, and whose rule is gone, waits in vain.
    fn forget_unjudged(&mut self) {
        let rules: BTreeSet<&str> = self.settings.rules.iter().map(|rule| rule.name.as_str()).collect();
        let judged =
            |id: &str| self.board.get(id).is_none_or(|entry| rules.contains(entry.draft.rule.as_str()));
        self.judge.keep_unclaimed(judged);
    }

    /// Ends what stands on the board and that nobody else knows.
    fn end_unowned(&mut self, now: Now, told: &mut Vec<Draft>) {
        let mut owned: BTreeSet<&str> = self.judge.answers_for().collect();
        owned.extend(self.absences.answers_for());
        owned.extend(self.disks.answers_for());
        let lasting = self.board.iter().filter(|entry| entry.draft.lasts).map(|entry| &entry.draft);
        let unowned = lasting.filter(|draft| !owned.contains(draft.id.as_str()) && !self.board.flaps(draft));
        let ends: Vec<(String, &str)> =
            unowned.map(|draft| (draft.id.clone(), self.why_unowned(draft))).collect();
        let scene = board::Scene { settings: &self.settings, table: &self.table };
        for (id, why) in ends {
            self.board.abandon(now, &id, why, &scene, told);
        }
    }

    fn why_unowned(&self, draft: &Draft) -> &'static str {
        let rules = self.settings.rules.iter().map(|rule| &rule.name);
        let mut all = rules.chain(self.settings.absences.iter().map(|rule| &rule.name));
        let of_disks = draft.rule == super::compose::io::P99;
        if of_disks || all.any(|name| *name == draft.rule) { NOT_REPORTED } else { NOT_JUDGED }
    }
}
