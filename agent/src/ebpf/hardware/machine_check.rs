//! The status register of a machine check, as Intel (SDM volume 3B, chapter "Interpreting Machine
//! Check Error Codes") and AMD (APM volume 2, chapter 9) lay it out; `arch/x86/include/asm/mce.h`.

use serde_json::{Value, json};

use super::{MEMORY, Told, details, given, hex};
use crate::alert::Severity::{Critical, Warn};
use crate::event::Hardware;

const OVERFLOW: u32 = 62;
const UNCORRECTED: u32 = 61;
const MISC_VALID: u32 = 59;
const ADDRESS_VALID: u32 = 58;
const CONTEXT_CORRUPT: u32 = 57;
/// AMD and Hygon only.
const DEFERRED: u32 = 44;

/// `X86_VENDOR_AMD` and `X86_VENDOR_HYGON`, `arch/x86/include/asm/processor.h`.
const SCALABLE: [u64; 2] = [2, 9];

pub(super) fn report(told: &Told<'_>) -> Hardware {
    let status = told.number(0).unwrap_or(0);
    let has = |bit: u32| status >> bit & 1 == 1;
    let amd = told.number(8).is_some_and(|vendor| SCALABLE.contains(&vendor));
    let (word, class, severity) = match (has(UNCORRECTED), has(CONTEXT_CORRUPT), amd && has(DEFERRED)) {
        (true, true, _) => ("fatal", "FATAL", Critical),
        (true, false, _) => ("uncorrected", "UE", Critical),
        (false, _, true) => ("deferred", "DE", Critical),
        (false, _, false) => ("corrected", "CE", Warn),
    };
    let unit = unit(status as u16);
    let (cpu, bank, socket) = (told.number(5), told.number(6), told.number(7));
    let shown = |n: Option<u64>| n.map_or("?".to_owned(), |n| n.to_string());
    let address = told.number(1).filter(|_| has(ADDRESS_VALID));
    Hardware {
        reporter: "mce:mce_record",
        severity: Some(severity),
        text: format!(
            "{word} machine check ({unit}) on CPU {}, socket {}, bank {}",
            shown(cpu),
            shown(socket),
            shown(bank)
        ),
        labels: given([
            ("class", Some(class.to_owned())),
            ("cpu", cpu.map(|n| n.to_string())),
            ("bank", bank.map(|n| n.to_string())),
        ]),
        details: details([
            ("severity", Some(json!(word))),
            ("unit", Some(json!(unit))),
            ("more_were_lost", Some(json!(has(OVERFLOW)))),
            ("corrected_count", corrected_count(status, amd).map(Value::from)),
            ("socket", socket.map(Value::from)),
            ("address", address.map(hex)),
            ("status", told.number(0).map(hex)),
            ("misc", told.number(2).filter(|_| has(MISC_VALID)).map(hex)),
            ("syndrome", told.number(3).filter(|&n| n != 0).map(hex)),
            ("mcgstatus", told.number(4).map(hex)),
            ("cpuid", told.number(9).map(hex)),
        ]),
        ..MEMORY
    }
}

/// Bits 52:38, on Intel, of a corrected error.
fn corrected_count(status: u64, amd: bool) -> Option<u64> {
    let count = status >> 38 & 0x7fff;
    (!amd && status >> UNCORRECTED & 1 == 0 && count > 0).then_some(count)
}

/// Which unit a compound error code (bits 15:0) names; the first pattern that fits.
fn unit(code: u16) -> &'static str {
    const UNITS: &[(u16, u16, &str)] = &[
        (0xffff, 0x0001, "unclassified"),
        (0xffff, 0x0002, "microcode ROM parity"),
        (0xffff, 0x0003, "external error"),
        (0xffff, 0x0004, "functional redundancy check"),
        (0xffff, 0x0005, "internal parity"),
        (0xffff, 0x0400, "internal timer"),
        (0xfc00, 0x0400, "internal"),
        (0xeffc, 0x000c, "cache hierarchy"),
        (0xeff0, 0x0010, "TLB"),
        (0xef80, 0x0080, "memory controller"),
        (0xef00, 0x0100, "cache"),
        (0xe800, 0x0800, "bus or interconnect"),
    ];
    UNITS.iter().find(|(mask, value, _)| code & mask == *value).map_or("unknown unit", |(_, _, name)| name)
}
