//! Directories of the real host.

use std::io;
use std::mem::MaybeUninit;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FileType, RawDir, SeekFrom};

use crate::host::HostDir;

/// Bytes of directory entries fetched at once, on the stack: some 250 processes.
const DIR_BUFFER: usize = 8192;
/// Bytes of an entry before its name (`struct linux_dirent64`, `include/linux/dirent.h`), and of the longest one.
const HEAD: usize = 19;
const LONGEST: usize = 280;

/// A directory that stays open.
pub(super) struct LiveDir {
    fd: OwnedFd,
    in_sys: bool,
}

impl LiveDir {
    /// `in_sys`: it lies in `/sys`.
    pub(super) const fn new(fd: OwnedFd, in_sys: bool) -> Self {
        Self { fd, in_sys }
    }
}

impl HostDir for LiveDir {
    fn count_dirs(&mut self) -> Option<u64> {
        if self.in_sys { dirs_of(&rustix::fs::fstat(&self.fd).ok()?) } else { None }
    }

    fn list_nodes(&mut self, each: &mut dyn FnMut(&str, u64)) -> io::Result<()> {
        rustix::fs::seek(&self.fd, SeekFrom::Start(0))?;
        entries(&self.fd, self.in_sys, &mut |name, _, node| each(name, node))
    }
}

/// A link for a directory itself, one from above, and one from each directory in it (`kernfs_refresh_inode`,
/// `fs/kernfs/inode.c`).
pub(super) fn dirs_of(stat: &rustix::fs::Stat) -> Option<u64> {
    #[expect(clippy::useless_conversion, reason = "as wide as that on some processors only")]
    u64::from(stat.st_nlink).checked_sub(2)
}

/// Calls `each` with name, kind and inode of every entry, `.` and `..` left out. `in_sys`: the kernel leaves room in the
/// buffer at the end only (`kernfs_fop_readdir`, `fs/kernfs/dir.c`), so it need not be asked once more.
pub(super) fn entries(
    fd: impl AsFd,
    in_sys: bool,
    each: &mut dyn FnMut(&str, FileType, u64),
) -> io::Result<()> {
    let mut room = [MaybeUninit::uninit(); DIR_BUFFER];
    let mut dir = RawDir::new(fd, &mut room);
    let mut used = 0;
    while let Some(entry) = dir.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        used += (HEAD + name.len() + 1).next_multiple_of(8);
        if !matches!(name, b"." | b"..") {
            each(&String::from_utf8_lossy(name), entry.file_type(), entry.ino());
        }
        if dir.is_buffer_empty() {
            if in_sys && used + LONGEST <= DIR_BUFFER {
                return Ok(());
            }
            used = 0;
        }
    }
    Ok(())
}
