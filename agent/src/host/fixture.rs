//! A host written as text.
//!
//! ```text
//! //- /proc/loadavg
//! 0.54 0.35 0.27 1/92 9127
//! //- /sys/block/vda -> ../devices/pci0000:00/virtio1/block/vda
//! //- statvfs / total=1000 free=500 avail=400 inodes=100 ifree=50 ro
//! //- statvfs /mnt/nfs hang
//! //- nic eth0 virtio_net 1.0
//! //- clock offset=-2500000 max=16000 est=300 ppm=-12.5 synced
//! //- tcp listen 0.0.0.0:22 queued=0 max=128 inode=4711
//! //- tcp close_wait [::1]:80 times=3
//! //- # a remark
//! //- uname web-1 5.15.0-91-generic x86_64
//! //- command nvidia-smi --query-gpu
//! index, name
//! 0, NVIDIA A100
//! //- hex /dev/nvme0n1#log2
//! 00 3a01 57 0a 0d 00*506
//! //- hang /dev/nvme1n1#log2
//! //- hang /sys/class/net/eth0/speed
//! //- redis:6379#INFO
//! uptime_in_seconds:5
//! //- inode /sys/fs/cgroup 1
//! //- denied /sys/class/dmi/id/product_serial
//! //- error /proc/pressure/cpu 95
//! ```
//!
//! What a disk or a daemon answers is a file too: `/dev/nvme0n1#log2` is log page 2, `/dev/sda#850620…` the answer to the
//! SCSI command in hexadecimal (length of the sense data, sense data, data), `SOCKET#PATH` the body of an HTTP answer. `hex`:
//! the content stands there in hexadecimal, `00*506` for so many bytes of one value.
//!
//! A file's content runs to the next header line. Directories follow from the paths of files and
//! links. A command prints what follows it when its words begin like that; `hang` behind it: it never ends. `error` and `statvfs … error=` take an errno. What is not there is `NotFound`.
//! A test may change the host between two passes.

#![expect(clippy::disallowed_types, reason = "a test changes the host while a collector holds it")]

mod hex;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::hex::hex;
use self::words::{clock, statvfs};
use super::command::MAX_OUTPUT;
use super::{ClockSync, FsStat, Host, HostFile, MAX_FILE, NicDriver, Printed, TcpSocket, TcpState, Uname};

/// A host written as text; clones show the same host.
#[derive(Clone, Debug, Default)]
pub struct FixtureHost {
    tree: Arc<Mutex<Tree>>,
}

#[derive(Debug, Default)]
struct Tree {
    nodes: BTreeMap<String, Node>,
    filesystems: BTreeMap<String, Statvfs>,
    nics: BTreeMap<String, NicDriver>,
    inodes: BTreeMap<String, u64>,
    /// Commands and disks that do not answer.
    hanging: BTreeSet<String>,
    uname: Uname,
    clock: Option<Result<ClockSync, i32>>,
    tcp: Vec<TcpSocket>,
}

#[derive(Clone, Debug)]
enum Node {
    File(Vec<u8>),
    Link(String),
    Error(i32),
}

#[derive(Clone, Copy, Debug)]
enum Statvfs {
    Stat(FsStat),
    Error(i32),
    Hang,
}

/// Before the words of a command, among the files.
const COMMAND: &str = "$ ";

/// `EACCES`.
const DENIED: i32 = 13;

impl FixtureHost {
    /// Reads the notation above; the error names the line that is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let host = Self::default();
        host.apply(text)?;
        Ok(host)
    }

    /// Adds to the host, or replaces, what the text says.
    pub fn apply(&self, text: &str) -> Result<(), String> {
        let mut tree = self.tree();
        let mut file: Option<String> = None;
        let mut in_hex = false;
        for line in text.split_inclusive('\n') {
            if let Some(header) = line.strip_prefix("//-") {
                let header = header.trim();
                let plain = header.strip_prefix("hex ");
                in_hex = plain.is_some();
                tree.header(plain.unwrap_or(header), &mut file).ok_or_else(|| format!("fixture: {line}"))?;
            } else if let Some(Node::File(content)) = file.as_ref().and_then(|f| tree.nodes.get_mut(f)) {
                if in_hex {
                    content.extend(hex(line).ok_or_else(|| format!("fixture: no hexadecimal: {line}"))?);
                } else {
                    content.extend_from_slice(line.as_bytes());
                }
            } else if !line.trim().is_empty() {
                return Err(format!("fixture: content without a file: {line}"));
            }
        }
        Ok(())
    }

    /// Replaces the content of one file.
    pub fn set(&self, path: &str, content: impl AsRef<[u8]>) {
        self.tree().nodes.insert(path.to_owned(), Node::File(content.as_ref().to_owned()));
    }

    /// Removes everything at and below a path, and its `statvfs` row.
    pub fn remove(&self, path: &str) {
        let mut tree = self.tree();
        let below = format!("{path}/");
        tree.nodes.retain(|name, _| name != path && !name.starts_with(&below));
        tree.filesystems.remove(path);
    }

    /// Waits for what hangs until the text is changed.
    fn wait(&self, what: &str) {
        while self.tree().hanging.iter().any(|hanging| what.starts_with(hanging)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets everything answer that hangs.
    pub fn release(&self) {
        self.tree().hanging.clear();
    }

    /// Closes all TCP sockets.
    pub fn close_sockets(&self) {
        self.tree().tcp.clear();
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tree {
    /// Acts on one header; `file` becomes the one whose content follows. `None`: not understood.
    fn header(&mut self, header: &str, file: &mut Option<String>) -> Option<()> {
        *file = None;
        let words: Vec<&str> = header.split_whitespace().collect();
        match words[..] {
            ["#", ..] => {}
            ["denied", path] => drop(self.nodes.insert(path.into(), Node::Error(DENIED))),
            ["error", path, errno] => drop(self.nodes.insert(path.into(), Node::Error(errno.parse().ok()?))),
            ["uname", nodename, release, machine] => {
                let [nodename, release, machine] = [nodename, release, machine].map(str::to_owned);
                self.uname = Uname { nodename, release, machine };
            }
            ["nic", name, driver, ref firmware @ ..] => {
                let nic = NicDriver { driver: driver.into(), firmware: firmware.join(" ") };
                self.nics.insert(name.into(), nic);
            }
            ["statvfs", path, ref rest @ ..] => {
                self.filesystems.insert(path.into(), statvfs(rest)?);
            }
            ["clock", ref rest @ ..] => self.clock = Some(clock(rest)?),
            ["tcp", state, address, ref rest @ ..] => {
                let (socket, times) = tcp(state, address, rest)?;
                self.tcp.extend(std::iter::repeat_n(socket, times));
            }
            ["inode", path, inode] => drop(self.inodes.insert(path.into(), inode.parse().ok()?)),
            ["hang", path] => drop(self.hanging.insert(path.into())),
            ["command", ref line @ .., "hang"] => drop(self.hanging.insert(line.join(" "))),
            ["command", ref line @ ..] if !line.is_empty() => {
                let name = format!("{COMMAND}{}", line.join(" "));
                self.hanging.remove(&line.join(" "));
                self.nodes.insert(name.clone(), Node::File(Vec::new()));
                *file = Some(name);
            }
            [path, "->", target] => drop(self.nodes.insert(path.into(), Node::Link(target.into()))),
            [path] if path.starts_with('/') || path.contains('#') => {
                self.nodes.insert(path.into(), Node::File(Vec::new()));
                *file = Some(path.into());
            }
            _ => return None,
        }
        Some(())
    }

    fn file(&self, path: &str) -> io::Result<&[u8]> {
        let node = match self.nodes.get(path) {
            Some(Node::Link(target)) => self.nodes.get(target),
            node => node,
        };
        match node {
            Some(Node::File(content)) => Ok(&content[..content.len().min(MAX_FILE)]),
            Some(Node::Error(errno)) => Err(io::Error::from_raw_os_error(*errno)),
            Some(Node::Link(_)) | None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn tcp(state: &str, address: &str, words: &[&str]) -> Option<(TcpSocket, usize)> {
    let state = TcpState::ALL.into_iter().find(|known| known.name() == state)?;
    let address: SocketAddr = address.parse().ok()?;
    let (ip, port) = (address.ip(), address.port());
    let mut socket = TcpSocket { state, address: ip, port, queued: 0, queue_max: 0, inode: 0 };
    let mut times = 1;
    for word in words {
        match word.split_once('=')? {
            ("queued", value) => socket.queued = value.parse().ok()?,
            ("max", value) => socket.queue_max = value.parse().ok()?,
            ("inode", value) => socket.inode = value.parse().ok()?,
            ("times", value) => times = value.parse().ok()?,
            _ => return None,
        }
    }
    Some((socket, times))
}

impl Host for FixtureHost {
    fn open(&self, path: &str) -> io::Result<Box<dyn HostFile>> {
        self.tree().file(path)?;
        Ok(Box::new(FixtureFile { host: self.clone(), path: path.to_owned() }))
    }

    fn read(&self, path: &str, buf: &mut Vec<u8>) -> io::Result<()> {
        self.wait(path);
        buf.clear();
        buf.extend_from_slice(self.tree().file(path)?);
        Ok(())
    }

    fn list(&self, path: &str, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        let names: BTreeSet<String> = {
            let tree = self.tree();
            if let Some(Node::Error(errno)) = tree.nodes.get(path) {
                return Err(io::Error::from_raw_os_error(*errno));
            }
            let below = format!("{}/", path.trim_end_matches('/'));
            let first = |name: &String| name.strip_prefix(&below)?.split('/').next().map(str::to_owned);
            tree.nodes.keys().filter_map(first).collect()
        };
        if names.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        // `.` stands for a directory with nothing in it.
        for name in names.iter().filter(|name| *name != ".") {
            each(name);
        }
        Ok(())
    }

    fn read_link(&self, path: &str) -> io::Result<String> {
        match self.tree().nodes.get(path) {
            Some(Node::Link(target)) => Ok(target.clone()),
            Some(Node::File(_)) => Err(io::ErrorKind::InvalidInput.into()),
            Some(Node::Error(errno)) => Err(io::Error::from_raw_os_error(*errno)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn inode(&self, path: &str) -> io::Result<u64> {
        self.tree().inodes.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Hangs, where the text says so, until the text is changed.
    fn statvfs(&self, path: &Path) -> io::Result<FsStat> {
        loop {
            let row = self.tree().filesystems.get(&*path.to_string_lossy()).copied();
            match row {
                Some(Statvfs::Stat(stat)) => return Ok(stat),
                Some(Statvfs::Error(errno)) => return Err(io::Error::from_raw_os_error(errno)),
                Some(Statvfs::Hang) => std::thread::sleep(Duration::from_millis(1)),
                None => return Err(io::ErrorKind::NotFound.into()),
            }
        }
    }

    fn nic_driver(&self, interface: &str) -> io::Result<NicDriver> {
        self.tree().nics.get(interface).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn nvme_log(&self, device: &str, page: u8, data: &mut [u8]) -> io::Result<()> {
        let path = format!("{device}#log{page}");
        self.wait(&path);
        let tree = self.tree();
        let page = tree.file(&path)?;
        data.iter_mut().zip(page).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    fn scsi(&self, device: &str, command: &[u8; 16], data: &mut [u8]) -> io::Result<Vec<u8>> {
        let command = u128::from_be_bytes(*command);
        let tree = self.tree();
        let Some((&length, rest)) = tree.file(&format!("{device}#{command:032x}"))?.split_first() else {
            return Ok(Vec::new());
        };
        let (sense, rest) = rest.split_at(rest.len().min(usize::from(length)));
        data.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Ok(sense.to_vec())
    }

    /// Hangs, where the text says so, until the text is changed.
    fn run(&self, program: &str, args: &[&str]) -> io::Result<Printed> {
        let line = format!("{program} {}", args.join(" "));
        self.wait(&line);
        let line = format!("{COMMAND}{line}");
        let tree = self.tree();
        let known = tree.nodes.keys().filter(|name| name.starts_with(COMMAND) && line.starts_with(*name));
        let name = known.max_by_key(|name| name.len()).ok_or(io::ErrorKind::NotFound)?;
        let bytes = tree.file(name)?;
        let kept = &bytes[..bytes.len().min(MAX_OUTPUT as usize)];
        let text = String::from_utf8_lossy(kept).into_owned();
        Ok(Printed { text, success: true, is_cut: kept.len() < bytes.len() })
    }

    fn http_get(&self, socket: &str, path: &str) -> io::Result<Vec<u8>> {
        Ok(self.tree().file(&format!("{socket}#{path}"))?.to_vec())
    }

    fn redis_info(&self, addr: &str, _: &str) -> io::Result<String> {
        Ok(String::from_utf8_lossy(self.tree().file(&format!("{addr}#INFO"))?).into_owned())
    }

    fn uname(&self) -> Uname {
        self.tree().uname.clone()
    }

    fn clock_sync(&self) -> io::Result<ClockSync> {
        match self.tree().clock {
            Some(clock) => clock.map_err(io::Error::from_raw_os_error),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn tcp_sockets(&self, states: u32, each: &mut dyn FnMut(&TcpSocket) -> bool) -> io::Result<()> {
        let sockets = self.tree().tcp.clone();
        let wanted = |socket: &&TcpSocket| socket.state.mask() & states != 0;
        let _ = sockets.iter().filter(wanted).all(each);
        Ok(())
    }

    fn shared(&self) -> Arc<dyn Host> {
        Arc::new(self.clone())
    }
}

struct FixtureFile {
    host: FixtureHost,
    path: String,
}

impl HostFile for FixtureFile {
    fn read(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        self.host.read(&self.path, buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::read_text;

    const HOST: &str = "\
//- /proc/loadavg
0.54 0.35
//- /proc/1/stat
1 (init) S
second line
//- /sys/block/vda -> ../devices/vda
//- statvfs / total=1000 free=500 avail=400 inodes=100 ifree=50 ro
//- statvfs /dead hang
//- statvfs /bad error=5
//- nic eth0 virtio_net 1.0 beta
//- uname web-1 5.15.0 x86_64
//- denied /secret
//- error /proc/pressure/cpu 95
//- hex /dev/x#log2
0a ff
1234 00*3
//- a:1#INFO
up
";

    fn names(host: &FixtureHost, path: &str) -> Vec<String> {
        let mut names = Vec::new();
        host.list(path, &mut |name| names.push(name.to_owned())).unwrap();
        names
    }

    #[test]
    fn the_notation_is_understood() {
        let host = FixtureHost::parse(HOST).unwrap();
        assert_eq!(read_text(&host, "/proc/loadavg").unwrap(), "0.54 0.35\n");
        assert_eq!(read_text(&host, "/proc/1/stat").unwrap(), "1 (init) S\nsecond line\n");
        assert_eq!(names(&host, "/proc"), ["1", "loadavg", "pressure"]);
        assert_eq!(names(&host, "/"), ["dev", "proc", "secret", "sys"]);
        assert_eq!(host.read_link("/sys/block/vda").unwrap(), "../devices/vda");
        let root = host.statvfs(Path::new("/")).unwrap();
        assert_eq!((root.total_bytes, root.inodes_free, root.read_only), (1000, 50, true));
        assert_eq!(host.statvfs(Path::new("/bad")).unwrap_err().raw_os_error(), Some(5));
        assert_eq!(host.nic_driver("eth0").unwrap().firmware, "1.0 beta");
        assert_eq!(host.uname().nodename, "web-1");
        assert_eq!(read_text(&host, "/secret").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(read_text(&host, "/proc/pressure/cpu").unwrap_err().raw_os_error(), Some(95));
        assert_eq!(host.tree().file("/dev/x#log2").unwrap(), [0x0a, 0xff, 0x12, 0x34, 0, 0, 0]);
        assert_eq!(host.redis_info("a:1", "").unwrap(), "up\n");
        assert_eq!(read_text(&host, "/none").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn it_changes_between_passes() {
        let host = FixtureHost::parse(HOST).unwrap();
        let mut kept = host.open("/proc/loadavg").unwrap();
        let mut buf = Vec::new();
        host.set("/proc/loadavg", b"\xff 1.0");
        kept.read(&mut buf).unwrap();
        assert_eq!(buf, b"\xff 1.0");
        host.remove("/proc");
        assert_eq!(kept.read(&mut buf).unwrap_err().kind(), io::ErrorKind::NotFound);
        let dead = {
            let host = host.clone();
            std::thread::spawn(move || host.statvfs(Path::new("/dead")))
        };
        host.apply("//- statvfs /dead total=5").unwrap();
        assert_eq!(dead.join().unwrap().unwrap().total_bytes, 5);
    }

    #[test]
    fn wrong_notation_is_named() {
        for text in [
            "content",
            "//- what is this",
            "//- statvfs / total=x",
            "//- error /a b",
            "//- statvfs / tot=1",
            "//- hex /a\nxy",
        ] {
            let error = FixtureHost::parse(text).unwrap_err();
            assert!(error.contains(text.lines().last().unwrap()), "{error}");
        }
    }
}
