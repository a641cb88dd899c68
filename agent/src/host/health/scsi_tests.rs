use super::*;
use crate::host::fixture::FixtureHost;
use crate::host::health::Kind;
use proptest::prelude::*;

/// The key under which the fixture finds the answer to a command.
fn key(head: &str) -> String {
    format!("/dev/sda#{head:0<32}")
}

fn log_sense(page: u8) -> String {
    key(&format!("4d00{:02x}0000000000fc", 1 << 6 | page))
}

const SENSE: &str = "030000001200";
const DEFECTS: &str = "37000b000000000004";

/// What the fixture answers: sense data behind its length, then data.
fn answer(sense: &[u8], data: &[u8]) -> Vec<u8> {
    [&[sense.len() as u8], sense, data].concat()
}

/// A page with these parameters, as SPC-4 describes it: made from the specification, no recording.
fn page(code: u8, parameters: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (code, value) in parameters {
        body.extend(code.to_be_bytes());
        body.extend([0x03, value.len() as u8]);
        body.extend(*value);
    }
    [&[code, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat()
}

const ILLEGAL_REQUEST: [u8; 14] = [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0];

/// A SAS disk that turns, and has all pages.
fn host() -> FixtureHost {
    let host = FixtureHost::default();
    host.set("/sys/block/sda/device/vendor", "SEAGATE \n");
    host.set("/sys/block/sda/device/type", "0\n");
    host.set("/sys/block/sda/queue/rotational", "1\n");
    let awake = [0x70, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    host.set(&key(SENSE), answer(&[], &awake));
    let put = |code: u8, parameters: &[(u16, &[u8])]| {
        host.set(&log_sense(code), answer(&[], &page(code, parameters)));
    };
    host.set(&log_sense(0), answer(&[], &[0, 0, 0, 9, 0, 2, 3, 5, 6, 0x0d, 0x0e, 0x15, 0x2f]));
    put(2, &[(3, &[0, 7]), (5, &[0, 0, 0, 1, 0, 0, 0, 0]), (6, &[1])]);
    put(3, &[(0, &[0; 8]), (5, &[2, 0]), (6, &[0, 0, 0, 2])]);
    put(5, &[(6, &[0; 8])]);
    put(0x0d, &[(0, &[0, 41]), (1, &[0, 60])]);
    put(0x0e, &[(1, b"202001"), (3, &[0, 0, 0xc3, 0x50]), (4, &[0, 0, 0, 42])]);
    put(0x15, &[(0, &[0, 0, 0x27, 0x10, 0, 8, 0, 1, 0, 0, 0, 9])]);
    put(0x2f, &[(0, &[0, 0, 41, 65])]);
    host.set(&key(DEFECTS), answer(&[], &[0, 0x0b, 0, 24]));
    host
}

fn asked(host: &FixtureHost) -> Reading {
    assert_eq!(Kind::of(host, "sda"), Some(Kind::Scsi));
    ask(host, "sda").unwrap()
}

fn told(host: &FixtureHost) -> Health {
    match asked(host) {
        Reading::Told(health) => *health,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_pages_of_a_sas_disk_are_read() {
    let expect = Health {
        judged: true,
        temperature_celsius: Some(41.0),
        power_on_hours: Some(10_000.0 / 60.0),
        power_cycles: Some(42.0),
        read_bytes: Some(512.0),
        written_bytes: Some(4_294_967_296.0),
        media_errors: Some(3.0),
        reallocated_sectors: Some(3.0),
        ..Health::default()
    };
    let health = told(&host());
    assert_eq!(health.is_healthy(), Some(true));
    assert_eq!(health, expect);
}

#[test]
fn what_the_disk_warns_of_is_told() {
    for (code, qualifier, warnings, healthy) in [
        (0x5d, 0x00, &[Warning::Failing][..], Some(false)),
        (0x5d, 0x32, &[Warning::Failing], Some(false)),
        (0x5d, 0xff, &[], Some(true)),
        (0x0b, 0x01, &[Warning::Temperature], Some(true)),
        (0x0b, 0x02, &[], Some(true)),
        (0x00, 0x00, &[], Some(true)),
    ] {
        let host = host();
        host.set(&log_sense(0x2f), answer(&[], &page(0x2f, &[(0, &[code, qualifier, 50])])));
        let health = told(&host);
        assert_eq!(
            (health.warnings.as_slice(), health.is_healthy()),
            (warnings, healthy),
            "{code:x}/{qualifier:x}"
        );
    }
    let host = host();
    host.set(&log_sense(0x0d), answer(&ILLEGAL_REQUEST, &[]));
    assert_eq!(told(&host).temperature_celsius, Some(41.0), "the other page knows it too");
    host.set(&log_sense(0x2f), answer(&ILLEGAL_REQUEST, &[]));
    assert_eq!((told(&host).is_healthy(), told(&host).temperature_celsius), (None, None));
}

#[test]
fn a_disk_that_sleeps_is_left_asleep() {
    for (code, qualifier, asleep) in
        [(0x5e, 0x03, true), (0x5e, 0x09, true), (0x04, 0x02, true), (0x5e, 0x01, false), (0, 0, false)]
    {
        let host = host();
        let mut sense = [0; 18];
        (sense[0], sense[12], sense[13]) = (0x70, code, qualifier);
        host.set(&key(SENSE), answer(&[], &sense));
        let reading = asked(&host);
        assert_eq!(reading == Reading::Asleep, asleep, "{code:x}/{qualifier:x}: {reading:?}");
        let mut sense = [0; 18];
        (sense[0], sense[2], sense[3]) = (0x72, code, qualifier);
        host.set(&key(SENSE), answer(&[], &sense));
        assert_eq!(asked(&host) == Reading::Asleep, asleep, "in the other format");
        host.set("/sys/block/sda/queue/rotational", "0\n");
        assert!(matches!(asked(&host), Reading::Told(_)), "a solid-state disk is not asked whether it turns");
    }
}

#[test]
fn who_has_no_pages_is_silent_and_bad_pages_are_none() {
    // As a virtual disk or a volume of a RAID controller answers.
    let host = host();
    for nothing in [
        answer(&ILLEGAL_REQUEST, &[]),
        answer(&[], &[]),
        answer(&[], &[0, 0, 0, 1, 0]),
        answer(&[], &[9; 252]),
    ] {
        host.set(&log_sense(0), nothing);
        assert_eq!(asked(&host), Reading::Silent);
    }
    for (bad, what) in [
        (&[0x0d, 0, 0xff, 0xff, 0, 0, 3, 0xff, 0, 50][..], "longer than it is"),
        (&[0x0d, 0, 0, 6, 0, 0, 3, 200, 0, 50], "a parameter longer than the page"),
        (&[0x0d, 0, 0, 5, 0, 0, 3, 1, 50], "a parameter too short"),
        (&[0x0d, 0, 0, 6, 0, 0, 3, 2, 0, 0xff], "not known"),
        (&[0x0e, 0, 0, 6, 0, 0, 3, 2, 0, 50], "another page"),
        (&[0x0d, 0, 0, 0], "empty"),
        (&[0x0d], "cut short"),
    ] {
        let host = self::host();
        host.set(&log_sense(0x0d), answer(&[], bad));
        host.set(&log_sense(0x2f), answer(&ILLEGAL_REQUEST, &[]));
        assert_eq!(told(&host).temperature_celsius, None, "{what}");
    }
    for (head, expect) in [
        ([0, 0x08, 0, 8], Some(2.0)),
        ([0, 0x0d, 0, 8], Some(1.0)),
        ([0, 0x0b, 0, 0], Some(0.0)),
        ([0, 0x0b, 0xff, 0xff], Some(8191.0)),
        ([0, 0x03, 0, 8], None),
        ([0, 0x0e, 0, 8], None),
        ([0, 0, 0, 0], None),
    ] {
        assert_eq!(defects(head), expect, "{head:?}");
    }
    let host = self::host();
    host.remove(&key(DEFECTS));
    assert_eq!(ask(&host, "sda").unwrap_err().kind(), io::ErrorKind::NotFound);
}

proptest! {
    #[test]
    fn no_answer_does_harm(
        sense in proptest::collection::vec(any::<u8>(), 0..40),
        data in proptest::collection::vec(any::<u8>(), 0..260),
        page in 0_usize..8,
    ) {
        let pages = [0, WRITE_ERRORS, READ_ERRORS, VERIFY_ERRORS, TEMPERATURE, START_STOP, BACKGROUND_SCAN, 0x2f];
        let host = host();
        host.set(&log_sense(pages[page]), answer(&sense, &data));
        let _ = asked(&host);
        for question in [SENSE, DEFECTS] {
            host.set(&key(question), answer(&sense, &data));
        }
        let Reading::Told(health) = asked(&host) else { return Ok(()) };
        for number in [health.media_errors, health.read_bytes, health.reallocated_sectors, health.power_on_hours] {
            prop_assert!(number.is_none_or(|number| number >= 0.0 && number.is_finite()));
        }
    }
}
