//! `/proc/1/mountinfo` and `statvfs`: how full the filesystems are.
//!
//! Init's mounts rather than the agent's own: a sandbox (`ProtectSystem=strict`) shows the agent all
//! of them read-only.

mod mounts;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use self::mounts::{Mount, Reach, mounts};
use super::kept::Kept;
use super::{CollectError, Collector};
use crate::host::aside::{Answer, Aside, Patience, Work};
use crate::host::glob::Globs;
use crate::host::{FsStat, Host};
use crate::metric::metrics;
use crate::sample::Samples;
use crate::time::Now;

metrics! {
    TOTAL: Gauge Bytes "disk_total_bytes" ["mount", "device", "fstype"] "Size of a filesystem.", "statvfs f_blocks";
    USED: Gauge Bytes "disk_used_bytes" ["mount", "device", "fstype"] "Bytes used.", "statvfs f_blocks, f_bfree";
    FREE: Gauge Bytes "disk_free_bytes" ["mount", "device", "fstype"]
        "Bytes not used, with those kept for root.", "statvfs f_bfree";
    AVAILABLE: Gauge Bytes "disk_available_bytes" ["mount", "device", "fstype"]
        "Bytes that users other than root can take.", "statvfs f_bavail";
    USED_PERCENT: Gauge Percent "disk_used_percent" ["mount", "device", "fstype"]
        "Used bytes as a share of used and available ones, as df shows it; nothing where nobody can write.", "statvfs";
    INODES: Gauge Count "disk_inodes_count" ["mount", "device", "fstype"]
        "Files the filesystem can hold; nothing where there is no such limit.", "statvfs f_files";
    INODES_FREE: Gauge Count "disk_inodes_free_count" ["mount", "device", "fstype"]
        "Files that can still be made.", "statvfs f_ffree";
    INODE_USED_PERCENT: Gauge Percent "disk_inode_used_percent" ["mount", "device", "fstype"]
        "Share of the files the filesystem can hold; nothing where nobody can write.", "statvfs f_files, f_ffree";
    READ_ONLY: Gauge Count "disk_read_only" ["mount", "device", "fstype"]
        "1 where the filesystem is mounted read-only.", "/proc/1/mountinfo";
    STUCK: Gauge Count "filesystem_stuck" ["mount"]
        "1 where statvfs does not return: the server or device behind the mount does not answer.", "statvfs";
    DEVICE_ERROR: Gauge Count "filesystem_device_error" ["mount"]
        "1 where statvfs fails; not for want of rights, and not where the agent does not see the mount.", "statvfs";
}

/// Mounts read at most; further ones, in the order of the table, are left out and reported.
const MAX_MOUNTS: usize = 512;
/// Threads that hang on dead mounts at most, those of this machine's own disks and those of servers and programs …
const MAX_STUCK: [usize; 2] = [8, 16];
/// … and of those, on mounts of one server: its others are left alone until one of them answers.
const MAX_OF_SERVER: usize = 4;
/// How long one `statvfs` may take before its mount counts as dead.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long all of a pass wait for dead mounts together; other collectors wait meanwhile.
const PASS_PATIENCE: Duration = Duration::from_secs(4);

/// What is left out.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Filesystem types.
    pub exclude_fstypes: Globs,
    /// Mount points.
    pub exclude_mountpoints: Globs,
    /// Base names of devices.
    pub exclude_devices: Globs,
}

/// Reads the mount table and asks each filesystem.
pub struct Filesystem {
    options: Options,
    init: Kept,
    own: Kept,
    /// The table `mounts` was made of.
    table: Vec<u8>,
    mounts: Vec<Mount>,
    left_out: usize,
    bad_lines: usize,
    /// For filesystems of this machine: nobody else's silence holds their thread.
    near: Aside<io::Result<FsStat>>,
    /// For those of servers and programs.
    far: Aside<io::Result<FsStat>>,
    patience: Duration,
    /// Whether the agent's own view of a filesystem became read-only or writable: of that the kernel does not tell the readers of
    /// the table where the filesystem did it by itself, after an error.
    doubt: bool,
    /// What could not be asked or not be seen in this pass, and in the one before.
    blind: [Blind; 2],
}

/// Mounts without readings that are in the table.
#[derive(Debug, Default)]
struct Blind {
    /// Indices of those that were not asked.
    not_asked: Vec<usize>,
    /// Of those whose path leads the agent to something else, or to nothing.
    not_seen: Vec<usize>,
}

impl Filesystem {
    /// Reads nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            init: Kept::new("/proc/1/mountinfo"),
            own: Kept::new("/proc/self/mountinfo"),
            table: Vec::new(),
            mounts: Vec::new(),
            left_out: 0,
            bad_lines: 0,
            near: Aside::new("statvfs", MAX_STUCK[0]),
            far: Aside::new("statvfs", MAX_STUCK[1]),
            patience: PATIENCE,
            doubt: false,
            blind: Default::default(),
        }
    }

    /// Brings `mounts` up to date.
    fn read_table(&mut self, host: &dyn Host, now: Now) -> Result<(), CollectError> {
        let doubt = std::mem::take(&mut self.doubt);
        let table = match self.init.told(host, now, doubt) {
            Ok(table) => table,
            Err(_) => self.own.told(host, now, doubt)?,
        };
        if self.table == table {
            return Ok(());
        }
        table.clone_into(&mut self.table);
        (self.mounts, self.bad_lines) = mounts(table, &self.options);
        self.left_out = self.mounts.len().saturating_sub(MAX_MOUNTS);
        self.mounts.truncate(MAX_MOUNTS);
        self.blind = Default::default();
        Ok(())
    }

    fn trouble(&self) -> Result<(), CollectError> {
        let why = match (self.bad_lines, self.left_out, self.table.is_empty()) {
            (0, 0, false) => return self.blindness(),
            (_, _, true) => "it is empty".to_owned(),
            (0, left_out, _) => {
                format!(
                    "it has {left_out} filesystems more than {MAX_MOUNTS}; set collector.exclude_mountpoints"
                )
            }
            (bad, ..) => format!("{bad} of its lines are not mounts"),
        };
        Err(CollectError::Parse { path: self.init.path().to_owned(), why })
    }

    /// A mount that comes or goes may not be seen once; one that is not seen twice is told.
    fn blindness(&self) -> Result<(), CollectError> {
        let [now, before] = &self.blind;
        let point = |at: usize| self.mounts.get(at).map_or_else(String::new, |mount| mount.point.clone());
        if let [first, rest @ ..] = &now.not_asked[..] {
            let path = point(*first);
            let error = format!(
                "it and {} others were not asked: too many mounts do not answer (filesystem_stuck names them)",
                rest.len()
            );
            return Err(CollectError::Read { path, error });
        }
        let mut unseen = now.not_seen.iter().filter(|at| before.not_seen.contains(at));
        let Some(first) = unseen.next() else { return Ok(()) };
        let error = format!(
            "init sees another filesystem there than the agent, and at {} other places; in a container mount \
             the host's / with rslave propagation, elsewhere set collector.exclude_mountpoints",
            unseen.count()
        );
        Err(CollectError::Read { path: point(*first), error })
    }

    /// Asks those whose figures are in memory at once: waking a thread costs more than the answer. Of the others those that are
    /// not far and have answered before in turn, all others one by one.
    fn ask_all(
        &mut self,
        now: Now,
        host: &dyn Host,
        each: &mut dyn FnMut(usize, Answer<io::Result<FsStat>>),
    ) {
        let mut patience = Patience { one: self.patience, all: self.patience.max(PASS_PATIENCE) };
        let (mut fine, mut in_turn) = (Vec::new(), Vec::new());
        let mut shared = None;
        for (nth, mount) in self.mounts.iter().enumerate() {
            if mount.reach == Reach::AtOnce {
                each(nth, Answer::Done(host.statvfs(&mount.path)));
                continue;
            }
            let host = shared.get_or_insert_with(|| host.shared());
            if !mount.is_far() && !self.near.doubts(&mount.point) {
                in_turn.push((mount.point.as_str(), mount.question(host)));
                fine.push(nth);
                continue;
            }
            if mount.is_far() && self.others_hang(mount) {
                each(nth, Answer::NotAsked);
                continue;
            }
            let aside = if mount.is_far() { &mut self.far } else { &mut self.near };
            let wait = patience.next();
            let answer = aside.ask(&mount.point, now, wait, mount.question(host));
            if answer.is_stuck_since(now) {
                patience.spend(wait);
            }
            each(nth, answer);
        }
        if !in_turn.is_empty() {
            self.near.ask_all(now, &mut patience, in_turn, &mut |nth, answer| each(fine[nth], answer));
        }
    }

    /// Whether so many mounts of the same server hang that this one is left alone.
    fn others_hang(&self, mount: &Mount) -> bool {
        if self.far.stuck() < MAX_OF_SERVER || self.far.is_stuck(&mount.point) {
            return false;
        }
        let same = self.mounts.iter().filter(|other| other.server == mount.server);
        same.filter(|other| self.far.is_stuck(&other.point)).count() >= MAX_OF_SERVER
    }
}

impl Collector for Filesystem {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        self.read_table(host, out.at())?;
        let mut answers = Vec::with_capacity(self.mounts.len());
        self.ask_all(out.at(), host, &mut |nth, answer| answers.push((nth, answer)));
        self.blind.swap(0, 1);
        let [blind, _] = &mut self.blind;
        blind.not_asked.clear();
        blind.not_seen.clear();
        for (nth, answer) in answers {
            let mount = &mut self.mounts[nth];
            if let Answer::Done(Ok(stat)) = &answer {
                self.doubt |=
                    mount.seen_read_only.replace(stat.read_only).is_some_and(|was| was != stat.read_only);
            }
            match answer {
                Answer::Done(Ok(stat)) if mount.is_other(&stat) => blind.not_seen.push(nth),
                Answer::Done(Ok(stat)) => mount.put(&stat, out),
                Answer::Done(Err(error)) if is_nothing(&error) => blind.not_seen.push(nth),
                Answer::Done(Err(error)) => mount.put_error(&error, out),
                Answer::Stuck { .. } => out.put(&STUCK, &[&mount.point], 1.0),
                Answer::NotAsked => blind.not_asked.push(nth),
            }
        }
        self.trouble()
    }
}

/// The path leads nowhere: it went between table and question, or is not seen from here.
fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Mount {
    /// Who answers is a server or a program.
    fn is_far(&self) -> bool {
        self.reach == Reach::Apart || self.server.is_some()
    }

    fn question(&self, host: &Arc<dyn Host>) -> Work<io::Result<FsStat>> {
        let (host, path, apart) = (Arc::clone(host), self.path.clone(), self.reach == Reach::Apart);
        Box::new(move || if apart { host.statvfs_apart(&path) } else { host.statvfs(&path) })
    }

    /// What was found at its path is another filesystem.
    fn is_other(&self, stat: &FsStat) -> bool {
        self.number.zip(stat.device).is_some_and(|(own, found)| own != found)
    }

    fn put(&self, stat: &FsStat, out: &mut Samples) {
        out.put(&STUCK, &[&self.point], 0.0);
        out.put(&DEVICE_ERROR, &[&self.point], 0.0);
        let labels = &[&*self.point, &*self.device, &*self.fstype];
        out.put(&READ_ONLY, labels, f64::from(u8::from(self.read_only)));
        if stat.total_bytes == 0 {
            return;
        }
        let used = stat.total_bytes.saturating_sub(stat.free_bytes);
        out.put(&TOTAL, labels, stat.total_bytes as f64);
        out.put(&USED, labels, used as f64);
        out.put(&FREE, labels, stat.free_bytes as f64);
        out.put(&AVAILABLE, labels, stat.available_bytes as f64);
        let usable = used.saturating_add(stat.available_bytes);
        // An image is full because it was made so.
        if !self.is_image {
            out.put(&USED_PERCENT, labels, 100.0 * used as f64 / usable as f64);
        }
        if stat.inodes > 0 {
            let used = stat.inodes.saturating_sub(stat.inodes_free);
            out.put(&INODES, labels, stat.inodes as f64);
            out.put(&INODES_FREE, labels, stat.inodes_free as f64);
            if !self.is_image {
                out.put(&INODE_USED_PERCENT, labels, 100.0 * used as f64 / stat.inodes as f64);
            }
        }
    }

    fn put_error(&self, error: &io::Error, out: &mut Samples) {
        out.put(&STUCK, &[&self.point], 0.0);
        // No answer from the process that asked, or no room for one, says nothing of the device.
        let asker = [io::ErrorKind::UnexpectedEof, io::ErrorKind::OutOfMemory, io::ErrorKind::WouldBlock];
        if error.kind() != io::ErrorKind::PermissionDenied && !asker.contains(&error.kind()) {
            out.put(&DEVICE_ERROR, &[&self.point], 1.0);
        }
    }
}

#[cfg(test)]
#[path = "filesystem_tests.rs"]
mod tests;
