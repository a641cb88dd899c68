//! Whether and when a draft is told: de-duplication by fingerprint, then grouping by rule and place.
//!
//! What is held back is never silent for good: a repeated event is told at the end of its window with
//! "occurred N times", followers of a group arrive as one summary, and a condition that was held back
//! and still stands is told when its window ends.

mod group;
mod kept;
mod repeat;
mod summary;
mod urgent;

use std::collections::{BTreeMap, BTreeSet};

use super::board::Fresh;
use super::compose::{Draft, incident_id};
use crate::alert::{CLOSES, MEMBERS, ONLY_MESSAGE, Severity, Status};
use crate::time::{Now, SECOND};
use group::{Group, Key};
pub use group::{MAX_HELD, MAX_PLACES, MAX_URGENT, MAX_WHOLE};
pub use kept::KeptRepeat;
pub use repeat::Counts;
use repeat::{Repeat, mention};
pub use summary::Summaries;

/// How to speak.
#[derive(Clone, Debug, PartialEq)]
pub struct Manners {
    /// Least seconds between two messages of one fingerprint.
    pub min_interval_secs: u64,
    /// Seconds within which the same fingerprint is a repetition, by severity.
    pub dedup_secs: [u64; 4],
    /// Followers of the first alert of a rule and place are collected for this long; 0: no grouping.
    pub group_secs: u64,
    /// Whether ends of conditions are told.
    pub recovery: bool,
    /// Whether ends that come together are joined, as begins are.
    pub join_ends: bool,
}

/// Takes what is not to be told after all.
pub type Gate<'a> = &'a mut dyn FnMut(&Draft) -> bool;

/// Fingerprints remembered; beyond it the one told longest ago is forgotten.
pub const MAX_REPEATS: usize = 4096;

/// The state of speaking.
#[derive(Debug)]
pub struct Speaker {
    manners: Manners,
    /// In order, as all else that alerts come out of: the same input gives the same output.
    repeats: BTreeMap<String, Repeat>,
    groups: BTreeMap<Key, Group>,
    /// Ids of conditions whose begin was held back.
    silent: BTreeSet<String>,
    summaries: Summaries,
    /// Ends that an earlier run was about to tell.
    owed: Vec<Draft>,
    /// When the first repetition is due, or earlier; `u64::MAX`: none waits.
    repeats_due_ns: u64,
    counts: Counts,
    run_ns: i64,
    next: u64,
}

impl Speaker {
    /// Nothing told yet; `run_ns` makes the ids of summaries unique.
    pub fn new(manners: Manners, run_ns: i64) -> Self {
        let (repeats, groups, silent) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self {
            manners,
            repeats,
            groups,
            silent,
            summaries: Summaries::default(),
            owed: Vec::new(),
            repeats_due_ns: u64::MAX,
            counts: Counts::default(),
            run_ns,
            next: 0,
        }
    }

    /// Takes a draft; what is to be told now goes to `out`.
    pub fn say(&mut self, now: Now, draft: Draft, out: &mut Vec<Draft>) {
        match draft.status {
            Status::Firing => {
                if let Some(draft) = self.not_repeated(now, draft, out) {
                    self.group(now, draft, out);
                }
            }
            Status::Updated => self.update(now, draft, out),
            Status::Resolved => self.resolve(now, draft, out),
        }
    }

    fn window_ns(&self, severity: Severity) -> u64 {
        let dedup = self.manners.dedup_secs[severity as usize];
        let least = if severity == Severity::Emergency { 0 } else { self.manners.min_interval_secs };
        dedup.max(least) * SECOND
    }

    /// An OOM kill is an incident of its own, whoever killed: two of one fingerprint are two alerts.
    fn not_repeated(&mut self, now: Now, mut draft: Draft, out: &mut Vec<Draft>) -> Option<Draft> {
        let unique =
            [super::compose::oom::RULE, super::compose::user_kill::RULE].contains(&draft.rule.as_str());
        if unique {
            return Some(draft);
        }
        let window = self.window_ns(draft.severity);
        let (mut held, mut since) = (0, now.mono_ns);
        if let Some(repeat) = self.repeats.get_mut(&draft.fingerprint) {
            let fresh = now.mono_ns.saturating_sub(repeat.told_ns) < window;
            if fresh && draft.severity <= repeat.severity {
                self.counts.repeated += 1;
                repeat.held = repeat.held.saturating_add(repeat::times(&draft));
                if draft.lasts {
                    self.silent.insert(draft.id.clone());
                }
                self.repeats_due_ns = self.repeats_due_ns.min(repeat.told_ns + window);
                repeat.waiting = Some(Box::new(draft));
                return None;
            }
            (held, since) = (repeat.held, repeat.told_ns);
        }
        mention(&mut draft, held, since, now);
        self.tell_repeat(now, &draft, out);
        Some(draft)
    }

    fn tell_repeat(&mut self, now: Now, draft: &Draft, out: &mut Vec<Draft>) {
        let full = self.repeats.len() >= MAX_REPEATS;
        if full && !self.repeats.contains_key(&draft.fingerprint) {
            self.forget_oldest(now, out);
        }
        let repeat = Repeat { told_ns: now.mono_ns, severity: draft.severity, held: 0, waiting: None };
        self.repeats.insert(draft.fingerprint.clone(), repeat);
    }

    /// What the forgotten one holds back is told.
    fn forget_oldest(&mut self, now: Now, out: &mut Vec<Draft>) {
        let age = |(_, r): &(&String, &Repeat)| (r.waiting.is_some(), r.told_ns);
        let Some(key) = self.repeats.iter().min_by_key(age).map(|(k, _)| k.clone()) else { return };
        self.counts.forgotten += 1;
        let Some(Repeat { told_ns, held, waiting: Some(mut draft), .. }) = self.repeats.remove(&key) else {
            return;
        };
        self.silent.remove(&draft.id);
        mention(&mut draft, held, told_ns, now);
        self.group(now, *draft, out);
    }

    fn update(&mut self, now: Now, mut draft: Draft, out: &mut Vec<Draft>) {
        self.summaries.trace(&mut draft);
        if let Some(held) = self.held_mut(&draft.id) {
            let status = held.status;
            let risen = status == Status::Firing && held.severity < draft.severity;
            *held = Draft { status, ..draft };
            if risen && held.severity == Severity::Emergency {
                let draft = held.clone();
                self.release(now, draft, out);
            }
            return;
        }
        if self.silent.contains(&draft.id) {
            let risen = self.repeats.get(&draft.fingerprint).is_none_or(|r| draft.severity > r.severity);
            if risen {
                self.silent.remove(&draft.id);
                self.tell_repeat(now, &draft, out);
                self.emit(Draft { status: Status::Firing, ..draft }, out);
            } else if let Some(repeat) = self.repeats.get_mut(&draft.fingerprint) {
                repeat.waiting = Some(Box::new(Draft { status: Status::Firing, ..draft }));
                // Its severity may have another window.
                self.repeats_due_ns = 0;
            }
            return;
        }
        if draft.lasts {
            self.tell_repeat(now, &draft, out);
        } else if self.groups.iter().any(|(k, g)| !k.ends && k.rule == draft.rule && g.uncounted > 0) {
            // News of one of the many that the summary only counts.
            self.counts.grouped += 1;
            return;
        }
        self.emit(draft, out);
    }

    fn resolve(&mut self, now: Now, mut draft: Draft, out: &mut Vec<Draft>) {
        self.summaries.trace(&mut draft);
        let closes = self.summaries.ended(&draft.id);
        if !closes.is_empty() {
            draft.context.insert(CLOSES.into(), closes.into());
        }
        let waiting = self.silent.remove(&draft.id);
        if waiting && let Some(repeat) = self.repeats.get_mut(&draft.fingerprint) {
            repeat.waiting = None;
        }
        if waiting || draft.lasts && self.take_held(&draft.id) || !self.manners.recovery {
            self.counts.unneeded += 1;
            return;
        }
        // An event that was held back is told all the same, once: with its end.
        if let Some(held) = self.held_back(&draft.id) {
            *held = draft;
            held.context.insert(ONLY_MESSAGE.into(), true.into());
            return;
        }
        if self.manners.join_ends {
            self.group(now, draft, out);
        } else {
            self.emit(draft, out);
        }
    }

    fn held_mut(&mut self, id: &str) -> Option<&mut Draft> {
        self.groups.values_mut().flat_map(|g| g.held.iter_mut()).find(|d| d.id == id)
    }

    /// Held back in a group, or as a repetition.
    fn held_back(&mut self, id: &str) -> Option<&mut Draft> {
        let repeated = self.repeats.values_mut().filter_map(|r| r.waiting.as_deref_mut());
        let grouped = self.groups.values_mut().flat_map(|g| g.held.iter_mut());
        repeated.chain(grouped).find(|d| d.id == id)
    }

    fn take_held(&mut self, id: &str) -> bool {
        let mut found = false;
        for group in self.groups.values_mut() {
            let before = group.held.len();
            group.held.retain(|d| d.id != id);
            found |= group.held.len() < before;
        }
        found
    }

    fn group(&mut self, now: Now, draft: Draft, out: &mut Vec<Draft>) {
        if self.manners.group_secs == 0 {
            return self.emit(draft, out);
        }
        let key = self.key(&draft);
        let (held, urgent) = self.of_rule(&key.rule);
        let is_urgent = draft.severity == Severity::Emergency;
        if let Some(group) = self.groups.get_mut(&key) {
            if is_urgent && urgent < MAX_URGENT {
                group.urgent += 1;
                return self.emit(draft, out);
            }
            self.counts.grouped += 1;
            if group.held.is_empty() || held < MAX_HELD {
                group.hold(draft);
            } else {
                group.count_only(draft);
            }
            return;
        }
        self.open(key, now, usize::from(is_urgent));
        self.emit(draft, out);
    }

    /// Its own group, or the one that further places of its rule share.
    fn key(&self, draft: &Draft) -> Key {
        let own = Key::of(draft);
        let alike = |k: &&Key| (&k.rule, k.ends) == (&own.rule, own.ends) && !k.place.is_empty();
        let full = !self.groups.contains_key(&own) && self.groups.keys().filter(alike).count() >= MAX_PLACES;
        if full { Key { place: String::new(), ..own } } else { own }
    }

    fn open(&mut self, key: Key, now: Now, urgent: usize) {
        let ends_ns = now.mono_ns + self.manners.group_secs * SECOND;
        self.groups.insert(key, Group::new(ends_ns, urgent));
    }

    fn emit(&mut self, draft: Draft, out: &mut Vec<Draft>) {
        self.counts.told += 1;
        out.push(draft);
    }

    /// Tells what a window held back, as it is by now (`fresh`). `withholds` takes begins that nobody wants to hear any more.
    pub fn due(&mut self, now: Now, withholds: Gate<'_>, fresh: Fresh<'_>, out: &mut Vec<Draft>) {
        self.tell_owed(now, out);
        self.end_groups(now, withholds, out);
        self.end_repeats(now, withholds, fresh, out);
    }

    fn end_groups(&mut self, now: Now, withholds: Gate<'_>, out: &mut Vec<Draft>) {
        let ended: Vec<_> =
            self.groups.iter().filter(|(_, g)| g.ends_ns <= now.mono_ns).map(|(k, _)| k.clone()).collect();
        for key in ended {
            let Some(mut group) = self.groups.remove(&key) else { continue };
            group.held.retain(|draft| draft.status == Status::Resolved || !withholds(draft));
            if let Some(draft) = self.gather(group) {
                // As long as it goes on, one summary a window.
                self.open(key, now, MAX_URGENT);
                self.emit(draft, out);
            }
        }
    }

    fn gather(&mut self, group: Group) -> Option<Draft> {
        let Self { next, run_ns, manners, summaries, .. } = self;
        let lasting = |draft: &&Draft| draft.lasts && draft.status != Status::Resolved;
        let members = group.held.iter().filter(lasting).map(|draft| draft.id.clone()).collect();
        let draft = group.gather(manners.group_secs, || {
            *next += 1;
            format!("{}-g", incident_id(*run_ns, *next))
        })?;
        if draft.context.contains_key(MEMBERS) {
            summaries.told(&draft.id, members);
        }
        Some(draft)
    }

    fn end_repeats(&mut self, now: Now, withholds: Gate<'_>, fresh: Fresh<'_>, out: &mut Vec<Draft>) {
        if now.mono_ns < self.repeats_due_ns {
            return;
        }
        let ended: Vec<String> = self
            .repeats
            .iter()
            .filter(|(_, r)| r.waiting.as_ref().is_some_and(|d| self.window_end(r, d) <= now.mono_ns))
            .map(|(k, _)| k.clone())
            .collect();
        for key in ended {
            let Some(repeat) = self.repeats.get_mut(&key) else { continue };
            let (held, since) = (repeat.held, repeat.told_ns);
            let Some(mut draft) = repeat.waiting.take().map(|draft| *draft) else { continue };
            self.silent.remove(&draft.id);
            if withholds(&draft) {
                continue;
            }
            if let Some(newer) = Some(&draft).filter(|draft| draft.lasts).and_then(|draft| fresh(&draft.id)) {
                // It may have been raised.
                draft = Draft { severity: draft.severity.max(newer.severity), ..newer };
            }
            mention(&mut draft, held, since, now);
            self.tell_repeat(now, &draft, out);
            self.group(now, draft, out);
        }
        let waiting = self.repeats.values().filter_map(|r| Some(self.window_end(r, r.waiting.as_ref()?)));
        self.repeats_due_ns = waiting.min().unwrap_or(u64::MAX);
    }

    fn window_end(&self, repeat: &Repeat, waiting: &Draft) -> u64 {
        repeat.told_ns + self.window_ns(waiting.severity)
    }

    /// Tells everything held back at once: the agent is ending. What waits as a repetition comes in the summary of its rule.
    pub fn finish(&mut self, now: Now, out: &mut Vec<Draft>) {
        out.append(&mut self.owed);
        let waiting: Vec<Draft> = self
            .repeats
            .values_mut()
            .filter_map(|repeat| {
                // A condition within its window would be told for the second time; it still stands at the next start.
                let mut draft = *repeat.waiting.take_if(|d| !d.lasts)?;
                mention(&mut draft, repeat.held, repeat.told_ns, now);
                Some(draft)
            })
            .collect();
        for draft in waiting {
            let key = self.key(&draft);
            let (held, _) = self.of_rule(&key.rule);
            let group = self.groups.entry(key).or_insert_with(|| Group::new(0, 0));
            if held < MAX_HELD { group.hold(draft) } else { group.count_only(draft) }
        }
        let groups = std::mem::take(&mut self.groups).into_values();
        let mut told: Vec<Draft> = groups.filter_map(|group| self.gather(group)).collect();
        // The limits of a channel may not let all of it through any more.
        told.sort_by_key(|draft| std::cmp::Reverse(draft.severity));
        for draft in told {
            self.emit(draft, out);
        }
    }

    /// When something held back is due, monotonic nanoseconds.
    pub fn next_deadline(&self) -> Option<u64> {
        let groups = self.groups.values().map(|g| g.ends_ns).chain((!self.owed.is_empty()).then_some(0));
        groups.chain([self.repeats_due_ns].into_iter().filter(|due| *due < u64::MAX)).min()
    }

    /// Whether an incident is held back that no message has mentioned yet.
    pub fn holds_incidents(&self) -> bool {
        self.groups.values().any(|g| !g.held.is_empty())
    }

    /// What was told and what was not.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::compose::kernel;
    use crate::event::{Event, LogMatch, Source, What};

    fn speaker() -> Speaker {
        let manners = Manners {
            min_interval_secs: 300,
            dedup_secs: [600, 600, 600, 0],
            group_secs: 0,
            recovery: true,
            join_ends: true,
        };
        Speaker::new(manners, 0)
    }

    fn draft(device: usize, id: usize) -> Draft {
        let found = LogMatch {
            rule: "r".into(),
            severity: Severity::Warn,
            meaning: "m".into(),
            line: "l".into(),
            fields: vec![("device".into(), device.to_string())],
            ..LogMatch::default()
        };
        let at = Now { mono_ns: SECOND, wall_ns: 0 };
        let what = What::Log(Box::new(found.clone()));
        kernel::log(&Event { at, source: Source::Kmsg, historic: false, what }, &found, id.to_string())
    }

    #[test]
    fn lines_of_a_flood_are_counted_each() {
        let (mut speaker, mut out) = (speaker(), Vec::new());
        let at = |secs: u64| Now { mono_ns: secs * SECOND, wall_ns: 0 };
        let flood = |id: usize| {
            let mut draft = draft(1, id);
            draft.context.insert("lines_count".into(), 900.into());
            draft
        };
        speaker.say(at(1), draft(1, 0), &mut out);
        speaker.say(at(2), draft(1, 1), &mut out);
        speaker.say(at(3), flood(2), &mut out);
        let due = speaker.repeats[&draft(1, 3).fingerprint].held;
        assert_eq!((due, out.len()), (901, 1));
    }

    #[test]
    fn at_the_limit_what_is_held_back_is_told_not_dropped() {
        let (mut speaker, mut out) = (speaker(), Vec::new());
        let now = Now { mono_ns: SECOND, wall_ns: 0 };
        for id in 0..2 * MAX_REPEATS {
            speaker.say(now, draft(id % MAX_REPEATS, id), &mut out);
        }
        assert_eq!((out.len(), speaker.repeats.len()), (MAX_REPEATS, MAX_REPEATS));
        out.clear();
        speaker.say(now, draft(MAX_REPEATS, 0), &mut out);
        assert_eq!(out.len(), 2);
        assert!(out[0].message.ends_with("(occurred 1 time in the last 0 s)"), "{}", out[0].message);
        assert_eq!((speaker.repeats.len(), speaker.counts().forgotten), (MAX_REPEATS, 1));
    }
}
