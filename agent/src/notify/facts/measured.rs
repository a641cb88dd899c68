//! The reading that an alert is about, as a person reads it.

use super::GROUPED;
use crate::alert::{Alert, Status};
use crate::text;

/// The reading that led to it, unless the message is about an event, or about several alerts.
pub fn measured(alert: &Alert) -> Option<String> {
    if alert.context.contains_key(GROUPED) {
        return None;
    }
    if alert.reading().is_none() {
        return Some(absent(alert));
    }
    let lasts = alert.duration_secs > 0 && alert.status != Status::Resolved;
    let lasted = lasts.then(|| format!(", for {}", text::span(alert.duration_secs)));
    let limit = alert.threshold.map(|t| format!(" (limit {})", show_number(&alert.metric, t)));
    if limit.is_none() && lasted.is_none() {
        return None;
    }
    let value = show_number(&alert.metric, alert.value);
    let metric = text::clean(&alert.metric, 64);
    Some(format!("{metric} = {value}{}{}", limit.unwrap_or_default(), lasted.unwrap_or_default()))
}

/// Where nothing was read there is no value to tell.
fn absent(alert: &Alert) -> String {
    let [silent, allowed] = [alert.value, alert.threshold.unwrap_or(0.0)].map(|secs| text::span(secs as u64));
    let gone = if alert.status == Status::Resolved { "was not read" } else { "no reading" };
    format!("{}: {gone} for {silent} (limit {allowed})", text::clean(&alert.metric, 64))
}

/// A number with the unit that the end of its name tells.
pub(super) fn show_number(name: &str, value: f64) -> String {
    if let Some(name) = name.strip_suffix("_per_second") {
        return format!("{}/s", show_number(name, value));
    }
    match name.rsplit('_').next() {
        Some("bytes") => text::kib((value / 1024.0) as u64),
        Some("kb") => text::kib(value as u64),
        Some("secs" | "seconds") => text::span(value as u64),
        Some("ms") => format!("{} ms", text::number(value)),
        Some("percent") => format!("{} %", text::number(value)),
        Some("celsius") => format!("{} °C", text::number(value)),
        Some("watts") => format!("{} W", text::number(value)),
        Some("gb") => format!("{} GiB", text::number(value)),
        _ => text::number(value),
    }
}
