//! A FUSE filesystem whose server stops answering, spoken straight to `/dev/fuse` (`include/uapi/linux/fuse.h`).

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// Bytes before what a question or an answer is about.
const QUESTION: usize = 40;
const ANSWER: usize = 16;

/// Longest write the server takes, and room for a question: with its head it must fit.
const MAX_WRITE: u32 = 1 << 16;
const ROOM: usize = 1 << 17;

const STATFS: u32 = 17;
const INIT: u32 = 26;
/// Those that want no answer: FORGET, INTERRUPT, `BATCH_FORGET`.
const NO_ANSWER: [u32; 3] = [2, 36, 42];

/// The mount and its server. Both are gone when it is dropped, and who waits for an answer goes on with an error.
pub(crate) struct Fuse {
    path: PathBuf,
    state: Arc<State>,
    server: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    silent: AtomicBool,
    over: AtomicBool,
    /// When `statfs` was asked.
    asked: Mutex<Vec<Instant>>,
}

impl Fuse {
    /// Mounts it at `path`, as filesystem `fuse.lab`, with the path as its source.
    pub(crate) fn mount(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let device = File::options().read(true).write(true).open("/dev/fuse")?;
        let options = format!("fd={},rootmode=40755,user_id=0,group_id=0,allow_other\0", device.as_raw_fd());
        let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).expect("one NUL");
        mount(path, path, "fuse.lab", MountFlags::empty(), Some(options))?;
        let state = Arc::new(State::default());
        let served = Arc::clone(&state);
        let thread = thread::spawn(move || serve(device, &served));
        Ok(Self { path: path.to_owned(), state, server: Some(thread) })
    }

    /// From now on questions are taken and not answered, or all are answered, also those that wait.
    pub(crate) fn silent(&self, yes: bool) {
        self.state.silent.store(yes, Ordering::SeqCst);
    }

    /// How often `statfs` was asked since then.
    pub(crate) fn asked_since(&self, then: Instant) -> Vec<Instant> {
        let asked = self.state.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().copied().filter(|at| *at >= then).collect()
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = unmount(&self.path, UnmountFlags::DETACH);
        self.state.over.store(true, Ordering::SeqCst);
        let _ = self.server.take().map(thread::JoinHandle::join);
    }
}

fn serve(mut device: File, state: &State) {
    let (mut question, mut held) = (vec![0; ROOM], Vec::new());
    while !state.over.load(Ordering::SeqCst) {
        if !state.silent.load(Ordering::SeqCst) {
            for (operation, unique) in held.drain(..) {
                let _ = answer(&mut device, operation, unique);
            }
        }
        let soon = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let ready = poll(&mut [PollFd::new(&device, PollFlags::IN)], Some(&soon));
        if !matches!(ready, Ok(1..)) {
            continue;
        }
        match device.read(&mut question) {
            Ok(length) if length >= QUESTION => {}
            // Unmounted.
            _ => return,
        }
        let word = |at: usize| u32::from_ne_bytes(question[at..at + 4].try_into().expect("4 bytes"));
        let unique = u64::from_ne_bytes(question[8..16].try_into().expect("8 bytes"));
        let operation = word(4);
        if operation == STATFS {
            state.asked.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
        }
        if NO_ANSWER.contains(&operation) {
            continue;
        }
        if state.silent.load(Ordering::SeqCst) && operation != INIT {
            held.push((operation, unique));
        } else {
            let _ = answer(&mut device, operation, unique);
        }
    }
}

fn answer(device: &mut File, operation: u32, unique: u64) -> io::Result<()> {
    let mut body = Vec::new();
    let mut error = 0_i32;
    match operation {
        INIT => {
            // major, minor, max_readahead, flags, max_background and congestion_threshold, max_write, time_gran …
            for word in [7, 31, MAX_WRITE, 0, 0x000a_000c, MAX_WRITE, 1, 16, 0, 0, 0, 0, 0, 0, 0, 0_u32] {
                body.extend(word.to_ne_bytes());
            }
        }
        STATFS => {
            // blocks, bfree, bavail, files, ffree
            for word in [1000, 600, 500, 100, 70_u64] {
                body.extend(word.to_ne_bytes());
            }
            // bsize, namelen, frsize, padding, spare
            for word in [4096, 255, 4096, 0, 0, 0, 0, 0, 0, 0_u32] {
                body.extend(word.to_ne_bytes());
            }
        }
        _ => error = -libc::ENOSYS,
    }
    let length = ANSWER + body.len();
    let mut whole = Vec::with_capacity(length);
    whole.extend((length as u32).to_ne_bytes());
    whole.extend(error.to_ne_bytes());
    whole.extend(unique.to_ne_bytes());
    whole.extend(body);
    // One answer, one write.
    device.write(&whole).map(drop)
}

/// Processes whose parent is `pid`, and how many of its threads bear this name.
pub(crate) fn offspring(pid: u32, thread_name: &str) -> (Vec<u32>, usize) {
    let numbers = |dir: &str| -> Vec<u32> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    };
    let parent = |child: &u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let children = numbers("/proc").into_iter().filter(|child| parent(child) == Some(pid)).collect();
    let name = |tid: &u32| fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")).unwrap_or_default();
    let threads = numbers(&format!("/proc/{pid}/task"));
    (children, threads.iter().filter(|tid| name(tid).trim_end() == thread_name).count())
}

/// How long `work` takes, and what it gives.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begin = Instant::now();
    let done = work();
    (begin.elapsed(), done)
}
