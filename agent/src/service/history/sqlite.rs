//! One-minute averages in an SQLite file, for weeks: mean, least, greatest and number of readings.
//!
//! Written once an hour in one transaction, by one writer, out of the ring, which holds what is not written yet: so a full
//! disk, a restart or a file that had to begin anew costs nothing that the ring still has. A key is a series and a
//! minute: what is written twice is there once.

#![expect(clippy::disallowed_methods, reason = "the one owner of the database's files")]

mod schema;
mod write;

pub use write::Writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Row, params};

use super::super::features::Feature;
use super::query::{Dot, Line, MAX_POINTS, Question};
use crate::config::Config;
use crate::engine::look_back::Track;
use crate::metric::Metric;
use schema::Bad;

/// Seconds that one row stands for.
pub const STEP_SECS: i64 = 60;
/// Longest wait for somebody else's lock on the file.
const LOCKED: Duration = Duration::from_secs(2);
/// Largest database, bytes. Beyond, the oldest days go.
pub const MAX_BYTES: i64 = 2 << 30;
/// A day, in minutes.
const DAY: i64 = 1440;
/// Free pages given back to the filesystem in one go: 16 MiB.
const VACUUM_PAGES: u32 = 4096;

/// Series whose old minutes go in one transaction.
const TOGETHER: usize = 32;

/// The database, open for writing.
#[derive(Debug)]
pub struct Database {
    path: PathBuf,
    connection: Connection,
    max_bytes: i64,
}

/// Why it does not work.
#[derive(Debug)]
pub struct Trouble {
    /// The file is damaged, or no database: it can be moved aside.
    pub damaged: bool,
    /// A sentence.
    pub why: String,
}

impl Trouble {
    fn of(path: &Path, what: &str, error: &rusqlite::Error) -> Self {
        let code = error.sqlite_error_code();
        let damaged = matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase));
        let help = match code {
            Some(ErrorCode::DiskFull) => "; free space on that filesystem",
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                "; give the agent's user its directory, or set storage.sqlite_path"
            }
            Some(ErrorCode::ReadOnly) => "; mount it writable, or set storage.sqlite_path",
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "; somebody else holds it",
            _ => "",
        };
        Self { damaged, why: format!("cannot {what} {}: {error}{help}", path.display()) }
    }

    fn unusable(path: &Path, bad: &Bad) -> Self {
        let why = match bad {
            Bad::Failed(error) => return Self::of(path, "open", error),
            Bad::Foreign => {
                "is a database of another program, which the agent does not touch; set storage.sqlite_path"
                    .to_owned()
            }
            Bad::Newer(version) => format!(
                "has the form {version} of a newer agent, and this one knows {}; move it away, or use the newer agent",
                schema::VERSION
            ),
        };
        Self { damaged: false, why: format!("{} {why}", path.display()) }
    }
}

impl Database {
    /// The database in `path`, made if need be and brought to the newest form. A damaged one is moved aside and another
    /// one made; where it went is the second value.
    pub fn open(path: &Path) -> Result<(Self, Option<PathBuf>), Trouble> {
        match Self::try_open(path) {
            Err(trouble) if trouble.damaged => {
                let aside = set_aside(path).map_err(|error| Trouble {
                    damaged: false,
                    why: format!("{}; and it cannot be moved aside: {error}", trouble.why),
                })?;
                Self::try_open(path).map(|database| (database, Some(aside)))
            }
            opened => opened.map(|database| (database, None)),
        }
    }

    fn try_open(path: &Path) -> Result<Self, Trouble> {
        let failed = |error: &rusqlite::Error| Trouble::of(path, "open", error);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(|e| failed(&e))?;
        connection.busy_timeout(LOCKED).map_err(|e| failed(&e))?;
        schema::prepare(&mut connection).map_err(|bad| Trouble::unusable(path, &bad))?;
        Ok(Self { path: path.to_owned(), connection, max_bytes: MAX_BYTES })
    }

    /// The same with another limit on its size.
    #[cfg(test)]
    fn at_most(mut self, max_bytes: i64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Minute (since 1970) until which all is written; that one is not, or not whole.
    pub fn written_until(&self) -> Result<i64, Trouble> {
        let read = self.connection.query_row("SELECT written_until FROM state", [], |row| row.get(0));
        read.map_err(|error| Trouble::of(&self.path, "read", &error))
    }

    /// Writes minutes of series, and that all is written until that minute: all or nothing.
    pub fn write(&mut self, tracks: &[(Track, i64)], until: i64) -> Result<usize, Trouble> {
        let Self { path, connection, .. } = self;
        write_all(connection, tracks, until).map_err(|error| Trouble::of(path, "write to", &error))
    }

    /// Removes what is older than `days` at that minute, and the oldest days while the file is too large. Gives the days
    /// that went for want of room.
    pub fn prune(&mut self, now: i64, days: i64) -> Result<u64, Trouble> {
        let Self { path, connection, max_bytes } = self;
        prune(connection, now, days, *max_bytes).map_err(|error| Trouble::of(path, "shorten", &error))
    }
}

/// A track's points are means of whole minutes; `i64`: what its moments lie behind the wall clock, nanoseconds.
fn write_all(connection: &mut Connection, tracks: &[(Track, i64)], until: i64) -> rusqlite::Result<usize> {
    let transaction = connection.transaction()?;
    let mut rows = 0;
    {
        let mut name = transaction.prepare(
            "INSERT INTO series (metric, labels, unit) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?;
        let mut find = transaction.prepare("SELECT id FROM series WHERE metric = ?1 AND labels = ?2")?;
        let mut put = transaction
            .prepare("INSERT OR REPLACE INTO minute (series, at, mean, min, max, count) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        for (Track { metric, labels, points }, ahead) in tracks {
            let pairs =
                metric.labels.iter().zip(labels.iter()).map(|(k, v)| ((*k).to_owned(), (&**v).into()));
            let labels = serde_json::Value::Object(pairs.collect()).to_string();
            name.execute(params![metric.name, labels, metric.unit.name()])?;
            let id: i64 = find.query_row(params![metric.name, labels], |row| row.get(0))?;
            for point in points.iter().filter(|point| point.mean.is_finite()) {
                let at = point.at_ns.saturating_add(*ahead).div_euclid(STEP_SECS * 1_000_000_000);
                // Of what does not change within a minute the mean says all.
                let apart = (point.min < point.max).then_some((point.min, point.max));
                let (min, max) = (apart.map(|a| a.0), apart.map(|a| a.1));
                put.execute(params![id, at, point.mean, min, max, point.count])?;
                rows += 1;
            }
        }
        transaction.execute("UPDATE state SET written_until = ?1", [until])?;
    }
    transaction.commit()?;
    Ok(rows)
}

fn prune(connection: &mut Connection, now: i64, days: i64, max_bytes: i64) -> rusqlite::Result<u64> {
    remove(connection, now.saturating_sub(days.saturating_mul(DAY)))?;
    let mut gone = 0;
    while used(connection)? > max_bytes {
        let oldest: Option<i64> = connection.query_row(OLDEST, [], |row| row.get(0))?;
        // What was written last stays, whatever it is.
        let Some(oldest) = oldest.filter(|oldest| *oldest < now.saturating_sub(DAY)) else { break };
        remove(connection, oldest + DAY)?;
        gone += 1;
    }
    // A page a step.
    let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
    let mut pages = vacuum.query([])?;
    while pages.next()?.is_some() {}
    Ok(gone)
}

/// The least minute of each series is the first of its part of the key.
const OLDEST: &str = "SELECT min((SELECT min(at) FROM minute WHERE series = id)) FROM series";

fn remove(connection: &mut Connection, before: i64) -> rusqlite::Result<()> {
    let ids: Vec<i64> = {
        let mut series = connection.prepare("SELECT id FROM series")?;
        series.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?
    };
    for some in ids.chunks(TOGETHER) {
        let transaction = connection.transaction()?;
        {
            let mut old = transaction.prepare("DELETE FROM minute WHERE series = ?1 AND at < ?2")?;
            let mut empty = transaction.prepare(
                "DELETE FROM series WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM minute WHERE series = ?1)",
            )?;
            for id in some {
                old.execute([*id, before])?;
                empty.execute([*id])?;
            }
        }
        transaction.commit()?;
    }
    Ok(())
}

/// Bytes of pages with something in them.
fn used(connection: &Connection) -> rusqlite::Result<i64> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    Ok((number("page_count")? - number("freelist_count")?) * number("page_size")?)
}

/// Moves the file and what belongs to it aside, in place of an earlier one.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let beside = |path: &Path, end: &str| PathBuf::from(format!("{}{end}", path.display()));
    let aside = beside(path, ".bad");
    std::fs::rename(path, &aside)?;
    for end in ["-wal", "-shm"] {
        // Without its database it would be taken for the new one's.
        match std::fs::rename(beside(path, end), beside(&aside, end)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

fn open_to_read(path: &Path) -> Result<Connection, Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags);
    opened.and_then(|c| c.busy_timeout(LOCKED).map(|()| c)).map_err(|e| Trouble::of(path, "open", &e))
}

/// What it has of a metric since `begin`, Unix seconds. An error is a sentence.
pub fn read(path: &Path, metric: &Metric, question: &Question, begin: i64) -> Result<Vec<Line>, String> {
    if !crate::host::state::is_there(path) {
        return Err(format!("there is no database {} yet; it is written once an hour", path.display()));
    }
    let connection = open_to_read(path).map_err(|trouble| trouble.why)?;
    lines(&connection, metric, question, begin).map_err(|error| Trouble::of(path, "read", &error).why)
}

fn lines(
    connection: &Connection,
    metric: &Metric,
    question: &Question,
    begin: i64,
) -> rusqlite::Result<Vec<Line>> {
    let mut find = connection.prepare("SELECT id, labels FROM series WHERE metric = ?1 ORDER BY labels")?;
    let mut rows = connection.prepare(
        "SELECT at, mean, coalesce(min, mean), coalesce(max, mean), count FROM minute WHERE series = ?1 AND at >= ?2 ORDER BY at",
    )?;
    let series =
        find.query_map([metric.name], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
    let (mut lines, mut left) = (Vec::new(), MAX_POINTS + 1);
    for series in series {
        let (id, labels) = series?;
        let Some(labels) = matching(&labels, metric, question) else { continue };
        let mut points: Vec<Dot> = Vec::new();
        for dot in rows.query_map(params![id, begin.div_euclid(STEP_SECS)], dot)? {
            gather(&mut points, dot?, question.step_secs);
            if points.len() > left {
                break;
            }
        }
        left = left.saturating_sub(points.len());
        lines.push(Line { labels, points });
    }
    Ok(lines)
}

fn dot(row: &Row<'_>) -> rusqlite::Result<Dot> {
    Ok(Dot((row.get::<_, i64>(0)? * STEP_SECS) as f64, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

/// The label values in the metric's order, if they are the ones asked for.
fn matching(json: &str, metric: &Metric, question: &Question) -> Option<Vec<String>> {
    let labels: std::collections::BTreeMap<String, String> = serde_json::from_str(json).ok()?;
    let fits = question.labels.iter().all(|(name, value)| labels.get(name) == Some(value));
    fits.then(|| metric.labels.iter().map(|name| labels.get(*name).cloned().unwrap_or_default()).collect())
}

/// Adds a minute to the points of `step_secs` each.
fn gather(points: &mut Vec<Dot>, dot: Dot, step_secs: u64) {
    let step = step_secs.max(1) as f64;
    let begin = (dot.0 / step).floor() * step;
    match points.last_mut().filter(|last| last.0.total_cmp(&begin).is_eq()) {
        Some(last) => {
            let count = last.4.saturating_add(dot.4);
            last.1 += (dot.1 - last.1) * f64::from(dot.4) / f64::from(count.max(1));
            (last.2, last.3, last.4) = (last.2.min(dot.2), last.3.max(dot.3), count);
        }
        None => points.push(Dot(begin, dot.1, dot.2, dot.3, dot.4)),
    }
}

/// How it stands on this host, for `doctor`.
pub fn examine(config: &Config) -> Option<Feature> {
    const NAME: &str = "sqlite";
    let storage = &config.storage;
    if !storage.sqlite_enabled {
        return Some(Feature::off(NAME, "storage.sqlite_enabled is false"));
    }
    let path = &storage.sqlite_path;
    let days = storage.sqlite_retention_days;
    let kept = format!("one-minute averages for {days} days in {}", path.display());
    if !crate::host::state::is_there(path) {
        return Some(Feature::on(NAME, format!("{kept}; not written yet")));
    }
    let look = |connection: Connection| -> Result<bool, Bad> {
        let (_, is_empty) = schema::form(&connection)?;
        if !is_empty {
            schema::check(&connection)?;
        }
        Ok(is_empty)
    };
    let looked = open_to_read(path).and_then(|it| look(it).map_err(|bad| Trouble::unusable(path, &bad)));
    Some(match looked {
        Ok(false) => Feature::on(NAME, kept),
        Ok(true) => Feature::on(NAME, format!("{kept}; not written yet")),
        Err(Trouble { damaged: true, why }) => {
            Feature::degraded(NAME, why, "the agent moves it aside and begins anew when it next writes")
        }
        Err(trouble) => Feature::degraded(NAME, trouble.why, "see to storage.sqlite_path and its directory"),
    })
}

#[cfg(test)]
mod tests;
