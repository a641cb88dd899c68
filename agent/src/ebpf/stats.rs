//! Counters the programs keep about themselves.

use agent_common::Stat;
use aya::maps::{Array, MapData, MapError};

/// Values of all counters, in the order of [`Stat::ALL`].
pub(super) type Counts = [u64; Stat::ALL.len()];

/// The map of counters.
pub(super) struct Stats(Array<MapData, u64>);

impl Stats {
    /// Takes the map over.
    pub(super) fn new(map: MapData) -> Result<Self, MapError> {
        Array::try_from(aya::maps::Map::Array(map)).map(Self)
    }

    /// All counters now.
    pub(super) fn read(&self) -> Result<Counts, MapError> {
        let mut counts = Counts::default();
        for (stat, count) in Stat::ALL.into_iter().zip(&mut counts) {
            *count = self.0.get(&(stat as u32), 0)?;
        }
        Ok(counts)
    }
}

/// Which probe a counter belongs to, if what it counts is lost.
pub(super) const fn loses(stat: Stat) -> Option<&'static str> {
    match stat {
        Stat::OutputLost => Some("ebpf"),
        Stat::IoRateLimited | Stat::HistFull | Stat::StartsFull | Stat::IoErrorsLimited => Some("block_io"),
        // Requests in flight when the agent started, above all.
        Stat::IoUnmatched | Stat::WaitUnmatched => None,
    }
}
