//! The way back: what a stored alert says about incidents that must not be told again.

use serde_json::Value;

use crate::alert::{Alert, Status};
use crate::engine::incident::Body;
use crate::event::{Hang, IoError, Oom, Task};
use crate::time::Now;

/// Incidents of this boot that `alert` told, alone or as part of a summary.
pub fn incidents(alert: &Alert, boot_id: &str, now: Now) -> Vec<(Now, Body)> {
    let one = alert.context.get("incident").into_iter();
    let many = alert.context.get("incidents").and_then(Value::as_array).into_iter().flatten();
    one.chain(many).filter_map(|value| incident(value, boot_id, now)).collect()
}

fn incident(value: &Value, boot_id: &str, now: Now) -> Option<(Now, Body)> {
    if boot_id.is_empty() || value.get("boot_id")?.as_str()? != boot_id {
        return None;
    }
    let at = now.at_mono(value.get("kernel_time_ns")?.as_u64()?);
    let body = match value.get("kind")?.as_str()? {
        "oom" => Body::Oom(Box::new(Oom { victim: task(value)?, count: 1, ..Oom::default() })),
        "hang" => Body::Hang(Box::new(Hang { task: task(value)?, ..Hang::default() })),
        "io_error" => Body::IoError(Box::new(IoError {
            device: value.get("device")?.as_str()?.to_owned(),
            sector: value.get("sector")?.as_u64()?,
            ..IoError::default()
        })),
        _ => return None,
    };
    Some((at, body))
}

fn task(value: &Value) -> Option<Task> {
    let pid = u32::try_from(value.get("pid")?.as_u64()?).ok()?;
    let comm = value.get("comm").and_then(Value::as_str).map(str::to_owned);
    Some(Task { pid: Some(pid), comm, ..Task::default() })
}

/// When `alert` was made, on today's monotonic clock; `None` for anything but the begin of an incident.
pub fn told_ns(alert: &Alert, now: Now) -> Option<u64> {
    if alert.status != Status::Firing {
        return None;
    }
    let made: jiff::Timestamp = alert.timestamp.parse().ok()?;
    let ago = now.wall_ns.checked_sub(i64::try_from(made.as_nanosecond()).ok()?)?;
    now.mono_ns.checked_sub(u64::try_from(ago).ok()?)
}
