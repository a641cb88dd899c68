//! The real host.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, RawDir, StatVfsMountFlags};

#[cfg(all(feature = "gpu", not(target_env = "musl")))]
use super::gpu;
use super::{
    ClockSync, FsStat, Host, HostFile, MAX_FILE, NicDriver, Printed, TcpSocket, Uname, apart, command, diag,
    ethtool, passthrough, peer, timex,
};

/// The machine this process runs on, seen through the roots of the configuration.
#[derive(Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "they are named as in the configuration")]
pub struct LiveHost {
    host_root: String,
    proc_root: String,
    sys_root: String,
}

impl LiveHost {
    /// `host_root` is where the host's `/` is seen, `proc_root` its `/proc`, `sys_root` its `/sys`.
    pub fn new(host_root: &str, proc_root: &str, sys_root: &str) -> Self {
        let trim = |root: &str| root.trim_end_matches('/').to_owned();
        Self { host_root: trim(host_root), proc_root: trim(proc_root), sys_root: trim(sys_root) }
    }

    /// Where a path of the host is seen by this process.
    fn map<'a>(&self, path: &'a str) -> Cow<'a, str> {
        let (from, root) = match path {
            _ if below(path, "/proc") => ("/proc", &self.proc_root),
            _ if below(path, "/sys") => ("/sys", &self.sys_root),
            _ => ("", &self.host_root),
        };
        if root == from { Cow::Borrowed(path) } else { Cow::Owned(format!("{root}{}", &path[from.len()..])) }
    }

    fn open_fd(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        Ok(rustix::fs::openat(CWD, &*self.map(path), flags, Mode::empty())?)
    }

    fn entries(&self, path: &str, each: &mut dyn FnMut(&str, FileType, u64)) -> io::Result<()> {
        let fd = self.open_fd(path, OFlags::DIRECTORY)?;
        let mut room = [MaybeUninit::uninit(); DIR_BUFFER];
        let mut dir = RawDir::new(fd, &mut room);
        while let Some(entry) = dir.next() {
            let entry = entry?;
            match entry.file_name().to_bytes() {
                b"." | b".." => {}
                name => each(&String::from_utf8_lossy(name), entry.file_type(), entry.ino()),
            }
        }
        Ok(())
    }
}

impl Default for LiveHost {
    fn default() -> Self {
        Self::new("/", "/proc", "/sys")
    }
}

fn below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Host for LiveHost {
    fn open(&self, path: &str) -> io::Result<Box<dyn HostFile>> {
        let fd = self.open_fd(path, OFlags::empty())?;
        Ok(Box::new(LiveFile { fd, long_records: path.ends_with("/mountinfo") }))
    }

    fn read(&self, path: &str, buf: &mut Vec<u8>) -> io::Result<()> {
        read_whole(self.open_fd(path, OFlags::empty())?.as_fd(), buf, 0)
    }

    fn list(&self, path: &str, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.entries(path, &mut |name, _, _| each(name))
    }

    fn list_nodes(&self, path: &str, each: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        self.entries(path, &mut |name, _, node| each(name, node))
    }

    fn inode(&self, path: &str) -> io::Result<u64> {
        Ok(rustix::fs::stat(&*self.map(path))?.st_ino)
    }

    fn list_dirs(&self, path: &str, each: &mut dyn FnMut(&str)) -> io::Result<()> {
        self.entries(path, &mut |name, kind, _| {
            if kind == FileType::Directory {
                each(name);
            }
        })
    }

    fn has_no_dirs(&self, path: &str) -> bool {
        // A link for itself, one from above, and one from each directory in it (`kernfs_refresh_inode`, `fs/kernfs/inode.c`).
        path.starts_with("/sys/") && rustix::fs::stat(&*self.map(path)).is_ok_and(|stat| stat.st_nlink == 2)
    }

    fn read_link(&self, path: &str) -> io::Result<String> {
        let target: CString = rustix::fs::readlinkat(CWD, &*self.map(path), Vec::new())?;
        Ok(target.to_string_lossy().into_owned())
    }

    fn statvfs(&self, path: &str) -> io::Result<FsStat> {
        Ok(statvfs(&CString::new(&*self.map(path))?)?)
    }

    fn statvfs_apart(&self, path: &str) -> io::Result<FsStat> {
        apart::statvfs(&self.map(path))
    }

    fn nic_driver(&self, interface: &str) -> io::Result<NicDriver> {
        ethtool::driver(interface)
    }

    fn nvme_log(&self, device: &str, page: u8, data: &mut [u8]) -> io::Result<()> {
        passthrough::nvme_log(self.open_fd(device, OFlags::NONBLOCK)?, page, data)
    }

    fn scsi(&self, device: &str, command: &[u8; 16], data: &mut [u8]) -> io::Result<Vec<u8>> {
        passthrough::scsi(self.open_fd(device, OFlags::NONBLOCK)?, command, data)
    }

    fn http_get(&self, socket: &str, path: &str) -> io::Result<Vec<u8>> {
        peer::http_get(&self.map(socket), path)
    }

    fn redis_info(&self, addr: &str, password: &str) -> io::Result<String> {
        peer::redis_info(addr, password)
    }

    fn uname(&self) -> Uname {
        let uname = rustix::system::uname();
        Uname {
            nodename: uname.nodename().to_string_lossy().into_owned(),
            release: uname.release().to_string_lossy().into_owned(),
            machine: uname.machine().to_string_lossy().into_owned(),
        }
    }

    fn clock_sync(&self) -> io::Result<ClockSync> {
        timex::read()
    }

    fn tcp_sockets(&self, states: u32, each: &mut dyn FnMut(&TcpSocket) -> bool) -> io::Result<()> {
        diag::tcp_sockets(states, each)
    }

    fn run(&self, program: &str, args: &[&str]) -> io::Result<Printed> {
        command::run(program, args)
    }

    #[cfg(all(feature = "gpu", not(target_env = "musl")))]
    fn gpus(&self) -> Box<dyn gpu::Driver> {
        match gpu::nvml::Library::load() {
            Some(library) => Box::new(library),
            None => Box::new(gpu::smi::Smi::new(self.shared())),
        }
    }

    fn count_fds(&self, path: &str) -> io::Result<u64> {
        const OWN: &str = "/proc/self/fd";
        // Since 6.2 it is the size of the directory (f1f1f2569901): a fifth of the cost, and open to all.
        let size =
            |path| rustix::fs::stat(&*self.map(path)).map(|stat| u64::try_from(stat.st_size).unwrap_or(0));
        let count = size(path)?;
        if count > 0 || size(OWN).is_ok_and(|own| own > 0) {
            return Ok(count);
        }
        let mut count = 0u64;
        self.list(path, &mut |_| count += 1)?;
        Ok(count.saturating_sub(u64::from(path == OWN)))
    }

    fn max_open_files(&self) -> u64 {
        use rustix::process::{Resource, getrlimit};
        getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
    }

    fn ticks_per_second(&self) -> u64 {
        rustix::param::clock_ticks_per_second().max(1)
    }

    fn page_size(&self) -> u64 {
        rustix::param::page_size() as u64
    }

    fn shared(&self) -> Arc<dyn Host> {
        Arc::new(self.clone())
    }
}

/// Bytes of directory entries fetched at once, on the stack: some 250 processes.
const DIR_BUFFER: usize = 8192;

/// Makes one system call and allocates nothing.
pub(super) fn statvfs(path: &CStr) -> rustix::io::Result<FsStat> {
    let stat = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(FsStat {
        total_bytes: bytes(stat.f_blocks),
        free_bytes: bytes(stat.f_bfree),
        available_bytes: bytes(stat.f_bavail),
        inodes: stat.f_files,
        inodes_free: stat.f_ffree,
        read_only: stat.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

struct LiveFile {
    fd: OwnedFd,
    long_records: bool,
}

impl HostFile for LiveFile {
    fn read(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        read_whole(self.fd.as_fd(), buf, if self.long_records { 0 } else { SURE_END })
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::pread(&self.fd, &mut *buf, offset))?)
    }
}

/// A read that ends below this many bytes in all has seen the end of a `/proc` or `/sys` file.
///
/// The kernel (`fs/seq_file.c`) stops early only when the next record does not fit its page of
/// 4096 bytes, and no record of the files kept open is as long as half of one; `mountinfo` lines
/// can be. Saves the second syscall for most files.
const SURE_END: usize = 2048;

/// Room a buffer starts with: what the kernel gives in one piece.
const FIRST_ROOM: usize = 4096;

fn read_whole(fd: impl AsFd, buf: &mut Vec<u8>, sure_end: usize) -> io::Result<()> {
    buf.clear();
    while buf.len() < MAX_FILE {
        if buf.len() == buf.capacity() {
            buf.reserve(FIRST_ROOM.max(buf.capacity()));
        }
        let offset = buf.len() as u64;
        let read = match rustix::io::pread(&fd, spare_capacity(buf), offset) {
            Ok(read) => read,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        if read == 0 || buf.len() < sure_end {
            return Ok(());
        }
    }
    buf.truncate(MAX_FILE);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::read_text;
    use std::fs;

    #[test]
    fn paths_go_to_their_roots() {
        let bare = LiveHost::default();
        let inside = LiveHost::new("/host/", "/host/proc", "/host/sys/");
        for (path, expect) in [
            ("/proc/stat", "/host/proc/stat"),
            ("/proc", "/host/proc"),
            ("/sys/block", "/host/sys/block"),
            ("/system/x", "/host/system/x"),
            ("/etc/os-release", "/host/etc/os-release"),
            ("/", "/host/"),
        ] {
            assert_eq!(inside.map(path), expect);
            assert_eq!(bare.map(path), path);
        }
    }

    #[test]
    fn files_are_read_whole_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let host = LiveHost::new(dir.path().to_str().unwrap(), "/proc", "/sys");
        let mut buf = Vec::new();
        for size in [0, 1, SURE_END - 1, SURE_END, FIRST_ROOM, FIRST_ROOM + 1, 100_000] {
            let content = vec![b'x'; size];
            fs::write(dir.path().join("file"), &content).unwrap();
            let mut kept = host.open("/file").unwrap();
            for _ in 0..2 {
                kept.read(&mut buf).unwrap();
                assert_eq!(buf, content, "kept open, {size} bytes");
            }
            host.read("/file", &mut buf).unwrap();
            assert_eq!(buf, content, "read once, {size} bytes");
        }
        fs::File::create(dir.path().join("file")).unwrap().set_len(MAX_FILE as u64 + 5).unwrap();
        host.read("/file", &mut buf).unwrap();
        assert_eq!(buf.len(), MAX_FILE);
        assert_eq!(host.open("/none").err().unwrap().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn kernel_files_longer_than_a_page_are_read_to_their_end() {
        let host = LiveHost::default();
        let mut kept = Vec::new();
        // A module or a BPF program that comes meanwhile adds symbols: then once more.
        let agrees = |path: &str, kept: &mut Vec<u8>| {
            let lines = || fs::read_to_string(path).unwrap().lines().count();
            let before = lines();
            host.open(path).unwrap().read(kept).unwrap();
            let ours = kept.split(|&b| b == b'\n').count() - 1;
            (before..=lines()).contains(&ours)
        };
        for path in ["/proc/vmstat", "/proc/stat", "/proc/kallsyms"] {
            assert!((0..20).any(|_| agrees(path, &mut kept)), "{path}");
        }
    }

    #[test]
    fn the_running_system_answers() {
        let host = LiveHost::default();
        let mut names = 0;
        let mut found = false;
        host.list("/proc", &mut |name| {
            assert!(name != "." && name != "..");
            names += 1;
            found |= name == "self";
        })
        .unwrap();
        assert!(found && names > 20);
        let mut dirs = Vec::new();
        host.list_dirs("/proc/self", &mut |name| dirs.push(name.to_owned())).unwrap();
        assert!(dirs.iter().any(|d| d == "fd") && !dirs.iter().any(|d| d == "stat"), "{dirs:?}");
        for path in ["/sys", "/sys/class", "/sys/class/net", "/sys/kernel", "/sys/none", "/proc"] {
            let mut dirs = 0;
            let listed = host.list_dirs(path, &mut |_| dirs += 1).is_ok();
            assert_eq!(host.has_no_dirs(path), listed && dirs == 0, "{path}");
        }
        assert_eq!(host.read_link("/proc/self").unwrap(), std::process::id().to_string());
        assert_eq!(host.uname().release, read_text(&host, "/proc/sys/kernel/osrelease").unwrap().trim());
        let root = host.statvfs("/").unwrap();
        assert!(root.total_bytes > root.free_bytes && root.free_bytes >= root.available_bytes);
        assert_eq!(host.ticks_per_second(), 100);
        assert!(host.page_size() >= 4096);
        assert!(host.nic_driver("no-such-nic").is_err());
        assert!(host.nic_driver("a-name-longer-than-the-kernel-allows").is_err());
    }
}
