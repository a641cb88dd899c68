//! The machine below the scenarios: mounts, modules, sysctls, control groups, disks.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::{plan, sys};

/// Where the unified control groups are.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// Mounts what every Linux has mounted; what this kernel does not know stays away.
pub fn mount_all() {
    const WANTED: &[(&str, &str)] = &[
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tracefs", "/sys/kernel/tracing"),
        ("debugfs", "/sys/kernel/debug"),
        ("securityfs", "/sys/kernel/security"),
        ("cgroup2", CGROUPS),
        ("tmpfs", "/run"),
    ];
    for (kind, at) in WANTED {
        let _ = fs::create_dir_all(at);
        let _ = mount(kind, at, kind);
    }
    let _ = fs::write(format!("{CGROUPS}/cgroup.subtree_control"), "+memory");
    let _ = sys::interface("lo", true);
}

/// Mounts `source` with file system `kind`.
pub fn mount(source: &str, at: &str, kind: &str) -> io::Result<()> {
    fs::create_dir_all(at)?;
    Ok(rustix::mount::mount(source, at, kind, MountFlags::empty(), None)?)
}

/// Unmounts.
pub fn unmount(at: &str) -> io::Result<()> {
    Ok(rustix::mount::unmount(at, UnmountFlags::empty())?)
}

/// Loads a module after those it needs; one that is loaded already is fine.
pub fn load(name: &str, parameters: &str) -> io::Result<()> {
    load_into(name, parameters, &mut BTreeSet::new())
}

fn load_into(name: &str, parameters: &str, seen: &mut BTreeSet<String>) -> io::Result<()> {
    if !seen.insert(name.to_owned()) {
        return Ok(());
    }
    let file = |suffix: &str| Path::new(plan::MODULES).join(format!("{name}.{suffix}"));
    for needed in fs::read_to_string(file("deps")).unwrap_or_default().split_whitespace() {
        load_into(needed, "", seen)?;
    }
    let image = fs::read(file("ko"))?;
    match rustix::system::init_module(&image, &CString::new(parameters)?) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Unloads a module.
pub fn unload(name: &str) -> io::Result<()> {
    Ok(rustix::system::delete_module(&CString::new(name)?, 0)?)
}

/// Whether the guest's kernel came with this module.
pub fn has_module(name: &str) -> bool {
    Path::new(plan::MODULES).join(format!("{name}.ko")).is_file()
}

/// Reads `/proc/sys/NAME`.
pub fn sysctl(name: &str) -> io::Result<String> {
    Ok(fs::read_to_string(format!("/proc/sys/{name}"))?.trim().to_owned())
}

/// Writes `/proc/sys/NAME`.
pub fn set_sysctl(name: &str, value: &str) -> io::Result<()> {
    fs::write(format!("/proc/sys/{name}"), value)
}

/// A control group below [`CGROUPS`], removed at the end.
#[derive(Debug)]
pub struct Group {
    path: PathBuf,
}

impl Group {
    /// Makes `name` (`/system.slice/web.service`), with the memory controller on all the way down.
    pub fn new(name: &str, limit: &str) -> io::Result<Self> {
        let mut path = PathBuf::from(CGROUPS);
        for part in name.split('/').filter(|p| !p.is_empty()) {
            fs::write(path.join("cgroup.subtree_control"), "+memory")?;
            path.push(part);
            fs::create_dir_all(&path)?;
        }
        let group = Self { path };
        group.set("memory.max", limit)?;
        Ok(group)
    }

    /// Writes one of its files.
    pub fn set(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.path.join(file), value)
    }

    /// File to write a process id to.
    pub fn procs(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

/// A file system in which nothing can be written while it is frozen.
#[derive(Debug)]
pub struct Frozen {
    dir: File,
}

impl Frozen {
    /// Freezes what is mounted at `at`.
    pub fn new(at: &str) -> io::Result<Self> {
        let dir = File::open(at)?;
        sys::freeze(&dir, true)?;
        Ok(Self { dir })
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = sys::freeze(&self.dir, false);
    }
}

/// Reads 4 KiB at `offset` past the page cache.
pub fn direct_read(device: &str, offset: u64) -> io::Result<()> {
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let mut page = Box::new(Page([0; 4096]));
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(device)?;
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut page.0)
}

/// What `/dev/kmsg` holds, newest last.
pub fn kernel_log() -> String {
    let open = rustix::fs::openat(
        CWD,
        "/dev/kmsg",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK,
        rustix::fs::Mode::empty(),
    );
    let Ok(fd) = open else { return String::new() };
    let (mut file, mut text, mut record) = (File::from(fd), String::new(), vec![0; 8192]);
    while let Ok(length) = file.read(&mut record) {
        text += &String::from_utf8_lossy(&record[..length]);
    }
    text
}
