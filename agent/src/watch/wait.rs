//! What a kernel stack says about a wait: the function, the kind of lock, the part of the kernel. Pure.

use crate::event::{Lock, LockKind, Side};

/// Functions of the scheduler: what a task waits in is the first one that is none of these.
const SCHEDULER: [&str; 12] = [
    "__schedule",
    "__switch_to",
    "context_switch",
    "io_schedule",
    "io_schedule_timeout",
    "preempt_schedule_common",
    "schedule",
    "schedule_hrtimeout_range",
    "schedule_preempt_disabled",
    "schedule_timeout",
    "schedule_timeout_killable",
    "schedule_timeout_uninterruptible",
];

/// Locks by the functions that wait for them (`kernel/locking`), by the beginning of the name.
const LOCKS: [(&str, LockKind, Option<Side>); 12] = [
    ("__mutex_lock", LockKind::KMutex, None),
    ("mutex_lock", LockKind::KMutex, None),
    ("__rt_mutex_slowlock", LockKind::KMutex, None),
    ("rwsem_down_read", LockKind::Rwsem, Some(Side::Reader)),
    ("rwsem_down_write", LockKind::Rwsem, Some(Side::Writer)),
    ("__down_read", LockKind::Rwsem, Some(Side::Reader)),
    ("down_read", LockKind::Rwsem, Some(Side::Reader)),
    ("__down_write", LockKind::Rwsem, Some(Side::Writer)),
    ("down_write", LockKind::Rwsem, Some(Side::Writer)),
    ("__down_common", LockKind::Semaphore, None),
    ("__down_timeout", LockKind::Semaphore, None),
    ("__down", LockKind::Semaphore, None),
];

/// Which mounts a part of the kernel works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounts {
    /// Those of a type that begins so.
    Of(&'static str),
    /// Those on a block device.
    Block,
    /// Not to be told by mounts.
    Unknown,
}

/// A part of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// As it is called in alerts.
    pub name: &'static str,
    /// What it works on.
    pub mounts: Mounts,
}

/// Parts of the kernel by the beginning of a function's name. What stands first wins over what stands
/// nearer to the wait: a filesystem tells more than the block layer below it.
const LAYERS: &[(&[&str], Layer)] = &[
    (&["nfs_", "nfs3_", "nfs4_", "__nfs", "_nfs4", "pnfs_", "nfsd"], of("NFS", Mounts::Of("nfs"))),
    (&["rpc_", "__rpc_", "xprt_", "call_transmit"], of("NFS", Mounts::Of("nfs"))),
    (&["cifs_", "smb2_", "SMB2_", "smb3_", "smb311_"], of("SMB", Mounts::Of("cifs"))),
    (&["fuse_", "__fuse_", "request_wait_answer"], of("FUSE", Mounts::Of("fuse"))),
    (&["ceph_", "__ceph"], of("Ceph", Mounts::Of("ceph"))),
    (&["v9fs_", "p9_client", "p9_"], of("9P", Mounts::Of("9p"))),
    (&["gfs2_"], of("GFS2", Mounts::Of("gfs2"))),
    (&["ocfs2_", "dlm_"], of("OCFS2", Mounts::Of("ocfs2"))),
    (&["freeze_super", "thaw_super"], FROZEN),
    (
        &["ext4_", "__ext4", "jbd2_", "__jbd2", "wait_transaction_locked", "add_transaction_credits"],
        of("ext4", Mounts::Of("ext4")),
    ),
    (&["xfs_", "xlog_", "__xfs"], of("XFS", Mounts::Of("xfs"))),
    (&["btrfs_", "__btrfs", "wait_current_trans"], of("btrfs", Mounts::Of("btrfs"))),
    (&["f2fs_", "__f2fs"], of("F2FS", Mounts::Of("f2fs"))),
    (&["zfs_", "zpl_", "txg_", "dmu_", "zio_", "spa_"], of("ZFS", Mounts::Of("zfs"))),
    (&["ovl_"], of("overlayfs", Mounts::Of("overlay"))),
    (&["md_", "raid1_", "raid5_", "raid10_", "__md_"], of("md RAID", Mounts::Block)),
    (&["dm_", "__dm_", "crypt_", "kcryptd"], of("device mapper", Mounts::Block)),
    (&["loop_", "lo_rw_aio"], of("loop device", Mounts::Block)),
    (&["nbd_"], of("network block device", Mounts::Block)),
    (&["rbd_", "__rbd"], of("Ceph block device", Mounts::Block)),
    (&["drbd_", "_drbd"], of("DRBD", Mounts::Block)),
    (&["nvme_", "__nvme"], of("NVMe", Mounts::Block)),
    (&["scsi_", "__scsi", "sd_", "ata_"], of("SCSI", Mounts::Block)),
    (&["mmc_", "__mmc"], of("MMC", Mounts::Block)),
    (&["usb_", "hub_"], of("USB", Mounts::Unknown)),
    (
        &["blk_", "__blk", "submit_bio", "bio_", "rq_qos_", "wbt_", "blkdev_", "sync_bdevs", "bdev_"],
        of("block layer", Mounts::Block),
    ),
    (
        &[
            "folio_wait_bit",
            "folio_wait_writeback",
            "wait_on_page",
            "__wait_on_page",
            "folio_lock",
            "__folio_lock",
            "bit_wait_io",
            "wait_on_buffer",
            "__wait_on_buffer",
            "writeback_",
            "wb_wait",
            "sync_inodes_sb",
        ],
        of("page cache I/O", Mounts::Block),
    ),
    (&["rtnl_lock", "unregister_netdev", "netdev_"], of("network configuration", Mounts::Unknown)),
    (&["cgroup_", "cpuset_"], of("control groups", Mounts::Unknown)),
    (
        &["synchronize_rcu", "synchronize_srcu", "rcu_barrier", "__synchronize_srcu"],
        of("RCU", Mounts::Unknown),
    ),
    (
        &["flush_work", "__flush_work", "flush_workqueue", "__flush_workqueue"],
        of("work queue", Mounts::Unknown),
    ),
    (&["exit_mm", "exit_aio", "mmap_lock", "mmap_read_lock"], of("memory map", Mounts::Unknown)),
    (&["drm_", "i915_", "amdgpu_", "nvkms", "nv_", "_nv0"], of("graphics", Mounts::Unknown)),
];

/// A filesystem that `fsfreeze` or a snapshot has stopped.
const FROZEN: Layer = of("frozen filesystem", Mounts::Block);
/// Who asks whether a filesystem is frozen (`sb_start_write`, mostly inlined): a per-CPU semaphore has other
/// users too.
const WRITERS: [&str; 12] = [
    "__sb_start_write",
    "sb_start_",
    "mnt_want_write",
    "vfs_",
    "do_iter_",
    "file_start_write",
    "aio_write",
    "io_write",
    "do_sys_ftruncate",
    "do_page_mkwrite",
    "ext4_",
    "xfs_",
];

const fn of(name: &'static str, mounts: Mounts) -> Layer {
    Layer { name, mounts }
}

/// Names of the functions of a stack, innermost first: `mutex_lock+0x1f/0x2f [module]` without what follows.
fn names(stack: &[String]) -> impl Iterator<Item = &str> {
    stack.iter().filter_map(|frame| Some(frame.split_once("+0x")?.0))
}

/// The function that a task waits in.
pub fn wchan(stack: &[String]) -> Option<String> {
    names(stack).find(|name| !SCHEDULER.contains(name)).map(str::to_owned)
}

/// The lock that a task waits for, without its owner: of the function that waits, not of one that it was
/// called by with a lock held.
pub fn lock(stack: &[String]) -> Option<Lock> {
    let name = names(stack).find(|name| !SCHEDULER.contains(name))?;
    let (_, kind, wanted_as) = LOCKS.iter().find(|(begin, ..)| name.starts_with(begin))?;
    Some(Lock { kind: *kind, wanted_as: *wanted_as, owner: None })
}

/// The part of the kernel that a task waits in; `wchan` where there is no stack.
pub fn layer(stack: &[String], wchan: Option<&str>) -> Option<Layer> {
    if is_frozen(stack) {
        return Some(FROZEN);
    }
    let found = |(begins, _): &&(&[&str], Layer)| names(stack).chain(wchan).any(|name| fits(name, begins));
    LAYERS.iter().find(found).map(|(_, layer)| *layer)
}

/// Whether the first function that is not the semaphore's own wants to write to a filesystem.
fn is_frozen(stack: &[String]) -> bool {
    let mut names = names(stack).filter(|name| !SCHEDULER.contains(name)).peekable();
    let percpu = |name: &&str| {
        name.contains("percpu_") || name.starts_with("rwsem_down_read") || *name == "__sb_start_write"
    };
    names.peek().is_some_and(percpu)
        && names
            .find(|name| !percpu(name) || *name == "__sb_start_write")
            .is_some_and(|name| fits(name, &WRITERS))
}

fn fits(name: &str, begins: &[&str]) -> bool {
    begins.iter().any(|begin| name.starts_with(begin))
}

/// The block device that a kernel thread works for, as its name tells: a name, or `major:minor`.
pub fn device_of(comm: &str) -> Option<&str> {
    let after = |begin: &str| comm.strip_prefix(begin).filter(|rest| !rest.is_empty());
    // `jbd2/sda1-8`: the inode of the journal, or `journal`-device, follows.
    if let Some(rest) = after("jbd2/") {
        return rest.rsplit_once('-').map(|(device, _)| device);
    }
    // `kworker/u4:1-flush-8:0`, `+` while it is at it; before 3.10 `flush-8:0`.
    if let Some((_, device)) =
        comm.split_once("flush-").filter(|_| comm.starts_with("kworker/") || after("flush-").is_some())
    {
        return is_number(device).then_some(device);
    }
    let begins = [
        "xfsaild/",
        "xfs-data/",
        "xfs-conv/",
        "xfs-log/",
        "xfs-cil/",
        "xfs-buf/",
        "xfs-sync/",
        "dmcrypt_write/",
        "kdmflush/",
        "f2fs_gc-",
        "f2fs_ckpt-",
        "f2fs_flush-",
        "f2fs_discard-",
        "kcryptd/",
    ];
    if let Some(device) = begins.iter().find_map(|begin| after(begin)) {
        return Some(device);
    }
    if after("loop").is_some_and(is_digits) {
        return Some(comm);
    }
    comm.split_once('_')
        .map(|(device, _)| device)
        .filter(|device| device.strip_prefix("md").is_some_and(is_digits))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `8:0`.
fn is_number(text: &str) -> bool {
    text.split_once(':').is_some_and(|(major, minor)| is_digits(major) && is_digits(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(names: &str) -> Vec<String> {
        names.split_whitespace().map(|name| format!("{name}+0x1/0x2")).collect()
    }

    /// Innermost first; expects `function|lock|part of the kernel`.
    fn check(frames: &str, expect: &str) {
        let stack = stack(frames);
        let lock = lock(&stack).map(|lock| match lock.wanted_as {
            Some(side) => format!("{} {}", lock.kind.name(), side.name()),
            None => lock.kind.name().to_owned(),
        });
        let is = [wchan(&stack), lock, layer(&stack, None).map(|l| l.name.to_owned())];
        assert_eq!(is.map(|part| part.unwrap_or_else(|| "-".into())).join("|"), expect, "{frames}");
    }

    #[test]
    fn stacks_of_all_sorts() {
        for (frames, expect) in [
            (
                "__schedule schedule percpu_rwsem_wait __percpu_down_read mnt_want_write path_openat",
                "percpu_rwsem_wait|-|frozen filesystem",
            ),
            (
                "__schedule schedule rwsem_down_read_slowpath __percpu_down_read __sb_start_write mnt_want_write",
                "rwsem_down_read_slowpath|rwsem reader|frozen filesystem",
            ),
            (
                "__schedule schedule rpc_wait_bit_killable __wait_on_bit nfs4_run_open_task vfs_open",
                "rpc_wait_bit_killable|-|NFS",
            ),
            (
                "__schedule schedule request_wait_answer __fuse_request_send fuse_lookup",
                "request_wait_answer|-|FUSE",
            ),
            (
                "schedule io_schedule folio_wait_bit_common ext4_bread ext4_readdir",
                "folio_wait_bit_common|-|ext4",
            ),
            (
                "schedule io_schedule folio_wait_bit_common filemap_get_pages",
                "folio_wait_bit_common|-|page cache I/O",
            ),
            (
                "schedule jbd2_journal_commit_transaction kjournald2 kthread",
                "jbd2_journal_commit_transaction|-|ext4",
            ),
            ("schedule xlog_grant_head_wait xfs_log_reserve xfs_trans_alloc", "xlog_grant_head_wait|-|XFS"),
            ("schedule wait_current_trans start_transaction btrfs_create", "wait_current_trans|-|btrfs"),
            (
                "schedule schedule_timeout io_schedule_timeout wait_for_completion_io blk_execute_rq scsi_execute_cmd sd_sync_cache",
                "wait_for_completion_io|-|SCSI",
            ),
            (
                "schedule blk_mq_freeze_queue_wait nvme_wait_freeze nvme_reset_work",
                "blk_mq_freeze_queue_wait|-|NVMe",
            ),
            (
                "schedule md_write_start raid5_make_request submit_bio ext4_bio_write_page",
                "md_write_start|-|ext4",
            ),
            ("schedule md_super_wait md_update_sb", "md_super_wait|-|md RAID"),
            (
                "schedule schedule_preempt_disabled __mutex_lock.constprop.0 rtnl_lock dev_ioctl",
                "__mutex_lock.constprop.0|mutex|network configuration",
            ),
            ("schedule schedule_timeout __down_common __down down read_dummy", "__down_common|semaphore|-"),
            (
                "schedule rwsem_down_write_slowpath down_write vm_mmap_pgoff",
                "rwsem_down_write_slowpath|rwsem writer|-",
            ),
            ("schedule call_rwsem_down_read_failed down_read", "call_rwsem_down_read_failed|-|-"),
            ("schedule synchronize_rcu", "synchronize_rcu|-|RCU"),
            (
                "schedule percpu_rwsem_wait __percpu_down_read vfs_write ksys_write",
                "percpu_rwsem_wait|-|frozen filesystem",
            ),
            (
                "schedule percpu_rwsem_wait __percpu_down_read cgroup_procs_write_start",
                "percpu_rwsem_wait|-|control groups",
            ),
            ("schedule percpu_rwsem_wait __percpu_down_read cpus_read_lock", "percpu_rwsem_wait|-|-"),
            ("schedule percpu_down_write freeze_super do_vfs_ioctl", "percpu_down_write|-|frozen filesystem"),
            ("something_new", "something_new|-|-"),
            ("schedule", "-|-|-"),
            ("", "-|-|-"),
        ] {
            check(frames, expect);
        }
    }

    #[test]
    fn frames_that_are_none_and_a_wait_function_alone() {
        assert_eq!(wchan(&["nonsense".into(), String::new(), "+0x".into()]).as_deref(), Some(""));
        assert_eq!(layer(&[], Some("nfs_wait_bit_killable")).map(|l| l.name), Some("NFS"));
        assert_eq!(layer(&[], None), None);
    }

    #[test]
    fn kernel_threads_name_their_device() {
        for (comm, expect) in [
            ("jbd2/vda1-8", Some("vda1")),
            ("jbd2/dm-0-8", Some("dm-0")),
            ("jbd2/md1-", Some("md1")),
            ("jbd2/", None),
            ("jbd2/x", None),
            ("kworker/u4:1-flush-8:0", Some("8:0")),
            ("kworker/u4:1+flush-253:16", Some("253:16")),
            ("kworker/u4:1-flush-btrfs-1", None),
            ("flush-8:16", Some("8:16")),
            ("kworker/u4:1-events", None),
            ("evil flush-8:0", None),
            ("loop1", Some("loop1")),
            ("loop", None),
            ("looping", None),
            ("xfsaild/dm-0", Some("dm-0")),
            ("xfsaild/", None),
            ("dmcrypt_write/253:0", Some("253:0")),
            ("f2fs_ckpt-259:1", Some("259:1")),
            ("md127_raid1", Some("md127")),
            ("md_misc", None),
            ("mdadm_x", None),
            ("dd", None),
            ("", None),
            ("é", None),
            ("looé1", None),
        ] {
            assert_eq!(device_of(comm), expect, "{comm}");
        }
    }
}
