//! The directories of a hierarchy, and which of them are read in a pass.
//!
//! A directory is listed when there are more or fewer in it than before, or when one in it could not be read any more.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::place::{Place, Rate};
use crate::collect::units::{Label, Units};
use crate::host::Host;
use crate::host::keeping::KeepingHost;
use crate::host::memcg::{Hierarchy, Room};
use crate::sample::{GroupRow, GroupTable, MAX_GROUP_ROWS};
use crate::time::SECOND;

/// So many groups are all read at each pass; of more, those that have series, and …
pub(super) const EACH_PASS: usize = 100;
/// … the others in turn, each within this time.
pub(super) const SWEEP_NS: u64 = 120 * SECOND;
/// Of these in turn, at least so many a pass.
const LEAST_IN_TURN: usize = 8;
/// Groups that came since, which one pass takes in.
const NEW_EACH_PASS: usize = 256;
/// Directories that stay open at most …
const MAX_KEPT: usize = 120;
/// … and at most one in so many files that the agent may have open: of these groups the files stay open, too
/// ([`crate::host::keeping`]), which shows when another group takes the name of one.
const SHARE: u64 = 36;
/// Directories known at most.
const MAX_PLACES: usize = 2 * MAX_GROUP_ROWS;

/// What a pass looks at.
#[derive(Clone, Copy)]
pub(super) struct Look<'h> {
    /// For what is read at each pass: its files stay open.
    pub(super) kept: &'h KeepingHost<'h>,
    /// For the rest.
    pub(super) host: &'h dyn Host,
    pub(super) hierarchy: Hierarchy,
    pub(super) now_ns: u64,
}

/// The groups that are known.
#[derive(Default)]
pub(super) struct Walk {
    /// By path; the root's is empty.
    pub(super) places: BTreeMap<Arc<str>, Place>,
    /// Groups that have figures.
    pub(super) rows: usize,
    open: usize,
    /// Directories that may stay open; asked for once.
    may_open: Option<usize>,
    /// The root could not be listed.
    is_lost: bool,
    /// The last one that was read in its turn.
    turn: Arc<str>,
    read_ns: u64,
    listings: u64,
    /// Directories to be listed.
    queue: VecDeque<Arc<str>>,
    path: String,
    room: Room,
}

impl Walk {
    pub(super) fn is_small(&self) -> bool {
        self.places.len() <= EACH_PASS
    }

    /// All groups, listed and read.
    pub(super) fn anew(&mut self, look: Look<'_>, units: &mut Units) -> GroupTable {
        *self = Self {
            may_open: self.may_open,
            listings: self.listings,
            read_ns: look.now_ns,
            ..Self::default()
        };
        let mut table = GroupTable { recursive: look.hierarchy.unified, ..GroupTable::default() };
        let root: Arc<str> = "".into();
        self.places.insert(Arc::clone(&root), Place::default());
        self.queue.push_back(root);
        self.list_queued(look, units, usize::MAX, &mut table);
        table.skipped = self.skipped();
        table
    }

    /// What is due, read again; all of it if that is wanted, or if there is little. `None` if this is another hierarchy, or may be.
    pub(super) fn again(
        &mut self,
        look: Look<'_>,
        units: &mut Units,
        everything: bool,
    ) -> Option<GroupTable> {
        let mut table = GroupTable { recursive: look.hierarchy.unified, ..GroupTable::default() };
        let due = if everything || self.is_small() { self.all() } else { self.due(look.now_ns) };
        self.read_ns = look.now_ns;
        let rows_before = self.rows;
        table.rows.reserve(due.len());
        for (path, in_turn) in &due {
            self.read(look, units, path, &mut table);
            if *in_turn {
                self.look_below(look, path);
            }
        }
        self.check_open(look);
        if look.kept.has_lost() {
            // Another group may have taken the name of one, and other ones lie in that.
            self.forget_open();
            let listed = self.places.iter().filter(|(_, place)| place.below != Some(0));
            self.queue.extend(listed.map(|(path, _)| Arc::clone(path)));
        }
        self.list_queued(look, units, NEW_EACH_PASS, &mut table);
        table.skipped = self.skipped();
        (!self.is_lost && (self.rows > 0 || rows_before == 0)).then_some(table)
    }

    fn skipped(&self) -> usize {
        self.places.values().map(|place| place.left_out).sum()
    }

    fn all(&self) -> Vec<(Arc<str>, bool)> {
        self.places.keys().map(|path| (Arc::clone(path), true)).collect()
    }

    /// Those with series, and those whose turn it is (true).
    fn due(&mut self, now_ns: u64) -> Vec<(Arc<str>, bool)> {
        let passed = now_ns.saturating_sub(self.read_ns).min(SWEEP_NS);
        let share = (self.places.len() as u64 * passed).div_ceil(SWEEP_NS) as usize;
        let quota = share.max(LEAST_IN_TURN).min(self.places.len());
        let after = self.places.range::<str, _>((Bound::Excluded(&*self.turn), Bound::Unbounded));
        let turn = after.chain(self.places.iter()).take(quota);
        let mut due: Vec<(Arc<str>, bool)> = turn.map(|(path, _)| (Arc::clone(path), true)).collect();
        let first = due.first().map(|(path, _)| Arc::clone(path)).unwrap_or_default();
        let newest = due.last().map(|(path, _)| Arc::clone(path)).unwrap_or_default();
        let is_in_turn = |path: &Arc<str>| {
            if first <= newest {
                (&first..=&newest).contains(&path)
            } else {
                *path >= first || *path <= newest
            }
        };
        let shown = self.places.iter().filter(|(path, place)| place.shown && !is_in_turn(path));
        due.extend(shown.map(|(path, _)| (Arc::clone(path), false)));
        self.turn = newest;
        due
    }

    fn read(&mut self, look: Look<'_>, units: &mut Units, path: &Arc<str>, table: &mut GroupTable) {
        let small = self.is_small();
        let Some(place) = self.places.get_mut(path) else { return };
        let host: &dyn Host = if small || place.shown { look.kept } else { look.host };
        let mut memory = look.hierarchy.read(host, path, &mut self.room);
        if memory.is_none() && place.memory.is_some() {
            // Of a file that was gone for a moment the one who keeps it says so for longer.
            memory = look.hierarchy.read(look.host, path, &mut self.room);
        }
        if memory.is_some() != place.memory.is_some() {
            self.rows = if memory.is_some() { self.rows + 1 } else { self.rows.saturating_sub(1) };
            // It may be gone: the one above is listed again.
            self.queue.push_back(parent(path).into());
        }
        place.memory = memory;
        table.rows.extend(memory.map(|memory| GroupRow { path: Arc::clone(path), memory }));
        if !place.shown && place.label.is_some() {
            let used = units.cpu_used(host, look.hierarchy, path);
            used.inspect(|&used| place.rate.note(used, look.now_ns));
        }
    }

    /// Looks whether there is something new in a group.
    fn look_below(&mut self, look: Look<'_>, path: &Arc<str>) {
        let (small, room_for_more) = (self.is_small(), self.has_room());
        let Some(place) = self.places.get_mut(path) else { return };
        if !small {
            // By its path: another one may have its name now.
            self.open -= usize::from(place.open.take().is_some());
        }
        if place.open.is_some() {
            return;
        }
        let count = look.host.count_dirs(dir(look.hierarchy, path, &mut self.path));
        if count.is_none() || count != place.below || (place.left_out > 0 && room_for_more) {
            self.queue.push_back(Arc::clone(path));
        }
        self.keep_open(look, path, small);
    }

    /// Directories that others lie in stay open, and of few groups all.
    fn keep_open(&mut self, look: Look<'_>, path: &Arc<str>, small: bool) {
        let may_open =
            *self.may_open.get_or_insert_with(|| MAX_KEPT.min((look.host.max_open_files() / SHARE) as usize));
        let Some(place) = self.places.get_mut(path) else { return };
        if self.open < may_open && (small || place.below != Some(0)) {
            place.open = look.host.open_dir(dir(look.hierarchy, path, &mut self.path)).ok();
            self.open += usize::from(place.open.is_some());
        }
    }

    fn forget_open(&mut self) {
        self.places.values_mut().for_each(|place| place.open = None);
        self.open = 0;
    }

    /// Whether there is something new in those that are open.
    fn check_open(&mut self, look: Look<'_>) {
        for (path, place) in &mut self.places {
            let count = match &mut place.open {
                Some(open) => open.count_dirs(),
                None if path.is_empty() => look.host.count_dirs(look.hierarchy.root),
                None => continue,
            };
            if count.is_none() || count != place.below {
                self.queue.push_back(Arc::clone(path));
            }
        }
    }

    fn has_room(&self) -> bool {
        self.rows < MAX_GROUP_ROWS && self.places.len() < MAX_PLACES
    }

    fn list_queued(&mut self, look: Look<'_>, units: &mut Units, new: usize, table: &mut GroupTable) {
        let is_first = new == usize::MAX;
        let mut may_come = new;
        while let Some(path) = self.queue.pop_front() {
            for name in self.list(look.host, look.hierarchy, &path, &mut may_come) {
                self.take_in(look, units, name, is_first, table);
            }
            if self.places.get(&path).is_some_and(|place| place.open.is_none()) {
                self.keep_open(look, &path, false);
            }
        }
    }

    /// Lists a directory, forgets what is not in it any more, and returns what is new.
    fn list(
        &mut self,
        host: &dyn Host,
        hierarchy: Hierarchy,
        above: &Arc<str>,
        may_come: &mut usize,
    ) -> Vec<Arc<str>> {
        let Self { places, path, listings, rows, .. } = self;
        if !places.contains_key(above) {
            return Vec::new();
        }
        *listings += 1;
        let (mut new, mut count, mut put_off) = (Vec::new(), 0, false);
        let room = MAX_GROUP_ROWS.saturating_sub(*rows).min(MAX_PLACES.saturating_sub(places.len()));
        let mut left_out = 0;
        let known = host.count_dirs(dir(hierarchy, above, path));
        let folder = path.clone();
        let each = &mut |name: &str| {
            count += 1;
            path.clear();
            path.extend([&**above, "/", name]);
            if let Some(place) = places.get_mut(path.as_str()) {
                place.seen = *listings;
            } else if new.len() >= room {
                left_out += 1;
            } else if *may_come == 0 {
                put_off = true;
            } else {
                *may_come -= 1;
                new.push(path.as_str().into());
            }
        };
        // Nothing to list is nothing below.
        let listed = host.list_dirs(&folder, each);
        self.is_lost |= above.is_empty() && listed.is_err();
        if let Some(place) = places.get_mut(above) {
            // As many as were seen, should one more come just now.
            place.below = known.filter(|_| !put_off).map(|_| count);
            place.left_out = left_out;
        }
        self.forget_unseen(above);
        new
    }

    fn forget_unseen(&mut self, above: &str) {
        let prefix = [above, "/"].concat();
        let below = self.places.range::<str, _>((Bound::Excluded(&*prefix), Bound::Unbounded));
        let below = below.take_while(|(path, _)| path.starts_with(&prefix));
        let is_gone = |path: &str, place: &Place| match path[prefix.len()..].split_once('/') {
            None => place.seen != self.listings,
            // Shares the fate of the one it lies in.
            Some((name, _)) => {
                let above = self.places.get(&path[..prefix.len() + name.len()]);
                above.is_none_or(|above| above.seen != self.listings)
            }
        };
        let gone: Vec<Arc<str>> =
            below.filter(|(path, place)| is_gone(path, place)).map(|(path, _)| Arc::clone(path)).collect();
        for path in gone {
            let Some(place) = self.places.remove(&path) else { continue };
            self.rows -= usize::from(place.memory.is_some());
            self.open -= usize::from(place.open.is_some());
        }
    }

    /// Reads a group that was not known.
    fn take_in(
        &mut self,
        look: Look<'_>,
        units: &mut Units,
        path: Arc<str>,
        is_first: bool,
        table: &mut GroupTable,
    ) {
        let memory = look.hierarchy.read(look.host, &path, &mut self.room);
        let mut rate = if is_first { Rate::default() } else { Rate::of_new(look.now_ns) };
        let label = Label::of(&path);
        if label.is_some() && memory.is_some() {
            let used = units.cpu_used(look.host, look.hierarchy, &path);
            used.inspect(|&used| rate.note(used, look.now_ns));
        }
        self.rows += usize::from(memory.is_some());
        table.rows.extend(memory.map(|memory| GroupRow { path: Arc::clone(&path), memory }));
        let below = look.host.count_dirs(dir(look.hierarchy, &path, &mut self.path));
        if below != Some(0) {
            self.queue.push_back(Arc::clone(&path));
        }
        let place = Place { below, memory, label, rate, seen: self.listings, ..Place::default() };
        self.places.insert(path, place);
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The path of a group on the host.
fn dir<'p>(hierarchy: Hierarchy, group: &str, path: &'p mut String) -> &'p str {
    path.clear();
    path.extend([hierarchy.root, group]);
    path
}
