//! Alerts on the terminal, in a form for somebody who has just been woken.

use super::backoff::Backoff;
use super::channel::{Channel, Made, SendError, Sending};
use crate::alert::{Alert, Severity, Status};
use crate::config::{Config, Switch};
use crate::text;
use serde_json::{Map, Value};
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::task::spawn_blocking;

/// Its section below `[alerting]`.
pub const NAME: &str = "terminal";
/// Most lines of one alert.
pub const MAX_LINES: usize = 12;
/// Lines that the message may take of these.
const MAX_MESSAGE: usize = 3;
/// Columns before message and facts.
const INDENT: usize = 10;
/// Columns of a fact's name.
const NAMES: usize = 10;
/// Narrower terminals are written as if they had this, columns.
const MIN_WIDTH: usize = 40;
/// Width where it is not known, columns.
const WIDTH: usize = 100;
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

/// How it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Colours.
    pub colour: bool,
    /// Columns.
    pub width: usize,
    /// Write the template's text in place of the built-in form.
    pub template: bool,
}

/// What standard output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// A terminal.
    pub tty: bool,
    /// A terminal that shows colours to somebody who likes them.
    pub colour: bool,
    /// Columns.
    pub width: usize,
}

impl Screen {
    /// From whether it is a terminal, and the environment: `NO_COLOR`, `TERM`, `COLUMNS`.
    pub fn new(tty: bool, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let env = |name| env(name).filter(|value| !value.is_empty());
        let colour = tty && env("NO_COLOR").is_none() && env("TERM").is_none_or(|term| term != "dumb");
        let width = env("COLUMNS").and_then(|columns| columns.parse().ok()).unwrap_or(WIDTH);
        Self { tty, colour, width }
    }
}

/// Made as the configuration says. Colours only where somebody can see them.
#[expect(clippy::unnecessary_wraps, reason = "the form of every line of the table")]
pub(super) fn make(config: &Config, screen: Screen) -> Result<Option<Made>, String> {
    let section = &config.alerting.terminal;
    if section.enabled == Switch::Off || section.enabled == Switch::Auto && !screen.tty {
        return Ok(None);
    }
    let Screen { colour, width, .. } = screen;
    let options = Options { colour, width, template: config.alerting.templates.terminal.is_some() };
    Ok(Some(Made {
        channel: Arc::new(Terminal::new(options, || Box::new(io::stdout()))),
        backoff: Backoff::default(),
        min_severity: section.min_severity,
        severity_filter: section.severity_filter.clone(),
    }))
}

/// Where to write to.
pub type Out = fn() -> Box<dyn Write>;

/// The channel.
#[derive(Debug)]
pub struct Terminal {
    options: Options,
    out: Out,
    /// A write that has not come back: nobody reads the other end.
    stuck: Arc<AtomicBool>,
}

impl Terminal {
    /// Writes to what `out` gives.
    pub fn new(options: Options, out: Out) -> Self {
        Self { options, out, stuck: Arc::default() }
    }

    async fn write(&self, text: String) -> Result<(), SendError> {
        if self.stuck.swap(true, Ordering::AcqRel) {
            return Err(SendError::retry(
                "nobody reads the terminal's output; an earlier message still waits",
            ));
        }
        let (out, stuck) = (self.out, Arc::clone(&self.stuck));
        let write = spawn_blocking(move || {
            let mut out = out();
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            stuck.store(false, Ordering::Release);
            written
        });
        match write.await {
            Ok(Ok(())) => Ok(()),
            // EIO: the terminal was closed; it does not come back.
            Ok(Err(error)) if error.kind() == ErrorKind::BrokenPipe || error.raw_os_error() == Some(5) => {
                Err(SendError::refused(format!("the terminal is gone: {error}")))
            }
            Ok(Err(error)) => Err(SendError::retry(format!("cannot write to the terminal: {error}"))),
            Err(_) => Err(SendError::retry("cannot write to the terminal")),
        }
    }
}

impl Channel for Terminal {
    fn name(&self) -> &'static str {
        NAME
    }

    fn send<'a>(&'a self, alert: &'a Alert, text: &'a str) -> Sending<'a> {
        let Options { colour, width, template } = self.options;
        let text = if template { format!("{text}\n") } else { render(alert, colour, width) };
        Box::pin(self.write(text))
    }
}

/// The alert as it appears: a head line, then facts on indented lines, at most [`MAX_LINES`], each ended by a line
/// break.
pub fn render(alert: &Alert, colour: bool, width: usize) -> String {
    let width = width.max(MIN_WIDTH);
    let mut lines = wrap(&text::clean(&alert.message, 1000), width - INDENT, MAX_MESSAGE);
    lines.extend(measured(alert));
    let last = last_facts(alert);
    let room = (MAX_LINES - 1).saturating_sub(lines.len() + last.len());
    lines.extend(facts(alert, room));
    lines.extend(last);
    let mut out = head(alert, colour) + "\n";
    for line in lines {
        let line = format!("{:INDENT$}{}", "", cut(&line, width - INDENT));
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn head(alert: &Alert, colour: bool) -> String {
    let (badge, paint) = badge(alert);
    let badge = if colour { format!("\x1b[{paint}m {badge} \x1b[0m") } else { badge.to_owned() };
    let time = text::clean(&alert.timestamp, 40).replacen('T', " ", 1);
    let host = text::clean(&alert.hostname, 64);
    let note = if alert.status == Status::Updated { "  (update)" } else { "" };
    format!("{time}  {badge}  {host}{note}")
}

fn badge(alert: &Alert) -> (&'static str, &'static str) {
    match (alert.status, alert.severity) {
        (Status::Resolved, _) => ("RESOLVED", "30;42"),
        (_, Severity::Info) => ("INFO", "30;46"),
        (_, Severity::Warn) => ("WARN", "30;43"),
        (_, Severity::Critical) => ("CRITICAL", "97;41"),
        (_, Severity::Emergency) => ("EMERGENCY", "1;97;45"),
    }
}

/// The reading that led to it, unless the message is about an event.
fn measured(alert: &Alert) -> Option<String> {
    let lasted = (alert.duration_secs > 0).then(|| format!(", for {}", text::span(alert.duration_secs)));
    let limit = alert.threshold.map(|t| format!(" (limit {})", text::number(t)));
    if limit.is_none() && lasted.is_none() {
        return None;
    }
    let value = text::number(alert.value);
    let metric = text::clean(&alert.metric, 64);
    Some(format!("{metric} = {value}{}{}", limit.unwrap_or_default(), lasted.unwrap_or_default()))
}

/// Facts of the context, then labels that the context does not repeat, as many as there is room for.
fn facts(alert: &Alert, room: usize) -> Vec<String> {
    let of_context = alert.context.iter().filter(|(name, _)| !ELSEWHERE.contains(&name.as_str()));
    let mut known: Vec<(String, String)> =
        of_context.map(|(name, value)| (title(name), show(name, value))).collect();
    let own_labels = alert.labels.iter().filter(|(name, _)| !alert.context.contains_key(*name));
    for (name, value) in
        own_labels.filter(|(_, value)| value.len() < 3 || !alert.message.contains(value.as_str()))
    {
        known.push((title(name), text::clean(value, MAX_VALUE)));
    }
    known.retain(|(_, value)| !value.is_empty());
    known.sort_by_key(|(name, _)| FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()));
    let shown = if known.len() > room { room.saturating_sub(1) } else { known.len() };
    let mut lines: Vec<_> = known.iter().take(shown).map(|(name, value)| fact(name, value)).collect();
    if known.len() > shown && room > 0 {
        lines.push(format!("… and {} more facts", known.len() - shown));
    }
    lines
}

fn last_facts(alert: &Alert) -> Vec<String> {
    let sources: Vec<_> = alert.source.iter().take(8).map(|s| text::clean(s, 20)).collect();
    let seen = (!sources.is_empty()).then(|| fact("seen by", &sources.join(", ")));
    let runbook = alert.runbook_url.as_ref().map(|url| fact("runbook", &text::clean(url, MAX_VALUE)));
    seen.into_iter().chain(runbook).collect()
}

fn fact(name: &str, value: &str) -> String {
    format!("{name:NAMES$}  {value}")
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

/// Breaks at spaces into at most `lines` lines; the last one may be cut.
fn wrap(text: &str, width: usize, lines: usize) -> Vec<String> {
    let mut out = vec![String::new()];
    for word in text.split_whitespace() {
        let used = out.last().map_or(0, |line| line.chars().count());
        if used > 0 && used + 1 + word.chars().count() > width && out.len() < lines {
            out.push(String::new());
        }
        if let Some(line) = out.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    out
}

fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width - 1).chain(['…']).collect()
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
