//! The tables, and how an older file becomes a newer one.

use rusqlite::Connection;

/// What tells the agent's files from those of other programs: `SYOP`.
const APPLICATION: i64 = 0x5359_4f50;

/// Steps to the newest form; a file's `user_version` says how many it has taken. Never changed, only added to.
const STEPS: &[&str] = &["
    CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        metric TEXT NOT NULL,
        labels TEXT NOT NULL,
        unit TEXT NOT NULL,
        UNIQUE (metric, labels)
    ) STRICT;
    CREATE TABLE minute (
        series INTEGER NOT NULL,
        at INTEGER NOT NULL,
        mean REAL NOT NULL,
        min REAL,
        max REAL,
        count INTEGER NOT NULL,
        PRIMARY KEY (series, at)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE state (written_until INTEGER NOT NULL) STRICT;
    INSERT INTO state VALUES (0);
    CREATE VIEW minutes AS
        SELECT metric, labels, unit, at * 60 AS time, mean,
               coalesce(min, mean) AS min, coalesce(max, mean) AS max, count
        FROM minute JOIN series ON series.id = minute.series;
"];

/// The newest form.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// Why a file is not used.
#[derive(Debug)]
pub(super) enum Bad {
    /// SQLite says so.
    Failed(rusqlite::Error),
    /// Of another program.
    Foreign,
    /// Of a newer agent, with this form.
    Newer(i64),
}

impl From<rusqlite::Error> for Bad {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

/// The form of a file that this agent may write, and whether there is nothing in it yet.
pub(super) fn form(connection: &Connection) -> Result<(i64, bool), Bad> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (version, application) = (number("user_version")?, number("application_id")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION && (tables > 0 || version != 0 || application != 0) {
        return Err(Bad::Foreign);
    }
    if version > VERSION { Err(Bad::Newer(version)) } else { Ok((version, tables == 0)) }
}

/// Brings a file to the newest form.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), Bad> {
    // Its own wish for a page cache of 2 MB is more than the writer needs.
    connection.execute_batch("PRAGMA cache_size = -512; PRAGMA temp_store = MEMORY;")?;
    let (version, is_empty) = form(connection)?;
    if is_empty {
        // Both have to stand before the first table.
        connection.execute_batch("PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;")?;
    }
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 8388608;",
    )?;
    migrate(connection, version, STEPS)?;
    check(connection)?;
    Ok(())
}

/// Takes the steps after that many, each whole or not at all.
pub(super) fn migrate(connection: &mut Connection, version: i64, steps: &[&str]) -> rusqlite::Result<()> {
    for (nth, step) in steps.iter().enumerate().skip(usize::try_from(version).unwrap_or(0)) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", nth as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Whether the tables can be read: a look at their first rows, not at all of a gigabyte.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<()> {
    for table in ["series", "minute", "state"] {
        connection
            .query_row(&format!("SELECT count(*) FROM (SELECT * FROM {table} LIMIT 1)"), [], |_| Ok(()))?;
    }
    Ok(())
}
