//! A syslog file as a stream of events: woken by inotify, read aside, so that a disk that hangs holds up nobody else.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::read::Reader;
use crate::event::{Event, Lost, Source, SyslogMark, What};
use crate::host::clock;
use crate::host::tail::{Step, Tail};
use crate::time::Now;

/// Blocks read before what they told is sent on.
const ROUND: usize = 16;
/// Least pause between two rounds: a file that is written all the time is read in larger pieces.
const PAUSE: Duration = Duration::from_millis(20);
/// How often it is looked without being woken: a folder may be mounted or made anew.
const LOOK: Duration = Duration::from_secs(30);
/// The same where nobody can wake us.
const POLL: Duration = Duration::from_secs(1);
/// Quiet time after which what was begun is taken for complete.
const QUIET: Duration = Duration::from_millis(50);

/// A syslog file, to be followed.
pub struct SyslogWatch {
    /// `None` while it is aside.
    work: Option<Work>,
    wake: Option<AsyncFd<OwnedFd>>,
    /// Not all that was found is handed on.
    is_sending: bool,
}

/// What goes aside and comes back.
struct Work {
    tail: Tail,
    reader: Reader,
    out: Vec<Event>,
    told: String,
    marked: String,
    lost: u64,
}

impl SyslogWatch {
    /// The file of `tail`.
    pub fn new(tail: Tail, reader: Reader) -> Self {
        let (told, marked) = (String::new(), String::new());
        let work = Work { tail, reader, out: Vec::new(), told, marked, lost: 0 };
        Self { work: Some(work), wake: None, is_sending: false }
    }

    /// Sends events until `stop`. A full channel is waited for: meanwhile the file keeps what comes.
    pub async fn run<T: From<Event>>(mut self, tx: Sender<T>, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.follow(&tx) => {}
        }
        self.finish(&tx).await;
    }

    async fn follow<T: From<Event>>(&mut self, tx: &Sender<T>) {
        let mut is_other = true;
        while let Some(work) = self.work.take() {
            if is_other {
                // Watched before it is read: what comes in between wakes us.
                self.wake = watch(work.tail.path());
            }
            let Some((work, step)) = aside(work).await else { return };
            self.work = Some(work);
            if !self.send(tx).await {
                return;
            }
            is_other = step != Step::More && self.wait(tx).await;
            if step == Step::More {
                tokio::task::yield_now().await;
            } else if !is_other {
                sleep(PAUSE).await;
            }
        }
    }

    /// The end: what is still counted of a flood is told, and the place noted. What was aside, or could not be handed on, is
    /// read again by the next run.
    async fn finish<T: From<Event>>(&mut self, tx: &Sender<T>) {
        if self.is_sending {
            return;
        }
        if let Some(work) = &mut self.work {
            work.finish(clock::now());
        }
        self.send(tx).await;
    }

    /// Hands on what was found; `false`: nobody listens.
    async fn send<T: From<Event>>(&mut self, tx: &Sender<T>) -> bool {
        self.is_sending = true;
        for event in self.work.iter_mut().flat_map(|work| work.out.drain(..)) {
            if tx.send(event.into()).await.is_err() {
                return false;
            }
        }
        self.is_sending = false;
        true
    }

    /// Waits for a reason to read; `true`: another file may be there, or nobody listens.
    async fn wait<T>(&mut self, tx: &Sender<T>) -> bool {
        let Some(Work { reader, .. }) = &self.work else { return true };
        let due = reader.due_ns().map(|due| due.saturating_sub(clock::now().mono_ns));
        let due = due.map_or(Duration::MAX, Duration::from_nanos);
        let quiet = if reader.pending() { QUIET } else { Duration::MAX };
        let Some(wake) = &self.wake else {
            sleep(POLL.min(due).min(quiet)).await;
            return true;
        };
        tokio::select! {
            ready = wake.readable() => {
                let Ok(mut ready) = ready else { return true };
                ready.clear_ready();
                let mut bytes = [0_u8; 4096];
                let mut moved = false;
                while let Ok(count @ 1..) = rustix::io::read(wake.get_ref(), &mut bytes) {
                    moved |= names(&bytes[..count]);
                }
                moved
            }
            () = tx.closed() => true,
            () = sleep(due.min(quiet).max(Duration::from_millis(1))) => false,
            () = sleep(LOOK) => true,
        }
    }
}

/// Whether one of some inotify events is about a name in the folder, or the end of a watch: not only new bytes.
fn names(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((head, tail)) = rest.split_at_checked(16) {
        let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if word(4) & WatchFlags::MODIFY.bits() == 0 {
            return true;
        }
        rest = tail.get(word(12) as usize..).unwrap_or_default();
    }
    false
}

/// Wakes when the file is written to, or another one gets its name.
fn watch(path: &Path) -> Option<AsyncFd<OwnedFd>> {
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
    let folder = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF | WatchFlags::ONLYDIR;
    inotify::add_watch(&fd, path.parent()?, folder).ok()?;
    match inotify::add_watch(&fd, path, WatchFlags::MODIFY) {
        // It may appear later.
        Ok(_) | Err(Errno::NOENT) => {}
        Err(_) => return None,
    }
    // SAFETY: an `OwnedFd` is open and the same until it is dropped, and the `AsyncFd` owns it.
    unsafe { AsyncFd::register_with_interest(fd, tokio::io::Interest::READABLE) }.ok()
}

/// One round of reading, where it may wait for a disk.
async fn aside(mut work: Work) -> Option<(Work, Step)> {
    spawn_blocking(move || {
        let step = work.round();
        (work, step)
    })
    .await
    .ok()
}

impl Work {
    fn round(&mut self) -> Step {
        let mut step = Step::More;
        let Self { tail, reader, out, .. } = self;
        for _ in 0..ROUND {
            match tail.step(&mut |lines| reader.take(lines, clock::now(), out)) {
                Ok(Step::More) => {}
                Ok(end) => {
                    step = end;
                    break;
                }
                Err(error) => {
                    self.complain(&error.to_string());
                    step = Step::Absent;
                    break;
                }
            }
        }
        let now = clock::now();
        if step != Step::More {
            let settled = self.reader.pending() && self.marked == self.place();
            self.reader.drained(settled, now, &mut self.out);
        }
        self.count_lost(now);
        self.miss();
        self.mark(now);
        step
    }

    fn finish(&mut self, now: Now) {
        self.reader.finish(now, &mut self.out);
        self.mark(now);
    }

    /// An earlier run stopped in a file that is no more.
    fn miss(&mut self) {
        if std::mem::take(&mut self.tail.counts.lost_files) > 0 {
            tracing::warn!(
                "{}: the file in which an earlier run stopped reading is no more (packed or deleted by logrotate?); lines that were \
                 written to it after that are not judged. `delaycompress` keeps the newest one readable",
                self.tail.path().display()
            );
        }
    }

    /// Notes the place, unless something waits: that is read again by the next run.
    fn mark(&mut self, now: Now) {
        let place = self.place();
        if place != self.marked && self.reader.due_ns().is_none() {
            self.marked.clone_from(&place);
            self.out.push(event(now, What::SyslogMark(SyslogMark { place: place.into() })));
        }
    }

    fn place(&self) -> String {
        self.tail.mark().map(|mark| mark.text()).unwrap_or_default()
    }

    fn count_lost(&mut self, now: Now) {
        let lost = self.tail.counts.too_long + self.tail.counts.skipped_bytes / 100;
        let count = lost - self.lost;
        if count > 0 {
            self.lost = lost;
            self.out.push(event(now, What::Lost(Lost { part: "syslog", count, reason: "passed_over" })));
        }
    }

    /// Said once, until something else is wrong.
    fn complain(&mut self, error: &str) {
        if self.told != error {
            tracing::warn!(
                "{} cannot be read: {error}; give the agent's user the group that owns it (adm, syslog), or CAP_DAC_READ_SEARCH. \
                 It is tried again",
                self.tail.path().display()
            );
            error.clone_into(&mut self.told);
        }
    }
}

fn event(at: Now, what: What) -> Event {
    Event { at, source: Source::Syslog, historic: false, what }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
