//! `/proc/1/mountinfo` and `statvfs`: how full the filesystems are.
//!
//! Init's mounts rather than the agent's own: a sandbox (`ProtectSystem=strict`) shows the agent all
//! of them read-only.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use procfs::process::MountInfo;

use super::kept::Kept;
use super::{CollectError, Collector};
use crate::host::aside::{Answer, Aside, Patience, Work};
use crate::host::glob::Globs;
use crate::host::parse::{lines, unescape};
use crate::host::{FsStat, Host};
use crate::metric::metrics;
use crate::sample::Samples;

metrics! {
    TOTAL: Gauge Bytes "disk_total_bytes" ["mount", "device", "fstype"] "Size of a filesystem.", "statvfs f_blocks";
    USED: Gauge Bytes "disk_used_bytes" ["mount", "device", "fstype"] "Bytes used.", "statvfs f_blocks, f_bfree";
    FREE: Gauge Bytes "disk_free_bytes" ["mount", "device", "fstype"]
        "Bytes not used, with those kept for root.", "statvfs f_bfree";
    AVAILABLE: Gauge Bytes "disk_available_bytes" ["mount", "device", "fstype"]
        "Bytes that users other than root can take.", "statvfs f_bavail";
    USED_PERCENT: Gauge Percent "disk_used_percent" ["mount", "device", "fstype"]
        "Used bytes as a share of used and available ones, as df shows it.", "statvfs";
    INODES: Gauge Count "disk_inodes_count" ["mount", "device", "fstype"]
        "Files the filesystem can hold; nothing where there is no such limit.", "statvfs f_files";
    INODES_FREE: Gauge Count "disk_inodes_free_count" ["mount", "device", "fstype"]
        "Files that can still be made.", "statvfs f_ffree";
    INODE_USED_PERCENT: Gauge Percent "disk_inode_used_percent" ["mount", "device", "fstype"]
        "Share of the files the filesystem can hold.", "statvfs f_files, f_ffree";
    READ_ONLY: Gauge Count "disk_read_only" ["mount", "device", "fstype"]
        "1 where the filesystem is mounted read-only.", "/proc/1/mountinfo";
    STUCK: Gauge Count "filesystem_stuck" ["mount"]
        "1 where statvfs does not return: the server or device behind the mount does not answer.", "statvfs";
    DEVICE_ERROR: Gauge Count "filesystem_device_error" ["mount"]
        "1 where statvfs fails, for want of rights excepted.", "statvfs";
}

/// Mounts read at most; further ones, in the order of the table, are left out and reported.
const MAX_MOUNTS: usize = 512;
/// Threads that hang on dead mounts at most.
const MAX_STUCK: usize = 8;
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
    aside: Aside<io::Result<FsStat>>,
    patience: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    point: String,
    device: String,
    fstype: String,
    read_only: bool,
    whole: bool,
    /// It, or what it lies in, is answered for by a program: who waits for that one cannot be ended by anybody.
    apart: bool,
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
            aside: Aside::new("statvfs", MAX_STUCK),
            patience: PATIENCE,
        }
    }

    /// Brings `mounts` up to date.
    fn read_table(&mut self, host: &dyn Host) -> Result<(), CollectError> {
        let table = match self.init.read(host) {
            Ok(table) => table,
            Err(_) => self.own.read(host)?,
        };
        if self.table == table {
            return Ok(());
        }
        table.clone_into(&mut self.table);
        (self.mounts, self.bad_lines) = mounts(table, &self.options);
        self.left_out = self.mounts.len().saturating_sub(MAX_MOUNTS);
        self.mounts.truncate(MAX_MOUNTS);
        Ok(())
    }

    fn trouble(&self) -> Result<(), CollectError> {
        let why = match (self.bad_lines, self.left_out, self.table.is_empty()) {
            (0, 0, false) => return Ok(()),
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
}

impl Collector for Filesystem {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        self.read_table(host)?;
        let shared = host.shared();
        let mut patience = Patience { one: self.patience, all: self.patience.max(PASS_PATIENCE) };
        let (mut fine, mut in_turn) = (Vec::new(), Vec::new());
        for mount in &self.mounts {
            if !mount.apart && !self.aside.doubts(&mount.point) {
                in_turn.push((mount.point.as_str(), mount.question(&shared)));
                fine.push(mount);
                continue;
            }
            let wait = patience.next();
            let answer = self.aside.ask(&mount.point, out.at(), wait, mount.question(&shared));
            if answer.is_stuck_since(out.at()) {
                patience.spend(wait);
            }
            mount.put_answer(answer, out);
        }
        self.aside
            .ask_all(out.at(), &mut patience, in_turn, &mut |nth, answer| fine[nth].put_answer(answer, out));
        self.trouble()
    }
}

impl Mount {
    fn parse(line: &[u8]) -> Option<(String, Self)> {
        let info = MountInfo::from_line(&String::from_utf8_lossy(line)).ok()?;
        let point = unescape(info.mount_point.to_str()?);
        let mount = Self {
            point,
            device: unescape(info.mount_source.as_deref().unwrap_or("none")),
            fstype: info.fs_type,
            read_only: info.mount_options.contains_key("ro") || info.super_options.contains_key("ro"),
            whole: info.root == "/",
            apart: false,
        };
        Some((info.majmin, mount))
    }

    fn is_wanted(&self, options: &Options) -> bool {
        let base = self.device.rsplit('/').next().unwrap_or_default();
        !(options.exclude_fstypes.matches(&self.fstype)
            || options.exclude_mountpoints.matches(&self.point)
            || options.exclude_devices.matches(base))
    }

    fn is_fuse(&self) -> bool {
        self.fstype.starts_with("fuse.") || matches!(&*self.fstype, "fuse" | "fuseblk" | "virtiofs")
    }

    /// Of several mounts of one device, the one to show: that of its root, at the shortest path.
    fn stands_for(&self, other: &Self) -> bool {
        let rank = |mount: &Self| (!mount.whole, mount.point.len());
        rank(self) < rank(other)
    }

    fn question(&self, host: &Arc<dyn Host>) -> Work<io::Result<FsStat>> {
        let (host, point, apart) = (Arc::clone(host), self.point.clone(), self.apart);
        Box::new(move || if apart { host.statvfs_apart(&point) } else { host.statvfs(&point) })
    }

    fn put_answer(&self, answer: Answer<io::Result<FsStat>>, out: &mut Samples) {
        match answer {
            Answer::Done(Ok(stat)) => self.put(&stat, out),
            Answer::Done(Err(error)) => self.put_error(&error, out),
            Answer::Stuck { .. } => out.put(&STUCK, &[&self.point], 1.0),
            // Nothing is known of it.
            Answer::NotAsked => {}
        }
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
        out.put(&USED_PERCENT, labels, 100.0 * used as f64 / usable as f64);
        if stat.inodes > 0 {
            let used = stat.inodes.saturating_sub(stat.inodes_free);
            out.put(&INODES, labels, stat.inodes as f64);
            out.put(&INODES_FREE, labels, stat.inodes_free as f64);
            out.put(&INODE_USED_PERCENT, labels, 100.0 * used as f64 / stat.inodes as f64);
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

/// The mounts to show, each device once, and how many lines were not understood.
fn mounts(table: &[u8], options: &Options) -> (Vec<Mount>, usize) {
    let mut bad = 0;
    let mut by_point = BTreeMap::new();
    for line in lines(table) {
        match Mount::parse(line) {
            // Of several at one point the last is the one to be seen.
            Some((device, mount)) => drop(by_point.insert(mount.point.clone(), (device, mount))),
            None => bad += 1,
        }
    }
    let fuse = by_point.values().filter(|(_, mount)| mount.is_fuse());
    let fuse: Vec<String> = fuse.map(|(_, mount)| mount.point.clone()).collect();
    for (_, mount) in by_point.values_mut() {
        mount.apart = fuse.iter().any(|point| Path::new(&mount.point).starts_with(point));
    }
    let mut by_device: BTreeMap<String, Mount> = BTreeMap::new();
    for (device, mount) in by_point.into_values().filter(|(_, mount)| mount.is_wanted(options)) {
        if by_device.get(&device).is_none_or(|known| mount.stands_for(known)) {
            by_device.insert(device, mount);
        }
    }
    let mut mounts: Vec<_> = by_device.into_values().collect();
    mounts.sort_unstable_by(|a, b| a.point.cmp(&b.point));
    (mounts, bad)
}

#[cfg(test)]
#[path = "filesystem_tests.rs"]
mod tests;
