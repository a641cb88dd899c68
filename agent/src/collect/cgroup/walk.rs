//! All groups of a hierarchy, from the root downwards.
//!
//! They are listed when one came or went, and otherwise read again: as long as each directory has as many in it as before, and
//! each group can still be read, they are the same ones.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::host::memcg::{Hierarchy, Room};
use crate::host::{Host, HostDir};
use crate::sample::{GroupRow, GroupTable, MAX_GROUP_ROWS};

/// Directories that stay open at most …
const MAX_KEPT: usize = 120;
/// … and at most one in so many files that the agent may have open: of these groups the files stay open, too
/// ([`crate::host::keeping`]), which shows when another group takes the name of one.
const SHARE: u64 = 36;
/// Directories looked into at most.
const MAX_PLACES: usize = 2 * MAX_GROUP_ROWS;

/// The groups of the newest pass.
#[derive(Default)]
pub(super) struct Walk {
    /// In the order in which they are read; the first is the root.
    places: Vec<Place>,
    skipped: usize,
    /// Groups to be looked into.
    queue: VecDeque<Arc<str>>,
    path: String,
    room: Room,
}

/// A directory.
struct Place {
    path: Arc<str>,
    open: Option<Box<dyn HostDir>>,
    /// Directories in it; `None` where only a list tells.
    below: Option<u64>,
    /// Whether it has figures of memory.
    counts: bool,
}

impl Walk {
    /// The groups of the newest pass with their figures now; `None` if these are other groups than then, or may be.
    pub(super) fn again(&mut self, host: &dyn Host, hierarchy: Hierarchy) -> Option<GroupTable> {
        let mut table = GroupTable { recursive: hierarchy.unified, ..GroupTable::default() };
        table.rows.reserve(self.places.len());
        let (root, groups) = self.places.split_first_mut()?;
        root.is_as_before(host, hierarchy, &mut self.path)?;
        for group in groups {
            let memory = hierarchy.read(host, &group.path, &mut self.room);
            if memory.is_some() != group.counts {
                return None;
            }
            table.rows.extend(memory.map(|memory| GroupRow { path: Arc::clone(&group.path), memory }));
            group.is_as_before(host, hierarchy, &mut self.path)?;
        }
        table.skipped = self.skipped;
        Some(table)
    }

    /// All groups, listed.
    pub(super) fn anew(&mut self, host: &dyn Host, hierarchy: Hierarchy) -> GroupTable {
        let mut table = GroupTable { recursive: hierarchy.unified, ..GroupTable::default() };
        // Their paths are used again.
        let known: HashSet<Arc<str>> = self.places.drain(..).map(|place| place.path).collect();
        self.queue.clear();
        self.skipped = 0;
        let may_open = MAX_KEPT.min((host.max_open_files() / SHARE) as usize);
        let mut next = Some(Arc::from(""));
        while let Some(path) = next {
            if self.places.len() >= MAX_PLACES {
                self.skipped += 1 + self.queue.len();
                break;
            }
            let memory = hierarchy.read(host, &path, &mut self.room);
            let counts = memory.is_some();
            table.rows.extend(memory.map(|memory| GroupRow { path: Arc::clone(&path), memory }));
            let room = MAX_GROUP_ROWS - table.rows.len().min(MAX_GROUP_ROWS);
            let mut place = Place { path, open: None, below: None, counts };
            let dir = place.dir(hierarchy, &mut self.path);
            if self.places.len() < may_open {
                place.open = host.open_dir(dir).ok();
            }
            let count = place.open.as_mut().map_or_else(|| host.count_dirs(dir), |open| open.count_dirs());
            place.below = match count {
                Some(0) => Some(0),
                // As many as are known, should one more come just now.
                Some(_) => Some(self.list(host, hierarchy, &place.path, &known, room)),
                None => {
                    self.list(host, hierarchy, &place.path, &known, room);
                    None
                }
            };
            self.places.push(place);
            next = self.queue.pop_front();
        }
        table.skipped = self.skipped;
        table
    }

    /// Queues the groups below one, and says how many there are. It may have vanished meanwhile.
    fn list(
        &mut self,
        host: &dyn Host,
        hierarchy: Hierarchy,
        parent: &str,
        known: &HashSet<Arc<str>>,
        room: usize,
    ) -> u64 {
        let Self { queue, path, skipped, .. } = self;
        let mut count = 0;
        let each = &mut |name: &str| {
            count += 1;
            if queue.len() >= room {
                *skipped += 1;
                return;
            }
            path.clear();
            path.extend([parent, "/", name]);
            queue.push_back(known.get(path.as_str()).map_or_else(|| path.as_str().into(), Arc::clone));
        };
        // Nothing to list is nothing below.
        let _ = host.list_dirs(&[hierarchy.root, parent].concat(), each);
        count
    }
}

impl Place {
    /// Its path on the host.
    fn dir<'p>(&self, hierarchy: Hierarchy, path: &'p mut String) -> &'p str {
        path.clear();
        path.extend([hierarchy.root, &*self.path]);
        path
    }

    /// Has as many directories in it as before.
    fn is_as_before(&mut self, host: &dyn Host, hierarchy: Hierarchy, path: &mut String) -> Option<()> {
        let count = match &mut self.open {
            Some(open) => open.count_dirs(),
            None => host.count_dirs(self.dir(hierarchy, path)),
        };
        (count.is_some() && count == self.below).then_some(())
    }
}
