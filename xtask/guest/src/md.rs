//! A mirror of two disks without a superblock, by the ioctls of `include/uapi/linux/raid/md_u.h`: no mdadm in a guest.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const ADD_NEW_DISK: libc::c_ulong = 0x4014_0921;
const HOT_REMOVE_DISK: libc::c_ulong = 0x0922;
const SET_ARRAY_INFO: libc::c_ulong = 0x4048_0923;
const HOT_ADD_DISK: libc::c_ulong = 0x0928;
const SET_DISK_FAULTY: libc::c_ulong = 0x0929;
const RUN_ARRAY: libc::c_ulong = 0x400c_0930;
const STOP_ARRAY: libc::c_ulong = 0x0932;

/// `mdu_array_info_t`.
#[repr(C)]
#[derive(Default)]
struct ArrayInfo {
    major_version: i32,
    minor_version: i32,
    patch_version: i32,
    ctime: u32,
    level: i32,
    size_kib: i32,
    nr_disks: i32,
    raid_disks: i32,
    md_minor: i32,
    not_persistent: i32,
    utime: u32,
    state: i32,
    active_disks: i32,
    working_disks: i32,
    failed_disks: i32,
    spare_disks: i32,
    layout: i32,
    chunk_size: i32,
}
const _: () = assert!(size_of::<ArrayInfo>() == 72);

/// `mdu_disk_info_t`.
#[repr(C)]
struct DiskInfo {
    number: i32,
    major: i32,
    minor: i32,
    raid_disk: i32,
    /// `MD_DISK_ACTIVE` and `MD_DISK_SYNC`.
    state: i32,
}
const _: () = assert!(size_of::<DiskInfo>() == 20);

/// The array `md0`; stopped when it goes out of scope.
#[derive(Debug)]
pub struct Mirror(File);

impl Mirror {
    /// Made of the two disks, which count as equal.
    pub fn new(disks: [&str; 2]) -> io::Result<Self> {
        const NODE: &str = "/dev/md0";
        if !Path::new(NODE).exists() {
            fs::write("/sys/module/md_mod/parameters/new_array", "md0")?;
        }
        let mirror = Self(OpenOptions::new().read(true).write(true).open(NODE)?);
        // Version 0.90, kept nowhere; it ends 64 KiB before its disks do at least.
        let size_kib = disks.iter().map(|disk| size_kib(disk)).collect::<io::Result<Vec<i32>>>()?;
        let size_kib = size_kib.into_iter().min().unwrap_or(0) - 128;
        let info = ArrayInfo {
            minor_version: 90,
            level: 1,
            size_kib,
            nr_disks: 2,
            raid_disks: 2,
            not_persistent: 1,
            state: 1,
            active_disks: 2,
            working_disks: 2,
            ..ArrayInfo::default()
        };
        mirror.call(SET_ARRAY_INFO, (&raw const info) as libc::c_ulong)?;
        for (slot, disk) in (0..).zip(disks) {
            let (major, minor) = number(disk)?;
            let info = DiskInfo { number: slot, major, minor, raid_disk: slot, state: 1 << 1 | 1 << 2 };
            mirror.call(ADD_NEW_DISK, (&raw const info) as libc::c_ulong)?;
        }
        mirror.call(RUN_ARRAY, 0)?;
        Ok(mirror)
    }

    /// Declares a disk broken.
    pub fn fail(&self, disk: &str) -> io::Result<()> {
        self.of_disk(SET_DISK_FAULTY, disk)
    }

    /// Takes a broken disk out.
    pub fn remove(&self, disk: &str) -> io::Result<()> {
        self.of_disk(HOT_REMOVE_DISK, disk)
    }

    /// Puts a disk in, onto which the array is rebuilt.
    pub fn add(&self, disk: &str) -> io::Result<()> {
        self.of_disk(HOT_ADD_DISK, disk)
    }

    fn of_disk(&self, request: libc::c_ulong, disk: &str) -> io::Result<()> {
        let (major, minor) = number(disk)?;
        // `new_decode_dev`, `include/linux/kdev_t.h`, of numbers below 256.
        self.call(request, (major << 8 | minor) as libc::c_ulong)
    }

    fn call(&self, request: libc::c_ulong, argument: libc::c_ulong) -> io::Result<()> {
        // SAFETY: the argument is a number, null, or the address of the struct that this request reads, which
        // outlives the call.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), request as _, argument) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.call(STOP_ARRAY, 0);
    }
}

fn number(disk: &str) -> io::Result<(i32, i32)> {
    let device = fs::metadata(format!("/dev/{disk}"))?.rdev();
    Ok((libc::major(device) as i32, libc::minor(device) as i32))
}

fn size_kib(disk: &str) -> io::Result<i32> {
    let sectors = fs::read_to_string(format!("/sys/block/{disk}/size"))?;
    sectors.trim().parse::<i32>().map(|sectors| sectors / 2).map_err(io::Error::other)
}
