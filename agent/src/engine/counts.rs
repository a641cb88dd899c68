//! How often each limit of the engine was met since the start.

use super::Engine;

impl Engine {
    /// Name and count of every limit of the engine that has a counter of its own.
    pub fn limits_met(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("computed_series_refused", self.derived.refused()),
            ("history_blocks_evicted", self.store.evicted()),
            ("history_readings_refused", self.store.refused()),
            ("series_not_analyzed", self.analysis.refused() + self.rooms.refused()),
            ("leaks_forgotten", self.analysis.forgotten()),
            ("causes_forgotten", self.board.causes_forgotten()),
            ("disks_not_judged", self.disks.refused()),
            ("control_groups_forgotten", self.groups.forgotten()),
            ("incidents_forgotten", self.incidents.forgotten()),
            ("hangs_forgotten", self.hangs.forgotten()),
            ("fingerprints_forgotten", self.speaker.counts().forgotten),
        ]
    }
}
