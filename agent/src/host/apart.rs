//! `statvfs` in a process of its own, for filesystems whose server is a program (FUSE).
//!
//! What such a server has taken and does not answer can be ended by nothing, not even SIGKILL (`request_wait_answer`,
//! `fs/fuse/dev.c`: "Either request is already in userspace, or it was forced. Wait it out"). A process with a thread
//! that waits so cannot end either. A child that waits so can be left behind; who waits for the child can end.

use std::ffi::CStr;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::mem::size_of;

use rustix::fd::AsRawFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, set_parent_process_death_signal, waitpid};

use super::FsStat;

/// What the child answers: the error's number, then the figures.
type Answer = [u64; 9];

/// In an answer: no device is known.
const NO_DEVICE: (u32, u32) = (u32::MAX, u32::MAX);

/// As [`super::Host::statvfs`]. Waits as long as the filesystem takes: call it aside.
pub(super) fn statvfs(path: &CStr) -> io::Result<FsStat> {
    let (reader, writer) = io::pipe()?;
    // SAFETY: the child calls `answer` and nothing else, which makes system calls only and does not return: what
    // other threads were in the middle of (an allocation, a lock) does not matter to it.
    match unsafe { libc::fork() } {
        0 => answer(path, &writer),
        -1 => Err(io::Error::last_os_error()),
        child => {
            drop(writer);
            let child = Pid::from_raw(child).ok_or_else(io::Error::last_os_error)?;
            let told = take(reader);
            // It has answered or was killed: either way it ends now.
            let _ = waitpid(Some(child), WaitOptions::empty());
            told
        }
    }
}

fn take(mut reader: PipeReader) -> io::Result<FsStat> {
    let mut bytes = [0; size_of::<Answer>()];
    reader.read_exact(&mut bytes)?;
    let mut words = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()));
    let mut next = || words.next().unwrap_or(0);
    match next() {
        0 => Ok(FsStat {
            total_bytes: next(),
            free_bytes: next(),
            available_bytes: next(),
            inodes: next(),
            inodes_free: next(),
            read_only: next() != 0,
            device: Some((next() as u32, next() as u32)).filter(|device| *device != NO_DEVICE),
        }),
        error => Err(io::Error::from_raw_os_error(error as i32)),
    }
}

/// The child's life. System calls only: no allocation, no lock.
fn answer(path: &CStr, writer: &PipeWriter) -> ! {
    let fd = writer.as_raw_fd();
    close_others(fd);
    // What has not been taken yet can be ended, and is when the agent ends.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    let words: Answer = match super::live::statvfs(path) {
        Ok(stat) => [
            0,
            stat.total_bytes,
            stat.free_bytes,
            stat.available_bytes,
            stat.inodes,
            stat.inodes_free,
            u64::from(stat.read_only),
            u64::from(stat.device.unwrap_or(NO_DEVICE).0),
            u64::from(stat.device.unwrap_or(NO_DEVICE).1),
        ],
        Err(error) => [u64::from(Errno::raw_os_error(error).unsigned_abs()), 0, 0, 0, 0, 0, 0, 0, 0],
    };
    // SAFETY: the words are read only and live through the call. `_exit` runs nothing of this process's.
    unsafe {
        libc::write(fd, words.as_ptr().cast(), size_of::<Answer>());
        libc::_exit(0)
    }
}

/// Descriptors closed one by one where the kernel cannot close a range (before 5.9).
const MANY: i32 = 4096;

/// Lets go of what the parent has open: a child that is left behind would keep its locks and sockets.
fn close_others(kept: i32) {
    let close = |first: i32, last: i32| {
        // SAFETY: the descriptors of this process are nobody else's, and it uses none of them.
        let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if done != 0 {
            for fd in first..=last.min(MANY) {
                // SAFETY: as above.
                unsafe { libc::close(fd) };
            }
        }
    };
    if kept > 0 {
        close(0, kept - 1);
    }
    close(kept + 1, i32::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::host::{Host, live::LiveHost};

    #[test]
    fn a_child_tells_what_the_process_itself_would_see() {
        let host = LiveHost::default();
        for _ in 0..20 {
            let (apart, itself) = (statvfs(c"/proc").unwrap(), host.statvfs(Path::new("/proc")).unwrap());
            assert_eq!(apart, itself);
        }
        let root = statvfs(c"/").unwrap();
        let itself = host.statvfs(Path::new("/")).unwrap();
        assert_eq!(
            (root.total_bytes, root.device, root.inodes > 0),
            (itself.total_bytes, itself.device, true)
        );
        assert_eq!(statvfs(c"/no/such/place").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(host.statvfs_apart(Path::new("a\0b")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn an_answer_that_is_cut_short_is_an_error() {
        use std::io::Write;
        for length in [0, 1, 8, 71] {
            let (reader, mut writer) = io::pipe().unwrap();
            writer.write_all(&vec![0; length]).unwrap();
            drop(writer);
            assert_eq!(take(reader).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{length}");
        }
    }
}
