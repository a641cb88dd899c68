//! Disks of `/sys/block`.

use super::Disk;
use super::read::{entries, number, tidy, value};
use crate::host::Host;
use crate::host::glob::Globs;

/// Disks with a device behind them (loop, ram, dm and md have none) and a medium in it.
pub(super) fn disks(host: &dyn Host, exclude: &Globs) -> Vec<Disk> {
    let names = entries(host, "/sys/block");
    names.iter().filter(|name| !exclude.matches(name)).filter_map(|name| disk(host, name)).collect()
}

fn disk(host: &dyn Host, name: &str) -> Option<Disk> {
    let dir = format!("/sys/block/{name}");
    if entries(host, &format!("{dir}/device")).is_empty() {
        return None;
    }
    // With native NVMe multipath, a path to a disk that is listed itself.
    if number(host, &format!("{dir}/hidden")) == Some(1) {
        return None;
    }
    let sectors = number(host, &format!("{dir}/size")).filter(|&sectors| sectors > 0)?;
    let file = |name: &str| value(host, &format!("{dir}/{name}"));
    Some(Disk {
        name: name.to_owned(),
        model: file("device/model").or_else(|| file("device/name")),
        serial: file("device/serial").or_else(|| file("serial")).or_else(|| scsi_serial(host, &dir)),
        firmware: file("device/firmware_rev").or_else(|| file("device/rev")).or_else(|| file("device/fwrev")),
        capacity_gb: gigabytes(sectors),
        interface: interface(name, &host.read_link(&dir).unwrap_or_default()),
        smart_healthy: None,
    })
}

/// Sectors of 512 bytes as 10^9 bytes, rounded.
fn gigabytes(sectors: u64) -> u64 {
    let bytes = u128::from(sectors) * 512;
    u64::try_from((bytes + 500_000_000) / 1_000_000_000).unwrap_or(u64::MAX)
}

/// Page 0x80 of a SCSI disk: four bytes, the last two of them the length, then the serial number.
fn scsi_serial(host: &dyn Host, dir: &str) -> Option<String> {
    let mut page = Vec::new();
    host.read(&format!("{dir}/device/vpd_pg80"), &mut page).ok()?;
    let [_, 0x80, high, low, rest @ ..] = &page[..] else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    tidy(&String::from_utf8_lossy(rest.get(..length)?))
}

/// From the name and the place in the tree of devices.
fn interface(name: &str, link: &str) -> &'static str {
    match name {
        _ if name.starts_with("nvme") => "NVMe",
        _ if name.starts_with("mmcblk") => "MMC",
        // A disk behind virtio-scsi is named sd, and is SCSI.
        _ if name.starts_with("vd") => "virtio",
        _ if link.contains("/usb") => "USB",
        _ if link.contains("/ata") => "SATA",
        _ if link.contains("/end_device-") => "SAS",
        _ if link.contains("/target") => "SCSI",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fixture::FixtureHost;

    #[test]
    fn disks_are_read() {
        let host = FixtureHost::parse(
            "//- /sys/block/nvme0n1 -> ../devices/pci0000:00/0000:01:00.0/nvme/nvme0/nvme0n1
//- /sys/block/nvme0n1/size
7501476528
//- /sys/block/nvme0n1/device/model
SAMSUNG MZQL23T8HCLS-00A07              
//- /sys/block/nvme0n1/device/serial
S64HNE0T
//- /sys/block/nvme0n1/device/firmware_rev
GDC5602Q
//- /sys/block/sda -> ../devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda
//- /sys/block/sda/size
1000215216
//- /sys/block/sda/device/model
INTEL SSD
//- /sys/block/sda/device/rev
0110
//- /sys/block/sdb/size
0
//- /sys/block/sdb/device/model
CARD READER
//- /sys/block/dm-0/size
5000
//- /sys/block/loop0/size
5000
//- /sys/block/loop0/device/x
",
        )
        .unwrap();
        host.set("/sys/block/sda/device/vpd_pg80", b"\0\x80\0\x08  S1234\xff");
        let disks = disks(&host, &Globs::new(&["loop*"]));
        let expect = Disk {
            name: "nvme0n1".into(),
            model: Some("SAMSUNG MZQL23T8HCLS-00A07".into()),
            serial: Some("S64HNE0T".into()),
            firmware: Some("GDC5602Q".into()),
            capacity_gb: 3841,
            interface: "NVMe",
            smart_healthy: None,
        };
        assert_eq!(disks.len(), 2, "{disks:?}");
        assert_eq!(disks[0], expect);
        assert_eq!((disks[1].interface, disks[1].capacity_gb), ("SATA", 512));
        assert_eq!(disks[1].serial.as_deref(), Some("S1234\u{fffd}"));
    }

    #[test]
    fn bad_serial_pages_are_left_out() {
        for page in [&b""[..], b"\0\x80", b"\0\x83\0\x01x", b"\0\x80\0\x09abc", b"\0\x80\0\x03   "] {
            let host = FixtureHost::default();
            host.set("/d/device/vpd_pg80", page);
            assert_eq!(scsi_serial(&host, "/d"), None, "{page:?}");
        }
        assert_eq!(disks(&FixtureHost::default(), &Globs::default()), []);
        assert_eq!(gigabytes(u64::MAX), 9_444_732_965_739);
    }

    #[test]
    fn interfaces() {
        for (name, link, expect) in [
            ("vda", "../devices/pci0000:00/0000:00:02.0/virtio1/block/vda", "virtio"),
            ("sdb", "../devices/pci0000:00/0000:00:14.0/usb2/2-1/host6/target6:0:0/6:0:0:0/block/sdb", "USB"),
            ("sdc", "../devices/pci0/host0/port-0:0/end_device-0:0/target0:0:0/block/sdc", "SAS"),
            ("sdd", "../devices/pci0/virtio0/host0/target0:0:0/0:0:0:0/block/sdd", "SCSI"),
            ("mmcblk0", "", "MMC"),
            ("xvda", "../devices/vbd-768/block/xvda", "other"),
        ] {
            assert_eq!(interface(name, link), expect, "{name}");
        }
    }
}
