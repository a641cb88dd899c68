//! What systemd is told: READY=1, WATCHDOG=1, STOPPING=1 and a line of status.
//!
//! Outside systemd (`NOTIFY_SOCKET` unset) every call does nothing. Nothing here waits: a manager that does
//! not read its socket must not stop the engine.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use crate::time::Now;

/// Sends lines; says whether they are on their way, or nobody wants them.
fn send(lines: &str) -> bool {
    let sent = try_send(lines);
    if let Err(error) = &sent {
        tracing::debug!("systemd was not told: {error}");
    }
    !sent.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
}

#[expect(clippy::disallowed_methods, reason = "systemd's arguments to this module")]
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

fn try_send(lines: &str) -> io::Result<()> {
    let Some(name) = variable("NOTIFY_SOCKET") else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(lines.as_bytes(), &address(&name)?).map(drop)
}

/// A path, or `@` and an abstract name.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(name),
    }
}

/// Everything is set up and the first reading went through the engine. False: to be said again.
pub fn ready(status: &str) -> bool {
    send(&format!("READY=1\nSTATUS={status}\n"))
}

/// The agent is ending.
pub fn stopping() {
    send("STOPPING=1\n");
}

/// Tells systemd that the engine is alive, as often as it wants to hear it.
#[derive(Debug)]
pub struct Watchdog {
    /// Half of `WatchdogSec=`; none without it.
    pace: Option<Duration>,
    told_ns: u64,
}

impl Watchdog {
    /// As `WATCHDOG_USEC` says, if it is meant for this process.
    pub fn new() -> Self {
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let mine = variable("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(u64::from(std::process::id()));
        let limit = number("WATCHDOG_USEC").filter(|usec| mine && *usec > 0);
        Self { pace: limit.map(|usec| Duration::from_micros(usec) / 2), told_ns: 0 }
    }

    /// Longest time between two calls of [`Watchdog::alive`].
    pub fn pace(&self) -> Option<Duration> {
        self.pace
    }

    /// The engine is alive.
    pub fn alive(&mut self, now: Now) {
        // Half the pace: a call just before it is due must not lead to a gap of twice the pace.
        let due = self
            .pace
            .is_some_and(|pace| u128::from(now.mono_ns.saturating_sub(self.told_ns)) >= pace.as_nanos() / 2);
        if due && send("WATCHDOG=1\n") {
            self.told_ns = now.mono_ns;
        }
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new()
    }
}
