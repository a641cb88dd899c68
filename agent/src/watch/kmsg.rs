//! `/dev/kmsg` as a stream of events: the file descriptor around [`Scanner`].

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use self::allowance::Allowance;
use super::enrich::Enricher;
use super::scan::Scanner;
use crate::event::Event;
use crate::host::{Host, clock};
use crate::time::{Now, SECOND};

/// The largest record the kernel gives (`CONSOLE_EXT_LOG_MAX`); with a smaller buffer `read` fails.
const MAX_RECORD: usize = 8192;
/// Records read before other tasks get a turn.
const BURST: usize = 256;
/// Quiet time after which an unfinished stack is taken for complete.
const QUIET: Duration = Duration::from_millis(25);
/// Records that count as read at one moment: a burst of them takes microseconds.
const AT_ONCE: usize = 16;
/// Woken twice within this time, it rests that long before it reads: a log that is written all the time is read in larger pieces.
/// The kernel's buffer, 128 KiB at the least on any server, holds ten times as much of 100,000 records a second.
const REST: Duration = Duration::from_millis(2);
/// So long after a loss it does not rest.
const HURRY_NS: u64 = SECOND;
/// Refused reads in a row after which the device is given up.
const MAX_REFUSED: u32 = 64;

/// Why the kernel log cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KmsgError {
    /// The right is missing.
    #[error("{path} may not be read ({error})")]
    Denied {
        /// Which file.
        path: String,
        /// The system's words.
        error: Errno,
    },
    /// The device is not there.
    #[error("{path} does not exist here")]
    Absent {
        /// Which file.
        path: String,
    },
    /// Something else lies there.
    #[error("{path} is not the kernel log but something else by that name")]
    Other {
        /// Which file.
        path: String,
    },
    /// Anything else.
    #[error("{path} cannot be followed: {error}")]
    Broken {
        /// Which file.
        path: String,
        /// The system's words.
        error: String,
    },
}

impl KmsgError {
    /// What to do about it, for an agent whose `CAP_SYSLOG` counts, or does not.
    pub const fn remedy(&self, has_syslog: bool) -> &'static str {
        match self {
            Self::Denied { .. } if has_syslog => {
                "the capability is there, so a device filter or the file's mode refuses it: DeviceAllow=char-mem r in a unit \
                 with DeviceAllow=, docker run --device /dev/kmsg for a container"
            }
            Self::Denied { .. } => {
                "give the agent CAP_SYSLOG (in its unit: AmbientCapabilities=CAP_SYSLOG, without \
                 ProtectKernelLogs=; one of a user namespace does not count), or set: sysctl kernel.dmesg_restrict=0"
            }
            Self::Absent { .. } => {
                "a unit with PrivateDevices=yes hides it; a container needs it passed in \
                 (docker run --device /dev/kmsg)"
            }
            Self::Other { .. } => {
                "let the host's lie there: docker run --device /dev/kmsg for a container; look for a mount with \
                 `findmnt --target /dev/kmsg`"
            }
            Self::Broken { .. } => "restart the agent; if it stays so, report it as a bug",
        }
    }
}

/// Its numbers (`drivers/char/mem.c`, `Documentation/admin-guide/devices.txt`): major, minor.
const DEVICE: (u32, u32) = (1, 11);

/// The kernel log, opened.
pub struct KmsgWatch {
    path: String,
    fd: OwnedFd,
    scanner: Scanner,
    clock: fn() -> Now,
    enricher: Option<Enricher>,
    records: Option<Sender<Raw>>,
}

/// A record as it was read, and when.
pub type Raw = (Now, Box<[u8]>);

impl KmsgWatch {
    /// Opens the log at `path` (`/dev/kmsg`, below `agent.host_root`).
    pub fn open(path: &str, scanner: Scanner, clock: fn() -> Now) -> Result<Self, KmsgError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| refused(path, error))?;
        let stat = rustix::fs::fstat(&fd).map_err(|error| refused(path, error))?;
        if !FileType::from_raw_mode(stat.st_mode).is_char_device()
            || stat.st_rdev != makedev(DEVICE.0, DEVICE.1)
        {
            return Err(KmsgError::Other { path: path.to_owned() });
        }
        Ok(Self::from_fd(path, fd, scanner, clock))
    }

    /// The same over an open descriptor that does not block and gives one record a read.
    pub fn from_fd(path: &str, fd: OwnedFd, scanner: Scanner, clock: fn() -> Now) -> Self {
        Self { path: path.to_owned(), fd, scanner, clock, enricher: None, records: None }
    }

    /// Asks `/proc` about the task of a fresh event at once, while it still stands.
    #[must_use]
    pub fn enriched_by(mut self, host: Arc<dyn Host>) -> Self {
        self.enricher = Some(Enricher::new(host));
        self
    }

    /// Hands on the records themselves too, from now on; a full channel is waited for.
    #[must_use]
    pub fn copied_to(mut self, records: Sender<Raw>) -> Self {
        self.records = Some(records);
        self
    }

    /// Sends events until `stop`. A full channel is waited for: meanwhile the kernel's own buffer holds
    /// the records, and what it has to overwrite is told as lost.
    pub async fn run<T: From<Event>>(self, tx: Sender<T>, stop: CancellationToken) -> Result<(), KmsgError> {
        let Self { path, fd, scanner, clock, enricher, records } = self;
        let broken =
            |error: std::io::Error| KmsgError::Broken { path: path.clone(), error: error.to_string() };
        // SAFETY: an `OwnedFd` is open and the same until it is dropped, and the `AsyncFd` owns it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, tokio::io::Interest::READABLE) };
        let fd = fd.map_err(|error| broken(error.into()))?;
        let mut stream = Stream {
            scanner,
            clock,
            enricher,
            records,
            caught_up: false,
            woken: None,
            lost: None,
            allowance: Allowance::default(),
            cpu_ns: clock::thread_cpu_ns(),
            out: Vec::new(),
            is_sending: false,
            tx,
        };
        let done = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            done = stream.follow(&fd) => done.map_err(broken),
        };
        stream.finish().await;
        done
    }
}

/// What [`KmsgWatch::run`] works with.
struct Stream<T> {
    scanner: Scanner,
    clock: fn() -> Now,
    enricher: Option<Enricher>,
    records: Option<Sender<Raw>>,
    /// Everything from before the start was read: from now on events are fresh.
    caught_up: bool,
    /// When it last was woken, and when records were last overwritten.
    woken: Option<Now>,
    lost: Option<Now>,
    allowance: Allowance,
    /// Processor time of the thread when reading began.
    cpu_ns: u64,
    out: Vec<Event>,
    /// Not all that was found is handed on.
    is_sending: bool,
    tx: Sender<T>,
}

impl<T: From<Event>> Stream<T> {
    /// Reads until the receiver is gone.
    async fn follow(&mut self, fd: &AsyncFd<OwnedFd>) -> std::io::Result<()> {
        let mut buf = vec![0; MAX_RECORD];
        let mut refused = 0;
        let mut burst = 0;
        let mut now = (self.clock)();
        loop {
            if burst % AT_ONCE == 0 {
                now = (self.clock)();
            }
            match rustix::io::read(fd.get_ref(), &mut buf) {
                Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    refused = 0;
                    self.scanner.record(&buf[..n], now, &mut self.out);
                    self.copy(now, &buf[..n]).await;
                }
                Err(Errno::AGAIN) => {
                    self.pause().await;
                    if !self.wait(fd).await? {
                        return Ok(());
                    }
                    burst = 0;
                    self.cpu_ns = clock::thread_cpu_ns();
                    continue;
                }
                // The record was overwritten, or is larger than the buffer; the next read goes on behind
                // it, and the gap in the sequence tells how much was lost.
                Err(Errno::PIPE | Errno::INVAL | Errno::INTR) if refused < MAX_REFUSED => {
                    refused += 1;
                    self.lost = Some(now);
                }
                Err(error) => return Err(error.into()),
            }
            if !self.out.is_empty() && !self.send().await {
                return Ok(());
            }
            burst += 1;
            if burst % BURST == 0 {
                self.pause().await;
                tokio::task::yield_now().await;
                self.cpu_ns = clock::thread_cpu_ns();
            }
        }
    }

    /// Ends a piece of reading: in a flood it has to rest, and what the kernel overwrites meanwhile is counted as lost.
    async fn pause(&mut self) {
        let used = clock::thread_cpu_ns().saturating_sub(self.cpu_ns);
        let rest = self.allowance.take((self.clock)(), used);
        // What was there at the start is bounded.
        if let Some(rest) = rest.filter(|_| self.caught_up) {
            tokio::time::sleep(rest).await;
        }
    }

    /// Ends a burst and waits for the next record.
    async fn wait(&mut self, fd: &AsyncFd<OwnedFd>) -> std::io::Result<bool> {
        // What was there at the start has long been complete.
        self.scanner.drained(!self.caught_up, (self.clock)(), &mut self.out);
        if !self.send().await {
            return Ok(false);
        }
        self.caught_up = true;
        if self.scanner.pending() {
            match tokio::time::timeout(QUIET, fd.readable()).await {
                Ok(ready) => {
                    ready?.clear_ready();
                    return Ok(true);
                }
                Err(_) => self.scanner.drained(true, (self.clock)(), &mut self.out),
            }
            if !self.send().await {
                return Ok(false);
            }
        }
        let due = self.scanner.due_ns().map(|due| due.saturating_sub((self.clock)().mono_ns));
        tokio::select! {
            ready = fd.readable() => ready?.clear_ready(),
            () = self.tx.closed() => return Ok(false),
            () = tokio::time::sleep(due.map_or(Duration::MAX, Duration::from_nanos)) => {}
        }
        self.rest().await;
        Ok(true)
    }

    /// Where it is woken again and again.
    async fn rest(&mut self) {
        let now = (self.clock)();
        let is_busy =
            self.woken.replace(now).is_some_and(|last| now.since(last) < 2 * REST.as_nanos() as u64);
        if is_busy && self.lost.is_none_or(|lost| now.since(lost) > HURRY_NS) {
            tokio::time::sleep(REST).await;
            self.woken = Some((self.clock)());
        }
    }

    async fn copy(&mut self, now: Now, record: &[u8]) {
        if let Some(records) = self.records.as_mut().filter(|_| self.caught_up) {
            // Who wants them no longer need not have them.
            let _ = records.send((now, record.into())).await;
        }
    }

    /// The end: what is still counted of a flood is told, for the next run begins behind it. Where events could not be handed on it
    /// reads all of that again.
    async fn finish(&mut self) {
        if !self.is_sending {
            self.scanner.finish((self.clock)(), &mut self.out);
            self.send().await;
        }
    }

    async fn send(&mut self) -> bool {
        self.is_sending = true;
        for mut event in self.out.drain(..) {
            if let Some(enricher) = self.enricher.as_mut().filter(|_| self.caught_up) {
                enricher.enrich(&mut event);
            }
            if self.tx.send(event.into()).await.is_err() {
                return false;
            }
        }
        self.is_sending = false;
        true
    }
}

fn refused(path: &str, error: Errno) -> KmsgError {
    let path = path.to_owned();
    match error {
        Errno::PERM | Errno::ACCESS => KmsgError::Denied { path, error },
        Errno::NOENT | Errno::NODEV | Errno::NXIO => KmsgError::Absent { path },
        error => KmsgError::Broken { path, error: error.to_string() },
    }
}

mod allowance;
#[cfg(test)]
mod tests;
