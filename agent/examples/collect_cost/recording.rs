//! The real host, and what is asked of it.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sysops_agent::host::live::LiveHost;
use sysops_agent::host::{ClockSync, FsStat, Host, HostFile, NicDriver, Printed, TcpSocket, Uname, gpu};

/// Something that was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// A file.
    Read(String),
    /// A folder.
    List(String),
    /// A symbolic link.
    Link(String),
    /// Figures of a mount.
    Stat(String),
}

#[derive(Default)]
struct Log {
    on: AtomicBool,
    all: Mutex<BTreeSet<Access>>,
}

impl Log {
    fn note(&self, access: impl FnOnce() -> Access) {
        if self.on.load(Ordering::Relaxed) {
            self.all.lock().unwrap_or_else(PoisonError::into_inner).insert(access());
        }
    }
}

/// A host that notes what is read of it, when asked to.
#[derive(Clone)]
pub(crate) struct Recording {
    host: LiveHost,
    log: Arc<Log>,
}

impl Recording {
    pub(crate) fn new(host: LiveHost) -> Self {
        Self { host, log: Arc::default() }
    }

    /// Notes from now on.
    pub(crate) fn start(&self) {
        self.log.on.store(true, Ordering::Relaxed);
    }

    /// What was noted.
    pub(crate) fn stop(&self) -> BTreeSet<Access> {
        self.log.on.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.log.all.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct File {
    path: String,
    inner: Box<dyn HostFile>,
    log: Arc<Log>,
}

impl HostFile for File {
    fn read(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        self.log.note(|| Access::Read(self.path.clone()));
        self.inner.read(buf)
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buf)
    }
}

impl Host for Recording {
    fn open(&self, path: &str) -> io::Result<Box<dyn HostFile>> {
        let file = self.host.open(path)?;
        Ok(Box::new(File { path: path.to_owned(), inner: file, log: Arc::clone(&self.log) }))
    }

    fn read(&self, path: &str, buf: &mut Vec<u8>) -> io::Result<()> {
        self.log.note(|| Access::Read(path.to_owned()));
        self.host.read(path, buf)
    }

    fn list(&self, path: &str, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.log.note(|| Access::List(path.to_owned()));
        self.host.list(path, each)
    }

    fn list_dirs(&self, path: &str, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.log.note(|| Access::List(path.to_owned()));
        self.host.list_dirs(path, each)
    }

    fn has_no_dirs(&self, path: &str) -> bool {
        self.host.has_no_dirs(path)
    }

    fn read_link(&self, path: &str) -> io::Result<String> {
        self.log.note(|| Access::Link(path.to_owned()));
        self.host.read_link(path)
    }

    fn statvfs(&self, path: &str) -> io::Result<FsStat> {
        self.log.note(|| Access::Stat(path.to_owned()));
        self.host.statvfs(path)
    }

    fn nic_driver(&self, interface: &str) -> io::Result<NicDriver> {
        self.host.nic_driver(interface)
    }

    fn uname(&self) -> Uname {
        self.host.uname()
    }

    fn clock_sync(&self) -> io::Result<ClockSync> {
        self.host.clock_sync()
    }

    fn tcp_sockets(&self, states: u32, each: &mut dyn FnMut(&TcpSocket) -> bool) -> io::Result<()> {
        self.host.tcp_sockets(states, each)
    }

    fn run(&self, program: &str, args: &[&str]) -> io::Result<Printed> {
        self.host.run(program, args)
    }

    fn gpus(&self) -> Box<dyn gpu::Driver> {
        self.host.gpus()
    }

    fn count_fds(&self, path: &str) -> io::Result<u64> {
        self.log.note(|| Access::Stat(path.to_owned()));
        self.host.count_fds(path)
    }

    fn max_open_files(&self) -> u64 {
        self.host.max_open_files()
    }

    fn ticks_per_second(&self) -> u64 {
        self.host.ticks_per_second()
    }

    fn page_size(&self) -> u64 {
        self.host.page_size()
    }

    fn shared(&self) -> Arc<dyn Host> {
        Arc::new(self.clone())
    }
}
