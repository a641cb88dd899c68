//! A file of the real host that stays open.

use std::io;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};

use crate::host::{HostFile, MAX_FILE};

/// A file, with what is known of its kind.
pub(super) struct LiveFile {
    fd: OwnedFd,
    /// A table of mounts: of these the kernel tells when they change (`mounts_poll`, `fs/proc_namespace.c`).
    is_mounts: bool,
}

impl LiveFile {
    /// Of the file at `path`, as the host names it.
    pub(super) fn new(fd: OwnedFd, path: &str) -> Self {
        Self { fd, is_mounts: path.ends_with("/mountinfo") }
    }
}

impl HostFile for LiveFile {
    fn read(&mut self, buf: &mut Vec<u8>) -> io::Result<()> {
        read_whole(self.fd.as_fd(), buf, if self.is_mounts { 0 } else { SURE_END })
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::retry_on_intr(|| rustix::io::pread(&self.fd, &mut *buf, offset))?)
    }

    fn may_differ(&mut self) -> bool {
        if !self.is_mounts {
            return true;
        }
        let news = PollFlags::PRI | PollFlags::ERR;
        let mut fds = [PollFd::new(&self.fd, PollFlags::PRI)];
        let told = poll(&mut fds, Some(&Timespec::default()));
        told.is_err() || fds[0].revents().intersects(news)
    }
}

/// A read that ends below this many bytes in all has seen the end of a `/proc` or `/sys` file.
///
/// The kernel (`fs/seq_file.c`) stops early only when the next record does not fit its page of
/// 4096 bytes, and no record of the files kept open is as long as half of one; `mountinfo` lines
/// can be. Saves the second syscall for most files.
pub(super) const SURE_END: usize = 2048;

/// Room a buffer starts with: what the kernel gives in one piece.
pub(super) const FIRST_ROOM: usize = 4096;

/// Reads all of a file from its start, [`MAX_FILE`] at most.
pub(super) fn read_whole(fd: impl AsFd, buf: &mut Vec<u8>, sure_end: usize) -> io::Result<()> {
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
    use crate::host::Host;
    use crate::host::live::LiveHost;
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    use rustix::thread::{UnshareFlags, unshare_unsafe};

    /// In mounts of its own, which nobody else changes; without the right to have them, nothing is shown.
    #[test]
    fn the_kernel_tells_of_mounts() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_owned();
        let shown = std::thread::spawn(move || {
            // SAFETY: this thread shares no descriptors by it and ends here; only its view of mounts is its own.
            if unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.is_err() {
                return false;
            }
            rustix::mount::mount_change(
                "/",
                rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC,
            )
            .unwrap();
            let mut table = LiveHost::default().open("/proc/thread-self/mountinfo").unwrap();
            table.may_differ();
            assert!(!table.may_differ(), "nothing happened");
            mount("none", &at, "tmpfs", MountFlags::empty(), None).unwrap();
            assert!(table.may_differ(), "one more");
            assert!(!table.may_differ(), "that was told");
            unmount(&at, UnmountFlags::empty()).unwrap();
            assert!(table.may_differ(), "one less");
            true
        });
        if !shown.join().unwrap() {
            eprintln!("SKIPPED: no right to have mounts of one's own");
        }
        let mut other = LiveHost::default().open("/proc/stat").unwrap();
        assert!(other.may_differ() && other.may_differ(), "of others nobody tells");
    }
}
