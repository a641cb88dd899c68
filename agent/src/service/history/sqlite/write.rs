//! When the database is written: what is due, out of the ring.

use std::path::PathBuf;

use tokio::task::spawn_blocking;

use super::super::{Keeper, changed, span_secs};
use super::{Database, STEP_SECS, Trouble};
use crate::config::Config;
use crate::engine::look_back::{Track, Tracks, Wish};
use crate::time::{Now, SECOND};

/// Longest time between two writings: a page of each series is written each time, whatever is in it.
const PACE_SECS: i64 = 3600;
/// Time between two tries when it does not work, and before the first.
const RETRY_SECS: i64 = 60;
/// Time between two removals of what is too old.
const PRUNE_SECS: i64 = 86_400;
/// Minutes fetched at once: what they need in memory at 4,000 series is 10 MB for a moment.
const MOST_MINUTES: i64 = 60;
/// Minutes that are not whole yet: the passes of collectors take a while.
const LAG_NS: i64 = 30 * SECOND as i64;
const MINUTE_NS: i64 = STEP_SECS * SECOND as i64;

/// Writes the database, aside and one writing at a time.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    days: i64,
    /// Time that the ring holds, and time between two writings.
    ring_ns: i64,
    pace_ns: u64,
    database: Option<Database>,
    /// Monotonic nanoseconds.
    next_ns: u64,
    prune_ns: u64,
}

/// Minutes of series, and the minute until which that is all.
pub(in super::super) struct Minutes {
    tracks: Vec<(Track, i64)>,
    until: i64,
    database: Database,
    /// There is more to write already.
    more: bool,
}

impl Writer {
    /// As the configuration says; `None`: no database is kept.
    pub fn of(config: &Config) -> Option<Self> {
        let storage = &config.storage;
        let ring = i64::try_from(span_secs(config)).unwrap_or(i64::MAX).min(i64::MAX / SECOND as i64);
        storage.sqlite_enabled.then(|| Self {
            path: storage.sqlite_path.clone(),
            days: storage.sqlite_retention_days as i64,
            ring_ns: ring * SECOND as i64,
            pace_ns: (ring / 2).clamp(RETRY_SECS, PACE_SECS) as u64 * SECOND,
            database: None,
            next_ns: 0,
            prune_ns: 0,
        })
    }

    /// The open database, if it is time to write.
    async fn due(&mut self, now: Now, last: bool) -> Option<Result<(Database, i64), Trouble>> {
        if self.next_ns == 0 {
            self.next_ns = now.mono_ns;
        }
        if now.mono_ns < self.next_ns && !last {
            return None;
        }
        self.next_ns = now.mono_ns + self.pace_ns;
        let (path, database) = (self.path.clone(), self.database.take());
        let opened = spawn_blocking(move || -> Result<_, Trouble> {
            let database = if let Some(database) = database {
                database
            } else {
                let (database, aside) = Database::open(&path)?;
                if let Some(aside) = aside {
                    tracing::warn!(
                        "{} is damaged or no database; it was moved aside as {}, and another one is begun with what \
                             is in memory",
                        path.display(),
                        aside.display()
                    );
                }
                database
            };
            let until = database.written_until()?;
            Ok((database, until))
        });
        let broken = |error: tokio::task::JoinError| Trouble { damaged: false, why: error.to_string() };
        Some(opened.await.map_err(broken).and_then(|opened| opened))
    }

    fn failed(&mut self, now: Now, last: bool) {
        self.database = None;
        if !last {
            self.next_ns = now.mono_ns + RETRY_SECS as u64 * SECOND;
        }
    }
}

impl Keeper {
    /// What is to be written to the database now.
    pub(in super::super) async fn minutes(&mut self, now: Now, last: bool) -> Option<Minutes> {
        let writer = self.sqlite.as_mut()?;
        let (ring_ns, opened) = (writer.ring_ns, writer.due(now, last).await?);
        let fetched = match opened {
            Ok((database, until)) => self.fetch(now, database, (until, last, ring_ns)).await,
            Err(trouble) => Err(trouble.why),
        };
        match fetched {
            Ok(minutes) => Some(minutes),
            Err(why) => {
                self.sqlite.as_mut().into_iter().for_each(|writer| writer.failed(now, last));
                self.sqlite_fares(Err(why));
                None
            }
        }
    }

    async fn fetch(
        &mut self,
        now: Now,
        database: Database,
        (written, last, ring_ns): (i64, bool, i64),
    ) -> Result<Minutes, String> {
        let ahead = now.wall_ns.saturating_sub(now.mono_ns as i64);
        // At the end the minute that is not over is written too, and written again by the next run.
        let over = if last { now.wall_ns } else { now.wall_ns - LAG_NS }.div_euclid(MINUTE_NS);
        // The ring has no more; and a clock that was set back leaves what is written as it is.
        let mut first = written.max(now.wall_ns.saturating_sub(ring_ns).div_euclid(MINUTE_NS)).min(over);
        loop {
            let until = over.min(first + MOST_MINUTES);
            let end = if last { until + 1 } else { until };
            let tracks = self.tracks((first * MINUTE_NS, end * MINUTE_NS), ahead).await?;
            // Before the agent was there nothing was read: hours of that are no writings.
            if until >= over || tracks.iter().any(|(track, _)| !track.points.is_empty()) {
                return Ok(Minutes { tracks, until, database, more: until < over });
            }
            first = until;
        }
    }

    /// Minutes of all series between two moments of the wall clock, which is ahead of the other one.
    async fn tracks(
        &mut self,
        (from_ns, to_ns): (i64, i64),
        ahead: i64,
    ) -> Result<Vec<(Track, i64)>, String> {
        let mut wish = Wish {
            from_ns: from_ns.saturating_sub(ahead),
            to_ns: to_ns.saturating_sub(ahead),
            step_ns: MINUTE_NS as u64,
            ..Wish::default()
        };
        let mut tracks = Vec::new();
        loop {
            let Tracks { tracks: some, next, now: at, .. } =
                super::super::ask(&self.inbox, wish.clone()).await?;
            let ahead = at.wall_ns.saturating_sub(at.mono_ns as i64);
            tracks.extend(some.into_iter().map(|track| (track, ahead)));
            let Some(next) = next else { return Ok(tracks) };
            wish.begin = next;
        }
    }

    pub(in super::super) async fn write_minutes(&mut self, minutes: Option<Minutes>, now: Now) {
        let (Some(minutes), Some(writer)) = (minutes, self.sqlite.as_mut()) else { return };
        let Minutes { tracks, until, mut database, more } = minutes;
        let (days, due) = (writer.days, now.mono_ns >= writer.prune_ns);
        let written = spawn_blocking(move || {
            let mut written = database.write(&tracks, until).map(|_| 0);
            if due && written.is_ok() {
                written = database.prune(now.wall_ns.div_euclid(MINUTE_NS), days);
            }
            written.map(|gone| (database, gone))
        });
        let result = match written.await {
            Ok(Ok((database, gone))) => {
                writer.database = Some(database);
                if due {
                    writer.prune_ns = now.mono_ns + PRUNE_SECS as u64 * SECOND;
                }
                if more {
                    writer.next_ns = now.mono_ns;
                }
                if gone > 0 {
                    tracing::warn!(
                        "the database {} was over {} MiB: its oldest {gone} days went before their time; lower \
                         storage.sqlite_retention_days",
                        writer.path.display(),
                        super::MAX_BYTES >> 20
                    );
                }
                Ok(())
            }
            // A damaged file is moved aside when it is opened the next time.
            Ok(Err(trouble)) => Err(trouble.why),
            Err(error) => Err(error.to_string()),
        };
        if result.is_err() {
            writer.failed(now, false);
        }
        self.sqlite_fares(result);
    }

    fn sqlite_fares(&self, result: Result<(), String>) {
        let why = result.err();
        self.trouble
            .send_if_modified(|trouble| changed(&mut trouble.sqlite, why, "history for the database"));
    }
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
