use super::*;
use agent_common::ABSENT_U64;
use agent_common::hardware::{NUMBERS, TEXT_LEN};
use bytemuck::Zeroable;
use proptest::prelude::*;

fn record(reporter: u32, numbers: &[u64], texts: &[&str]) -> HardwareRecord {
    let mut record = HardwareRecord::zeroed();
    record.reporter = reporter;
    record.numbers[..numbers.len()].copy_from_slice(numbers);
    for (to, text) in record.texts.iter_mut().zip(texts) {
        to[..text.len()].copy_from_slice(text.as_bytes());
    }
    record
}

/// `severity rule: text [label=value …]`.
fn told(record: &HardwareRecord) -> String {
    let Hardware { rule, severity, text, labels, .. } = report(record).expect("known");
    let severity = severity.map_or("none", Severity::name);
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{severity} {rule}: {text} [{}]", labels.join(" "))
}

fn check(reporter: Reporter, numbers: &[u64], texts: &[&str], expect: &str) {
    assert_eq!(told(&record(reporter as u32, numbers, texts)), expect);
}

fn detail(record: &HardwareRecord, name: &str) -> Option<Value> {
    report(record).expect("known").details.into_iter().find(|(n, _)| *n == name).map(|(_, value)| value)
}

const A: u64 = ABSENT_U64;

#[test]
fn memory_controllers_name_the_module() {
    let dimm = "CPU_SrcID#0_Ha#0_Chan#1_DIMM#0";
    check(
        Reporter::MemoryController,
        &[0, 1, 0, 1, 0, 255, 0x1b5e_1334_0000, 0],
        &[dimm, "memory read error"],
        "warn hardware_error: 1 corrected memory error (memory read error) on CPU_SrcID#0_Ha#0_Chan#1_DIMM#0, \
         controller MC0 [controller=MC0 class=CE dimm=CPU_SrcID#0_Ha#0_Chan#1_DIMM#0]",
    );
    check(
        Reporter::MemoryController,
        &[1, 3, 1, A, A, A, A, A],
        &[],
        "critical hardware_error: 3 uncorrected memory errors on an unknown module, controller MC1 \
         [controller=MC1 class=UE]",
    );
    check(
        Reporter::MemoryController,
        &[77, A, A, A, A, A, A, A],
        &["x"],
        "critical hardware_error: 1 unknown memory error on x [class=? dimm=x]",
    );
    let full = record(1, &[0, 1, 0, 1, 0, 255, 0x1000, 0x6ec3], &[]);
    assert_eq!(detail(&full, "layers"), Some(json!([1, 0, null])));
    assert_eq!(detail(&full, "address"), Some(json!("0x1000")));
    assert_eq!(detail(&full, "syndrome"), Some(json!("0x6ec3")));
}

#[test]
fn aer_bits_have_names() {
    let device = &["0000:3b:00.0"];
    check(
        Reporter::Pcie,
        &[1 << 0 | 1 << 12, 2],
        device,
        "warn pcie_error: corrected error of 0000:3b:00.0: receiver error, replay timer timeout \
         [device=0000:3b:00.0]",
    );
    check(
        Reporter::Pcie,
        &[1 << 12 | 1 << 30, 0],
        device,
        "warn pcie_error: uncorrected, non-fatal error of 0000:3b:00.0: poisoned TLP, bit 30 \
         [device=0000:3b:00.0]",
    );
    check(
        Reporter::Pcie,
        &[1 << 5, 1],
        device,
        "critical pcie_error: fatal error of 0000:3b:00.0: surprise down [device=0000:3b:00.0]",
    );
    check(
        Reporter::Pcie,
        &[0, 9],
        &[],
        "warn pcie_error: unknown error of an unknown device: no error bit is set []",
    );
}

#[test]
fn machine_checks_are_decoded() {
    for (status, vendor, expect) in [
        (0x9c00_0000_0000_0151, 0, "warn corrected (cache) CE"),
        (0x9c00_0040_0001_009f, 0, "warn corrected (memory controller) CE"),
        (0xbc00_0000_0000_0090, 0, "critical uncorrected (memory controller) UE"),
        (0xb200_0000_0007_0f0f, 0, "critical fatal (bus or interconnect) FATAL"),
        (0x9c00_1000_0000_011b, 2, "critical deferred (cache) DE"),
        (0x9c00_1000_0000_011b, 0, "warn corrected (cache) CE"),
        (0x8000_0000_0000_0400, 0, "warn corrected (internal timer) CE"),
        (0x8000_0000_0000_0019, 9, "warn corrected (TLB) CE"),
        (0, 0, "warn corrected (unknown unit) CE"),
    ] {
        let record = record(5, &[status, 0x1234_5000, 0x8c, 0, 0, 4, 1, 0, vendor, 0x806f8], &[]);
        let Hardware { severity, text, labels, .. } = report(&record).expect("known");
        let words = expect.split(' ').collect::<Vec<_>>();
        assert_eq!(severity.map(Severity::name), Some(words[0]), "{status:#x}");
        let (class, rest) = (words[words.len() - 1], &words[2..words.len() - 1]);
        let expect = format!("{} machine check {} on CPU 4, socket 0, bank 1", words[1], rest.join(" "));
        assert_eq!(text, expect, "{status:#x}");
        assert_eq!(labels[0], ("class", class.to_owned()), "{status:#x}");
    }
    let valid = record(5, &[0x9c00_0040_0001_009f, 0x1234_5000, 0x8c], &[]);
    assert_eq!(detail(&valid, "address"), Some(json!("0x12345000")));
    assert_eq!(detail(&valid, "corrected_count"), Some(json!(1)));
    let without = record(5, &[0x9000_0000_0001_009f, 0x1234_5000, 0x8c], &[]);
    assert_eq!((detail(&without, "address"), detail(&without, "misc")), (None, None), "the register says so");
}

#[test]
fn pages_firmware_adapters_and_heat() {
    check(
        Reporter::MemoryFailure,
        &[0x2f0a4, 12, 3],
        &[],
        "critical memory_failure: taking page 0x2f0a4 out of use: recovered [page=0x2f0a4]",
    );
    check(
        Reporter::MemoryFailure,
        &[A, A, 4],
        &[],
        "critical memory_failure: taking page ? out of use: unknown []",
    );
    check(
        Reporter::ExtendedLog,
        &[2, 2, 0x1000, 7],
        &["DIMM_A1"],
        "warn hardware_error: corrected memory error (single-bit ECC) on DIMM_A1 [class=CE dimm=DIMM_A1]",
    );
    check(
        Reporter::ExtendedLog,
        &[255, 1, A, A],
        &[],
        "critical hardware_error: fatal memory error (unknown) on an unknown module [class=FATAL]",
    );
    check(
        Reporter::TransmitTimeout,
        &[3],
        &["eth0", "ixgbe"],
        "warn nic_hang: transmit queue 3 of eth0 (ixgbe) timed out [interface=eth0 driver=ixgbe]",
    );
    check(
        Reporter::ThermalTrip,
        &[0, 1, 1, 95_500],
        &["x86_pkg_temp"],
        "warn thermal_throttle: thermal_zone0 (x86_pkg_temp) passed its passive trip point at 95.5 °C \
         [zone=thermal_zone0 sensor=x86_pkg_temp]",
    );
    check(
        Reporter::ThermalTrip,
        &[2, 0, 3, A],
        &["acpitz"],
        "emergency thermal_critical: thermal_zone2 (acpitz) passed its critical trip point \
         [zone=thermal_zone2 sensor=acpitz]",
    );
    check(
        Reporter::ThermalTrip,
        &[0, 0, 0, A],
        &[],
        "none thermal_throttle: thermal_zone0 passed its active trip point [zone=thermal_zone0]",
    );
}

#[test]
fn an_unknown_reporter_is_an_error() {
    for reporter in [0, 8, u32::MAX] {
        assert_eq!(report(&record(reporter, &[], &[])), Err(DecodeError::UnknownReporter(reporter)));
    }
}

proptest! {
    #[test]
    fn no_numbers_make_it_panic(
        reporter in 1u32..8,
        numbers in proptest::array::uniform10(any::<u64>()),
        small in proptest::array::uniform10(0u64..20),
        text in proptest::collection::vec(any::<u8>(), TEXT_LEN),
        pick in any::<u16>(),
    ) {
        let mut record = record(reporter, &[], &[]);
        for i in 0..NUMBERS {
            record.numbers[i] = if pick >> i & 1 == 1 { small[i] } else { numbers[i] };
        }
        record.texts[0].copy_from_slice(&text);
        let report = report(&record).expect("known");
        prop_assert!(!report.text.is_empty() && !report.rule.is_empty() && !report.advice.is_empty());
    }
}
