//! A host that remembers everything that was read from it: what a fixture of it must hold, and no more.

#![expect(clippy::disallowed_types, reason = "collectors read aside, on threads of their own")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ClockSync, FsStat, Host, HostFile, NicDriver, Printed, TcpSocket, Uname};

/// Bytes kept of one file.
pub const MAX_RECORDED: usize = 256 << 10;
/// Files, links and names remembered.
pub const MAX_ENTRIES: usize = 32_768;

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Content by path, or the number of the error; what is not there is left out. Disks' answers are named as in
    /// [`super::fixture`].
    pub files: BTreeMap<String, Result<Vec<u8>, i32>>,
    /// Targets of symbolic links.
    pub links: BTreeMap<String, String>,
    /// Directories, and the names in each that were told.
    pub dirs: BTreeMap<String, BTreeSet<String>>,
    /// Names that are directories themselves.
    pub subdirs: BTreeSet<String>,
    /// Filesystems by mount point.
    pub filesystems: BTreeMap<String, Result<FsStat, i32>>,
    /// Drivers of interfaces.
    pub nics: BTreeMap<String, NicDriver>,
    /// What programs printed, by their command line.
    pub printed: BTreeMap<String, String>,
    /// TCP sockets of the newest look, in all states that were asked for.
    pub sockets: Vec<TcpSocket>,
    /// How well the clock is kept.
    pub clock: Option<Result<ClockSync, i32>>,
    /// What had no room.
    pub left_out: usize,
}

/// Passes everything on to a host, and remembers what it said.
#[derive(Clone)]
pub struct Recorder {
    host: Arc<dyn Host>,
    record: Arc<Mutex<Record>>,
}

impl Recorder {
    /// Has seen nothing yet.
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self { host, record: Arc::default() }
    }

    /// What was read since the last call.
    pub fn take(&self) -> Record {
        std::mem::take(&mut *self.record())
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, path: &str, content: Result<&[u8], &io::Error>) {
        let content = match content {
            Ok(content) => Ok(content[..content.len().min(MAX_RECORDED)].to_vec()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => Err(errno(error).unwrap_or_default()),
        };
        self.record().room(|record| drop(record.files.insert(path.to_owned(), content)));
    }
}

impl Record {
    fn room(&mut self, add: impl FnOnce(&mut Self)) {
        let names: usize = self.dirs.values().map(BTreeSet::len).sum();
        if self.files.len() + self.links.len() + names < MAX_ENTRIES { add(self) } else { self.left_out += 1 }
    }

    /// A directory that is there, if with nothing in it.
    fn dir(&mut self, dir: &str) {
        self.room(|record| {
            record.dirs.entry(dir.to_owned()).or_default();
        });
    }

    fn name(&mut self, dir: &str, name: &str) {
        self.room(|record| {
            record.dirs.entry(dir.to_owned()).or_default().insert(name.to_owned());
        });
    }
}

/// The number of an error; what is not there has none.
fn errno(error: &io::Error) -> Option<i32> {
    let unsupported = rustix::io::Errno::OPNOTSUPP.raw_os_error();
    (error.kind() != io::ErrorKind::NotFound).then(|| error.raw_os_error().unwrap_or(unsupported))
}

impl Host for Recorder {
    fn open(&self, path: &str) -> io::Result<Box<dyn HostFile>> {
        let file = self.host.open(path).inspect_err(|error| self.keep(path, Err(error)))?;
        Ok(Box::new(Recorded { recorder: self.clone(), path: path.to_owned(), file }))
    }

    fn read(&self, path: &str, buf: &mut Vec<u8>) -> io::Result<()> {
        let result = self.host.read(path, buf);
        self.keep(path, result.as_ref().map(|()| &buf[..]));
        result
    }

    fn list(&self, path: &str, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.host.list(path, &mut |name| {
            self.record().name(path, name);
            each(name);
        })?;
        self.record().dir(path);
        Ok(())
    }

    fn list_dirs(&self, path: &str, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.host.list_dirs(path, &mut |name| {
            let mut record = self.record();
            record.name(path, name);
            record.subdirs.insert(format!("{path}/{name}"));
            drop(record);
            each(name);
        })?;
        self.record().dir(path);
        Ok(())
    }

    fn count_dirs(&self, path: &str) -> Option<u64> {
        self.host.count_dirs(path)
    }

    fn read_link(&self, path: &str) -> io::Result<String> {
        let target = self.host.read_link(path)?;
        self.record().room(|record| drop(record.links.insert(path.to_owned(), target.clone())));
        Ok(target)
    }

    fn statvfs(&self, path: &Path) -> io::Result<FsStat> {
        let stat = self.host.statvfs(path);
        let kept = stat.as_ref().map_err(errno);
        let path = path.to_string_lossy().into_owned();
        match kept {
            Ok(stat) => drop(self.record().filesystems.insert(path, Ok(*stat))),
            Err(Some(errno)) => drop(self.record().filesystems.insert(path, Err(errno))),
            Err(None) => {}
        }
        stat
    }

    fn nic_driver(&self, interface: &str) -> io::Result<NicDriver> {
        let driver = self.host.nic_driver(interface)?;
        self.record().nics.insert(interface.to_owned(), driver.clone());
        Ok(driver)
    }

    fn nvme_log(&self, device: &str, page: u8, data: &mut [u8]) -> io::Result<()> {
        let result = self.host.nvme_log(device, page, data);
        self.keep(&format!("{device}#log{page}"), result.as_ref().map(|()| &*data));
        result
    }

    fn scsi(&self, device: &str, command: &[u8; 16], data: &mut [u8]) -> io::Result<Vec<u8>> {
        let sense = self.host.scsi(device, command, data);
        let answer = sense.as_ref().map(|sense| [&[sense.len() as u8], &sense[..], data].concat());
        let path = format!("{device}#{:032x}", u128::from_be_bytes(*command));
        self.keep(&path, answer.as_ref().map(|answer| &answer[..]).map_err(|error| *error));
        sense
    }

    fn http_get(&self, socket: &str, path: &str) -> io::Result<Vec<u8>> {
        self.host.http_get(socket, path)
    }

    fn redis_info(&self, addr: &str, password: &str) -> io::Result<String> {
        self.host.redis_info(addr, password)
    }

    fn uname(&self) -> Uname {
        self.host.uname()
    }

    fn clock_sync(&self) -> io::Result<ClockSync> {
        let clock = self.host.clock_sync();
        self.record().clock = match &clock {
            Ok(clock) => Some(Ok(*clock)),
            Err(error) => errno(error).map(Err),
        };
        clock
    }

    fn tcp_sockets(&self, states: u32, each: &mut dyn FnMut(&TcpSocket) -> bool) -> io::Result<()> {
        let mut seen = Vec::new();
        let result = self.host.tcp_sockets(states, &mut |socket| {
            seen.push(*socket);
            each(socket)
        });
        let mut record = self.record();
        record.sockets.retain(|socket| socket.state.mask() & states == 0);
        record.sockets.extend(seen);
        result
    }

    fn run(&self, program: &str, args: &[&str]) -> io::Result<Printed> {
        let printed = self.host.run(program, args)?;
        self.record().printed.insert(format!("{program} {}", args.join(" ")), printed.text.clone());
        Ok(printed)
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

struct Recorded {
    recorder: Recorder,
    path: String,
    file: Box<dyn HostFile>,
}

impl HostFile for Recorded {
    fn read(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        let result = self.file.read(buf);
        self.recorder.keep(&self.path, result.as_ref().map(|()| &buf[..]));
        result
    }
}
