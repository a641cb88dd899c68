//! The host as an argument: everything the agent reads from the machine goes through [`Host`].
//!
//! [`live::LiveHost`] is the real one, [`fixture::FixtureHost`] is written as text in a test.
//! Paths are those of the host (`/proc/stat`); the implementation maps them to
//! `agent.host_root`, `agent.proc_root` and `agent.sys_root`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::text::arguments;

pub mod agent_id;
pub mod agent_id_file;
mod apart;
pub mod aside;
pub mod block;
pub mod cgroup_ids;
pub mod clock;
pub mod command;
mod diag;
mod ethtool;
pub mod fixture;
pub mod glob;
pub mod gpu;
pub mod health;
pub mod heap;
pub mod hook;
pub mod kallsyms;
pub mod keeping;
pub mod live;
pub mod memcg;
pub mod namespace;
mod net_tcp;
pub mod parse;
mod passthrough;
mod peer;
pub mod program;
pub mod recorder;
mod sockets;
pub mod state;
pub mod tail;
pub mod tasks;
mod timex;

pub use sockets::{TcpSocket, TcpState};

/// What `statvfs` tells of a filesystem.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FsStat {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes not used.
    pub free_bytes: u64,
    /// Bytes not used that an ordinary user may take.
    pub available_bytes: u64,
    /// Inodes in all; 0 where the filesystem has no such limit.
    pub inodes: u64,
    /// Inodes not used.
    pub inodes_free: u64,
    /// Mounted read-only.
    pub read_only: bool,
    /// Major and minor number of the device whose directory was found there, and no other thing.
    pub device: Option<(u32, u32)>,
}

/// What `ETHTOOL_GDRVINFO` tells of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NicDriver {
    /// Driver name.
    pub driver: String,
    /// Firmware version; may be empty.
    pub firmware: String,
}

/// What `adjtimex` tells of the clock.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClockSync {
    /// A daemon has told the kernel that it is in step with others.
    pub synchronized: bool,
    /// Still to be corrected, nanoseconds.
    pub offset_ns: i64,
    /// Greatest possible error, microseconds.
    pub max_error_us: i64,
    /// Probable error, microseconds.
    pub estimated_error_us: i64,
    /// Correction of the frequency, parts per million.
    pub frequency_ppm: f64,
}

/// What `uname` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uname {
    /// Host name.
    pub nodename: String,
    /// Kernel release.
    pub release: String,
    /// Machine, e.g. `x86_64`.
    pub machine: String,
}

/// A process's arguments with spaces between them, cut to `max` bytes; `None` if it has none or is gone.
///
/// Takes the memory lock of the process, which may be held for long: to be asked [`aside`].
pub fn cmdline(host: &dyn Host, pid: u32, max: usize) -> Option<String> {
    let mut bytes = Vec::new();
    host.read(&format!("/proc/{pid}/cmdline"), &mut bytes).ok()?;
    bytes.truncate(max);
    arguments(bytes)
}

/// What a program printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// Its output, cut at 4 MiB; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Whether it ended as it does when all is well.
    pub success: bool,
    /// Whether more was printed than is kept.
    pub is_cut: bool,
}

/// A file that stays open between passes.
pub trait HostFile: Send {
    /// Replaces `buf` with the file's content from its start. A file larger than
    /// [`MAX_FILE`] is cut there.
    fn read(&mut self, buf: &mut Vec<u8>) -> io::Result<()>;
    /// Reads from `offset` on into `buf` and says how many bytes; 0 at the end. For files of
    /// megabytes, of which nobody wants to hold all.
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut whole = Vec::new();
        self.read(&mut whole)?;
        let rest = usize::try_from(offset).ok().and_then(|at| whole.get(at..)).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
    /// Whether its content may be another than at the last question. Only a file of which the kernel tells says no.
    fn may_differ(&mut self) -> bool {
        true
    }
}

/// A directory that stays open between passes. When it was taken away there is nothing in it any more, even if another one
/// has its name.
pub trait HostDir: Send {
    /// As [`Host::count_dirs`].
    fn count_dirs(&mut self) -> Option<u64>;
    /// As [`Host::list_nodes`].
    fn list_nodes(&mut self, each: &mut dyn FnMut(&str, u64)) -> io::Result<()>;
}

/// Largest file read, bytes.
pub const MAX_FILE: usize = 16 << 20;

/// The machine.
pub trait Host: Send + Sync {
    /// Opens a file to be read again and again.
    fn open(&self, path: &str) -> io::Result<Box<dyn HostFile>>;
    /// Replaces `buf` with the file's content.
    fn read(&self, path: &str, buf: &mut Vec<u8>) -> io::Result<()>;
    /// Calls `each` with the name of every entry of a directory, `.` and `..` left out.
    fn list(&self, path: &str, each: &mut dyn FnMut(&str)) -> io::Result<()>;
    /// As [`Host::list`], with a number that stays with an entry when its name changes: its inode, or where a host has
    /// none a number made of what it links to.
    fn list_nodes(&self, path: &str, each: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        self.list(path, &mut |name| {
            let target =
                self.read_link(&format!("{}/{name}", path.trim_end_matches('/'))).unwrap_or_default();
            each(
                name,
                target.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into())),
            );
        })
    }
    /// Inode of a file or directory: another one after it was taken away and put back.
    fn inode(&self, _path: &str) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Calls `each` with the name of every directory in a directory.
    fn list_dirs(&self, path: &str, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        let mut names = Vec::new();
        self.list(path, &mut |name| names.push(name.to_owned()))?;
        let dirs = names.iter().filter(|name| self.list(&format!("{path}/{name}"), &mut |_| {}).is_ok());
        dirs.for_each(|name| each(name));
        Ok(())
    }
    /// How many directories lie in a directory, where that is sooner known than they are listed.
    fn count_dirs(&self, _path: &str) -> Option<u64> {
        None
    }
    /// Opens a directory to be looked at again and again. `Unsupported`: it is to be asked for by its path each time.
    fn open_dir(&self, _path: &str) -> io::Result<Box<dyn HostDir>> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Target of a symbolic link.
    fn read_link(&self, path: &str) -> io::Result<String>;
    /// Filesystem figures. May hang on a dead mount: call it aside.
    fn statvfs(&self, path: &Path) -> io::Result<FsStat>;
    /// The same from a process of its own, for filesystems that may hold a thread for ever, whatever becomes of its
    /// process. Call it aside too.
    fn statvfs_apart(&self, path: &Path) -> io::Result<FsStat> {
        self.statvfs(path)
    }
    /// Driver and firmware of an interface.
    fn nic_driver(&self, interface: &str) -> io::Result<NicDriver>;
    /// Fills `data` with the beginning of a log page of an NVMe controller; `device` is a disk of it. Takes as
    /// long as the disk takes: call it aside.
    fn nvme_log(&self, device: &str, page: u8, data: &mut [u8]) -> io::Result<()> {
        let _ = (device, page, data);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Sends a SCSI command that reads into `data`, and gives the sense data; empty: nothing to say. Takes as
    /// long as the disk takes: call it aside.
    fn scsi(&self, device: &str, command: &[u8; 16], data: &mut [u8]) -> io::Result<Vec<u8>> {
        let _ = (device, command, data);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Body of a daemon's answer to `GET path` over a Unix socket. Takes as long as the daemon does: call it aside.
    fn http_get(&self, socket: &str, path: &str) -> io::Result<Vec<u8>> {
        let _ = (socket, path);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// What the Redis server at `addr` (host and port) says of itself. Takes as long as it does: call it aside.
    fn redis_info(&self, addr: &str, password: &str) -> io::Result<String> {
        let _ = (addr, password);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Kernel and host name.
    fn uname(&self) -> Uname;
    /// How well the clock is kept.
    fn clock_sync(&self) -> io::Result<ClockSync> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Calls `each` with the TCP sockets in the states of a mask ([`TcpState::mask`]) until it
    /// returns false.
    fn tcp_sockets(&self, _states: u32, _each: &mut dyn FnMut(&TcpSocket) -> bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Runs one of the programs that come with a driver, by name, and waits for its end, however long: call it aside.
    /// `NotFound`: there is no such program.
    fn run(&self, _program: &str, _args: &[&str]) -> io::Result<Printed> {
        Err(io::ErrorKind::NotFound.into())
    }
    /// The NVIDIA driver. Finding out how to ask it may take for ever too.
    fn gpus(&self) -> Box<dyn gpu::Driver> {
        Box::new(gpu::smi::Smi::new(self.shared()))
    }
    /// Entries of a `/proc/PID/fd`, without the one that listing it takes.
    fn count_fds(&self, path: &str) -> io::Result<u64> {
        let mut count = 0u64;
        self.list(path, &mut |_| count += 1)?;
        Ok(count.saturating_sub(u64::from(path == "/proc/self/fd")))
    }
    /// Files this process may have open at once.
    fn max_open_files(&self) -> u64 {
        1024
    }
    /// Clock ticks per second of `/proc` times (`USER_HZ`).
    fn ticks_per_second(&self) -> u64 {
        100
    }
    /// Bytes per page.
    fn page_size(&self) -> u64 {
        4096
    }
    /// A handle that another thread may keep, for what is done [`aside`].
    fn shared(&self) -> Arc<dyn Host>;
}

/// Content of a text file, cut at [`MAX_FILE`]; bytes that are not UTF-8 are replaced.
pub fn read_text(host: &dyn Host, path: &str) -> io::Result<String> {
    let mut buf = Vec::new();
    host.read(path, &mut buf)?;
    Ok(String::from_utf8_lossy(&buf).into_owned())
}
