//! How the following of the journal stands, for whoever asks meanwhile.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody is to be heard, and nothing runs.
    Idle,
    /// `journalctl` was started, and has not shown that it can read.
    Starting,
    /// It delivers.
    Up,
    /// It could not be started, or has ended.
    Down,
}

/// Written by the task that follows, read by others.
#[derive(Debug, Default)]
pub struct State {
    standing: AtomicU8,
    /// Starts of `journalctl`.
    pub starts: AtomicU64,
    /// Entries read.
    pub entries: AtomicU64,
    /// Lines that are no entries, or too long for one.
    pub unreadable: AtomicU64,
    /// Announcements of kills taken for text of a victim's.
    pub doubted: AtomicU64,
}

const ALL: [Standing; 4] = [Standing::Idle, Standing::Starting, Standing::Up, Standing::Down];

impl State {
    /// How it stands now.
    pub fn standing(&self) -> Standing {
        ALL[usize::from(self.standing.load(Relaxed)) % ALL.len()]
    }

    /// Notes how it stands; the state before.
    pub fn stands(&self, standing: Standing) -> Standing {
        let place = ALL.iter().position(|one| *one == standing).unwrap_or(0);
        ALL[usize::from(self.standing.swap(place as u8, Relaxed)) % ALL.len()]
    }
}
