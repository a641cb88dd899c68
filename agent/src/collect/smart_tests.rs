use super::*;
use crate::collect::testing::Bench;

/// Two disks that answer, one NVMe controller with two namespaces, and disks that are not asked.
const HOST: &str = "\
//- /sys/block/nvme0n1/size
1
//- /sys/block/nvme0n2/size
1
//- /sys/block/nvme10n1/size
1
//- /sys/block/sda/device/vendor
ATA
//- /sys/block/sdb/device/vendor
QEMU
//- /sys/block/vda/size
1
";
const DATA: &str = "/dev/sda#85080e00d000010000004f00c200b000";
const STATUS: &str = "/dev/sda#85062000da00000000004f00c200b000";

/// A log page, made from the specification.
fn page(critical: u8) -> [u8; 512] {
    let mut page = [0; 512];
    page[..6].copy_from_slice(&[critical, 0x3a, 0x01, 87, 10, 13]);
    for (at, value) in [(32, 1_000_u128), (48, 2_000), (112, 42), (128, 10), (144, 7), (160, 3), (176, 11)] {
        page[at..at + 16].copy_from_slice(&value.to_le_bytes());
    }
    page
}

fn bench(critical: u8) -> Bench {
    let bench = Bench::new(HOST, Smart::new(Globs::new(&["nvme10*"])));
    bench.host.set("/dev/nvme0n1#log2", page(critical));
    let mut data = [0; 513];
    for (slot, (id, raw)) in data[3..].chunks_exact_mut(12).zip([
        (5, 8),
        (9, 100),
        (187, 2),
        (194, 37),
        (197, 16),
        (198, 4),
        (199, 5),
    ]) {
        (slot[0], slot[5]) = (id, raw);
    }
    data[512] = data.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    bench.host.set(DATA, data);
    let mut status = vec![22, 0x72, 1, 0, 0x1d, 0, 0, 0, 14, 9, 12, 0, 0, 0, 0, 0, 0, 0];
    status.extend([0x4f, 0, 0xc2, 0x40, 0x50]);
    bench.host.set(STATUS, status);
    bench
}

#[test]
fn disks_tell_of_their_health() {
    let mut bench = bench(0b1001);
    bench.pass().unwrap();
    bench.expect(&[
        ("smart_healthy{nvme0n1}", 0.0),
        ("smart_healthy{sda}", 1.0),
        ("smart_warning{nvme0n1,spare}", 1.0),
        ("smart_warning{nvme0n1,read_only}", 1.0),
        ("smart_warning{nvme0n1,temperature}", 0.0),
        ("smart_warning{sda,failing}", 0.0),
        ("smart_asleep{nvme0n1}", 0.0),
        ("smart_stuck{sda}", 0.0),
        ("smart_temperature_celsius{nvme0n1}", 41.0),
        ("smart_temperature_celsius{sda}", 37.0),
        ("smart_power_on_seconds_total{nvme0n1}", 36_000.0),
        ("smart_power_on_seconds_total{sda}", 360_000.0),
        ("smart_power_cycles_total{nvme0n1}", 42.0),
        ("smart_unsafe_shutdowns_total{nvme0n1}", 7.0),
        ("smart_used_percent{nvme0n1}", 13.0),
        ("smart_spare_percent{nvme0n1}", 87.0),
        ("smart_spare_threshold_percent{nvme0n1}", 10.0),
        ("smart_read_bytes_total{nvme0n1}", 512e6),
        ("smart_written_bytes_total{nvme0n1}", 1024e6),
        ("smart_media_errors_total{nvme0n1}", 3.0),
        ("smart_error_log_entries_total{nvme0n1}", 11.0),
        ("smart_reallocated_sectors_count{sda}", 8.0),
        ("smart_reported_errors_total{sda}", 2.0),
        ("smart_pending_sectors_count{sda}", 16.0),
        ("smart_uncorrectable_sectors_count{sda}", 4.0),
        ("smart_crc_errors_total{sda}", 5.0),
    ]);
    for none in
        ["smart_healthy{nvme0n2}", "smart_healthy{nvme10n1}", "smart_healthy{sdb}", "smart_healthy{vda}"]
    {
        assert!(!bench.has(none), "{none}");
    }
}

#[test]
fn a_sleeping_disk_is_said_to_sleep() {
    let mut bench = bench(0);
    bench.host.set("/sys/block/sda/device/power/runtime_status", "suspended\n");
    bench.pass().unwrap();
    bench.expect(&[("smart_asleep{sda}", 1.0)]);
    assert!(!bench.has("smart_temperature_celsius{sda}"));
}

#[test]
fn what_is_missing_is_named() {
    let denied = "//- denied /dev/nvme0n1#log2\n";
    let words = |change: &str, gone: &[&str]| {
        let mut bench = bench(0);
        for path in gone {
            bench.host.remove(path);
        }
        bench.host.apply(change).unwrap();
        bench.pass().map_err(|error| error.to_string())
    };
    assert_eq!(words("", &[]), Ok(()));
    let error = words(denied, &[]).unwrap_err();
    assert!(error.starts_with("/dev/nvme0n1 may not be read: it needs CAP_SYS_ADMIN"), "{error}");
    let error = words("//- error /dev/sda#85080e00d000010000004f00c200b000 1\n", &[]).unwrap_err();
    assert!(error.contains("CAP_SYS_RAWIO"), "{error}");
    // A driver that does not know the question has no health to tell.
    assert_eq!(words("//- error /dev/nvme0n1#log2 25\n", &[]), Ok(()));
    let none = format!("{NO_DISK} does not exist on this host");
    assert_eq!(words("", &["/dev"]), Err(none.clone()));
    assert_eq!(words("//- /sys/block/vda/x\n", &["/sys/block"]), Err(none));
    assert_eq!(words("", &["/sys"]), Err("/sys/block does not exist on this host".into()));
}

#[test]
fn names_of_controllers() {
    for (name, expect) in [
        ("nvme0n1", Some("nvme0")),
        ("nvme10n2", Some("nvme10")),
        ("nvme", Some("nvme")),
        ("sda", None),
        ("", None),
    ] {
        assert_eq!(controller(name), expect, "{name}");
    }
}
