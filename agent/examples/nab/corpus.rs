//! The files of the corpus.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::series::Series;

type Windows = BTreeMap<String, Vec<(String, String)>>;

/// All series that have a line in `windows.json`.
pub(crate) fn read(root: &Path) -> Result<Vec<Series>, Box<dyn Error>> {
    let windows: Windows = serde_json::from_str(&fs::read_to_string(root.join("windows.json"))?)?;
    windows.iter().map(|(name, spans)| one(root, name, spans)).collect()
}

fn one(root: &Path, name: &str, spans: &[(String, String)]) -> Result<Series, Box<dyn Error>> {
    let text = fs::read_to_string(root.join("data").join(name))?;
    let mut rows = Vec::new();
    for line in text.lines().skip(1) {
        let (at, value) = line.split_once(',').ok_or_else(|| format!("{name}: {line}: no value"))?;
        rows.push((when(at)?, value.trim().parse()?));
    }
    if rows.len() < 2 {
        return Err(format!("{name} has no rows").into());
    }
    let mut windows = Vec::new();
    for (from, to) in spans {
        let (from, to) = (when(from)?, when(to)?);
        let first = rows.partition_point(|row: &(i64, f64)| row.0 < from);
        windows.push((first, rows.partition_point(|row| row.0 <= to).saturating_sub(1)));
    }
    Ok(Series { name: name.to_owned(), rows, windows })
}

/// Seconds since 1970; fractions are left out.
fn when(text: &str) -> Result<i64, jiff::Error> {
    Ok(TimeZone::UTC.to_timestamp(text.trim().parse::<DateTime>()?)?.as_second())
}

/// The rows that were told, for the corpus' own scorer.
pub(crate) fn write(dir: &Path, series: &Series, told: &[usize]) -> Result<(), Box<dyn Error>> {
    let file = dir.join(&series.name);
    fs::create_dir_all(file.parent().unwrap_or(dir))?;
    let mut lines = String::new();
    for row in told {
        let at = Timestamp::from_second(series.rows[*row].0)?;
        lines += &at.strftime("%Y-%m-%d %H:%M:%S\n").to_string();
    }
    Ok(fs::write(file, lines)?)
}
