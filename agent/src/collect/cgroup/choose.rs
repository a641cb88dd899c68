//! Which groups have series: of [`MAX_SHOWN`], those nearest to a limit of their own, however small; the [`ALWAYS`] with most memory
//! and as many that use most CPU time; then those that have series already, as long as they are among the
//! [`CONTEST`] first in one of the two, so that series do not come and go at the edge.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::place::Place;

/// Groups with series at most.
pub(super) const MAX_SHOWN: usize = 64;
/// Places of these for groups near a limit of their own …
pub(super) const MAX_FULL: usize = 16;
/// … that use so many percent of it; one that is shown keeps its place down to the second.
const FULL_PERCENT: [u64; 2] = [80, 60];
/// The first so many by memory, and by CPU time, are shown in any case.
pub(super) const ALWAYS: usize = 16;
/// The first so many by either may be shown.
const CONTEST: usize = 2 * MAX_SHOWN;
struct Candidate<'a> {
    path: &'a Arc<str>,
    place: &'a Place,
    /// The better one of its two ranks.
    rank: usize,
    is_full: bool,
}

/// Marks those that are shown, and returns their paths in the order of their importance and how many candidates are not.
pub(super) fn choose(places: &mut BTreeMap<Arc<str>, Place>) -> (Vec<Arc<str>>, usize) {
    let of_interest = places.iter().filter(|(_, place)| place.label.is_some() && place.memory.is_some());
    let mut all: Vec<Candidate<'_>> = of_interest
        .map(|(path, place)| Candidate { path, place, rank: usize::MAX, is_full: false })
        .collect();
    let count = all.len();
    mark_full(&mut all);
    rank(&mut all, 0, |place| place.memory.and_then(|memory| memory.usage_kb).unwrap_or(0));
    // In thousandths of a core: nobody is before another for less.
    rank(&mut all, 1, |place| (place.rate.cores() * 1000.0) as u64);
    all.retain(|one| one.is_full || one.rank < CONTEST);
    all.sort_unstable_by_key(|one| (one.class(), one.rank, one.path));
    all.truncate(MAX_SHOWN);
    let shown: Vec<Arc<str>> = all.iter().map(|one| Arc::clone(one.path)).collect();
    drop(all);
    for place in places.values_mut() {
        place.shown = false;
    }
    for path in &shown {
        if let Some(place) = places.get_mut(path) {
            place.shown = true;
        }
    }
    let left_out = count - shown.len();
    (shown, left_out)
}

impl Candidate<'_> {
    const fn class(&self) -> u8 {
        match self {
            Self { is_full: true, .. } => 0,
            Self { rank: ..ALWAYS, .. } => 1,
            Self { place: Place { shown: true, .. }, .. } => 2,
            _ => 3,
        }
    }
}

/// Gives the first by a figure their ranks, where these are better than what they have; those below `least` have none.
fn rank(all: &mut [Candidate<'_>], least: u64, figure: impl Fn(&Place) -> u64) {
    let by = |a: &Candidate<'_>, b: &Candidate<'_>| {
        figure(b.place).cmp(&figure(a.place)).then_with(|| a.path.cmp(b.path))
    };
    let first = if all.len() > CONTEST { all.select_nth_unstable_by(CONTEST, by).0 } else { all };
    first.sort_unstable_by(by);
    for (rank, one) in first.iter_mut().enumerate().filter(|(_, one)| figure(one.place) >= least) {
        one.rank = one.rank.min(rank);
    }
}

fn mark_full(all: &mut [Candidate<'_>]) {
    let mut full: Vec<_> = all
        .iter()
        .filter_map(|one| Some((one.place.percent_of_limit()?, one)))
        .filter(|(percent, one)| *percent >= FULL_PERCENT[usize::from(one.place.shown)])
        .map(|(percent, one)| (Reverse(percent), Arc::clone(one.path)))
        .collect();
    full.sort_unstable();
    full.truncate(MAX_FULL);
    let full: HashSet<Arc<str>> = full.into_iter().map(|(_, path)| path).collect();
    for one in all {
        one.is_full = full.contains(&**one.path);
    }
}
