//! `journalctl --follow` as a child: started where there is somebody to be heard, started again when it ends, killed with us.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::place::Place;
use super::read::Reader;
use super::state::{Standing, State};
use super::{Wanted, running};
use crate::event::{Event, Source, What};
use crate::host::command::{Followed, follow};
use crate::host::{Host, clock};
use crate::time::{Now, SECOND};
use crate::watch::enrich::Enricher;

/// The program.
pub const PROGRAM: &str = "journalctl";
/// How often it is looked for killers.
const LOOK: Duration = Duration::from_secs(10);
/// Pause before the child is started again, at first and at most; it doubles.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(5));
/// A child that ran so long was in order.
const IN_ORDER: Duration = Duration::from_mins(1);
/// One that cannot read the journal ends within this time.
const ALIVE: Duration = Duration::from_secs(2);
/// Quiet time after which an unfinished stack is taken for complete.
const QUIET: Duration = Duration::from_millis(25);
/// An entry older than this is of somebody who is gone.
const FRESH_NS: u64 = 10 * SECOND;
const BUFFER: usize = 16 << 10;

/// The journal, to be followed.
pub struct JournalWatch {
    program: String,
    arguments: fn(&Wanted, &Place, &[String]) -> Vec<String>,
    wanted: Wanted,
    /// Units of killers that are heard now.
    units: Vec<String>,
    reader: Reader,
    host: Arc<dyn Host>,
    enricher: Enricher,
    state: Arc<State>,
    look: Duration,
    pause: Duration,
    alive: Duration,
    /// Not all that was found is handed on.
    is_sending: bool,
}

/// Why a child is no longer read.
enum End {
    /// The receiver is gone.
    Deaf,
    /// Others are to be heard, or nobody.
    Changed,
    /// It ended, or could not be read.
    Broken(String),
}

impl JournalWatch {
    /// What `wanted` asks for, with `reader` at the place where it begins.
    pub fn new(host: &Arc<dyn Host>, wanted: Wanted, reader: Reader) -> Self {
        Self {
            program: PROGRAM.to_owned(),
            arguments: Wanted::arguments,
            wanted,
            units: Vec::new(),
            reader,
            host: Arc::clone(host),
            enricher: Enricher::new(Arc::clone(host)),
            state: Arc::default(),
            look: LOOK,
            pause: PAUSE.0,
            alive: ALIVE,
            is_sending: false,
        }
    }

    /// How it stands, now and later.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state)
    }

    /// What is asked of the journal.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Sends events until `stop`. A full channel is waited for: meanwhile the journal keeps what comes.
    pub async fn run<T: From<Event>>(mut self, tx: Sender<T>, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.supervise(&tx) => {}
        }
        // What could not be handed on is read again by the next run.
        if !self.is_sending {
            let mut out = Vec::new();
            self.reader.finish(clock::now(), &mut out);
            self.send(&mut out, &tx).await;
        }
    }

    /// Hands on what was found; `false`: nobody listens.
    async fn send<T: From<Event>>(&mut self, events: &mut Vec<Event>, tx: &Sender<T>) -> bool {
        self.is_sending = true;
        for event in events.drain(..) {
            if tx.send(event.into()).await.is_err() {
                return false;
            }
        }
        self.is_sending = false;
        true
    }

    async fn supervise<T: From<Event>>(&mut self, tx: &Sender<T>) {
        let (mut pause, mut told) = (self.pause, String::new());
        // The place where it begins, so that the next run begins there too.
        let mut out = Vec::new();
        self.reader.drained(true, clock::now(), &mut out);
        while self.send(&mut out, tx).await {
            self.units = running(self.host.as_ref());
            if !self.is_needed() {
                self.stands(Standing::Idle, &mut out);
                if !self.send(&mut out, tx).await || !self.rest(self.look, tx).await {
                    return;
                }
                continue;
            }
            let began = clock::now();
            let why = match self.child(tx).await {
                End::Deaf => return,
                End::Changed => continue,
                End::Broken(why) => why,
            };
            self.stands(Standing::Down, &mut out);
            if clock::now().since(began) > IN_ORDER.as_nanos() as u64 {
                (pause, told) = (self.pause, String::new());
            }
            if !self.send(&mut out, tx).await || !self.rest(pause, tx).await {
                return;
            }
            // Only now: at the end of the agent it ends with it.
            if why != told {
                tracing::warn!(
                    "{} has ended: {why}; started again after {} s, and again. Until then {} is not heard",
                    self.program,
                    pause.as_secs(),
                    self.whom()
                );
                told = why;
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn is_needed(&self) -> bool {
        self.wanted.kernel || self.wanted.programs || !self.units.is_empty()
    }

    fn whom(&self) -> String {
        let kernel = self.wanted.kernel.then(|| "the kernel".to_owned());
        let programs = self.wanted.programs.then(|| "programs".to_owned());
        self.units.iter().cloned().chain(kernel).chain(programs).collect::<Vec<_>>().join(", ")
    }

    /// Waits, and tells what gets due meanwhile; `false`: the receiver is gone.
    async fn rest<T: From<Event>>(&mut self, time: Duration, tx: &Sender<T>) -> bool {
        let (begin, mut out) = (clock::now(), Vec::new());
        loop {
            let left = time.saturating_sub(elapsed(begin));
            if left.is_zero() {
                return true;
            }
            tokio::select! {
                () = sleep(left.min(self.due())) => {}
                () = tx.closed() => return false,
            }
            self.reader.drained(false, clock::now(), &mut out);
            if !self.send(&mut out, tx).await {
                return false;
            }
        }
    }

    /// Time until something that waits must be told.
    fn due(&self) -> Duration {
        let now = clock::now().mono_ns;
        self.reader.due_ns().map_or(Duration::MAX, |due| Duration::from_nanos(due.saturating_sub(now)))
    }

    /// Notes how it stands; the engine asks for the kernel's lines only.
    fn stands(&self, standing: Standing, out: &mut Vec<Event>) {
        let before = self.state.stands(standing);
        if before == standing {
            return;
        }
        if standing == Standing::Up {
            tracing::info!("{} delivers what is said by {}", self.program, self.whom());
        }
        let was_up = before == Standing::Up;
        if self.wanted.kernel && was_up != (standing == Standing::Up) {
            let what = What::Witness { is_up: !was_up };
            out.push(Event { at: clock::now(), source: Source::Journal, historic: false, what });
        }
    }

    fn count(&self) {
        self.state.entries.store(self.reader.entries(), Relaxed);
        self.state.unreadable.store(self.reader.unreadable(), Relaxed);
        self.state.doubted.store(self.reader.doubted(), Relaxed);
    }

    /// Starts a child and reads it to its end.
    async fn child<T: From<Event>>(&mut self, tx: &Sender<T>) -> End {
        self.reader.restart();
        self.state.starts.fetch_add(1, Relaxed);
        if self.state.standing() != Standing::Up {
            self.state.stands(Standing::Starting);
        }
        let args = (self.arguments)(&self.wanted, self.reader.place(), &self.units);
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
        let began = clock::now();
        let mut looked = began;
        loop {
            let now = clock::now();
            match rustix::io::read(fd.get_ref(), &mut buf) {
                Ok(0) => return End::Broken("it closed its output".into()),
                Ok(count) => {
                    self.reader.take(&buf[..count], now, &mut events);
                    self.count();
                    self.stands(Standing::Up, &mut events);
                    self.enrich(&mut events);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let settled = self.reader.pending() && timeout(QUIET, fd.readable()).await.is_err();
                    self.reader.drained(settled, clock::now(), &mut events);
                    if elapsed(began) >= self.alive {
                        self.stands(Standing::Up, &mut events);
                    }
                    if !self.send(&mut events, tx).await {
                        return End::Deaf;
                    }
                    let starting = self.state.standing() != Standing::Up;
                    let wait = if starting { self.alive } else { self.look };
                    let ready = tokio::select! {
                        ready = fd.readable() => Some(ready),
                        () = tx.closed() => return End::Deaf,
                        () = sleep(wait.min(self.look).min(self.due())) => None,
                    };
                    match ready {
                        Some(Ok(mut ready)) => ready.clear_ready(),
                        Some(Err(error)) => return End::Broken(error.to_string()),
                        None => {}
                    }
                }
                Err(error) => return End::Broken(error.to_string()),
            }
            if elapsed(looked) >= self.look {
                looked = clock::now();
                if running(self.host.as_ref()) != self.units {
                    return End::Changed;
                }
            }
            if !self.send(&mut events, tx).await {
                return End::Deaf;
            }
        }
    }

    /// Asks `/proc` about whom an event names, while he may still stand.
    fn enrich(&mut self, events: &mut [Event]) {
        let now = clock::now();
        let waiting = self.reader.fresh();
        for event in events.iter_mut().chain(waiting).filter(|event| now.since(event.at) < FRESH_NS) {
            self.enricher.enrich(event);
        }
    }
}

/// What the child said on its way out, else what we saw.
fn said(child: &mut Followed, why: String) -> String {
    Some(child.complaint()).filter(|words| !words.is_empty()).unwrap_or(why)
}

fn elapsed(since: Now) -> Duration {
    Duration::from_nanos(clock::now().since(since))
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
