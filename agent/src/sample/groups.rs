//! Memory control groups on their way from the collector to the engine.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cgroup::memory::Memory;

/// The newest look at the memory control groups of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupTable {
    /// One row a group, those nearest to the root first, at most [`MAX_GROUP_ROWS`]; the root has none.
    pub rows: Vec<GroupRow>,
    /// Groups that were not read because of that limit; those below them are not counted.
    pub skipped: usize,
    /// A group's event counters hold those of the groups below it (v2).
    pub recursive: bool,
}

/// Rows a [`GroupTable`] holds at most; those farthest from the root are left out.
pub const MAX_GROUP_ROWS: usize = 2048;

/// One group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupRow {
    /// Path within the hierarchy; hostile text.
    pub path: Arc<str>,
    /// Its figures.
    pub memory: Memory,
}
