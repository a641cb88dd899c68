//! A table of mounts of one's own: what is mounted there nobody else on the machine meets.

use std::io;
use std::thread;

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};
use rustix::thread::gettid;

/// Runs `work` on a thread whose mounts only it and its children see; they find them at `/proc/1` too.
pub(crate) fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            enter().expect("mounts of our own");
            work()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn enter() -> io::Result<()> {
    // SAFETY: the calling thread gets mounts, root and working directory of its own; no memory is concerned.
    if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let own = format!("/proc/{}/task/{}", std::process::id(), gettid().as_raw_nonzero());
    Ok(mount_bind(own, "/proc/1")?)
}

/// An empty folder in the place of `path`, for a while.
pub(crate) struct Hidden(&'static str);

impl Hidden {
    /// Covers what is there.
    pub(crate) fn new(path: &'static str) -> io::Result<Self> {
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), None)?;
        Ok(Self(path))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = unmount(self.0, UnmountFlags::DETACH);
    }
}

/// An empty filesystem in memory with a size of its own, for a while.
pub(crate) struct Small(std::path::PathBuf);

impl Small {
    /// Mounts it; `options` are those of tmpfs.
    pub(crate) fn mount(path: &std::path::Path, options: &std::ffi::CStr) -> io::Result<Self> {
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), options)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}
