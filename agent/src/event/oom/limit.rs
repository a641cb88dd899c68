//! Whose limit was hit, and whose the figures are. Those of one group are never told as another's: each witness
//! looks at the group it takes for the right one, before the witness that knows it has spoken.

use super::{Constraint, Oom, fill};
use crate::cgroup::CUT;
use crate::cgroup::memory::{Events, Memory, contains};

/// What ran out, as one witness has it.
#[derive(Debug, Default)]
pub(super) struct Limit {
    pub(super) constraint: Option<Constraint>,
    pub(super) inferred: bool,
    pub(super) memcg: Option<String>,
    pub(super) guessed: bool,
}

/// Figures of one group; `of` is `None` where the kernel told them of the group that ran out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) of: Option<String>,
    pub(super) limit_kb: Option<u64>,
    pub(super) usage_kb: Option<u64>,
    pub(super) failcnt: Option<u64>,
    pub(super) events: Events,
    pub(super) age_secs: Option<u64>,
}

impl Figures {
    fn is_empty(&self) -> bool {
        *self == Self { of: self.of.clone(), ..Self::default() }
    }

    fn absorb(&mut self, other: Self) {
        let Self { of, limit_kb, usage_kb, failcnt, events, age_secs } = other;
        fill(&mut self.of, of);
        fill(&mut self.limit_kb, limit_kb);
        fill(&mut self.usage_kb, usage_kb);
        fill(&mut self.failcnt, failcnt);
        self.events.absorb(events);
        fill(&mut self.age_secs, age_secs);
    }
}

impl Oom {
    /// Takes figures read from the files of a group, where none are known. Whether one was taken.
    pub fn set_figures(&mut self, path: &str, memory: &Memory) -> bool {
        let of = Some(path.to_owned());
        let Memory { limit_kb, usage_kb, failcnt, events, .. } = *memory;
        let before = self.figures();
        self.absorb_figures(Figures { of, limit_kb, usage_kb, failcnt, events, age_secs: None });
        let now = self.figures();
        Figures { of: None, ..before } != Figures { of: None, ..now }
    }

    /// Guesses which group ran out, if nobody said.
    pub fn guess(&mut self, path: &str) {
        if self.oom_memcg.is_none() {
            (self.oom_memcg, self.memcg_guessed) = (Some(path.to_owned()), true);
        }
    }

    /// Whether the figures are of the group that is said to have run out, and not of one that was merely looked at.
    pub fn figures_belong(&self) -> bool {
        self.figures_of.is_none() || self.figures_of == self.oom_memcg
    }

    /// Takes what another witness says of limit and figures, where it knows better or more.
    pub(super) fn absorb_limit(&mut self, theirs: Limit, figures: Figures) {
        let Limit { constraint, inferred, memcg, guessed } = theirs;
        let overruled = self.limit_inferred && constraint.is_some() && !inferred;
        let better = self.oom_memcg.is_none() || !guessed && (self.memcg_guessed || overruled);
        if memcg.is_some() && better {
            (self.oom_memcg, self.memcg_guessed) = (memcg, guessed);
        }
        if self.constraint.is_none() || overruled {
            (self.constraint, self.limit_inferred) = (constraint, inferred);
        }
        self.absorb_figures(figures);
        self.drop_impossible();
    }

    fn absorb_figures(&mut self, theirs: Figures) {
        let mine = self.figures();
        let is_right = |f: &Figures| f.of.is_none() || !self.memcg_guessed && f.of == self.oom_memcg;
        let named = self.oom_memcg.is_some() && !self.memcg_guessed;
        let counts = |f: &Figures| !f.is_empty() && (is_right(f) || !named);
        let figures = match (counts(&mine), counts(&theirs)) {
            (true, true) if is_right(&theirs) && !is_right(&mine) => theirs,
            (true, true) if mine.of == theirs.of || is_right(&mine) && is_right(&theirs) => {
                let mut both = mine;
                both.absorb(theirs);
                both
            }
            (true, _) => mine,
            (false, true) => theirs,
            (false, false) => Figures::default(),
        };
        self.put_figures(figures);
    }

    /// A limit is hit by who lives below it: a group that does not lie above victim and trigger was not it.
    pub fn drop_impossible(&mut self) {
        let below = |cgroup: &Option<String>, path: &str| {
            let cgroup = cgroup.as_deref().filter(|cgroup| !cgroup.starts_with(CUT));
            cgroup.is_none_or(|cgroup| contains(path, cgroup))
        };
        let of_a_group = matches!(self.constraint, None | Some(Constraint::Memcg | Constraint::Other(_)));
        let possible = |path: &Option<String>| {
            let above = |path: &String| below(&self.victim.cgroup, path) && below(&self.trigger.cgroup, path);
            path.as_ref().is_none_or(|path| of_a_group && above(path))
        };
        let told = !self.memcg_guessed && self.figures_belong();
        let (guess_stays, figures_stay) =
            (!self.memcg_guessed || possible(&self.oom_memcg), told || possible(&self.figures_of));
        if !guess_stays {
            (self.oom_memcg, self.memcg_guessed) = (None, false);
        }
        if !figures_stay {
            self.put_figures(Figures::default());
        }
    }

    fn figures(&self) -> Figures {
        Figures {
            of: self.figures_of.clone(),
            limit_kb: self.limit_kb,
            usage_kb: self.usage_kb,
            failcnt: self.failcnt,
            events: self.events,
            age_secs: self.figures_age_secs,
        }
    }

    fn put_figures(&mut self, figures: Figures) {
        let Figures { of, limit_kb, usage_kb, failcnt, events, age_secs } = figures;
        (self.figures_of, self.limit_kb, self.usage_kb) = (of, limit_kb, usage_kb);
        (self.failcnt, self.events, self.figures_age_secs) = (failcnt, events, age_secs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Task;

    /// Group `GROUP`, or `GROUP?` if it is a guess; figures `PATH:LIMIT`, told by the kernel `:LIMIT`.
    fn oom([memcg, figures]: [&str; 2], [victim, trigger]: [&str; 2]) -> Oom {
        let known = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (of, limit) = figures.split_once(':').unwrap_or_default();
        let task = |path: &str| Task { pid: Some(7), cgroup: known(path), ..Task::default() };
        let limit_kb = limit.parse().ok();
        Oom {
            oom_memcg: known(memcg.trim_end_matches('?')),
            memcg_guessed: memcg.ends_with('?'),
            figures_of: known(of),
            limit_kb,
            usage_kb: limit_kb,
            failcnt: limit_kb,
            events: Events { oom_kill: limit_kb, ..Events::default() },
            victim: task(victim),
            trigger: task(trigger),
            ..Oom::default()
        }
    }

    /// What is known of group and limit when a second witness has spoken.
    fn check(first: [&str; 2], second: [&str; 2], places: [&str; 2], expect: [&str; 2]) {
        let mut all = oom(first, places);
        all.absorb(oom(second, places));
        let memcg =
            format!("{}{}", all.oom_memcg.as_deref().unwrap_or(""), if all.memcg_guessed { "?" } else { "" });
        let limit = all.limit_kb.map(|kb| kb.to_string()).unwrap_or_default();
        assert_eq!([memcg.as_str(), &limit], expect, "{first:?} {second:?} {places:?}");
        let others = [all.usage_kb, all.failcnt, all.events.oom_kill];
        assert_eq!(others, [all.limit_kb; 3], "figures of one group: {first:?} {second:?} {places:?}");
    }

    #[test]
    fn figures_of_one_group_are_not_told_as_anothers() {
        let (apart, alone) = (["/r/a", "/r/b"], ["/r/a", ""]);
        let both = |a, b, places, expect| {
            check(a, b, places, expect);
            check(b, a, places, expect);
        };
        both(["", "/r/a:60"], ["/r", ":64"], apart, ["/r", "64"]);
        both(["/r/a?", "/r/a:60"], ["/r", ":64"], alone, ["/r", "64"]);
        both(["/r/a?", "/r/a:60"], ["/r", "/r:64"], alone, ["/r", "64"]);
        both(["/r/a?", "/r/a:60"], ["/r", ""], alone, ["/r", ""]);
        both(["/r?", "/r:64"], ["/r", ":64"], apart, ["/r", "64"]);
        both(["", "/r/a:60"], ["", ""], alone, ["", "60"]);
        both(["", "/r/a:60"], ["", ":64"], alone, ["", "64"]);
        both(["/r/a?", "/r/a:60"], ["", ":64"], alone, ["/r/a?", "64"]);
        check(["/r", ":64"], ["/q", "/q:60"], alone, ["/r", "64"]);
        check(["/r?", "/r:64"], ["/r/a?", "/r/a:60"], alone, ["/r?", "64"]);
    }

    #[test]
    fn a_guess_lies_above_victim_and_trigger() {
        check(["/r/a?", "/r/a:60"], ["", ""], ["/r/a", "/r/b"], ["", ""]);
        check(["/r/a?", "/r/a:60"], ["", ""], ["/r/a", "/r/ab"], ["", ""]);
        check(["", "/r/a:60"], ["", ""], ["/r/a", "/r/b"], ["", ""]);
        check(["/r?", "/r:64"], ["", ""], ["/r/a", "/r/b"], ["/r?", "64"]);
        check(["/r?", "/r:64"], ["", ""], ["…/a", "/r/b"], ["/r?", "64"]);
        check(["/r", "/r:64"], ["", ""], ["/moved", "/r/b"], ["/r", "64"]);
    }

    #[test]
    fn a_kill_for_the_whole_machine_has_no_guess() {
        let mut all = oom(["/r?", "/r:64"], ["/r", ""]);
        all.absorb(Oom { constraint: Some(Constraint::None), ..Oom::default() });
        assert_eq!((all.oom_memcg, all.limit_kb, all.constraint), (None, None, Some(Constraint::None)));
    }
}
