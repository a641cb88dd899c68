//! The object of the HTTP collector API: the newest values, as they are pushed and as `[http]` answers. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use serde_json::{Map, Number, Value, json};

use super::container::Container;
use crate::sample::newest::{Newest, Row};
use crate::time::SECOND;

/// What is in the object and in no series.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Name of this agent for the collector.
    pub agent_id: String,
    /// Host name.
    pub hostname: String,
    /// Distribution, as `ID` in `/etc/os-release`.
    pub platform: String,
    /// The agent's own labels.
    pub labels: BTreeMap<String, String>,
}

/// Writes the object `{timestamp, data:{…}}` and a line's end into `out`, whose buffer is used again.
pub fn render(newest: &Newest, about: &About, out: &mut String) {
    out.clear();
    let data = Value::Object(data(&Values::of(newest), about, timestamp(newest)));
    // Writing to a string does not fail.
    let _ = writeln!(out, "{{\"timestamp\":{},\"data\":{data}}}", timestamp(newest));
}

/// The same on one line without its end.
pub fn enveloped(newest: &Newest, about: &About) -> String {
    let mut out = String::new();
    render(newest, about, &mut out);
    out.pop();
    out
}

/// The same without its envelope, where what is in `data` stands beside the timestamp; one line without its end.
pub fn flat(newest: &Newest, about: &About) -> String {
    let mut object = data(&Values::of(newest), about, timestamp(newest));
    object.insert("timestamp".into(), timestamp(newest).into());
    Value::Object(object).to_string()
}

fn timestamp(newest: &Newest) -> i64 {
    newest.at().wall_ns.div_euclid(SECOND as i64)
}

/// Rows by metric.
struct Values<'a>(HashMap<&'static str, Vec<&'a Row>>);

impl<'a> Values<'a> {
    fn of(newest: &'a Newest) -> Self {
        let mut all: HashMap<&'static str, Vec<&'a Row>> = HashMap::new();
        for row in newest.rows() {
            all.entry(row.metric.name).or_default().push(row);
        }
        Self(all)
    }

    fn rows(&self, name: &str) -> &[&'a Row] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn one(&self, name: &str) -> Option<f64> {
        self.rows(name).first().map(|row| row.value)
    }

    /// Of the series whose label has this value.
    fn of_label(&self, name: &str, label: &str, value: &str) -> Option<f64> {
        self.rows(name).iter().find(|row| text(row, label) == Some(value)).map(|row| row.value)
    }

    fn sum(&self, name: &str) -> f64 {
        self.rows(name).iter().map(|row| row.value).sum()
    }
}

fn text<'a>(row: &'a Row, label: &str) -> Option<&'a str> {
    let at = row.metric.labels.iter().position(|name| *name == label)?;
    row.labels.get(at).map(|value| &**value)
}

fn data(values: &Values<'_>, about: &About, timestamp: i64) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("agent_id".into(), about.agent_id.as_str().into());
    if !about.labels.is_empty() {
        out.insert("labels".into(), json!(about.labels));
    }
    let parts = [
        ("cpu", cpu(values)),
        ("memory", memory(values)),
        ("disks", disks(values)),
        ("net", net(values)),
        ("ports", ports(values)),
        ("host", Some(host(values, about))),
        ("docker", docker(values, timestamp)),
        ("redis", redis(values)),
    ];
    out.extend(parts.into_iter().filter_map(|(name, part)| Some((name.to_owned(), part?))));
    out
}

/// A number with two decimals.
fn real(value: f64) -> Value {
    ((value * 100.0).round() / 100.0).into()
}

/// Bytes and counts are integers.
fn whole(value: f64) -> Value {
    Value::Number(Number::from(value.max(0.0) as u64))
}

/// An object of those that are there; none of nothing.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Option<Value> {
    let there: Map<String, Value> =
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    (!there.is_empty()).then_some(Value::Object(there))
}

fn cpu(values: &Values<'_>) -> Option<Value> {
    let mode = |mode: &str| values.of_label("cpu_mode_seconds_total", "mode", mode).map(real);
    let one = |name: &str| values.one(name).map(real);
    object([
        ("time_user_seconds", mode("user")),
        ("time_system_seconds", mode("system")),
        ("time_idle_seconds", mode("idle")),
        ("usage_percent", one("cpu_usage_percent")),
        ("cores", values.one("cpu_online_count").map(whole)),
        ("load_1min", one("load_1min")),
        ("load_5min", one("load_5min")),
        ("load_15min", one("load_15min")),
    ])
}

/// `free` is what is available.
fn memory(values: &Values<'_>) -> Option<Value> {
    let (total, free) = (values.one("memory_total_bytes")?, values.one("memory_available_bytes")?);
    let swap = |name: &str| values.one(name).map(whole);
    object([
        ("total", Some(whole(total))),
        ("used", Some(whole(total - free))),
        ("free", Some(whole(free))),
        ("used_percent", values.one("memory_used_percent").map(real)),
        ("swap_total", swap("swap_total_bytes")),
        ("swap_used", swap("swap_used_bytes")),
        ("swap_used_percent", Some(real(values.one("swap_used_percent").unwrap_or_default()))),
    ])
}

/// `used_perc` is of what users can have.
fn disks(values: &Values<'_>) -> Option<Value> {
    let disk = |row: &&Row| {
        let mount = text(row, "mount")?;
        let of = |name: &str| values.of_label(name, "mount", mount);
        let (used, available) = (of("disk_used_bytes")?, of("disk_available_bytes")?);
        let share = if used + available > 0.0 { 100.0 * used / (used + available) } else { 0.0 };
        Some(json!({
            "mount_point": mount, "total": whole(row.value), "used": whole(used), "used_perc": real(share),
        }))
    };
    let disks = values.rows("disk_total_bytes");
    (!disks.is_empty()).then(|| disks.iter().filter_map(disk).collect())
}

/// The sum over all interfaces that are not left out.
fn net(values: &Values<'_>) -> Option<Value> {
    let sum = |name: &str| whole(values.sum(name));
    (!values.rows("network_receive_bytes_total").is_empty()).then(|| {
        json!({
            "bytes_sent": sum("network_transmit_bytes_total"),
            "bytes_recv": sum("network_receive_bytes_total"),
            "packets_sent": sum("network_transmit_packets_total"),
            "packets_recv": sum("network_receive_packets_total"),
        })
    })
}

/// Distinct ports, as strings.
fn ports(values: &Values<'_>) -> Option<Value> {
    values.one("listening_ports_count")?;
    let ports = values.rows("listening_port").iter().filter_map(|row| text(row, "port"));
    let ports: BTreeSet<(usize, &str)> = ports.map(|port| (port.len(), port)).collect();
    Some(ports.into_iter().map(|(_, port)| json!({ "port": port })).collect())
}

fn host(values: &Values<'_>, about: &About) -> Value {
    let uptime = whole(values.one("host_uptime_seconds").unwrap_or_default());
    json!({ "hostname": about.hostname, "uptime": uptime, "os": "linux", "platform": about.platform })
}

fn docker(values: &Values<'_>, timestamp: i64) -> Option<Value> {
    values.rows("docker_containers_count").first()?;
    // One that changed its state has two rows for a while.
    let mut newest: BTreeMap<&str, &Row> = BTreeMap::new();
    for row in values.rows("docker_container_info") {
        let kept = newest.entry(text(row, "name").unwrap_or_default()).or_insert(row);
        if row.at.mono_ns > kept.at.mono_ns {
            *kept = row;
        }
    }
    let container = |(name, row): (&str, &Row)| {
        let of = |metric| values.of_label(metric, "name", name);
        let state = Container {
            state: text(row, "state").unwrap_or_default(),
            unhealthy: of("docker_container_unhealthy").map(|value| value > 0.0),
            started: of("docker_container_start_time_seconds"),
            ended: of("docker_container_end_time_seconds"),
            exit_code: of("docker_container_exit_code"),
        };
        let status = state.words(timestamp as f64);
        json!({ "id": text(row, "id"), "name": format!("/{name}"), "image": text(row, "image"), "state": state.state, "status": status })
    };
    Some(newest.into_iter().map(container).collect())
}

/// Values stay strings, as `INFO` has them.
fn redis(values: &Values<'_>) -> Option<Value> {
    if values.one("redis_up")? == 0.0 {
        return Some(json!({ "status": "unreachable" }));
    }
    let string = |name: &str| values.one(name).map(|value| whole(value).to_string().into());
    object([
        ("status", Some("ok".into())),
        (
            "redis_version",
            values
                .rows("redis_info")
                .iter()
                .max_by_key(|row| row.at.mono_ns)
                .and_then(|row| text(row, "version"))
                .map(Value::from),
        ),
        ("redis_uptime_in_seconds", string("redis_uptime_seconds")),
        ("redis_connected_clients", string("redis_connected_clients_count")),
    ])
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
