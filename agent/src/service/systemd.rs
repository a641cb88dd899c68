//! What systemd is told: READY=1, WATCHDOG=1, STOPPING=1 and a line of status.
//!
//! Outside systemd (`NOTIFY_SOCKET` unset) every call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Sends states; systemd not listening is not this process's problem.
fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("systemd was not told: {error}");
    }
}

/// The first batch went through the engine.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The engine is alive.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// The agent is ending.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// How often systemd wants to hear from the engine: half of `WatchdogSec=`.
pub fn watchdog_pace() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}
