//! What a message tells of its alert, the same for every channel that talks to people. Pure; all texts are harmless,
//! but without the markup of any service.

use crate::alert::{Alert, Severity, Status};
use crate::text;
use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Map, Value};

/// A name and what is known under it.
pub type Fact = (String, String);

/// Sources told of an alert.
const MAX_SOURCES: usize = 8;
/// Characters of a message, at most; what a channel takes is less.
const MAX_MESSAGE: usize = 1 << 20;
/// Characters of a page's address.
const MAX_URL: usize = 500;
/// Facts that tell most, in this order; the others follow by name.
const FIRST: &[&str] = &[
    "victim",
    "victim cmdline",
    "process",
    "task cmdline",
    "device",
    "mount",
    "unit",
    "container",
    "pod uid",
    "victims",
    "cgroups",
    "reason",
    "cgroup",
    "oom memcg",
    "limit",
    "usage",
    "swap used",
    "mem available",
    "wait channel",
    "kernel stack",
    "last minutes",
    "largest processes",
    "top processes",
    "top",
    "unknown",
];
/// Units at the end of a key, which [`show_number`] knows.
const UNITS: &[&str] = &["bytes", "kb", "secs", "seconds", "ms", "percent"];
/// Keys of an object that name it.
const NAMES_OF: &[&str] = &["name", "comm"];
/// Items shown of a list or an object.
const MAX_ITEMS: usize = 5;
/// Characters shown of a value.
const MAX_VALUE: usize = 200;
/// Facts that the sentence or the first line tells already, and those for machines: the channels that
/// carry the whole object have them.
const ELSEWHERE: &[&str] = &[
    "held_back",
    "late_secs",
    "incident",
    "incidents",
    "members",
    "alerts",
    "alerts_left_out",
    "only_message",
    "grouped",
    "kernel_time_ns",
    "level",
    "held_secs",
    "latency_ms",
    "line",
    "victim_pid",
    "victim_comm",
    "victim_uid",
    "victim_rss_kb",
    "victim_cgroup",
    "anon_rss_kb",
    "file_rss_kb",
    "shmem_rss_kb",
    "total_vm_kb",
    "pgtables_kb",
    "oom_score_adj",
    "trigger_pid",
    "trigger_comm",
    "trigger_cgroup",
    "constraint",
    "gfp_mask",
    "order",
    "victim_tgid",
    "trigger_tid",
    "trigger_uid",
    "trigger_cmdline",
    "failcnt",
    "figures_age_secs",
    "memory_events",
    "killed_group",
    "victims_count",
    "killer",
    "killer_pid",
    "signal",
    "slice",
    "oom_unit",
    "oom_slice",
    "oom_pod_uid",
    "oom_container_id",
    "oom_container_runtime",
    "mem_total_kb",
    "swap_total_kb",
    "memory_pressure_some_avg10_percent",
    "memory_pressure_full_avg10_percent",
    "container_runtime",
    "container_id",
    "task_pid",
    "task_comm",
    "blocked_secs",
    "issuer_pid",
    "issuer_comm",
    "kills",
    "error",
];

/// How bad it is, in one word.
pub fn badge(alert: &Alert) -> &'static str {
    match (alert.status, alert.severity) {
        (Status::Resolved, _) => "RESOLVED",
        (_, Severity::Info) => "INFO",
        (_, Severity::Warn) => "WARN",
        (_, Severity::Critical) => "CRITICAL",
        (_, Severity::Emergency) => "EMERGENCY",
    }
}

/// The same as a colour, 24 bits red, green, blue.
pub fn colour(alert: &Alert) -> u32 {
    match (alert.status, alert.severity) {
        (Status::Resolved, _) => 0x002e_a043,
        (_, Severity::Info) => 0x003b_82f6,
        (_, Severity::Warn) => 0x00f5_a623,
        (_, Severity::Critical) => 0x00d9_2d20,
        (_, Severity::Emergency) => 0x008b_1fa9,
    }
}

/// And as a sign, for services without colours.
pub fn sign(alert: &Alert) -> &'static str {
    match (alert.status, alert.severity) {
        (Status::Resolved, _) => "🟢",
        (_, Severity::Info) => "🔵",
        (_, Severity::Warn) => "🟡",
        (_, Severity::Critical) => "🔴",
        (_, Severity::Emergency) => "🟣",
    }
}

/// `CRITICAL web-1`, `WARN web-1 (update)`.
pub fn headline(alert: &Alert) -> String {
    let note = if alert.status == Status::Updated { " (update)" } else { "" };
    format!("{} {}{note}", badge(alert), text::clean(&alert.hostname, 64))
}

/// The sentence.
pub fn message(alert: &Alert) -> String {
    text::clean(&alert.message, MAX_MESSAGE)
}

/// When it was made, with its zone, as a person reads it.
pub fn time(alert: &Alert) -> String {
    text::clean(&alert.timestamp, 40).replacen('T', " ", 1)
}

/// The same for machines; `None` if it is no time.
pub fn instant(alert: &Alert) -> Option<Timestamp> {
    alert.timestamp.parse().ok()
}

/// Whether it is worth calling people by name: it began or became worse, and it is bad.
pub fn calls(alert: &Alert) -> bool {
    // An update of a reading is a new level; that of an event only fills in what was unknown.
    let news = match alert.status {
        Status::Firing => true,
        Status::Updated => alert.threshold.is_some(),
        Status::Resolved => alert.is_only_message(),
    };
    news && alert.severity >= Severity::Critical
}

/// The reading that led to it, unless the message is about an event.
pub fn measured(alert: &Alert) -> Option<String> {
    let lasted = (alert.duration_secs > 0).then(|| format!(", for {}", text::span(alert.duration_secs)));
    let limit = alert.threshold.map(|t| format!(" (limit {})", text::number(t)));
    if limit.is_none() && lasted.is_none() {
        return None;
    }
    let value = text::number(alert.value);
    let metric = text::clean(&alert.metric, 64);
    Some(format!("{metric} = {value}{}{}", limit.unwrap_or_default(), lasted.unwrap_or_default()))
}

/// Facts of the context, then labels that the context does not repeat; those that tell most come first.
pub fn facts(alert: &Alert) -> Vec<Fact> {
    let of_context = alert.context.iter().filter(|(name, _)| !ELSEWHERE.contains(&name.as_str()));
    let mut known: Vec<Fact> = of_context.map(|(name, value)| (title(name), show(name, value))).collect();
    let own_labels = alert.labels.iter().filter(|(name, _)| !alert.context.contains_key(*name));
    for (name, value) in
        own_labels.filter(|(_, value)| value.len() < 3 || !alert.message.contains(value.as_str()))
    {
        known.push((title(name), text::clean(value, MAX_VALUE)));
    }
    known.retain(|(name, value)| !value.is_empty() && !name.trim().is_empty());
    known.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    known
}

/// Who saw it.
pub fn sources(alert: &Alert) -> String {
    let sources: Vec<_> = alert.source.iter().take(MAX_SOURCES).map(|s| text::clean(s, 20)).collect();
    sources.join(", ")
}

/// The page to read, if it is the address of one: a service refuses a message with a link that is none.
pub fn runbook(alert: &Alert) -> Option<String> {
    let url = Url::parse(alert.runbook_url.as_deref()?).ok()?;
    let good = matches!(url.scheme(), "http" | "https") && url.as_str().chars().count() <= MAX_URL;
    good.then(|| url.to_string()).filter(|url| !url.contains(['<', '>', '|', ' ', '(', ')', '"']))
}

/// Sentences of the alerts that a summary carries.
pub fn members(alert: &Alert) -> Vec<String> {
    let alerts = alert.context.get("alerts").and_then(Value::as_array);
    let sentence = |alert: &Value| Some(text::clean(alert.get("message")?.as_str()?, MAX_VALUE));
    alerts.into_iter().flatten().filter_map(sentence).collect()
}

/// A key as words; the unit at its end shows in the value.
fn title(key: &str) -> String {
    let name = key.rsplit_once('_').filter(|(_, unit)| UNITS.contains(unit)).map_or(key, |(name, _)| name);
    text::clean(name, 40).replace('_', " ")
}

/// A value of the context as a person reads it.
fn show(key: &str, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text::clean(text, MAX_VALUE),
        Value::Number(number) => show_number(key, number.as_f64().unwrap_or_default()),
        Value::Array(items) => {
            let gap = if items.iter().any(Value::is_object) { "; " } else { ", " };
            let more = if items.len() > MAX_ITEMS { format!("{gap}…") } else { String::new() };
            let items: Vec<_> = items.iter().take(MAX_ITEMS).map(|item| show(key, item)).collect();
            format!("{}{more}", items.join(gap))
        }
        Value::Object(fields) => show_object(fields),
    }
}

/// `java, pid 1234, rss 3.2 GiB`: the name needs no title.
fn show_object(fields: &Map<String, Value>) -> String {
    let name = NAMES_OF.iter().find_map(|key| fields.get_key_value(*key));
    let others = fields.iter().filter(|(key, _)| name.is_none_or(|(own, _)| own != *key));
    let parts = others.take(MAX_ITEMS).map(|(key, value)| format!("{} {}", title(key), show(key, value)));
    name.map(|(key, value)| show(key, value)).into_iter().chain(parts).collect::<Vec<_>>().join(", ")
}

fn show_number(name: &str, value: f64) -> String {
    match name.rsplit('_').next() {
        Some("bytes") => text::kib((value / 1024.0) as u64),
        Some("kb") => text::kib(value as u64),
        Some("secs" | "seconds") => text::span(value as u64),
        Some("ms") => format!("{} ms", text::number(value)),
        Some("percent") => format!("{} %", text::number(value)),
        _ => text::number(value),
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
