//! `journalctl --follow` as a child: started where there is somebody to be heard, started again when it ends, killed with us.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::read::Reader;
use super::{Wanted, running};
use crate::event::Event;
use crate::host::command::{Followed, follow};
use crate::host::{Host, clock};
use crate::time::SECOND;
use crate::watch::enrich::Enricher;

/// The program.
pub const PROGRAM: &str = "journalctl";
/// How often it is looked for killers.
const LOOK: Duration = Duration::from_secs(10);
/// Pause before the child is started again, at first and at most; it doubles.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));
/// A child that ran so long was in order.
const IN_ORDER: Duration = Duration::from_mins(1);
/// Quiet time after which an unfinished stack is taken for complete.
const QUIET: Duration = Duration::from_millis(25);
/// An entry older than this is of somebody who is gone.
const FRESH_NS: u64 = 10 * SECOND;
const BUFFER: usize = 16 << 10;

/// The journal, to be followed.
pub struct JournalWatch {
    program: String,
    arguments: fn(&Wanted, &str) -> Vec<String>,
    wanted: Wanted,
    reader: Reader,
    host: Arc<dyn Host>,
    enricher: Enricher,
    look: Duration,
    pause: Duration,
}

/// Why a child is no longer read.
enum End {
    /// The receiver is gone.
    Deaf,
    /// Nobody is left to be heard.
    Idle,
    /// It ended, or could not be read.
    Broken(String),
}

impl JournalWatch {
    /// What `wanted` asks for, with `reader` at the place where it begins.
    pub fn new(host: &Arc<dyn Host>, wanted: Wanted, reader: Reader) -> Self {
        let enricher = Enricher::new(Arc::clone(host));
        let (program, host) = (PROGRAM.to_owned(), Arc::clone(host));
        let arguments = Wanted::arguments;
        Self { program, arguments, wanted, reader, host, enricher, look: LOOK, pause: PAUSE.0 }
    }

    /// Sends events until `stop`. A full channel is waited for: meanwhile the journal keeps what comes.
    pub async fn run<T: From<Event>>(mut self, tx: Sender<T>, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.supervise(&tx) => {}
        }
    }

    async fn supervise<T: From<Event>>(&mut self, tx: &Sender<T>) {
        let (mut pause, mut told) = (self.pause, String::new());
        // The place where it begins, so that the next run begins there too.
        let mut out = Vec::new();
        self.reader.drained(true, clock::now(), &mut out);
        while send(&mut out, tx).await {
            if !self.is_needed() {
                sleep(self.look).await;
                continue;
            }
            let began = clock::now();
            let why = match self.child(tx).await {
                End::Deaf => return,
                End::Idle => continue,
                End::Broken(why) => why,
            };
            if clock::now().since(began) > IN_ORDER.as_nanos() as u64 {
                (pause, told) = (self.pause, String::new());
            }
            sleep(pause).await;
            // Only now: at the end of the agent it ends with it.
            if why != told {
                tracing::warn!(
                    "{} has ended: {why}; started again after {} s",
                    self.program,
                    pause.as_secs()
                );
                told = why;
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn is_needed(&self) -> bool {
        self.wanted.kernel || !running(self.host.as_ref()).is_empty()
    }

    /// Starts a child and reads it to its end.
    async fn child<T: From<Event>>(&mut self, tx: &Sender<T>) -> End {
        self.reader.restart();
        let args = (self.arguments)(&self.wanted, self.reader.place());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut child = match follow(&self.program, &args) {
            Ok(child) => child,
            Err(error) => return End::Broken(format!("it cannot be started: {error}")),
        };
        let end = match child.take_output() {
            Ok(out) => self.read(out, tx).await,
            Err(error) => End::Broken(error.to_string()),
        };
        match end {
            End::Broken(why) => End::Broken(said(&mut child, why)),
            end => end,
        }
    }

    async fn read<T: From<Event>>(&mut self, out: OwnedFd, tx: &Sender<T>) -> End {
        // SAFETY: an `OwnedFd` is open and the same until it is dropped, and the `AsyncFd` owns it.
        let fd = unsafe { AsyncFd::register_with_interest(out, tokio::io::Interest::READABLE) };
        let fd = match fd {
            Ok(fd) => fd,
            Err(error) => return End::Broken(std::io::Error::from(error).to_string()),
        };
        let (mut buf, mut events) = (vec![0; BUFFER], Vec::new());
        loop {
            let now = clock::now();
            match rustix::io::read(fd.get_ref(), &mut buf) {
                Ok(0) => return End::Broken("it closed its output".into()),
                Ok(count) => {
                    self.reader.take(&buf[..count], now, &mut events);
                    self.enrich(&mut events);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let settled = self.reader.pending() && timeout(QUIET, fd.readable()).await.is_err();
                    self.reader.drained(settled, clock::now(), &mut events);
                    if !send(&mut events, tx).await {
                        return End::Deaf;
                    }
                    let ready = tokio::select! {
                        ready = fd.readable() => ready,
                        () = tx.closed() => return End::Deaf,
                        () = sleep(self.look) => {
                            if !self.is_needed() {
                                return End::Idle;
                            }
                            continue;
                        }
                    };
                    match ready {
                        Ok(mut ready) => ready.clear_ready(),
                        Err(error) => return End::Broken(error.to_string()),
                    }
                }
                Err(error) => return End::Broken(error.to_string()),
            }
            if !send(&mut events, tx).await {
                return End::Deaf;
            }
        }
    }

    /// Asks `/proc` about whom an event names, while he may still stand.
    fn enrich(&mut self, events: &mut [Event]) {
        let now = clock::now();
        for event in events.iter_mut().filter(|event| now.since(event.at) < FRESH_NS) {
            self.enricher.enrich(event);
        }
    }
}

/// What the child said on its way out, else what we saw.
fn said(child: &mut Followed, why: String) -> String {
    Some(child.complaint()).filter(|words| !words.is_empty()).unwrap_or(why)
}

async fn send<T: From<Event>>(events: &mut Vec<Event>, tx: &Sender<T>) -> bool {
    for event in events.drain(..) {
        if tx.send(event.into()).await.is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
