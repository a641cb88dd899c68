//! The virtual machines: what each is made of, as data.

use vm_guest::plan::Rights;
use vm_guest::scenarios;

use super::kernel::Flavour;

/// What a guest's kernel is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The newest Debian kernel of a series (`6.1`), under QEMU.
    Debian(String, Flavour),
    /// User-mode Linux, an ordinary process: a kernel without BPF, perf events and tracefs.
    UserMode,
}

/// A device of a QEMU guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A virtio disk with an empty ext4 on it.
    Ext4,
    /// A virtio disk whose every request fails with EIO (`blkdebug`).
    Failing,
    /// A thermal zone that the guest itself heats (`thermal.asl`).
    ThermalZone,
    /// Anything else, as QEMU's own arguments: sockets and NUMA nodes, `NVMe`, SMBIOS tables, an e1000 …
    Qemu(&'static [&'static str]),
}

/// One guest.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Name, on the command line and in the table.
    pub name: String,
    /// Its kernel.
    pub source: Source,
    /// Processors.
    pub smp: u32,
    /// Memory, MiB. The less, the sooner it is full.
    pub memory_mib: u32,
    /// Devices beside the two serial lines.
    pub devices: Vec<Device>,
    /// Modules loaded at the start.
    pub modules: Vec<&'static str>,
    /// Modules that scenarios load.
    pub spare_modules: Vec<&'static str>,
    /// More of the kernel's command line.
    pub append: &'static str,
    /// What happens in it: names out of [`scenarios::ALL`].
    pub scenarios: Vec<&'static str>,
    /// The agent runs once with each.
    pub rights: Vec<Rights>,
    /// Debian release of the root file system, if it has one, with a systemd.
    pub root: Option<&'static str>,
    /// Whether it has the program that prints readings.
    pub readings: bool,
    /// Whether CI insists on it. The others are tried and told: their packages come and go.
    pub stable: bool,
}

/// Kernels that are in the pool to stay, and that CI insists on.
pub const STABLE: &[&str] = &["5.10", "6.1", "6.12"];
/// How many of the series that come after them are tried.
pub const NEWER: usize = 2;
/// A kernel whose lockdown hides tracefs and forbids reading its memory.
pub const LOCKED: &str = "6.1-lockdown";
/// A kernel whose hardware is faulty.
pub const FAULTY: &str = "6.12-faulty";
/// End of the names of guests with drivers of real hardware.
pub const FULL: &str = "-full";
/// A kernel with disks that tell of their health, and firmware that tells of memory modules.
pub const DISKS: &str = "6.12-disks";
/// A kernel with a real systemd in it.
pub const SYSTEMD: &str = "6.12-systemd";
/// A kernel on a machine with sockets, nodes, and slots for more.
pub const LARGE: &str = "6.12-large";
/// User-mode Linux.
pub const USER_MODE: &str = "uml";

/// Everything happens to it, to the agent as root and without.
pub fn ordinary(name: &str, series: &str, flavour: Flavour) -> Guest {
    Guest {
        name: name.into(),
        source: Source::Debian(series.into(), flavour),
        smp: 2,
        memory_mib: 384,
        devices: vec![Device::Ext4, Device::Failing],
        // crc32c: ext4 asks for it by an alias that only depmod knows.
        modules: vec!["virtio_pci", "virtio_blk", "crc32c_generic", "crc32c_cryptoapi", "ext4"],
        spare_modules: vec!["null_blk", "sd_mod", "scsi_debug"],
        append: "",
        scenarios: scenarios::ALL.iter().filter(|s| s.everywhere).map(|s| s.name).collect(),
        rights: vec![Rights::Root, Rights::Capable],
        root: None,
        readings: false,
        stable: STABLE.contains(&name),
    }
}

/// A kernel that lets nobody look into it, not even root.
pub fn locked() -> Guest {
    Guest {
        append: "lockdown=confidentiality",
        scenarios: vec!["oom-unit", "hung-task"],
        rights: vec![Rights::Root],
        stable: true,
        ..ordinary(LOCKED, "6.1", Flavour::Cloud)
    }
}

/// Disks and modules for the inventory, as `vm_guest::scenarios::health` expects them. Not in the page: it is
/// about kernels.
pub fn disks() -> Guest {
    const DISKS_AND_TABLES: &[&str] = &[
        "-drive",
        "driver=null-co,size=16M,read-zeroes=on,if=none,id=n0",
        "-device",
        "nvme,id=nvme0,serial=N-1,drive=n0",
        "-drive",
        "driver=null-co,size=16M,read-zeroes=on,if=none,id=a0",
        "-device",
        "ide-hd,bus=ide.0,serial=A-1,drive=a0",
        "-device",
        "virtio-scsi-pci,id=scsi0",
        "-drive",
        "driver=null-co,size=16M,read-zeroes=on,if=none,id=s0",
        "-device",
        "scsi-hd,bus=scsi0.0,serial=S-1,drive=s0",
        "-smbios",
        "type=17,loc_pfx=DIMM_A,bank=BANK,manufacturer=ACME,serial=S-17,asset=none,part=P-17,speed=3200",
    ];
    Guest {
        devices: vec![Device::Qemu(DISKS_AND_TABLES)],
        // One after the other: the names sda and sdb are given in this order.
        modules: vec!["nvme", "sd_mod", "ahci", "virtio_pci", "virtio_scsi"],
        spare_modules: vec!["scsi_debug"],
        scenarios: scenarios::HEALTH.iter().map(|s| s.name).collect(),
        rights: vec![Rights::Root],
        readings: true,
        stable: true,
        ..ordinary(DISKS, "6.12", Flavour::Cloud)
    }
}

/// Sockets, NUMA nodes, adapters and empty slots, as `vm_guest::scenarios::{cpus, storage, interfaces}` expect them.
pub fn large() -> Guest {
    // One node with CPUs and memory, one without memory, one without CPUs.
    const NODES: &[&str] = &[
        "-smp",
        "4,sockets=2,cores=2,threads=1",
        "-object",
        "memory-backend-ram,id=m0,size=384M",
        "-object",
        "memory-backend-ram,id=m2,size=256M",
        "-numa",
        "node,nodeid=0,cpus=0-1,memdev=m0",
        "-numa",
        "node,nodeid=1,cpus=2-3",
        "-numa",
        "node,nodeid=2,memdev=m2",
    ];
    const ADAPTERS: &[&str] = &[
        "-netdev",
        "user,id=n0,restrict=on",
        "-device",
        "virtio-net-pci,id=nic0,netdev=n0,mac=52:54:00:be:ef:01,speed=10000,duplex=full,romfile=",
        "-device",
        "pcie-root-port,id=slot1,chassis=2,slot=2",
        "-netdev",
        "user,id=n1,restrict=on",
        "-device",
        "virtio-net-pci,id=nic1,bus=slot1,netdev=n1,mac=52:54:00:be:ef:02,romfile=",
        "-netdev",
        "user,id=n2,restrict=on",
        "-device",
        "virtio-net-pci,id=nic2,netdev=n2,mac=52:54:00:be:ef:03,romfile=",
    ];
    const EMPTY_SLOT: &[&str] = &["-device", "pcie-root-port,id=slot0,chassis=1,slot=1"];
    let guest = ordinary(LARGE, "6.12", Flavour::Cloud);
    Guest {
        smp: 4,
        memory_mib: 640,
        devices: vec![
            Device::Ext4,
            Device::Ext4,
            Device::Qemu(NODES),
            Device::Qemu(ADAPTERS),
            Device::Qemu(EMPTY_SLOT),
        ],
        modules: vec!["virtio_pci", "virtio_blk", "virtio_net"],
        spare_modules: vec!["raid1", "bonding"],
        scenarios: scenarios::LARGE.iter().map(|s| s.name).collect(),
        rights: vec![Rights::Root],
        readings: true,
        stable: true,
        ..guest
    }
}

/// Faults of the hardware. The series is the first whose cloud kernel has all that they take.
pub fn faulty() -> Guest {
    // A peer that takes connections and reads nothing: a character device with nothing behind it.
    const STUCK: &[&str] = &[
        "-chardev",
        "socket,id=peer,path=peer,server=on,wait=off",
        "-netdev",
        "stream,id=n0,server=off,addr.type=unix,addr.path=peer",
        "-device",
        "virtio-net-pci,netdev=n0,romfile=",
    ];
    const BEHIND_PORT: &[&str] = &[
        "-device",
        "pcie-root-port,id=port0,chassis=1,slot=1",
        "-device",
        "virtio-rng-pci,bus=port0,aer=on",
    ];
    let guest = ordinary(FAULTY, "6.12", Flavour::Cloud);
    Guest {
        devices: vec![Device::ThermalZone, Device::Qemu(STUCK), Device::Qemu(BEHIND_PORT)],
        modules: vec!["virtio_pci", "virtio_net"],
        spare_modules: vec!["aer_inject"],
        scenarios: scenarios::FAULTS.iter().map(|s| s.name).collect(),
        stable: true,
        ..guest
    }
}

/// Debian 13 with its systemd, systemd-oomd and earlyoom; the agent runs in its own unit.
pub fn systemd() -> Guest {
    Guest {
        memory_mib: 512,
        devices: Vec::new(),
        spare_modules: Vec::new(),
        // What such a machine has no use for costs seconds.
        append: "systemd.show_status=0 systemd.mask=systemd-modules-load.service systemd.mask=systemd-logind.service \
            systemd.mask=modprobe@drm.service systemd.mask=modprobe@fuse.service systemd.mask=modprobe@efi_pstore.service \
            systemd.mask=modprobe@configfs.service systemd.mask=modprobe@loop.service systemd.mask=modprobe@dm_mod.service \
            systemd.mask=dev-hugepages.mount systemd.mask=dev-mqueue.mount systemd.mask=getty@tty1.service",
        scenarios: scenarios::SYSTEMD.iter().map(|s| s.name).collect(),
        rights: vec![Rights::Unit],
        root: Some("trixie"),
        stable: true,
        ..ordinary(SYSTEMD, "6.12", Flavour::Cloud)
    }
}

/// A kernel without BPF.
pub fn user_mode() -> Guest {
    Guest {
        name: USER_MODE.into(),
        source: Source::UserMode,
        smp: 1,
        memory_mib: 256,
        devices: Vec::new(),
        modules: Vec::new(),
        spare_modules: Vec::new(),
        append: "",
        scenarios: vec!["oom-global"],
        rights: vec![Rights::Root, Rights::Capable],
        root: None,
        readings: false,
        stable: true,
    }
}
