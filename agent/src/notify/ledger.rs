//! What the outbox knows of each alert, in memory and without I/O: who still has to tell it, who has, and where
//! its text lies in the file. The texts themselves stay on disk, so ten thousand waiting alerts cost a megabyte.

mod room;
mod standing;

use super::lane::EXPIRE_SECS;
use super::limit::Class;
use super::record::{Outcome, Place};
pub use super::slots::{MAX_CHANNELS, Set, Slot};
use crate::alert::{Alert, MEMBERS, Severity, Status, WHOLE};
use crate::time::Now;
use serde::{Deserialize, Serialize};
use serde_json::Value;
pub use standing::MAX_STANDING;
use standing::is_event;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Most alerts kept, told ones included. At the limit the oldest told one goes, else the oldest of the least
/// severity.
pub const MAX_ALERTS: usize = 10_000;
/// Most bytes of alerts kept; half of the largest file, the other half is for what is dead until compaction.
pub const MAX_BYTES: u64 = 8 << 20;
/// Most alerts kept in memory while the disk does not take them. Same policy at the limit.
pub const MAX_UNSTORED: usize = 1000;
/// Stored alerts whose text also stays in memory, so that telling them needs no disk. The oldest goes first.
pub const MAX_HOT: usize = 128;
/// Told alerts that are remembered.
pub const MAX_RECENT: usize = 1000;
/// How long a told alert whose incident is over is remembered, seconds.
pub const RECENT_SECS: u64 = 3600;
/// Age at which an alert of an earlier run counts at most, seconds: an hour less than that at which it would be given up.
const OLDEST_FOUND: i64 = EXPIRE_SECS as i64 - 3600;
/// No clock that was set shows an earlier time, Unix seconds (September 2020).
const CLOCK_UNSET: i64 = 1_600_000_000;

/// Number of an accepted alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// Which incident, as a hash of the alert's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incident(u64);

impl Incident {
    /// The incident an alert is about.
    pub fn of(alert: &Alert) -> Self {
        Self::of_id(&alert.id)
    }

    /// That of an alert's id.
    pub fn of_id(id: &str) -> Self {
        Self(hash(id))
    }

    /// The incidents that a summary tells together, and those that an end ends besides its own.
    fn members(alert: &Alert) -> Box<[Self]> {
        let ids = alert.context.get(MEMBERS).and_then(Value::as_array).into_iter().flatten();
        let told = ids.filter_map(Value::as_str);
        let mut all: Vec<Self> = told.chain(alert.also_over()).map(Self::of_id).collect();
        all.sort_unstable();
        all.dedup();
        all.into()
    }
}

/// Which condition, as a hash of its fingerprint: incidents of one follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Condition(u64);

impl Condition {
    fn all(alert: &Alert) -> Box<[Self]> {
        let whole = alert.context.get(WHOLE).and_then(Value::as_array).into_iter().flatten();
        let theirs = whole.filter_map(|alert| alert.get("fingerprint")?.as_str());
        theirs.chain([alert.fingerprint.as_str()]).map(|text| Self(hash(text))).collect()
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// One alert.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where its text lies; nowhere while the disk has not taken it.
    pub place: Option<Place>,
    /// Its text, while it is in memory.
    pub held: Option<Arc<Alert>>,
    /// When it was accepted, Unix seconds; for the file.
    pub at: i64,
    /// When it was accepted, nanoseconds of the monotonic clock, before the boot if negative; for ages, so that
    /// a clock that is set does not make it old.
    pub born_ns: i64,
    /// How bad.
    pub severity: Severity,
    /// Where the incident stands.
    pub status: Status,
    /// Its rule.
    pub class: Class,
    /// Which incident.
    pub incident: Incident,
    /// The incidents it tells together, if it is a summary.
    pub members: Box<[Incident]>,
    /// The conditions that it tells of: its own, and those that a summary carries whole.
    pub conditions: Box<[Condition]>,
    /// About something that happened once (an OOM kill), not about a level that goes up and down.
    pub event: bool,
    /// Something that lasts, and whose end is told.
    pub lasts: bool,
    /// An end whose begin nobody was told: news for everybody.
    pub only: bool,
    /// Channels that still have to tell it.
    pub due: Set,
    /// Channels that have told it.
    pub told: Set,
    /// Channels whose limits held it back for good.
    pub limited: Set,
}

fn class(alert: &Alert) -> Class {
    Class(crc32fast::hash(alert.rule.as_bytes()))
}

impl Entry {
    /// An alert accepted now.
    pub fn new(alert: Arc<Alert>, now: Now, due: Set) -> Self {
        Self {
            place: None,
            at: now.wall_ns.div_euclid(1_000_000_000),
            born_ns: now.mono_ns as i64,
            severity: alert.severity,
            status: alert.status,
            class: class(&alert),
            incident: Incident::of(&alert),
            members: Incident::members(&alert),
            conditions: Condition::all(&alert),
            event: is_event(&alert),
            lasts: alert.stands(),
            only: alert.is_only_message(),
            held: Some(alert),
            due,
            told: Set::default(),
            limited: Set::default(),
        }
    }

    /// An alert found in the file, accepted `at` Unix seconds.
    pub fn recovered(alert: &Alert, place: Place, at: i64, now: Now) -> Self {
        let age = (now.wall_ns.div_euclid(1_000_000_000).saturating_sub(at)).max(0);
        // The clock may be wrong, and nobody was there to tell it: there is time to.
        let age = if at < CLOCK_UNSET { 0 } else { age.min(OLDEST_FOUND) };
        Self {
            place: Some(place),
            held: None,
            at,
            born_ns: (now.mono_ns as i64).saturating_sub(age.saturating_mul(1_000_000_000)),
            severity: alert.severity,
            status: alert.status,
            class: class(alert),
            incident: Incident::of(alert),
            members: Incident::members(alert),
            conditions: Condition::all(alert),
            event: is_event(alert),
            lasts: alert.stands(),
            only: alert.is_only_message(),
            due: Set::default(),
            told: Set::default(),
            limited: Set::default(),
        }
    }

    /// All incidents it tells of.
    pub fn incidents(&self) -> impl Iterator<Item = Incident> {
        [self.incident].into_iter().chain(self.members.iter().copied())
    }

    /// Whether all it tells of is `over`.
    fn is_over(&self, over: &HashSet<Incident>) -> bool {
        let members = !self.members.is_empty() && self.members.iter().all(|i| over.contains(i));
        members || over.contains(&self.incident)
    }

    /// Bytes it takes in the file.
    fn bytes(&self) -> u64 {
        self.place.map_or(0, |p| u64::from(p.len) + 1)
    }

    /// Seconds since it was accepted.
    pub fn age_secs(&self, now: Now) -> u64 {
        (now.mono_ns as i64).saturating_sub(self.born_ns).max(0) as u64 / 1_000_000_000
    }
}

/// All alerts of the outbox.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<Seq, Entry>,
    names: Vec<String>,
    next: u64,
}

impl Ledger {
    /// The slot of a channel; none when too many names were seen.
    pub fn slot(&mut self, name: &str) -> Option<Slot> {
        if let Some(at) = self.names.iter().position(|n| n == name) {
            return Some(Slot(at as u8));
        }
        (self.names.len() < MAX_CHANNELS).then(|| {
            self.names.push(name.to_owned());
            Slot(self.names.len() as u8 - 1)
        })
    }

    /// Name of a slot.
    pub fn name(&self, slot: Slot) -> &str {
        slot.of(&self.names).unwrap_or("?")
    }

    /// Names of all slots, in their order.
    pub fn all_names(&self) -> &[String] {
        &self.names
    }

    /// Names of a set.
    pub fn names(&self, set: Set) -> impl Iterator<Item = &str> {
        set.slots().map(|slot| self.name(slot))
    }

    /// Slots of names; unknown ones beyond [`MAX_CHANNELS`] are left out.
    pub fn set<'a>(&mut self, names: impl Iterator<Item = &'a str>) -> Set {
        let mut set = Set::default();
        for slot in names.filter_map(|name| self.slot(name)) {
            set.add(slot);
        }
        set
    }

    /// Takes in a new alert.
    pub fn push(&mut self, entry: Entry) -> Seq {
        let seq = Seq(self.next);
        self.insert(seq, entry);
        seq
    }

    /// Takes in an alert from the file.
    pub fn insert(&mut self, seq: Seq, entry: Entry) {
        self.next = self.next.max(seq.0.saturating_add(1));
        self.entries.insert(seq, entry);
    }

    /// One alert.
    pub fn get(&self, seq: Seq) -> Option<&Entry> {
        self.entries.get(&seq)
    }

    /// One alert, to be changed.
    pub fn get_mut(&mut self, seq: Seq) -> Option<&mut Entry> {
        self.entries.get_mut(&seq)
    }

    /// All alerts, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Seq, &Entry)> {
        self.entries.iter().map(|(seq, entry)| (*seq, entry))
    }

    /// Number of alerts.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the file that are still of use.
    pub fn live_bytes(&self) -> u64 {
        self.entries.values().map(Entry::bytes).sum()
    }

    /// Incidents that `slot` was told anything of.
    pub fn told_to(&self, slot: Slot) -> HashSet<Incident> {
        self.entries.values().filter(|e| e.told.has(slot)).flat_map(Entry::incidents).collect()
    }

    /// Channels that were told of an incident of `alert` or still have to be: those its recovery is meant for.
    pub fn audience(&self, alert: &Alert) -> Set {
        let members = Incident::members(alert);
        let about: HashSet<Incident> = members.iter().copied().chain([Incident::of(alert)]).collect();
        let of_it = self.entries.values().filter(|e| e.incidents().any(|i| about.contains(&i)));
        of_it.fold(Set::default(), |set, e| set.union(e.due).union(e.told))
    }

    /// Notes what became of an alert on one channel.
    pub fn settle(&mut self, seq: Seq, slot: Slot, outcome: Outcome) {
        if let Some(entry) = self.entries.get_mut(&seq) {
            entry.due.remove(slot);
            if outcome.is_told() {
                entry.told.add(slot);
            } else if outcome == Outcome::Limited {
                entry.limited.add(slot);
            }
        }
    }

    /// After a rewrite: takes over the new places. Alerts that could not be copied are dropped and returned,
    /// since their old places mean nothing in the new file.
    pub fn moved(&mut self, places: &[(Seq, Place)]) -> Vec<(Seq, Entry)> {
        self.entries.values_mut().for_each(|e| e.place = None);
        self.stored(places);
        self.entries.extract_if(.., |_, e| e.place.is_none() && e.held.is_none()).collect()
    }

    /// Takes over the places of alerts that were written.
    pub fn stored(&mut self, places: &[(Seq, Place)]) {
        for (seq, place) in places {
            if let Some(entry) = self.entries.get_mut(seq) {
                entry.place = Some(*place);
            }
        }
    }

    /// Takes everybody but `known` out of all due lists. Begins of which nobody was told yet get the `takers` of their
    /// severity instead: those for whom it waits, too, may be out of order. Returns what was given up, and how many alerts got others.
    pub fn retain_channels(
        &mut self,
        known: Set,
        takers: impl Fn(Severity) -> Set,
    ) -> (Vec<(Seq, Slot)>, usize) {
        let (mut left, mut moved) = (Vec::new(), 0);
        for (seq, entry) in &mut self.entries {
            let gone = entry.due.minus(known);
            entry.due = entry.due.minus(gone);
            let untold = !gone.is_empty() && entry.told.is_empty();
            let is_begin = entry.only || entry.status != Status::Resolved;
            let others =
                if untold && is_begin { takers(entry.severity).minus(entry.due) } else { Set::default() };
            entry.due = entry.due.union(others);
            // Without a mark the file keeps it as waiting, until others have told it.
            if others.is_empty() {
                left.extend(gone.slots().map(|slot| (*seq, slot)));
            } else {
                moved += 1;
            }
        }
        (left, moved)
    }

    /// Forgets told alerts beyond the newest [`MAX_RECENT`], and those older than [`RECENT_SECS`] whose incident
    /// is over. What was told of an incident is remembered while somebody still has to tell the rest of it, and while
    /// it stands, up to [`MAX_STANDING`]: its end is for who heard of it.
    pub fn forget_told(&mut self, now: Now) {
        let incidents = |wanted: fn(&Entry) -> bool| -> HashSet<Incident> {
            self.entries.values().filter(|e| wanted(e)).flat_map(Entry::incidents).collect()
        };
        let over = incidents(|e| e.status == Status::Resolved);
        let open = incidents(|e| !e.due.is_empty());
        let standing = self.standing(&over);
        let done =
            |seq: &Seq, e: &Entry| !standing.contains(seq) && !e.incidents().any(|i| open.contains(&i));
        let mut surplus = self.entries.iter().filter(|(s, e)| done(s, e)).count().saturating_sub(MAX_RECENT);
        self.entries.retain(|seq, entry| {
            let old = entry.is_over(&over) && entry.age_secs(now) > RECENT_SECS;
            let forget = done(seq, entry) && (surplus > 0 || old);
            surplus -= usize::from(forget && surplus > 0);
            !forget
        });
    }

    /// Lets go of texts that the file has too: of told alerts, and of the oldest beyond [`MAX_HOT`].
    pub fn cool(&mut self) {
        let mut room = MAX_HOT;
        for entry in self.entries.values_mut().rev().filter(|e| e.place.is_some() && e.held.is_some()) {
            if entry.due.is_empty() || room == 0 {
                entry.held = None;
            } else {
                room -= 1;
            }
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
