//! What is worth waking everybody, within what one rule may say at once.

use super::group::{Group, Key, MAX_URGENT};
use super::{Draft, Speaker};
use crate::time::Now;

impl Speaker {
    /// What became an emergency while it was held back does not wait, as far as emergencies of its rule do not.
    pub(super) fn release(&mut self, now: Now, draft: Draft, out: &mut Vec<Draft>) {
        if self.of_rule(&draft.rule).1 >= MAX_URGENT {
            return;
        }
        let holds = |g: &&mut Group| g.held.iter().any(|held| held.id == draft.id);
        if let Some(group) = self.groups.values_mut().find(holds) {
            group.held.retain(|held| held.id != draft.id);
            group.urgent += 1;
        }
        self.tell_repeat(now, &draft, out);
        self.emit(draft, out);
    }

    /// How many alerts of a rule are held back, and how many emergencies were not, in all places.
    pub(super) fn of_rule(&self, rule: &str) -> (usize, usize) {
        let first = Key { rule: rule.to_owned(), place: String::new(), ends: false };
        let groups = self.groups.range(first..).take_while(|(key, _)| key.rule == rule);
        groups.fold((0, 0), |(held, urgent), (_, group)| (held + group.held.len(), urgent + group.urgent))
    }
}
