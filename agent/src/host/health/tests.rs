use super::*;
use crate::host::fixture::FixtureHost;
use proptest::prelude::*;

/// A log page as a worn drive might give it: made from the specification, no recording.
fn page() -> [u8; 512] {
    let mut page = [0; 512];
    page[1..3].copy_from_slice(&(273_u16 + 41).to_le_bytes());
    page[3..6].copy_from_slice(&[87, 10, 13]);
    for (at, value) in
        [(32, 1_000_u128), (48, 2_000), (112, 42), (128, 17_520), (144, 7), (160, 3), (176, 11)]
    {
        page[at..at + 16].copy_from_slice(&value.to_le_bytes());
    }
    page
}

fn nvme(page: &[u8]) -> Reading {
    let host = FixtureHost::default();
    host.set("/dev/nvme0n1#log2", page);
    ask(&host, "nvme0n1", Kind::Nvme).unwrap()
}

fn told(reading: Reading) -> Health {
    match reading {
        Reading::Told(health) => *health,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_page_of_an_nvme_drive_is_read() {
    let expect = Health {
        judged: true,
        temperature_celsius: Some(41.0),
        power_on_hours: Some(17_520.0),
        power_cycles: Some(42.0),
        unsafe_shutdowns: Some(7.0),
        used_percent: Some(13.0),
        spare_percent: Some(87.0),
        spare_threshold_percent: Some(10.0),
        read_bytes: Some(512_000_000.0),
        written_bytes: Some(1_024_000_000.0),
        media_errors: Some(3.0),
        error_log_entries: Some(11.0),
        ..Health::default()
    };
    let health = told(nvme(&page()));
    assert_eq!(health.is_healthy(), Some(true));
    assert_eq!(health, expect);
    assert_eq!(nvme(&[0; 512]), Reading::Silent);
}

#[test]
fn every_warning_of_an_nvme_drive_is_told() {
    use Warning::{Backup, MemoryRegion, ReadOnly, Reliability, Spare, Temperature};
    for (critical, spare, warnings, healthy) in [
        (0b00_0000, 87, &[][..], true),
        (0b00_0001, 87, &[Spare], false),
        (0b00_0001, 5, &[Spare], false),
        (0b00_0000, 9, &[Spare], false),
        (0b00_0010, 87, &[Temperature], true),
        (0b00_1100, 87, &[Reliability, ReadOnly], false),
        (0b11_0000, 87, &[Backup, MemoryRegion], false),
        (0b1100_0000, 87, &[], true),
    ] {
        let mut page = page();
        (page[0], page[3]) = (critical, spare);
        let health = told(nvme(&page));
        assert_eq!(
            (health.warnings.as_slice(), health.is_healthy()),
            (warnings, Some(healthy)),
            "{critical:#b}"
        );
    }
    let mut odd = page();
    odd[3..6].copy_from_slice(&[200, 255, 255]);
    let health = told(nvme(&odd));
    assert_eq!((health.spare_percent, health.spare_threshold_percent), (None, None));
    assert_eq!((health.used_percent, health.warnings), (Some(255.0), vec![]));
}

const POWER: &str = "/dev/sda#8506200000000000000000000000e500";
const DATA: &str = "/dev/sda#85080e00d000010000004f00c200b000";
const STATUS: &str = "/dev/sda#85062000da00000000004f00c200b000";

/// Sense data with registers.
fn sense(count: u8, address: [u8; 2]) -> Vec<u8> {
    let mut sense = vec![0x72, 1, 0, 0x1d, 0, 0, 0, 14, 9, 12, 0, 0, 0, count, 0, 0, 0];
    sense.extend([address[0], 0, address[1], 0x40, 0x50]);
    sense
}

/// What the fixture answers: sense data behind its length, then data.
fn answer(sense: &[u8], data: &[u8]) -> Vec<u8> {
    [&[sense.len() as u8], sense, data].concat()
}

/// A table of attributes: id and raw value.
fn attributes(list: &[(u8, u64)]) -> Vec<u8> {
    let mut data = vec![0; 512];
    data[0] = 16;
    for (slot, (id, raw)) in data[2..].chunks_exact_mut(12).zip(list) {
        slot[0] = *id;
        slot[3] = 100;
        slot[5..11].copy_from_slice(&raw.to_le_bytes()[..6]);
    }
    data[511] = data.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte));
    data
}

/// A disk that turns.
fn ata_host() -> FixtureHost {
    let host = FixtureHost::default();
    host.set("/sys/block/sda/device/vendor", "ATA     \n");
    host.set("/sys/block/sda/queue/rotational", "1\n");
    let list = [
        (5, 0xffff_0000_0008),
        (9, 0x12_0000_5b27),
        (12, 99),
        (187, 2),
        (190, 0x1e14_0021),
        (194, 0x0014_002d_0025),
        (197, 16),
        (198, 4),
        (199, 5),
        (241, 77),
    ];
    host.set(POWER, answer(&sense(0xff, [0, 0]), b""));
    host.set(DATA, answer(b"", &attributes(&list)));
    host.set(STATUS, answer(&sense(0, [0x4f, 0xc2]), b""));
    host
}

fn ata(host: &FixtureHost) -> Reading {
    assert_eq!(Kind::of(host, "sda"), Some(Kind::Ata));
    ask(host, "sda", Kind::Ata).unwrap()
}

#[test]
fn the_attributes_of_an_ata_drive_are_read() {
    let host = ata_host();
    let expect = Health {
        judged: true,
        temperature_celsius: Some(37.0),
        power_on_hours: Some(23_335.0),
        power_cycles: Some(99.0),
        reallocated_sectors: Some(8.0),
        pending_sectors: Some(16.0),
        uncorrectable_sectors: Some(4.0),
        reported_errors: Some(2.0),
        crc_errors: Some(5.0),
        ..Health::default()
    };
    assert_eq!(told(ata(&host)), expect);
    host.set(DATA, answer(b"", &attributes(&[(190, 0x1e14_0021)])));
    assert_eq!(told(ata(&host)).temperature_celsius, Some(33.0));
    host.set(STATUS, answer(&sense(0, [0xf4, 0x2c]), b""));
    let health = told(ata(&host));
    assert_eq!((health.warnings.as_slice(), health.is_healthy()), (&[Warning::Failing][..], Some(false)));
}

#[test]
fn a_disk_that_sleeps_is_left_asleep() {
    let host = ata_host();
    // Asking it anything else would be an error: there is no answer in the fixture.
    host.remove(DATA);
    host.remove(STATUS);
    for standby in [0x00, 0x01] {
        host.set(POWER, answer(&sense(standby, [0, 0]), b""));
        assert_eq!(ata(&host), Reading::Asleep);
    }
    host.set(POWER, answer(&[], b""));
    assert_eq!(ata(&host), Reading::Silent, "an adapter that does not tell");
    host.remove(POWER);
    host.set("/sys/block/sda/device/power/runtime_status", "suspended\n");
    assert_eq!(ata(&host), Reading::Asleep, "not even opened");
    let solid = ata_host();
    solid.set("/sys/block/sda/queue/rotational", "0\n");
    solid.remove(POWER);
    assert!(matches!(ata(&solid), Reading::Told(_)), "a solid-state disk is not asked whether it turns");
}

#[test]
fn bad_answers_are_no_health() {
    let refused = [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0x00];
    let mut torn = attributes(&[(5, 8)]);
    torn[100] ^= 1;
    for data in [&torn[..], &[0; 512], b"", &[7; 511]] {
        let host = ata_host();
        host.set(DATA, answer(b"", data));
        assert_eq!(told(ata(&host)), Health { judged: true, ..Health::default() }, "only the status counts");
        host.set(STATUS, answer(&refused, b""));
        assert_eq!(ata(&host), Reading::Silent);
    }
    let host = ata_host();
    host.set(STATUS, answer(&sense(0, [1, 2]), b""));
    assert_eq!(told(ata(&host)).is_healthy(), None, "an answer that means nothing");
    host.remove("/dev");
    assert_eq!(ask(&host, "sda", Kind::Ata).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert_eq!(ask(&host, "nvme0n1", Kind::Nvme).unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[test]
fn only_disks_that_can_answer_are_asked() {
    let host = FixtureHost::parse(
        "//- /sys/block/nvme0c0n1/hidden\n1\n//- /sys/block/sdb -> ../devices/pci0/usb1/host2/block/sdb\n\
         //- /sys/block/sdb/device/vendor\nATA\n//- /sys/block/sdc/device/vendor\nQEMU\n\
         //- /sys/block/sdd/device/vendor\nATA\n//- /sys/block/sde/device/vendor\nHGST\n\
         //- /sys/block/sde/device/type\n0\n//- /sys/block/sdf/device/vendor\nIBM\n//- /sys/block/sdf/device/type\n7\n",
    )
    .unwrap();
    for (name, kind) in [
        ("nvme0n1", Some(Kind::Nvme)),
        ("nvme0c0n1", None),
        ("sdb", None),
        ("sdc", None),
        ("sdd", Some(Kind::Ata)),
        ("sde", Some(Kind::Scsi)),
        ("sdf", None),
        ("vda", None),
        ("loop0", None),
        ("", None),
    ] {
        assert_eq!(Kind::of(&host, name), kind, "{name}");
    }
}

proptest! {
    #[test]
    fn no_answer_does_harm(
        sense in proptest::collection::vec(any::<u8>(), 0..64),
        data in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let host = ata_host();
        for question in [DATA, STATUS] {
            host.set(question, answer(&sense, &data));
        }
        let _ = ata(&host);
        host.set(POWER, answer(&sense, b""));
        let _ = ata(&host);
        let Reading::Told(health) = nvme(&data) else { return Ok(()) };
        prop_assert!(health.spare_percent.is_none_or(|p| (0.0..=100.0).contains(&p)));
    }
}
