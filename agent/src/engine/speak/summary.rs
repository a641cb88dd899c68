//! Summaries that stand: one is over when the last of what it told is over.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::super::compose::Draft;
use crate::alert::TOLD_IN;

/// Summaries followed; beyond it the oldest is never told to be over.
const MAX_SUMMARIES: usize = 64;

/// Ids of summaries, with those of the conditions they told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summaries {
    all: VecDeque<(String, BTreeSet<String>)>,
}

impl Summaries {
    /// A summary was told; `members` are the ids of what lasts among what it told.
    pub(super) fn told(&mut self, id: &str, members: BTreeSet<String>) {
        if members.is_empty() {
            return;
        }
        if self.all.len() >= MAX_SUMMARIES {
            self.all.pop_front();
        }
        self.all.push_back((id.to_owned(), members));
    }

    /// Notes where it was told: a mail about it hangs below that.
    pub(super) fn trace(&self, draft: &mut Draft) {
        let told_in = self.of(&draft.id);
        if !told_in.is_empty() {
            draft.context.insert(TOLD_IN.into(), told_in.into());
        }
    }

    /// The summaries that told a condition.
    fn of(&self, member: &str) -> Vec<String> {
        self.all.iter().filter(|(_, members)| members.contains(member)).map(|(id, _)| id.clone()).collect()
    }

    /// A condition is over: the summaries that are over with it.
    pub(super) fn ended(&mut self, member: &str) -> Vec<String> {
        let mut over = Vec::new();
        self.all.retain_mut(|(id, members)| {
            if members.remove(member) && members.is_empty() {
                over.push(std::mem::take(id));
            }
            !members.is_empty()
        });
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_over_with_the_last_of_its_members() {
        let mut summaries = Summaries::default();
        let ids = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        summaries.told("s1", ids(&["a", "b"]));
        summaries.told("s2", ids(&["b"]));
        summaries.told("s3", ids(&[]));
        assert_eq!((summaries.of("b"), summaries.of("x")), (vec!["s1".into(), "s2".into()], vec![]));
        assert!(summaries.ended("x").is_empty() && summaries.ended("a").is_empty());
        assert_eq!(summaries.ended("b"), ["s1", "s2"]);
        assert_eq!(summaries, Summaries::default());
        for nth in 0..2 * MAX_SUMMARIES {
            summaries.told(&nth.to_string(), ids(&["a"]));
        }
        assert_eq!(summaries.ended("a").len(), MAX_SUMMARIES);
    }
}
