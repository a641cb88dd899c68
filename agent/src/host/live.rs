//! The real host.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Access, CWD, FileType, Mode, OFlags, StatVfsMountFlags};

#[cfg(all(feature = "gpu", not(target_env = "musl")))]
use super::gpu;
use super::{
    ClockSync, FsStat, Host, HostDir, HostFile, NicDriver, Printed, TcpSocket, Uname, apart, command, diag,
    ethtool, namespace, net_tcp, passthrough, peer, timex,
};

mod dir;
mod file;

use dir::LiveDir;
use file::{LiveFile, read_whole};

/// The machine this process runs on, seen through the roots of the configuration.
#[derive(Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "they are named as in the configuration")]
pub struct LiveHost {
    host_root: String,
    proc_root: String,
    sys_root: String,
    /// Where the network of the host is seen; empty: where `proc_root` says.
    net_root: String,
}

/// A process whose network is the host's, wherever this one lives: `/proc/net` is that of whoever reads it. Everybody may
/// look (`get_proc_task_net`, `fs/proc/proc_net.c`), but for `hidepid`.
const NET: &str = "/1/net";

impl LiveHost {
    /// `host_root` is where the host's `/` is seen, `proc_root` its `/proc`, `sys_root` its `/sys`.
    pub fn new(host_root: &str, proc_root: &str, sys_root: &str) -> Self {
        let trim = |root: &str| root.trim_end_matches('/').to_owned();
        let net_root = format!("{}{NET}", trim(proc_root));
        let net_root =
            if rustix::fs::access(&*net_root, Access::EXEC_OK).is_ok() { net_root } else { String::new() };
        Self { host_root: trim(host_root), proc_root: trim(proc_root), sys_root: trim(sys_root), net_root }
    }

    /// Where a path of the host is seen by this process.
    fn map<'a>(&self, path: &'a str) -> Cow<'a, str> {
        let (from, root) = match path {
            _ if below(path, "/proc/net") && !self.net_root.is_empty() => ("/proc/net", &self.net_root),
            _ if below(path, "/proc") => ("/proc", &self.proc_root),
            _ if below(path, "/sys") => ("/sys", &self.sys_root),
            _ => ("", &self.host_root),
        };
        if root == from { Cow::Borrowed(path) } else { Cow::Owned(format!("{root}{}", &path[from.len()..])) }
    }

    /// The same for the path of anything, which may hold any byte but one. `/proc` and `/sys` hold text only.
    fn map_path(&self, path: &Path) -> io::Result<CString> {
        let bytes = match path.to_str() {
            Some(text) => self.map(text).into_owned().into_bytes(),
            None => [self.host_root.as_bytes(), path.as_os_str().as_bytes()].concat(),
        };
        Ok(CString::new(bytes)?)
    }

    fn open_fd(&self, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
        // A pipe at a path that somebody configured is not waited for; files take no notice of that.
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        Ok(rustix::fs::openat(CWD, &*self.map(path), flags, Mode::empty())?)
    }

    fn entries(&self, path: &str, each: &mut dyn FnMut(&str, FileType, u64)) -> io::Result<()> {
        dir::entries(self.open_fd(path, OFlags::DIRECTORY)?, below(path, "/sys"), each)
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
        Ok(Box::new(LiveFile::new(fd, path)))
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

    fn count_dirs(&self, path: &str) -> Option<u64> {
        if below(path, "/sys") { dir::dirs_of(&rustix::fs::stat(&*self.map(path)).ok()?) } else { None }
    }

    fn open_dir(&self, path: &str) -> io::Result<Box<dyn HostDir>> {
        Ok(Box::new(LiveDir::new(self.open_fd(path, OFlags::DIRECTORY)?, below(path, "/sys"))))
    }

    fn read_link(&self, path: &str) -> io::Result<String> {
        let target: CString = rustix::fs::readlinkat(CWD, &*self.map(path), Vec::new())?;
        Ok(target.to_string_lossy().into_owned())
    }

    fn statvfs(&self, path: &Path) -> io::Result<FsStat> {
        Ok(statvfs(&self.map_path(path)?)?)
    }

    fn statvfs_apart(&self, path: &Path) -> io::Result<FsStat> {
        apart::statvfs(&self.map_path(path)?)
    }

    fn nic_driver(&self, interface: &str) -> io::Result<NicDriver> {
        // It would be asked of an interface of the same name here.
        if namespace::has_own_net(self) {
            return Err(io::ErrorKind::Unsupported.into());
        }
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
        // The kernel answers for the network of whoever asks.
        if !self.net_root.is_empty() && namespace::has_own_net(self) {
            return net_tcp::tcp_sockets(self, states, each);
        }
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

/// Makes two system calls and allocates nothing.
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
        device: device(path),
    })
}

/// Of a directory: files of some filesystems (overlay) bear the number of what lies below.
fn device(path: &CStr) -> Option<(u32, u32)> {
    let stat = rustix::fs::stat(path).ok()?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    is_dir.then(|| (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::MAX_FILE;
    use crate::host::live::file::{FIRST_ROOM, SURE_END};
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

    /// `/proc/net` of a process is its own; where process 1 is seen, its network is read.
    #[test]
    fn the_network_is_that_of_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let host = || LiveHost::new("/", root, "/sys");
        assert_eq!(host().map("/proc/net/dev"), format!("{root}/net/dev"), "nobody sees process 1");
        fs::create_dir_all(dir.path().join("1/net")).unwrap();
        assert_eq!(host().map("/proc/net/dev"), format!("{root}/1/net/dev"));
        assert_eq!(host().map("/proc/network"), format!("{root}/network"));
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
        for path in
            ["/sys", "/sys/class", "/sys/class/net", "/sys/kernel", "/sys/none", "/sys/kernel/slab", "/proc"]
        {
            let mut dirs = 0;
            let listed = host.list_dirs(path, &mut |_| dirs += 1).is_ok();
            let expect = (listed && path.starts_with("/sys")).then_some(dirs);
            assert_eq!(host.count_dirs(path), expect, "{path}");
            let kept = host.open_dir(path);
            assert_eq!(kept.is_ok(), listed, "{path}");
            let Ok(mut kept) = kept else { continue };
            assert_eq!(kept.count_dirs(), expect, "{path}");
            let (mut once, mut again) = (Vec::new(), Vec::new());
            host.list_nodes(path, &mut |name, node| once.push((name.to_owned(), node))).unwrap();
            for _ in 0..2 {
                again.clear();
                kept.list_nodes(&mut |name, node| again.push((name.to_owned(), node))).unwrap();
                // Processes come and go.
                assert!(again == once || path == "/proc", "{path}");
            }
        }
        assert_eq!(host.read_link("/proc/self").unwrap(), std::process::id().to_string());
        assert_eq!(host.uname().release, read_text(&host, "/proc/sys/kernel/osrelease").unwrap().trim());
        let root = host.statvfs(Path::new("/")).unwrap();
        assert!(root.total_bytes > root.free_bytes && root.free_bytes >= root.available_bytes);
        assert_eq!(host.ticks_per_second(), 100);
        assert!(host.page_size() >= 4096);
        assert!(host.nic_driver("no-such-nic").is_err());
        assert!(host.nic_driver("a-name-longer-than-the-kernel-allows").is_err());
    }
}
