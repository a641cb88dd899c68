//! What a message tells of its alert, the same for every channel that talks to people. Pure; all texts are harmless,
//! but without the markup of any service.

mod measured;

use crate::alert::{ABSENT, Alert, NO_CALL, Severity, Status};
use crate::text;
use jiff::Timestamp;
use reqwest::Url;
use serde_json::{Map, Value};

pub use measured::measured;
use measured::show_number;

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
    "command line",
    "process",
    "device",
    "mount",
    "unit",
    "container",
    "pod uid",
    "victims",
    "cgroups",
    "reason",
    "cgroup",
    "limited cgroup",
    "limit",
    "usage",
    "swap used",
    "memory available",
    "wait channel",
    "kernel stack",
    "last minutes",
    "trend",
    "what to do",
    "largest processes",
    "top processes",
    "top",
    "unknown",
];
/// Units at the end of a key, which [`show_number`] knows.
const UNITS: &[&str] = &["bytes", "kb", "secs", "seconds", "ms", "percent"];
/// Keys of an object that name it.
const NAMES_OF: &[&str] = &["name", "comm"];
/// Of a thing in a list, too long for a line.
const LONG: &str = "cmdline";
/// Items shown of a list or an object.
const MAX_ITEMS: usize = 5;
/// Characters shown of a value.
const MAX_VALUE: usize = 200;
/// Facts that are better known under another name.
const TITLES: &[(&str, &str)] = &[
    ("victim_cmdline", "command line"),
    ("task_cmdline", "command line"),
    ("oom_memcg", "limited cgroup"),
    ("mem_available_kb", "memory available"),
];
/// Labels that are for machines: the sentence tells the same in words.
const NO_FACTS: &[&str] = &["scope", "runtime"];
/// What the sentence tells already, unless it is the user's own.
const WHAT_TO_DO: &str = "what_to_do";
/// The least and the greatest of the last readings, and their picture.
const LAST_MINUTES: &str = "last_minutes";
const SPARKLINE: &str = "sparkline";
const TREND: &str = "trend";
const PER_HOUR: &str = "trend_per_hour";
/// In a summary, how many it stands for.
const GROUPED: &str = "grouped";
/// Facts that the sentence or the first line tells already, and those for machines: the channels that
/// carry the whole object have them.
const ELSEWHERE: &[&str] = &[
    LAST_MINUTES,
    SPARKLINE,
    TREND,
    PER_HOUR,
    "held_back",
    "late_secs",
    "incident",
    "incidents",
    "members",
    "alerts",
    "alerts_left_out",
    "only_message",
    ABSENT,
    "no_call",
    "closes",
    "stands",
    GROUPED,
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
    moment(&alert.timestamp)
}

/// A moment of an alert, without parts of a second.
pub fn moment(rfc3339: &str) -> String {
    let text = text::clean(rfc3339, 40).replacen('T', " ", 1);
    let Some((whole, rest)) = text.split_once('.') else { return text };
    format!("{whole}{}", rest.trim_start_matches(|c: char| c.is_ascii_digit()))
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
    news && alert.severity >= Severity::Critical && !alert.context.contains_key(NO_CALL)
}

/// Facts of the context, then labels that the context does not repeat; those that tell most come first. A list of things has
/// a line for each.
pub fn facts(alert: &Alert) -> Vec<Fact> {
    let shown = |name: &str, value: &Value| !ELSEWHERE.contains(&name) && !is_said(alert, name, value);
    let of_context = alert.context.iter().filter(|(name, value)| shown(name, value));
    let mut known: Vec<Fact> = of_context.map(|(name, value)| (title(name), show(name, value))).collect();
    known.extend(last_minutes(alert).map(|text| (title(LAST_MINUTES), text)));
    known.extend(trend(alert).map(|text| (title(TREND), text)));
    known.extend(common_hint(alert).map(|hint| (title(WHAT_TO_DO), text::clean(hint, MAX_VALUE))));
    let own_labels = alert.labels.iter().filter(|(name, _)| !alert.context.contains_key(*name));
    let own_labels = own_labels.filter(|(name, _)| !NO_FACTS.contains(&name.as_str()));
    for (name, value) in
        own_labels.filter(|(_, value)| value.len() < 3 || !alert.message.contains(value.as_str()))
    {
        known.push((title(name), text::clean(value, MAX_VALUE)));
    }
    known.retain(|(name, value)| !value.is_empty() && !name.trim().is_empty());
    known.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    known
}

/// Whether the sentence says it, or there is nothing to say.
fn is_said(alert: &Alert, name: &str, value: &Value) -> bool {
    match name {
        WHAT_TO_DO | "oom_memcg" => value.as_str().is_some_and(|said| alert.message.contains(said)),
        "swap_used_kb" => value.as_u64() == Some(0),
        _ => false,
    }
}

/// Where a reading goes; what is over goes nowhere.
fn trend(alert: &Alert) -> Option<String> {
    let words = alert.context.get(TREND).filter(|_| alert.status != Status::Resolved)?;
    let Some(words) = words.as_str() else { return Some(show(TREND, words)) };
    let way = ["rising", "falling"].into_iter().find(|way| words.starts_with(way));
    let per_hour = alert.context.get(PER_HOUR).and_then(Value::as_f64);
    Some(match way.zip(per_hour) {
        Some((way, per_hour)) => format!("{way} {} an hour", show_number(&alert.metric, per_hour.abs())),
        None => text::clean(words, MAX_VALUE),
    })
}

/// `▁▂▄▇█ 52 % to 95.9 %`
fn last_minutes(alert: &Alert) -> Option<String> {
    let picture = [SPARKLINE, LAST_MINUTES].iter().find_map(|name| alert.context.get(*name)?.as_str());
    let end = |name| alert.context.get(LAST_MINUTES)?.get(name)?.as_f64();
    let between = end("min").zip(end("max")).map(|(min, max)| {
        let [min, max] = [min, max].map(|value| show_number(&alert.metric, value));
        if min == max { format!("{min} all the time") } else { format!("{min} to {max}") }
    });
    let parts: Vec<_> = picture.map(|text| text::clean(text, MAX_VALUE)).into_iter().chain(between).collect();
    (!parts.is_empty()).then(|| parts.join("  "))
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

/// Sentences of the alerts that a summary carries, without what to do about all of them.
pub fn members(alert: &Alert) -> Vec<String> {
    let hint = common_hint(alert).map(|hint| format!(". {hint}")).unwrap_or_default();
    let sentence = |alert: &Value| {
        let message = alert.get("message")?.as_str()?;
        Some(text::clean(message.strip_suffix(&hint).unwrap_or(message), MAX_VALUE))
    };
    carried(alert).iter().filter_map(sentence).collect()
}

fn carried(alert: &Alert) -> &[Value] {
    alert.context.get("alerts").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What to do about all alerts that a summary carries, where that is the same.
fn common_hint(alert: &Alert) -> Option<&str> {
    let mut hints = carried(alert).iter().map(|alert| alert.get("context")?.get(WHAT_TO_DO)?.as_str());
    let first = hints.next()??;
    hints.all(|hint| hint == Some(first)).then_some(first)
}

/// A key as words; the unit at its end shows in the value.
fn title(key: &str) -> String {
    if let Some((_, title)) = TITLES.iter().find(|(name, _)| *name == key) {
        return (*title).to_owned();
    }
    let name = key.rsplit_once('_').filter(|(_, unit)| UNITS.contains(unit)).map_or(key, |(name, _)| name);
    text::clean(name, 40).replace('_', " ")
}

/// A value of the context as a person reads it.
fn show(key: &str, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        // Names of facts.
        Value::String(text) if key == "unknown" => title(text),
        Value::String(text) => text::clean(text, MAX_VALUE),
        Value::Number(number) => show_number(key, number.as_f64().unwrap_or_default()),
        Value::Array(items) => {
            let gap = if items.iter().any(Value::is_object) { "\n" } else { ", " };
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
    let others = fields.iter().filter(|(key, _)| **key != LONG && name.is_none_or(|(own, _)| own != *key));
    let shown =
        others.map(|(key, value)| (key, value, show(key, value))).filter(|(.., shown)| !shown.is_empty());
    let parts = shown.take(MAX_ITEMS).map(|(key, value, shown)| match value {
        Value::Array(_) | Value::Object(_) => format!("{} ({})", title(key), shown.replace('\n', "; ")),
        _ => format!("{} {shown}", title(key)),
    });
    name.map(|(key, value)| show(key, value)).into_iter().chain(parts).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
