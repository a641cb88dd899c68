//! Makes the lines of a recording. Pure: what comes in is appended to a buffer.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use serde_json::{Value, json, to_string};

use super::{BUSIEST, Header, LARGEST};
use crate::event::Event;
use crate::sample::{Batch, DiskWindow, GroupTable, ProcRow, ProcTable, SeriesDef};
use crate::time::Now;

/// State letter of uninterruptible sleep.
const WAITS: u8 = b'D';

/// The first line.
pub fn header(header: &Header, out: &mut String) {
    line(&json!({ "recording": header }), out);
}

/// The last one.
pub fn end(why: &str, out: &mut String) {
    line(&json!({ "end": why }), out);
}

/// What happened, heard at `now`.
pub fn event(now: Now, event: &Event, out: &mut String) {
    #[derive(Serialize)]
    struct Heard<'a> {
        at: (u64, i64),
        event: &'a Event,
    }
    line(&Heard { at: (now.mono_ns, now.wall_ns), event }, out);
}

/// One record of the kernel log, read at `now`.
pub fn log(now: Now, record: &[u8], out: &mut String) {
    line(&json!({ "at": [now.mono_ns, now.wall_ns], "log": String::from_utf8_lossy(record) }), out);
}

/// One pass of a collector. Command lines of processes are left out: secrets may be in them.
pub fn pass(batch: &Batch, out: &mut String) {
    let Now { mono_ns, wall_ns } = batch.at;
    // Writing to a string cannot fail.
    let _ = write!(out, "{{\"at\":[{mono_ns},{wall_ns}],\"pass\":{}", text(batch.collector));
    list("new", &batch.defs, out, |def, out| *out += &new(def));
    list("values", &batch.samples, out, |(id, number), out| {
        let _ = write!(out, "[{},", id.0);
        value(*number, out);
        out.push(']');
    });
    if let Some(table) = &batch.processes {
        let rows: Vec<&ProcRow> = kept(table);
        let _ = write!(out, ",\"total\":{}", table.total);
        list("processes", &rows, out, |row, out| *out += &process(row).to_string());
        if rows.is_empty() {
            *out += ",\"processes\":[]";
        }
    }
    rest(&batch.disks, batch.groups.as_ref(), out);
    *out += "}\n";
}

fn rest(disks: &[DiskWindow], groups: Option<&GroupTable>, out: &mut String) {
    if !disks.is_empty() {
        *out += ",\"disks\":";
        *out += &to_string(disks).unwrap_or_else(|_| "[]".to_owned());
    }
    if let Some(groups) = groups {
        *out += ",\"groups\":";
        *out += &to_string(groups).unwrap_or_else(|_| "null".to_owned());
    }
}

fn list<T>(name: &str, all: &[T], out: &mut String, mut one: impl FnMut(&T, &mut String)) {
    if all.is_empty() {
        return;
    }
    let _ = write!(out, ",\"{name}\":[");
    for (nth, item) in all.iter().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        one(item, out);
    }
    out.push(']');
}

fn new(def: &SeriesDef) -> String {
    let labels: BTreeMap<&str, &str> =
        def.metric.labels.iter().copied().zip(def.labels.iter().map(|label| &**label)).collect();
    json!([def.id.0, def.metric.name, def.metric.kind.name(), labels]).to_string()
}

/// Counters are whole numbers mostly; the shortest text that reads back as the same number.
#[expect(clippy::float_cmp, reason = "whether it is exactly that number")]
fn value(number: f64, out: &mut String) {
    let whole = number as i64;
    let _ = if number.abs() < 1e15 && whole as f64 == number {
        write!(out, "{whole}")
    } else if number.is_finite() {
        write!(out, "{number:e}")
    } else {
        write!(out, "0")
    };
}

fn kept(table: &ProcTable) -> Vec<&ProcRow> {
    let (largest, others) = table.rows.split_at(table.rows.len().min(LARGEST));
    let mut others: Vec<&ProcRow> =
        others.iter().filter(|row| row.cpu_percent > 0.0 || row.state == WAITS).collect();
    others.sort_by(|a, b| b.cpu_percent.total_cmp(&a.cpu_percent));
    let waiting = others.iter().skip(BUSIEST).filter(|row| row.state == WAITS).take(BUSIEST);
    largest.iter().chain(others.iter().take(BUSIEST).copied()).chain(waiting.copied()).collect()
}

fn process(row: &ProcRow) -> Value {
    let (comm, state) = (&*row.comm, char::from(row.state).to_string());
    let cpu = (f64::from(row.cpu_percent) * 100.0).round() / 100.0;
    let mut all = vec![json!(row.pid), json!(row.start_ticks), json!(comm), json!(row.rss_bytes), json!(cpu)];
    all.push(state.into());
    all.extend(row.cgroup.as_deref().map(Value::from));
    Value::Array(all)
}

fn text(text: &str) -> String {
    Value::from(text).to_string()
}

/// What cannot be a line of JSON (nothing that is known) is left out.
fn line(object: &impl Serialize, out: &mut String) {
    if let Ok(text) = to_string(object) {
        *out += &text;
        out.push('\n');
    }
}
