//! The floor: the same files, read from descriptors that stay open into one buffer, every number in them parsed, and nothing
//! made of them.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::mem::MaybeUninit;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, RawDir, SeekFrom};
use sysops_agent::ebpf::tasks::TaskIter;
use sysops_agent::host::tasks::Tasks;

use crate::recording::Access;

/// What only reads.
#[derive(Default)]
pub(crate) struct Floor {
    all: BTreeSet<Access>,
    files: Vec<OwnedFd>,
    opened: Vec<CString>,
    folders: Vec<OwnedFd>,
    links: Vec<CString>,
    mounts: Vec<CString>,
    counted: Vec<CString>,
    buf: Vec<u8>,
    tasks: Option<TaskIter>,
    /// Of all numbers, so that they have to be parsed.
    sum: u64,
}

/// As in the agent: below so many bytes the end was seen (`host::live::SURE_END`).
const SURE_END: usize = 2048;
/// Read at once: what the kernel gives in one piece of most files, and little enough not to count where it fills as much with
/// zeroes first (`proc_sys_call_handler`, `fs/proc/proc_sysctl.c`).
const ROOM: usize = 16 << 10;
/// Files that stay open; further ones are opened, read and closed, as the agent does with those of processes.
const MAX_OPEN: usize = 1024;

impl Floor {
    /// Of what a collector read. What could not be opened is left out.
    pub(crate) fn of(all: BTreeSet<Access>) -> Self {
        let mut floor = Self { buf: vec![0; ROOM], ..Self::default() };
        let path = |path: &str| CString::new(path).ok();
        let open = |path: &str, flags| {
            rustix::fs::open(path, flags | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
        };
        for access in &all {
            match access {
                Access::Read(at) if floor.files.len() < MAX_OPEN => {
                    floor.files.extend(open(at, OFlags::empty()));
                }
                Access::Read(at) => floor.opened.extend(path(at)),
                Access::List(at) => floor.folders.extend(open(at, OFlags::DIRECTORY)),
                Access::Link(at) => floor.links.extend(path(at)),
                Access::Stat(at) => floor.mounts.extend(path(at)),
                Access::Count(at) => floor.counted.extend(path(at)),
            }
        }
        floor.all = all;
        floor
    }

    /// Of what several read together, each thing once.
    pub(crate) fn merged<'f>(floors: impl Iterator<Item = &'f Self>) -> Self {
        Self::of(floors.flat_map(|floor| floor.all.iter().cloned()).collect())
    }

    /// Of the task iterator: all its records, looked at by nobody.
    pub(crate) fn iterator(tasks: TaskIter) -> Self {
        Self { tasks: Some(tasks), ..Self::default() }
    }

    /// Reads everything once.
    pub(crate) fn pass(&mut self) {
        for file in &self.files {
            self.sum ^= read(file, &mut self.buf);
        }
        for path in &self.opened {
            let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            if let Ok(file) = &file {
                self.sum ^= read(file, &mut self.buf);
            }
        }
        for folder in &self.folders {
            let _ = rustix::fs::seek(folder, SeekFrom::Start(0));
            let mut room = [MaybeUninit::<u8>::uninit(); 8192];
            let mut entries = RawDir::new(folder, &mut room);
            // One that is gone fails again and again.
            while let Some(Ok(_)) = entries.next() {}
        }
        for path in &self.links {
            let _ = rustix::fs::readlink(path, Vec::with_capacity(256));
        }
        for path in &self.mounts {
            let _ = rustix::fs::statvfs(path);
        }
        for path in &self.counted {
            let _ = rustix::fs::stat(path);
        }
        if let Some(tasks) = &mut self.tasks {
            let _ = tasks.scan(&mut |_, _| ());
        }
    }
}

fn read(file: &OwnedFd, buf: &mut [u8]) -> u64 {
    let (mut done, mut sum) = (0, 0);
    while let Ok(count @ 1..) = rustix::io::pread(file, &mut *buf, done as u64) {
        done += count;
        sum ^= numbers(&buf[..count]);
        if done < SURE_END {
            break;
        }
    }
    std::hint::black_box(sum)
}

fn numbers(text: &[u8]) -> u64 {
    let (mut sum, mut value) = (0u64, 0u64);
    for &byte in text {
        if byte.is_ascii_digit() {
            value = value.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
        } else if value > 0 {
            sum = sum.wrapping_mul(31).wrapping_add(value);
            value = 0;
        }
    }
    sum.wrapping_add(value)
}
