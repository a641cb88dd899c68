//! What wakes the shipper: writes to its files, and names that come and go in their folders.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::files::Watched;

/// Two queues of the kernel: while the server takes nothing, writes do not wake.
pub(super) struct Wake {
    writes: AsyncFd<OwnedFd>,
    names: AsyncFd<OwnedFd>,
    /// Log by watch.
    logs: BTreeMap<i32, usize>,
    watched: Arc<Watched>,
}

/// Bytes before the name in an event.
const HEAD: usize = 16;

/// The same, not waited for yet.
pub(super) struct Queues {
    writes: OwnedFd,
    names: OwnedFd,
    logs: BTreeMap<i32, usize>,
    watched: Watched,
}

impl Queues {
    /// Watches all of it; none where the kernel does not let us. May wait for a disk.
    pub(super) fn on(watched: Watched) -> Option<Self> {
        let (writes, names) = (queue()?, queue()?);
        let mut logs = BTreeMap::new();
        for file in &watched.files {
            // The file itself, whatever it is called by now.
            let path = format!("/proc/self/fd/{}", file.fd);
            logs.insert(inotify::add_watch(&writes, path, WatchFlags::MODIFY).ok()?, file.log);
        }
        let of_names = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR;
        for folder in &watched.folders {
            // One that is missing or closed to us is looked into now and then.
            let _ = inotify::add_watch(&names, folder, of_names);
        }
        Some(Self { writes, names, logs, watched })
    }
}

impl Wake {
    /// Waits for these queues from now on.
    pub(super) fn by(queues: Queues) -> Option<Self> {
        let Queues { writes, names, logs, watched } = queues;
        Some(Self { writes: register(writes)?, names: register(names)?, logs, watched: Arc::new(watched) })
    }

    /// What it watches.
    pub(super) fn watched(&self) -> Arc<Watched> {
        Arc::clone(&self.watched)
    }

    /// Waits for a write to a file.
    pub(super) async fn written(&self) {
        wait(&self.writes).await;
    }

    /// Waits for a name.
    pub(super) async fn named(&self) {
        wait(&self.names).await;
    }

    /// The logs that were written to since the last call; none: it is not known which.
    pub(super) fn logs(&self, each: &mut dyn FnMut(Option<usize>)) {
        drain(&self.writes, &mut |watch| each(self.logs.get(&watch).copied()));
    }

    /// Takes all names away.
    pub(super) fn forget_names(&self) {
        drain(&self.names, &mut |_| ());
    }
}

fn queue() -> Option<OwnedFd> {
    inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()
}

fn register(fd: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open and the same until it is dropped, and the `AsyncFd` owns it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.ok()
}

async fn wait(queue: &AsyncFd<OwnedFd>) {
    if let Ok(mut ready) = queue.readable().await {
        ready.clear_ready();
    }
}

/// The watches of all events that wait.
fn drain(queue: &AsyncFd<OwnedFd>, each: &mut dyn FnMut(i32)) {
    let mut bytes = [0_u8; 4096];
    while let Ok(count @ 1..) = rustix::io::read(queue.get_ref(), &mut bytes) {
        let mut rest = &bytes[..count];
        while let Some((head, tail)) = rest.split_at_checked(HEAD) {
            let word = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
            each(i32::from_ne_bytes(word(0)));
            rest = tail.get(u32::from_ne_bytes(word(12)) as usize..).unwrap_or_default();
        }
    }
}
