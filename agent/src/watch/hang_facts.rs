//! What `/proc` tells of a hung task beyond its names: its stack, and the device or mount it waits for.
//!
//! Nothing on the mount itself is touched, and nothing is read that takes the memory lock of a task. Some
//! of it can hang all the same (`stack` waits for a task that hangs in `execve`, `lock_trace`,
//! `fs/proc/base.c`; `mountinfo` for a mount that hangs), so everything is asked aside.

use std::sync::Arc;
use std::time::Duration;

use procfs::process::MountInfo;

use super::hang_text::MAX_FRAMES;
use super::wait::{self, Mounts};
use crate::event::{Hang, Place};
use crate::host::aside::{Answer, Aside};
use crate::host::parse::unescape;
use crate::host::{Host, read_text};
use crate::time::{Now, SECOND};

/// Descriptors looked at, from 0 on.
const MAX_FDS: u32 = 64;
/// Mounts kept of one namespace; further ones are not recognised.
const MAX_MOUNTS: usize = 4096;
/// Longest wait for an answer: a read of `/proc` takes microseconds.
const PATIENCE: Duration = Duration::from_millis(100);
/// Tasks whose answer may be waited for in the background.
const MAX_STUCK: usize = 2;
/// How long mounts are taken for the same: tasks hang together.
const MOUNTS_AGE_NS: u64 = 10 * SECOND;

/// A mounted filesystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: String,
    /// `ext4`, `nfs4` …
    pub fstype: String,
    /// Device name, or what a network filesystem is mounted from.
    pub device: String,
    /// Whether it is on a block device.
    pub block: bool,
}

#[derive(Debug, Default)]
struct Look {
    stack: Vec<String>,
    /// Its program and its open files; only the one that its system call works on, where that is known.
    files: Vec<String>,
    /// Whether it is known.
    by_call: bool,
    namespace: Option<String>,
    /// Mounts of its namespace; `None` where they are known.
    mounts: Option<Vec<Mount>>,
    /// Device that its name tells.
    device: Option<String>,
}

/// What a stack says about mounts.
#[derive(Clone, Copy)]
struct Wait {
    mounts: Mounts,
    on_open_file: bool,
}

/// System calls that work on a path: what is open proves nothing then.
const BY_PATH: [&str; 12] = [
    "path_",
    "filename_",
    "do_filp_open",
    "vfs_statx",
    "walk_component",
    "do_mkdirat",
    "do_unlinkat",
    "do_renameat",
    "do_rmdir",
    "do_linkat",
    "do_symlinkat",
    "user_path",
];

impl Wait {
    fn of(hang: &Hang) -> Self {
        let layer = wait::layer(&hang.stack, hang.wchan.as_deref());
        let by_path = |frame: &String| BY_PATH.iter().any(|begin| frame.starts_with(begin));
        let on_open_file = !hang.stack.is_empty() && !hang.stack.iter().any(by_path);
        Self { mounts: layer.map_or(Mounts::Unknown, |layer| layer.mounts), on_open_file }
    }
}

/// Reads facts of one task after the other.
pub struct Facts {
    host: Arc<dyn Host>,
    aside: Aside<Look>,
    /// Mounts of one namespace, and when they were read.
    mounts: Option<(String, u64, Vec<Mount>)>,
}

impl Facts {
    /// Reads nothing yet.
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self { host, aside: Aside::new("hang-facts", MAX_STUCK), mounts: None }
    }

    /// Adds to `hang` what can be read of its task. What is not answered at once stays unknown.
    pub fn fill(&mut self, hang: &mut Hang, now: Now) {
        let Some(pid) = hang.task.pid else { return };
        let fresh = |at: &u64| now.mono_ns.saturating_sub(*at) < MOUNTS_AGE_NS;
        self.mounts.take_if(|(_, at, _)| !fresh(at));
        let known = self.mounts.as_ref().map(|(namespace, ..)| namespace.clone());
        let (host, comm) = (Arc::clone(&self.host), hang.task.comm.clone().unwrap_or_default());
        let answer = self
            .aside
            .ask(&pid.to_string(), now, PATIENCE, move || look(host.as_ref(), pid, &comm, known.as_deref()));
        let Answer::Done(mut look) = answer else { return };
        if let (Some(namespace), Some(mounts)) = (look.namespace.take(), look.mounts.take()) {
            self.mounts = Some((namespace, now.mono_ns, mounts));
        }
        if hang.stack.is_empty() {
            hang.stack = std::mem::take(&mut look.stack);
        }
        hang.conclude();
        if hang.place.device.is_none() && hang.place.mount.is_none() {
            let mounts = self.mounts.as_ref().map_or(&[][..], |(.., mounts)| mounts);
            let wait = Wait::of(hang);
            let wait = Wait { on_open_file: wait.on_open_file || look.by_call, ..wait };
            let found = place(wait, &look.files, mounts);
            (hang.place.device, hang.place.mount) = found
                .map_or((look.device, None), |mount| (Some(mount.device.clone()), Some(mount.point.clone())));
        }
    }
}

fn look(host: &dyn Host, pid: u32, comm: &str, known: Option<&str>) -> Look {
    let link = |name: &str| host.read_link(&format!("/proc/{pid}/{name}")).ok();
    let stack = read_text(host, &format!("/proc/{pid}/stack")).unwrap_or_default();
    let namespace = link("ns/mnt");
    let stale = namespace.is_some() && namespace.as_deref() != known;
    let call = read_text(host, &format!("/proc/{pid}/syscall")).unwrap_or_default();
    let worked_on = descriptor(&call).and_then(|fd| link(&format!("fd/{fd}")));
    let by_call = worked_on.is_some();
    let all = (0..MAX_FDS).filter(|_| !by_call).filter_map(|fd| link(&format!("fd/{fd}")));
    let open = worked_on.into_iter().chain(all);
    // Its pages are read from there at any time; for other waits it would only make others ambiguous.
    let exe = stack.contains("_fault").then(|| link("exe")).flatten();
    Look {
        stack: stack.lines().take(MAX_FRAMES).filter_map(|line| Some(frame(line)?.to_owned())).collect(),
        files: open.chain(exe).filter(|path| path.starts_with('/')).collect(),
        by_call,
        mounts: stale.then(|| read_mounts(host, pid)),
        namespace,
        device: wait::device_of(comm).map(|device| name_of(&numbers(host), device)),
    }
}

/// System calls whose first argument is the descriptor they work on, and that wait for its filesystem.
const BY_DESCRIPTOR: [libc::c_long; 15] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_syncfs,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_getdents64,
    libc::SYS_fstat,
];

/// The descriptor that `/proc/PID/syscall` tells of: number, then arguments (`1 0x3 0x7ffe… …`). Reading it takes
/// `CAP_SYS_PTRACE` and `CAP_DAC_READ_SEARCH` (`proc_pid_syscall`, `fs/proc/base.c`).
fn descriptor(call: &str) -> Option<u32> {
    let mut words = call.split_ascii_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let first = words.next().filter(|_| BY_DESCRIPTOR.contains(&number))?;
    // The kernel takes the lower half of the register.
    Some(u64::from_str_radix(first.strip_prefix("0x")?, 16).ok()? as u32)
        .filter(|fd| i32::try_from(*fd).is_ok())
}

/// `[<0>] percpu_rwsem_wait+0x15f/0x1d0` without the address; nothing for the end of old stacks, `0xffffffffffffffff`.
fn frame(line: &str) -> Option<&str> {
    let frame =
        line.strip_prefix("[<").and_then(|rest| rest.split_once(">] ")).map_or(line, |(_, frame)| frame);
    frame.contains("+0x").then_some(frame)
}

fn read_mounts(host: &dyn Host, pid: u32) -> Vec<Mount> {
    let text = read_text(host, &format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let numbers = numbers(host);
    let parsed = text.lines().filter_map(|line| MountInfo::from_line(line).ok());
    parsed.take(MAX_MOUNTS).map(|info| mount(info, &numbers)).collect()
}

fn mount(info: MountInfo, numbers: &str) -> Mount {
    let source = unescape(&info.mount_source.unwrap_or_default());
    let block = source.starts_with("/dev/");
    let device = match name_of(numbers, &info.majmin) {
        name if block && name != info.majmin => name,
        _ => source.strip_prefix("/dev/").unwrap_or(&source).to_owned(),
    };
    Mount { point: unescape(&info.mount_point.to_string_lossy()), fstype: info.fs_type, device, block }
}

fn numbers(host: &dyn Host) -> String {
    read_text(host, "/proc/diskstats").unwrap_or_default()
}

/// Name of a device that is given by number.
fn name_of(diskstats: &str, device: &str) -> String {
    let named = diskstats.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (major, minor, name) = (words.next()?, words.next()?, words.next()?);
        (device.split_once(':') == Some((major, minor))).then_some(name)
    });
    named.unwrap_or(device).to_owned()
}

/// The one mount that it can be: of the open files, where it works on one of those; else the only one there is
/// of the sort that the stack speaks of. Where two fit, it is not told.
fn place<'a>(wait: Wait, files: &[String], mounts: &'a [Mount]) -> Option<&'a Mount> {
    let fits = |mount: &&Mount| match wait.mounts {
        Mounts::Of(begin) => mount.fstype.starts_with(begin),
        Mounts::Block => mount.block,
        Mounts::Unknown => false,
    };
    let opened = only(files.iter().filter_map(|path| mount_of(path, mounts)).filter(fits));
    opened.filter(|_| wait.on_open_file).or_else(|| only(mounts.iter().filter(fits)))
}

/// The mount that all of them are on.
fn only<'a>(mut mounts: impl Iterator<Item = &'a Mount>) -> Option<&'a Mount> {
    let first = mounts.next()?;
    mounts.all(|mount| mount.device == first.device).then_some(first)
}

/// The mount a path is on: the last of the deepest.
fn mount_of<'a>(path: &str, mounts: &'a [Mount]) -> Option<&'a Mount> {
    let below = |mount: &&Mount| {
        let rest = path.strip_prefix(mount.point.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    mounts.iter().filter(below).max_by_key(|mount| mount.point.len())
}

/// A place in words: `NFS, /mnt/data (server:/export)`; empty where nothing is known.
impl Place {
    /// What it waits for, for a person; the parts are hostile text.
    pub fn words(&self) -> Option<String> {
        let device = self.device.as_deref();
        let what = match (self.mount.as_deref(), device) {
            (Some(mount), Some(device)) => Some(format!("{mount} ({device})")),
            (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
            (None, None) => None,
        };
        match (self.layer, what) {
            (Some(layer), Some(what)) => Some(format!("{layer}: {what}")),
            (Some(layer), None) => Some(layer.to_owned()),
            (None, what) => what,
        }
    }
}

#[cfg(test)]
#[path = "hang_facts_tests.rs"]
mod tests;
