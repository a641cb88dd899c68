//! From what killers say to kills: what is announced is told when it is done. Pure: words and the time in, events out.
//!
//! earlyoom writes before it sends a signal, and then what became of it: the victim has ended, it may not kill, it was only to
//! try. systemd-oomd marks a group (259 and later), and systemd tells of the unit how many processes were killed. So a kill
//! waits for the line that settles it, and is told without one after `SETTLED_NS`.
//!
//! earlyoom prints command lines as they are, with line breaks, and each line of its output is an entry of the journal: a victim
//! may write whole messages. They come in the same moment as what they are part of, whereas earlyoom itself waits 100 ms between
//! two kills. So within `ONE_MESSAGE_NS` of an announcement with such text there is no other, and a failure
//! that the victim may have written itself is believed only if its end is not told later.

use std::collections::VecDeque;

use super::killer_text::Word;
use crate::event::{Event, Source, UserKill, What};
use crate::text::clean;
use crate::time::{Now, SECOND};

/// What settles a kill follows within milliseconds, or 200 ms where earlyoom runs a program first (`-P`).
const SETTLED_NS: u64 = 2 * SECOND;
/// systemd tells how many processes a group had when the last one is gone.
const COUNTED_NS: u64 = SECOND;
/// earlyoom waits 10 s for the end of a victim.
const ENDED_NS: u64 = 12 * SECOND;
/// Lines of one message are written at once, messages of earlyoom at least 100 ms apart.
const ONE_MESSAGE_NS: u64 = 50_000_000;
/// What a killer says of the memory belongs to a kill for so long.
const WHY_NS: u64 = 5 * SECOND;
/// Before a unit of which only the name is known.
const SOMEWHERE: &str = "…/";
/// Characters of a reason.
const MAX_REASON: usize = 256;
/// Kills that wait; beyond it the oldest is told at once.
pub const MAX_WAITING: usize = 16;

/// What was said, by whom and when.
#[derive(Clone, Debug)]
pub struct Saying {
    /// The killer.
    pub killer: &'static str,
    /// Its process.
    pub pid: Option<u32>,
    /// When.
    pub at: Now,
    /// Who vouches for it.
    pub source: Source,
    /// Happened before the agent could have seen it.
    pub historic: bool,
}

#[derive(Debug)]
struct Waiting {
    event: Event,
    killer: &'static str,
    pid: Option<u32>,
    until_ns: u64,
    /// The killer says that it did not.
    failed: bool,
    quotes: bool,
    enriched: bool,
}

/// Kills that are announced and not told yet.
#[derive(Debug, Default)]
pub struct Killers {
    waiting: VecDeque<Waiting>,
    /// What killers said last of the memory, and when.
    why: Vec<(&'static str, u64, String)>,
    /// Newest announcement with text of the victim's: who made it, and when.
    quoted: Option<(Option<u32>, u64)>,
    /// Groups told as killed lately, and when.
    told: VecDeque<(String, u64)>,
    doubted: u64,
}

impl Killers {
    /// Takes a word. What is told goes to `out`.
    pub fn hear(&mut self, by: &Saying, word: Word, now: Now, out: &mut Vec<Event>) {
        match word {
            Word::Looked(text) => {
                self.why.retain(|(killer, ..)| *killer != by.killer);
                self.remember(by, &text);
            }
            Word::Why(text) => self.remember(by, &text),
            Word::Ended(pid) => self.ended(by, pid, out),
            Word::NotDone => self.not_done(by, now),
            Word::Killed(mut kill) => {
                let is_counted = self.was_counted(by, &mut kill);
                let event = self.event(by, kill);
                // systemd may yet say how many they were.
                if is_counted {
                    self.push(event, out);
                } else if by.killer == "systemd-oomd" && by.source == Source::Journal {
                    self.wait(by, event, now.mono_ns.saturating_add(COUNTED_NS), false, out);
                } else {
                    out.push(event);
                }
            }
            Word::Announced { kill, quotes } => self.announced(by, kill, quotes, now, out),
        }
    }

    /// systemd says that systemd-oomd killed processes of a unit: `by` is systemd.
    pub fn counted(&mut self, by: &Saying, unit: &str, count: Option<u64>, now: Now, out: &mut Vec<Event>) {
        let in_unit = |path: &str| path.split('/').any(|part| part == unit);
        let is_it = |waiting: &Waiting| {
            waiting.killer == "systemd-oomd" && group(&waiting.event).is_some_and(in_unit)
        };
        if let Some(at) = self.waiting.iter().position(is_it) {
            if let Some(What::UserKill(kill)) = self.waiting.get_mut(at).map(|w| &mut w.event.what) {
                kill.victims_count = count;
            }
            self.tell(at, out);
            return;
        }
        let told = |(path, at_ns): &(String, u64)| in_unit(path) && by.at.mono_ns.abs_diff(*at_ns) < ENDED_NS;
        if self.told.iter().any(told) {
            return;
        }
        // Two processes write at once, and systemd was read first; or systemd-oomd speaks in words that are not known here:
        // the rest of the path is not known then, either.
        let mut kill = UserKill { killer: "systemd-oomd", victims_count: count, ..UserKill::default() };
        kill.victim.cgroup = Some(format!("{SOMEWHERE}{unit}"));
        let by = Saying { killer: "systemd-oomd", pid: None, ..by.clone() };
        let what = What::UserKill(Box::new(kill));
        let event = Event { at: by.at, source: by.source, historic: by.historic, what };
        self.wait(&by, event, now.mono_ns.saturating_add(SETTLED_NS), false, out);
    }

    /// Whether systemd has told of this kill before its killer did. Then it is settled, and the number is known.
    fn was_counted(&mut self, by: &Saying, kill: &mut UserKill) -> bool {
        let Some(path) = kill.victim.cgroup.as_deref().filter(|_| by.killer == "systemd-oomd") else {
            return false;
        };
        let is_it = |waiting: &Waiting| {
            let unit = group(&waiting.event).and_then(|path| path.strip_prefix(SOMEWHERE));
            unit.is_some_and(|unit| path.split('/').any(|part| part == unit))
        };
        let Some(at) = self.waiting.iter().position(is_it) else { return false };
        if let Some(Event { what: What::UserKill(counted), .. }) = self.waiting.remove(at).map(|w| w.event) {
            kill.victims_count = counted.victims_count;
        }
        true
    }

    /// Tells what is settled by now.
    pub fn expire(&mut self, now: Now, out: &mut Vec<Event>) {
        while let Some(at) = self.waiting.iter().position(|waiting| waiting.until_ns <= now.mono_ns) {
            self.tell(at, out);
        }
    }

    /// Tells what waits, but for what is not done: nothing more is said for a while.
    pub fn settle(&mut self, out: &mut Vec<Event>) {
        while !self.waiting.is_empty() {
            self.tell(0, out);
        }
    }

    /// When [`expire`](Self::expire) has something to do next, monotonic nanoseconds.
    pub fn due_ns(&self) -> Option<u64> {
        self.waiting.iter().map(|waiting| waiting.until_ns).min()
    }

    /// Those that wait and were not given out here before: their victims may still stand.
    pub fn fresh(&mut self) -> impl Iterator<Item = &mut Event> {
        let fresh = self.waiting.iter_mut().filter(|waiting| !waiting.enriched);
        fresh.map(|waiting| {
            waiting.enriched = true;
            &mut waiting.event
        })
    }

    /// Announcements taken for text of a victim's, since the start.
    pub fn doubted(&self) -> u64 {
        self.doubted
    }

    fn announced(&mut self, by: &Saying, mut kill: UserKill, quotes: bool, now: Now, out: &mut Vec<Event>) {
        let at_ns = by.at.mono_ns;
        if self.quoted.is_some_and(|(pid, when)| pid == by.pid && at_ns.abs_diff(when) < ONE_MESSAGE_NS) {
            self.doubted += 1;
            return;
        }
        // The next one: what became of the one before will not be told any more.
        if by.killer == "earlyoom"
            && let Some(at) = self.waiting.iter().position(|waiting| waiting.is_of(by))
        {
            self.tell(at, out);
        }
        if quotes {
            self.quoted = Some((by.pid, at_ns));
        }
        let is_counted = self.was_counted(by, &mut kill);
        let event = self.event(by, kill);
        if is_counted {
            self.push(event, out);
        } else {
            self.wait(by, event, now.mono_ns.saturating_add(SETTLED_NS), quotes, out);
        }
    }

    fn ended(&mut self, by: &Saying, pid: Option<u32>, out: &mut Vec<Event>) {
        let is_it = |waiting: &Waiting| {
            let named = match &waiting.event.what {
                What::UserKill(kill) => kill.victim.pid,
                _ => None,
            };
            waiting.is_of(by) && pid.is_none_or(|pid| named == Some(pid))
        };
        let Some(at) = self.waiting.iter().position(is_it) else { return };
        if let Some(waiting) = self.waiting.get_mut(at) {
            waiting.failed = false;
        }
        self.tell(at, out);
    }

    fn not_done(&mut self, by: &Saying, now: Now) {
        let Some(at) = self.waiting.iter().position(|waiting| waiting.is_of(by)) else { return };
        match self.waiting.get_mut(at) {
            // Its own words, perhaps: its end will tell.
            Some(waiting) if waiting.quotes => {
                (waiting.failed, waiting.until_ns) = (true, now.mono_ns.saturating_add(ENDED_NS));
            }
            _ => drop(self.waiting.remove(at)),
        }
    }

    fn wait(&mut self, by: &Saying, event: Event, until_ns: u64, quotes: bool, out: &mut Vec<Event>) {
        if self.waiting.len() >= MAX_WAITING {
            self.tell(0, out);
        }
        let (killer, pid) = (by.killer, by.pid);
        let waiting = Waiting { event, killer, pid, until_ns, failed: false, quotes, enriched: false };
        self.waiting.push_back(waiting);
    }

    fn tell(&mut self, at: usize, out: &mut Vec<Event>) {
        let Some(waiting) = self.waiting.remove(at) else { return };
        if !waiting.failed {
            self.push(waiting.event, out);
        }
    }

    fn push(&mut self, event: Event, out: &mut Vec<Event>) {
        if let Some(path) = group(&event) {
            if self.told.len() >= MAX_WAITING {
                self.told.pop_front();
            }
            self.told.push_back((path.to_owned(), event.at.mono_ns));
        }
        out.push(event);
    }

    fn event(&mut self, by: &Saying, mut kill: UserKill) -> Event {
        let why = self.take_why(by);
        kill.reason = match (kill.reason.take(), why) {
            (Some(own), Some(why)) => Some(format!("{own}; {why}")),
            (own, why) => own.or(why),
        };
        kill.killer_pid = by.pid;
        let what = What::UserKill(Box::new(kill));
        Event { at: by.at, source: by.source, historic: by.historic, what }
    }

    fn remember(&mut self, by: &Saying, text: &str) {
        if self.why.iter().filter(|(killer, ..)| *killer == by.killer).count() < 2 {
            self.why.push((by.killer, by.at.mono_ns, clean(text.trim(), MAX_REASON)));
        }
    }

    /// The newest word first.
    fn take_why(&mut self, by: &Saying) -> Option<String> {
        let mut said: Vec<String> = Vec::new();
        self.why.retain_mut(|(killer, at_ns, text)| {
            let is_own = *killer == by.killer;
            if is_own && by.at.mono_ns.abs_diff(*at_ns) < WHY_NS {
                said.insert(0, std::mem::take(text));
            }
            !is_own
        });
        (!said.is_empty()).then(|| said.join("; "))
    }
}

impl Waiting {
    fn is_of(&self, by: &Saying) -> bool {
        self.killer == by.killer && self.pid == by.pid
    }
}

fn group(event: &Event) -> Option<&str> {
    match &event.what {
        What::UserKill(kill) if kill.victim.pid.is_none() => kill.victim.cgroup.as_deref(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "killers_tests.rs"]
mod tests;
