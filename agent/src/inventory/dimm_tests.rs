use super::*;
use crate::host::fixture::FixtureHost;
use proptest::prelude::*;

/// A structure: type, handle, what follows the header, strings.
fn structure(kind: u8, handle: u16, body: &[u8], strings: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![kind, 4 + body.len() as u8];
    out.extend(handle.to_le_bytes());
    out.extend(body);
    for string in strings {
        out.extend(*string);
        out.push(0);
    }
    out.extend(if strings.is_empty() { &[0, 0][..] } else { &[0] });
    out
}

/// A memory array (DSP0134, type 16): what for, and how errors are corrected.
fn array(handle: u16, usage: u8, correction: u8) -> Vec<u8> {
    structure(16, handle, &[3, usage, correction, 0, 0, 0, 1, 0xfe, 0xff, 2, 0], &[])
}

/// What a test varies of a module (type 17).
#[derive(Clone, Copy)]
struct Module {
    array: u16,
    widths: (u16, u16),
    size: u16,
    extended: u32,
    kind: u8,
    speeds: (u16, u16),
    strings: &'static [&'static [u8]],
}

/// A server's module; names as a board writes them.
const MODULE: Module = Module {
    array: 0x1000,
    widths: (72, 64),
    size: 0x7fff,
    extended: 32 * 1024,
    kind: 0x1a,
    speeds: (3200, 2933),
    strings: &[b"DIMM_A1", b"NODE 1", b"Samsung", b"0F3A51", b"  ", b"M393A4K40DB3-CWE    "],
};

fn module(handle: u16, m: Module) -> Vec<u8> {
    let mut body = Vec::new();
    for word in [m.array, 0xfffe, m.widths.0, m.widths.1, m.size] {
        body.extend(word.to_le_bytes());
    }
    // Form factor, set, locators, type, detail, speed.
    body.extend([9, 0, 1, 2, m.kind, 0x80, 0x20]);
    body.extend(m.speeds.0.to_le_bytes());
    // Manufacturer, serial, asset tag, part number, rank.
    body.extend([3, 4, 5, 6, 2]);
    body.extend(m.extended.to_le_bytes());
    body.extend(m.speeds.1.to_le_bytes());
    structure(17, handle, &body, m.strings)
}

fn end() -> Vec<u8> {
    structure(127, 0xfeff, &[], &[])
}

fn tables(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn a_servers_modules_are_read() {
    let empty = Module { size: 0, ..MODULE };
    let bytes = tables(&[
        structure(0, 0, &[1; 20], &[b"Vendor"]),
        array(0x1000, 3, 6),
        array(0x1001, 5, 3),
        module(0x1100, MODULE),
        module(0x1101, empty),
        module(0x1102, Module { array: 0x1001, size: 16, ..MODULE }),
        end(),
        module(0x1103, MODULE),
    ]);
    let host = FixtureHost::default();
    host.set(TABLES, &bytes);
    let (count, list) = dimms(&host).unwrap();
    let expect = serde_json::json!([{
        "slot": "DIMM_A1", "size_gb": 32, "type": "DDR4", "speed_mhz": 3200, "manufacturer": "Samsung",
        "part_number": "M393A4K40DB3-CWE", "serial": "0F3A51", "ecc": true,
    }]);
    assert_eq!((count, serde_json::to_value(list).unwrap()), (1, expect));
}

#[test]
fn each_field_is_told_or_left_out() {
    let one = |correction: u8, m: Module| {
        let (count, list) = decode(tables(&[array(0x1000, 3, correction), module(0x1100, m), end()]));
        assert_eq!(count, list.len());
        list.into_iter().next()
    };
    // Size: MiB, KiB, 512 MiB told as half a GiB, none, unknown, nothing behind the hint.
    for (size, extended, mib) in [
        (16_384, 0, Some(16_384)),
        (0x8000 | 2048, 0, Some(2)),
        (512, 0, Some(512)),
        (0x7fff, 262_144, Some(262_144)),
        (0, 0, None),
        (0xffff, 0, None),
        (0x7fff, 0, None),
    ] {
        let read = one(3, Module { size, extended, ..MODULE });
        assert_eq!(read.map(|d| d.size_mib), mib, "{size:#x}");
    }
    let half = one(3, Module { size: 512, ..MODULE }).unwrap();
    assert_eq!(serde_json::to_value(half).unwrap()["size_gb"], 0.5);
    for (kind, name) in [(0x22, Some("DDR5")), (0x1e, Some("LPDDR4")), (2, None), (1, None), (0xee, None)] {
        assert_eq!(one(3, Module { kind, ..MODULE }).unwrap().kind.as_deref(), name, "{kind:#x}");
    }
    for (speeds, mhz) in
        [((0, 2400), Some(2400)), ((0, 0), None), ((0xffff, 0), None), ((2666, 0), Some(2666))]
    {
        assert_eq!(one(3, Module { speeds, ..MODULE }).unwrap().speed_mhz, mhz, "{speeds:?}");
    }
    for (correction, widths, ecc) in [
        (3, (72, 64), Some(false)),
        (5, (64, 64), Some(true)),
        (6, (0xffff, 0xffff), Some(true)),
        (2, (72, 64), Some(true)),
        (2, (64, 64), Some(false)),
        (2, (0xffff, 64), None),
        (2, (64, 0), None),
        (0xee, (72, 64), Some(true)),
    ] {
        assert_eq!(one(correction, Module { widths, ..MODULE }).unwrap().ecc, ecc, "{correction} {widths:?}");
    }
    let nameless: &[&[u8]] = &[b"Not Specified", b"BANK 0", b"Unknown", b"\xff\xfe\x1b[31m"];
    let dimm = one(3, Module { strings: nameless, ..MODULE }).unwrap();
    assert_eq!(dimm.slot.as_deref(), Some("BANK 0"));
    assert_eq!((dimm.manufacturer, dimm.part_number), (None, None), "a string that is not there");
    assert_eq!(dimm.serial.as_deref(), Some("\u{fffd}\u{fffd}?[31m"));
}

#[test]
fn hostile_tables_give_what_can_be_understood() {
    let good = module(0x1100, MODULE);
    let check = |bytes: &[u8], count: usize| {
        assert_eq!(decode(bytes.to_vec()).0, count, "{bytes:02x?}");
    };
    check(b"", 0);
    check(&[0; 4096], 0);
    check(&[17, 0, 0, 0, 0, 0, 17, 0, 0, 0, 0, 0], 0);
    check(&[17, 255, 0, 0, 0, 0], 0);
    check(&tables(&[good.clone(), vec![17, 3, 1, 0, 0, 0], good.clone()]), 1);
    // A module of SMBIOS 2.1, without speed and maker.
    let mut short =
        structure(17, 1, &[0, 16, 0xfe, 0xff, 64, 0, 64, 0, 0, 16, 9, 0, 1, 2, 0x18, 0, 0], &[b"A"]);
    check(&short, 1);
    short.truncate(short.len() - 1);
    check(&short, 0);
    for cut in 0..good.len() {
        check(&good[..cut], 0);
    }
    let many = vec![good; 3 * MAX_DIMMS].concat();
    let (count, list) = decode(many);
    assert_eq!((count, list.len()), (3 * MAX_DIMMS, MAX_DIMMS));
}

#[test]
fn no_right_and_no_tables_are_no_modules() {
    let denied = FixtureHost::parse(&format!("//- denied {TABLES}\n")).unwrap();
    assert_eq!(dimms(&denied), None);
    assert_eq!(dimms(&FixtureHost::default()), None);
}

proptest! {
    #[test]
    fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (count, list) = decode(bytes);
        prop_assert!(list.len() <= count);
    }

    #[test]
    fn nor_do_damaged_tables(at in 0_usize..160, byte: u8, cut in 0_usize..160) {
        let mut bytes = tables(&[array(0x1000, 3, 6), module(0x1100, MODULE), module(0x1101, MODULE), end()]);
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut % bytes.len());
        let (count, list) = decode(bytes);
        prop_assert!(count <= 4 && list.iter().all(|d| d.size_mib > 0));
    }
}
