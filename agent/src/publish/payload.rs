//! From newest values and inventory to messages. Pure.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::message::{Message, Round, What};
use crate::inventory::Inventory;
use crate::sample::newest::Row;
use crate::text;

/// Level of zstd: 3 is the library's own default; more costs time and gains little on bodies of some kilobytes.
const LEVEL: i32 = 3;
/// Longest label value, characters; the rest is cut.
const MAX_LABEL: usize = 256;

/// Who speaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speaker {
    /// Name of the host.
    pub hostname: String,
    /// The agent's own id; two hosts of one name differ in it.
    pub agent_id: String,
    /// `agent.labels`.
    pub labels: BTreeMap<String, String>,
    /// Most metrics in one message.
    pub batch_size: usize,
    /// Whether bodies are compressed.
    pub compression: bool,
}

#[derive(Serialize)]
struct Metrics<'a> {
    hostname: &'a str,
    agent_id: &'a str,
    timestamp: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(rename = "metrics")]
    all: Vec<Metric<'a>>,
}

#[derive(Serialize)]
struct Metric<'a> {
    name: &'static str,
    value: Value,
    labels: Labels<'a>,
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    inventory: &'a Inventory,
    agent_id: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
}

/// A whole number is written without its `.0`: most values are whole.
struct Value(f64);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Beyond this not every whole number is a float's.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() < EXACT {
            to.serialize_i64(self.0 as i64)
        } else {
            to.serialize_f64(self.0)
        }
    }
}

impl<'a> Metric<'a> {
    fn of(row: &'a Row) -> Self {
        Self { name: row.metric.name, value: Value(row.value), labels: Labels(row) }
    }
}

struct Labels<'a>(&'a Row);

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let names = self.0.metric.labels;
        let mut map = to.serialize_map(Some(names.len()))?;
        for (name, value) in names.iter().zip(self.0.labels.iter()) {
            map.serialize_entry(name, &text::clean(value, MAX_LABEL))?;
        }
        map.end()
    }
}

impl Speaker {
    /// The newest values as messages of at most `batch_size` metrics each; none of what is no number. `id` begins the
    /// id of each.
    pub fn metrics(&self, rows: &[&Row], timestamp: &str, id: &str) -> Option<Round> {
        let finite: Vec<&&Row> = rows.iter().filter(|row| row.value.is_finite()).collect();
        let batches = finite.chunks(self.batch_size.max(1)).enumerate();
        let messages = batches.filter_map(|(n, rows)| {
            let body = Metrics {
                hostname: &self.hostname,
                agent_id: &self.agent_id,
                timestamp,
                labels: &self.labels,
                all: rows.iter().map(|row| Metric::of(row)).collect(),
            };
            self.message(&body, format!("{id}-{n}"))
        });
        let messages: Vec<Message> = messages.collect();
        (!messages.is_empty()).then_some(Round { what: What::Metrics, messages })
    }

    /// The inventory as a message.
    pub fn inventory(&self, inventory: &Inventory, id: &str) -> Option<Round> {
        let body = Told { inventory, agent_id: &self.agent_id, labels: &self.labels };
        let message = self.message(&body, format!("{id}-i"))?;
        Some(Round { what: What::Inventory, messages: vec![message] })
    }

    fn message(&self, body: &impl Serialize, id: String) -> Option<Message> {
        // These types are always JSON.
        let json = serde_json::to_vec(body).ok()?;
        Some(pack(json, self.compression, id))
    }
}

/// A message of a JSON body; plain where it cannot be compressed.
pub(super) fn pack(json: Vec<u8>, compress: bool, id: String) -> Message {
    match compress.then(|| zstd::bulk::compress(&json, LEVEL)) {
        Some(Ok(body)) => Message { id, zstd: true, body },
        _ => Message { id, zstd: false, body: json },
    }
}

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
