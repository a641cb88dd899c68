//! TCP trouble by remote address: the kernel counts each, [`Ranking`] picks those worth a series.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use agent_common::limits::MAX_REMOTES;
use agent_common::remote::{Counts, Remote, TROUBLES, Trouble};
use aya::maps::{Array, HashMap as BpfHashMap, Map, MapData, MapError};

use crate::collect::{CollectError, Collector};
use crate::host::Host;
use crate::metric::{Kind, Metric, Unit};
use crate::sample::Samples;

const fn metric(name: &'static str, help: &'static str, source: &'static str) -> Metric {
    Metric {
        name,
        prometheus: name,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &["remote"],
        help,
        source,
    }
}

/// Segments sent again.
pub const RETRANSMITS: Metric = metric(
    "tcp_remote_retransmits_total",
    "TCP segments sent again, by remote address; those of the less troubled ones under `other`.",
    "eBPF: tcp:tcp_retransmit_skb",
);
/// Resets sent.
pub const RESETS_SENT: Metric = metric(
    "tcp_remote_resets_sent_total",
    "TCP resets sent, by remote address; those to the less troubled ones under `other`.",
    "eBPF: tcp:tcp_send_reset",
);
/// Resets received.
pub const RESETS_RECEIVED: Metric = metric(
    "tcp_remote_resets_received_total",
    "TCP resets received, by remote address; those of the less troubled ones under `other`.",
    "eBPF: tcp:tcp_receive_reset",
);

/// What this collector puts out, in the order of [`Trouble`].
pub const METRICS: &[&Metric] = &[&RETRANSMITS, &RESETS_SENT, &RESETS_RECEIVED];

/// Remotes with series of their own at a time.
pub const MAX_SERIES: usize = 16;
/// Passes a remote keeps its series at least.
const MIN_STAY: u32 = 30;
/// Share of a remote's score that is left after a pass.
const FADE: f64 = 0.9;

/// One with series of its own.
#[derive(Debug)]
struct Place {
    remote: Remote,
    name: String,
    counts: Counts,
    /// Recent trouble, fading.
    score: f64,
    stayed: u32,
}

/// Who gets series. Pure. What is exported only grows: trouble goes to a remote's own series from the
/// pass on in which it gets them, to `other` before, and stays where it is when it loses them.
#[derive(Debug, Default)]
pub struct Ranking {
    places: Vec<Place>,
    seen: HashMap<Remote, Counts>,
    total: Counts,
    /// All that ever went to series of their own.
    credited: Counts,
    other: Counts,
}

impl Ranking {
    /// Takes a reading of all remotes the kernel remembers.
    pub fn pass(&mut self, total: Counts, entries: &[(Remote, Counts)]) {
        self.total = total;
        let mut fresh: Vec<(Remote, Counts)> = Vec::new();
        for place in &mut self.places {
            place.score *= FADE;
            place.stayed += 1;
        }
        for &(remote, now) in entries {
            let more = growth(self.seen.get(&remote).copied().unwrap_or_default(), now);
            if sum(more) == 0 {
                continue;
            }
            match self.places.iter_mut().find(|place| place.remote == remote) {
                Some(place) => {
                    place.score += sum(more) as f64;
                    add(&mut place.counts, more);
                    add(&mut self.credited, more);
                }
                None => fresh.push((remote, more)),
            }
        }
        self.seen.clear();
        self.seen.extend(entries.iter().copied());
        fresh.sort_by_key(|(remote, more)| (std::cmp::Reverse(sum(*more)), remote.address));
        for (remote, more) in fresh.into_iter().take(MAX_SERIES) {
            if self.make_room(sum(more) as f64) {
                add(&mut self.credited, more);
                let (name, score) = (address(remote).to_string(), sum(more) as f64);
                self.places.push(Place { remote, name, counts: more, score, stayed: 0 });
            }
        }
        // Total and remotes are not read at one moment: what is credited early is not taken back here.
        let rest =
            self.total.counts.iter().zip(self.credited.counts).map(|(all, own)| all.saturating_sub(own));
        self.other.counts.iter_mut().zip(rest).for_each(|(other, rest)| *other = rest.max(*other));
    }

    /// Whether one with this much trouble gets series; it takes those of one that has become quiet.
    fn make_room(&mut self, score: f64) -> bool {
        if self.places.len() < MAX_SERIES {
            return true;
        }
        let quiet = self.places.iter().enumerate().filter(|(_, place)| place.stayed >= MIN_STAY);
        let quietest = quiet.min_by(|a, b| a.1.score.total_cmp(&b.1.score));
        match quietest.map(|(index, place)| (index, place.score)) {
            Some((index, least)) if score > 2.0 * least => {
                self.places.swap_remove(index);
                true
            }
            _ => false,
        }
    }

    /// Names and counts of those with series, `other` last.
    pub fn told(&self) -> impl Iterator<Item = (&str, Counts)> {
        let own = self.places.iter().map(|place| (place.name.as_str(), place.counts));
        own.chain([("other", self.other)])
    }
}

/// An address as people write it.
fn address(remote: Remote) -> IpAddr {
    let bytes: [u8; 16] = bytemuck::cast(remote.address);
    Ipv6Addr::from(bytes).to_canonical()
}

/// What came since. An entry that the kernel forgot and made again begins at 0.
fn growth(before: Counts, now: Counts) -> Counts {
    let again = before.counts.iter().zip(now.counts).any(|(before, now)| *before > now);
    let before = if again { Counts::default() } else { before };
    Counts { counts: std::array::from_fn(|i| now.counts[i] - before.counts[i]) }
}

fn add(to: &mut Counts, more: Counts) {
    to.counts.iter_mut().zip(more.counts).for_each(|(a, b)| *a = a.saturating_add(b));
}

fn sum(counts: Counts) -> u64 {
    counts.counts.iter().fold(0, |a, b| a.saturating_add(*b))
}

/// The maps; keys and values as plain words, which aya moves as they are.
pub(super) struct RemoteMaps {
    remotes: BpfHashMap<MapData, [u64; 2], [u64; TROUBLES]>,
    totals: Array<MapData, [u64; TROUBLES]>,
}

impl RemoteMaps {
    pub(super) fn new(remotes: MapData, totals: MapData) -> Result<Self, MapError> {
        let remotes = BpfHashMap::try_from(Map::LruHashMap(remotes))?;
        Ok(Self { remotes, totals: Array::try_from(Map::Array(totals))? })
    }

    /// The total first: what comes meanwhile belongs to the next pass.
    fn total(&self) -> Result<Counts, MapError> {
        Ok(Counts { counts: self.totals.get(&0, 0)? })
    }

    fn read(&self, to: &mut Vec<(Remote, Counts)>) -> Result<(), MapError> {
        to.clear();
        for key in self.remotes.keys().take(MAX_REMOTES as usize) {
            let key = key?;
            match self.remotes.get(&key, 0) {
                Ok(counts) => to.push((Remote { address: key }, Counts { counts })),
                // Its place went to another one between the two calls.
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The collector.
pub struct TcpCollector {
    maps: RemoteMaps,
    ranking: Ranking,
    entries: Vec<(Remote, Counts)>,
}

impl TcpCollector {
    pub(super) fn new(maps: RemoteMaps) -> Self {
        Self { maps, ranking: Ranking::default(), entries: Vec::new() }
    }

    fn read(&mut self) -> Result<(), MapError> {
        let total = self.maps.total()?;
        // Nothing happened: nothing is read.
        if total != self.ranking.total {
            self.maps.read(&mut self.entries)?;
        }
        self.ranking.pass(total, &self.entries);
        Ok(())
    }
}

impl Collector for TcpCollector {
    fn collect(&mut self, _: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        self.read().map_err(|error| CollectError::Read {
            path: "BPF map REMOTES".into(),
            error: error.to_string(),
        })?;
        put(&self.ranking, out);
        Ok(())
    }
}

fn put(ranking: &Ranking, out: &mut Samples) {
    for (name, counts) in ranking.told() {
        for trouble in [Trouble::Retransmit, Trouble::ResetSent, Trouble::ResetReceived] {
            let place = trouble as usize;
            out.put(METRICS[place], &[name], counts.counts[place] as f64);
        }
    }
}

#[cfg(test)]
#[path = "remotes_tests.rs"]
mod tests;
