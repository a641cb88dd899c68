//! Files of one number each, found at run time, read without being kept open: there may be hundreds of
//! them, and they are read once a minute.

use super::CollectError;
use super::kept::failure;
use crate::host::Host;
use crate::host::parse::signed;
use crate::metric::{Kind, Metric};
use crate::sample::Samples;

/// Such files, whose metrics have `N` labels.
pub struct Readings<const N: usize> {
    rows: Vec<Row<N>>,
    max: usize,
    left_out: usize,
    text: Vec<u8>,
}

struct Row<const N: usize> {
    metric: &'static Metric,
    labels: [String; N],
    path: String,
    scale: f64,
}

impl<const N: usize> Readings<N> {
    /// At most `max` files.
    pub const fn new(max: usize) -> Self {
        Self { rows: Vec::new(), max, left_out: 0, text: Vec::new() }
    }

    /// Forgets all files.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.left_out = 0;
    }

    /// One more file; the value is what it holds, times `scale`.
    pub fn push(&mut self, metric: &'static Metric, labels: [&str; N], path: String, scale: f64) {
        if self.rows.len() >= self.max {
            self.left_out += 1;
            return;
        }
        self.rows.push(Row { metric, labels: labels.map(str::to_owned), path, scale });
    }

    /// The same if there is such a file.
    pub fn push_if(&mut self, host: &dyn Host, metric: &'static Metric, labels: [&str; N], path: String) {
        if host.read(&path, &mut self.text).is_ok() {
            self.push(metric, labels, path, 1.0);
        }
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Reads all. One that has vanished is passed over; of other failures the first is told.
    pub fn put(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        let mut result = Ok(());
        for row in &self.rows {
            match row.read(host, &mut self.text) {
                Ok(value) => out.put(row.metric, &row.labels.each_ref().map(String::as_str), value),
                Err(CollectError::Absent { .. }) => {}
                Err(error) => result = result.and(Err(error)),
            }
        }
        match (result, self.left_out, self.rows.first()) {
            (Ok(()), 1.., Some(first)) => Err(CollectError::Parse {
                path: first.path.clone(),
                why: format!("there are {} files of its kind more than {}", self.left_out, self.max),
            }),
            (result, ..) => result,
        }
    }
}

impl<const N: usize> Row<N> {
    fn read(&self, host: &dyn Host, text: &mut Vec<u8>) -> Result<f64, CollectError> {
        host.read(&self.path, text).map_err(|error| failure(&self.path, &error))?;
        let bad = |why: &str| CollectError::Parse { path: self.path.clone(), why: why.to_owned() };
        let value = signed(text.trim_ascii()).ok_or_else(|| bad("it is not a number"))?;
        if value < 0 && self.metric.kind == Kind::Counter {
            return Err(bad("a count is negative"));
        }
        Ok(value as f64 * self.scale)
    }
}

/// Text of a small file, trimmed; `None` where there is none or it is empty.
pub fn word(host: &dyn Host, path: &str) -> Option<String> {
    let text = crate::host::read_text(host, path).ok()?;
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

/// The number after a prefix: 3 of `mc3`.
pub fn numbered<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix).filter(|rest| crate::host::parse::number(rest.as_bytes()).is_some())
}
