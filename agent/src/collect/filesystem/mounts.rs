//! The table of mounts: which of them a path leads to, and who answers for what lies there.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::Options;
use crate::host::parse::{lines, number, unescape_bytes};

/// A filesystem to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) path: PathBuf,
    /// The path for people: a byte that is no text stands there as `\xff`.
    pub(super) point: String,
    pub(super) device: String,
    pub(super) fstype: String,
    pub(super) read_only: bool,
    /// The same as the agent saw it last; in a sandbox all of them are.
    pub(super) seen_read_only: Option<bool>,
    /// Not only this mount: nobody can write to the filesystem.
    pub(super) is_image: bool,
    pub(super) reach: Reach,
    /// Who answers for it, where that is not this kernel and a disk of its own.
    pub(super) server: Option<String>,
    /// Number of its device, where its directories bear that one (`show_mountinfo`, `fs/proc_namespace.c`).
    pub(super) number: Option<(u32, u32)>,
    whole: bool,
}

/// How a mount may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// At once: its figures are in memory, and nothing on the way to it can hang.
    AtOnce,
    /// Aside.
    Aside,
    /// Aside, in a process of its own: it, or what it lies in, is answered for by a program, and who waits for that one cannot
    /// be ended by anybody.
    Apart,
}

/// A line of the table.
struct Line {
    id: u64,
    parent: u64,
    majmin: String,
    mount: Mount,
}

/// Kinds whose figures are in memory: `statvfs` asks no device, server or program, and waits for none
/// (`ext4_statfs`, `fs/ext4/super.c`; `shmem_statfs`, `mm/shmem.c`; `simple_statfs`, `fs/libfs.c`; `squashfs_statfs`,
/// `fs/squashfs/super.c`). Not so XFS, which from 5.14 to 5.18 waits for its own cleaning (`xfs_fs_statfs`).
const IN_MEMORY: [&str; 7] = ["ext2", "ext3", "ext4", "tmpfs", "devtmpfs", "ramfs", "squashfs"];
/// Where container runtimes mount for their containers: what `node_exporter` leaves out, and containerd's. Not the volumes of
/// kubelet: they are disks that can be full.
const RUNTIMES: [&str; 5] = [
    "/run/credentials",
    "/var/lib/docker",
    "/var/lib/containers/storage",
    "/var/lib/containerd",
    "/run/containerd",
];
/// Files of the host's that runtimes mount into each container (`docker`, `podman`, kubelet): no names of a disk.
const INJECTED: [&str; 7] = [
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/dev/termination-log",
    "/run/.containerenv",
    "/run/secrets",
    "/var/run/secrets",
];
/// Option with which a quota may have to be read from the disk first.
const QUOTA: &[u8] = b"prjquota";
/// Mounts upon each other at one place that are followed.
const MAX_STACK: usize = 256;

/// The mounts to show, each device once, and how many lines were not understood.
pub(super) fn mounts(table: &[u8], options: &Options) -> (Vec<Mount>, usize) {
    let mut bad = 0;
    let mut all = Vec::new();
    for line in lines(table) {
        match Line::parse(line) {
            Some(line) => all.push(line),
            None => bad += 1,
        }
    }
    // The way to a mount leads through those that others cover, too.
    let slow = all.iter().map(|line| &line.mount).filter(|mount| mount.reach != Reach::AtOnce);
    let slow: Vec<PathBuf> = slow.map(|mount| mount.path.clone()).collect();
    keep_seen(&mut all);
    let fuse: Vec<_> = all.iter().map(|line| &line.mount).filter(|mount| mount.is_fuse()).cloned().collect();
    for Line { mount, .. } in &mut all {
        if let Some(above) = fuse.iter().find(|fuse| mount.path.starts_with(&fuse.path)) {
            mount.reach = Reach::Apart;
            mount.server = mount.server.take().or_else(|| above.server.clone());
        }
    }
    for Line { mount, .. } in &mut all {
        if mount.reach == Reach::AtOnce && slow.iter().any(|above| mount.path.starts_with(above)) {
            mount.reach = Reach::Aside;
        }
    }
    let mut by_device: BTreeMap<String, Mount> = BTreeMap::new();
    for Line { majmin, mount, .. } in all.into_iter().filter(|line| line.mount.is_wanted(options)) {
        if by_device.get(&majmin).is_none_or(|known| mount.stands_for(known)) {
            by_device.insert(majmin, mount);
        }
    }
    let mut mounts: Vec<_> = by_device.into_values().collect();
    mounts.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    (mounts, bad)
}

/// Drops those that their path does not lead to: another one covers it, at the same place or above.
fn keep_seen(all: &mut Vec<Line>) {
    let parents: HashMap<u64, u64> = all.iter().map(|line| (line.id, line.parent)).collect();
    let children: HashMap<(u64, PathBuf), u64> =
        all.iter().map(|line| ((line.parent, line.mount.path.clone()), line.id)).collect();
    all.retain(|line| {
        let above = |id: &u64| parents.get(id).copied().filter(|parent| parent != id);
        let top = std::iter::successors(Some(line.id), above).take(MAX_STACK).last();
        // Down the path as a look-up goes: at each place to the mount upon the one that it came through.
        let mut way: Vec<&Path> = line.mount.path.ancestors().collect();
        way.reverse();
        let mut at = top.unwrap_or(line.parent);
        for place in way {
            for _ in 0..MAX_STACK {
                let Some(next) = children.get(&(at, place.to_path_buf())).filter(|next| **next != at) else {
                    break;
                };
                at = *next;
            }
        }
        at == line.id
    });
}

impl Line {
    /// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG…] - TYPE SOURCE OPTIONS`; a source may be empty.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.split(|&byte| byte == b' ');
        let mut word = || words.next();
        let (id, parent) = (number(word()?)?, number(word()?)?);
        let majmin = String::from_utf8(word()?.to_vec()).ok()?;
        let (major, minor) = majmin.split_once(':')?;
        let device_number = (major.parse().ok()?, minor.parse().ok()?);
        let (root, point, options) = (word()?, word()?, word()?);
        words.by_ref().find(|word| *word == b"-")?;
        let mut text = || Some(shown(&unescape_bytes(words.next()?)));
        let (fstype, device) = (text()?, text()?);
        let super_options = words.next().unwrap_or_default();
        let path = unescape_bytes(point);
        if !path.starts_with(b"/") || fstype.is_empty() {
            return None;
        }
        let has = |options: &[u8], wanted: &[u8]| options.split(|&byte| byte == b',').any(|o| o == wanted);
        let is_image = has(super_options, b"ro");
        let mount = Mount {
            point: shown(&path),
            path: PathBuf::from(OsString::from_vec(path)),
            server: server(&fstype, &device),
            seen_read_only: None,
            read_only: is_image || has(options, b"ro"),
            is_image,
            reach: if IN_MEMORY.contains(&&*fstype) && !has(super_options, QUOTA) {
                Reach::AtOnce
            } else {
                Reach::Aside
            },
            // Each subvolume of btrfs has a number that the table does not tell.
            number: (fstype != "btrfs").then_some(device_number),
            whole: root == b"/",
            device,
            fstype,
        };
        Some(Self { id, parent, majmin, mount })
    }
}

impl Mount {
    fn is_wanted(&self, options: &Options) -> bool {
        let base = self.device.rsplit('/').next().unwrap_or_default();
        // What the table ends so is the place of no directory any more (`seq_path`, `fs/seq_file.c`).
        !(self.point.ends_with("//deleted")
            || self.is_of_container()
            || options.exclude_fstypes.matches(&self.fstype)
            || options.exclude_mountpoints.matches(&self.point)
            || options.exclude_devices.matches(base))
    }

    /// What a runtime mounts for a container, or, seen from inside, into it: parts of disks that have a place of their own.
    fn is_of_container(&self) -> bool {
        let is_below = |dir: &&str| self.point.strip_prefix(*dir).is_some_and(|rest| rest.starts_with('/'));
        let is_file = |file: &&str| self.point == *file;
        RUNTIMES.iter().any(is_below) || !self.whole && INJECTED.iter().any(|at| is_file(at) || is_below(at))
    }

    fn is_fuse(&self) -> bool {
        is_fuse(&self.fstype)
    }

    /// Of several mounts of one device, the one to show: that of its root, at the shortest path.
    fn stands_for(&self, other: &Self) -> bool {
        let rank = |mount: &Self| (!mount.whole, mount.point.len());
        rank(self) < rank(other)
    }
}

fn is_fuse(fstype: &str) -> bool {
    fstype.starts_with("fuse.") || matches!(fstype, "fuse" | "fuseblk" | "virtiofs")
}

/// `server:/export`, `//server/share`, the pool of a ZFS dataset, the program behind a FUSE mount.
fn server(fstype: &str, source: &str) -> Option<String> {
    let host = match source.strip_prefix("//") {
        Some(share) => share.split('/').next(),
        None => source.split_once(":/").map(|(host, _)| host).filter(|host| !host.starts_with('/')),
    };
    match fstype {
        "zfs" => source.split('/').next().map(str::to_owned),
        "9p" => Some(source.to_owned()),
        _ => host.map(str::to_owned).or_else(|| is_fuse(fstype).then(|| format!("{fstype} {source}"))),
    }
}

fn shown(path: &[u8]) -> String {
    let mut text = String::new();
    for part in path.utf8_chunks() {
        text.push_str(part.valid());
        for byte in part.invalid() {
            // Writing to a string does not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}
