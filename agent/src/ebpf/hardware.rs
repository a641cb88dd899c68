//! What the numbers of a hardware report mean: a function a tracepoint, tables for bits and codes. Pure.

use agent_common::hardware::{HardwareRecord, Reporter};
use serde_json::{Value, json};

use super::decode::{DecodeError, name};
use crate::alert::Severity::{self, Critical, Emergency, Warn};
use crate::event::Hardware;

mod machine_check;

/// A record as a report.
pub(super) fn report(record: &HardwareRecord) -> Result<Hardware, DecodeError> {
    let reporter =
        Reporter::from_number(record.reporter).ok_or(DecodeError::UnknownReporter(record.reporter))?;
    let told = Told(record);
    Ok(match reporter {
        Reporter::MemoryController => memory_controller(&told),
        Reporter::Pcie => pcie(&told),
        Reporter::MemoryFailure => memory_failure(&told),
        Reporter::ExtendedLog => extended_log(&told),
        Reporter::MachineCheck => machine_check::report(&told),
        Reporter::TransmitTimeout => transmit_timeout(&told),
        Reporter::ThermalTrip => thermal_trip(&told),
    })
}

/// A record's numbers and texts by place.
struct Told<'a>(&'a HardwareRecord);

impl Told<'_> {
    fn number(&self, place: usize) -> Option<u64> {
        self.0.number(place)
    }

    fn text(&self, place: usize) -> Option<String> {
        self.0.texts.get(place).and_then(|text| name(text))
    }

    /// A number of 32 bits with a sign.
    fn signed(&self, place: usize) -> Option<i64> {
        self.number(place).map(|n| i64::from(n as u32 as i32))
    }
}

const MEMORY: Hardware = Hardware {
    rule: "hardware_error",
    reporter: "",
    severity: Some(Warn),
    meaning: "the processor or the memory reports a hardware error",
    text: String::new(),
    labels: Vec::new(),
    details: Vec::new(),
    advice: "corrected errors that come back announce a failing module: note the place and replace it; \
             uncorrected ones have damaged data: take the machine out of service",
};

/// `enum hw_event_mc_err_type`, `include/linux/edac.h`: name, class as in EDAC's log lines, severity.
const MC_TYPES: [(&str, &str, Severity); 5] = [
    ("corrected", "CE", Warn),
    ("uncorrected", "UE", Critical),
    ("deferred", "DE", Critical),
    ("fatal", "FATAL", Critical),
    ("informational", "INFO", Severity::Info),
];

fn memory_controller(told: &Told<'_>) -> Hardware {
    let kind = told.number(0).and_then(|n| MC_TYPES.get(usize::try_from(n).ok()?).copied());
    let (word, class, severity) = kind.unwrap_or(("unknown", "?", Critical));
    let count = told.number(1).unwrap_or(1);
    let controller = told.number(2).map(|n| format!("MC{n}"));
    let place = told.text(0);
    let message = told.text(1);
    let errors = if count == 1 { "error" } else { "errors" };
    let what = message.as_deref().map(|m| format!(" ({m})")).unwrap_or_default();
    let on = place.as_deref().unwrap_or("an unknown module");
    let of = controller.as_deref().map(|c| format!(", controller {c}")).unwrap_or_default();
    Hardware {
        reporter: "ras:mc_event",
        severity: Some(severity),
        text: format!("{count} {word} memory {errors}{what} on {on}{of}"),
        labels: given([("controller", controller), ("class", Some(class.to_owned())), ("dimm", place)]),
        details: details([
            ("type", Some(json!(word))),
            ("count", Some(json!(count))),
            ("message", message.map(Value::from)),
            ("layers", Some(json!([layer(told, 3), layer(told, 4), layer(told, 5)]))),
            ("address", told.number(6).filter(|&n| n != 0).map(hex)),
            ("syndrome", told.number(7).map(hex)),
        ]),
        ..MEMORY
    }
}

/// A layer of a memory controller is a byte with a sign; below 0 it is not known.
fn layer(told: &Told<'_>, place: usize) -> Option<u8> {
    told.number(place).and_then(|n| u8::try_from(n).ok()).filter(|&n| n < 128)
}

/// Bits of the correctable status (`include/uapi/linux/pci_regs.h`, `PCI_ERR_COR_*`).
const AER_CORRECTABLE: &[(u32, &str)] = &[
    (0, "receiver error"),
    (6, "bad TLP"),
    (7, "bad DLLP"),
    (8, "REPLAY_NUM rollover"),
    (12, "replay timer timeout"),
    (13, "advisory non-fatal error"),
    (14, "corrected internal error"),
    (15, "header log overflow"),
];
/// Bits of the uncorrectable status (`PCI_ERR_UNC_*`).
const AER_UNCORRECTABLE: &[(u32, &str)] = &[
    (4, "data link protocol error"),
    (5, "surprise down"),
    (12, "poisoned TLP"),
    (13, "flow control protocol error"),
    (14, "completion timeout"),
    (15, "completer abort"),
    (16, "unexpected completion"),
    (17, "receiver overflow"),
    (18, "malformed TLP"),
    (19, "ECRC error"),
    (20, "unsupported request"),
    (21, "ACS violation"),
    (22, "uncorrectable internal error"),
    (23, "multicast blocked TLP"),
    (24, "AtomicOp egress blocked"),
    (25, "TLP prefix blocked"),
];

fn pcie(told: &Told<'_>) -> Hardware {
    // AER_NONFATAL, AER_FATAL, AER_CORRECTABLE, include/linux/aer.h
    let (word, severity, names) = match told.number(1) {
        Some(0) => ("uncorrected, non-fatal", Warn, AER_UNCORRECTABLE),
        Some(1) => ("fatal", Critical, AER_UNCORRECTABLE),
        Some(2) => ("corrected", Warn, AER_CORRECTABLE),
        _ => ("unknown", Warn, &[][..]),
    };
    let status = told.number(0);
    let bits = bits(status.unwrap_or(0), names);
    let device = told.text(0);
    let what = if bits.is_empty() { "no error bit is set".to_owned() } else { bits.join(", ") };
    Hardware {
        rule: "pcie_error",
        reporter: "ras:aer_event",
        severity: Some(severity),
        meaning: "a PCI Express link reports errors",
        text: format!("{word} error of {}: {what}", device.as_deref().unwrap_or("an unknown device")),
        labels: given([("device", device)]),
        details: details([
            ("severity", Some(json!(word))),
            ("errors", Some(json!(bits))),
            ("status", status.map(hex)),
        ]),
        advice: "many corrected errors come of a bad cable, riser, slot or of power saving (try pcie_aspm=off): \
                 reseat the card; fatal ones reset the link, and the device may be gone",
    }
}

/// `enum mf_result`, `mm/memory-failure.c`.
const PAGE_RESULTS: [&str; 4] = ["ignored", "failed", "delayed", "recovered"];

fn memory_failure(told: &Told<'_>) -> Hardware {
    let page = told.number(0).map(|n| format!("{n:#x}"));
    let result = told.number(2).and_then(|n| PAGE_RESULTS.get(usize::try_from(n).ok()?).copied());
    let result = result.unwrap_or("unknown");
    Hardware {
        rule: "memory_failure",
        reporter: "ras:memory_failure_event",
        severity: Some(Critical),
        meaning: "a page of memory is broken",
        text: format!("taking page {} out of use: {result}", page.as_deref().unwrap_or("?")),
        labels: given([("page", page)]),
        details: details([
            ("result", Some(json!(result))),
            ("page_type", told.signed(1).map(Value::from)),
            ("address", told.number(0).and_then(|n| n.checked_mul(4096)).map(hex)),
        ]),
        advice: "processes that used it get SIGBUS; where the result is not `recovered` the page stays in use: \
                 restart the machine, and replace the module when it happens again",
    }
}

/// `mem_err_type_strs`, `drivers/firmware/efi/cper.c` (UEFI specification, appendix N.2.5).
const CPER_TYPES: [&str; 16] = [
    "unknown",
    "no error",
    "single-bit ECC",
    "multi-bit ECC",
    "single-symbol chipkill ECC",
    "multi-symbol chipkill ECC",
    "master abort",
    "target abort",
    "parity error",
    "watchdog timeout",
    "invalid address",
    "mirror broken",
    "memory sparing",
    "scrub corrected error",
    "scrub uncorrected error",
    "physical memory map-out",
];

fn extended_log(told: &Told<'_>) -> Hardware {
    let kind = told.number(0).and_then(|n| CPER_TYPES.get(usize::try_from(n).ok()?).copied());
    let kind = kind.unwrap_or("unknown");
    // CPER_SEV_*, include/linux/cper.h
    let (word, class, severity) = match told.number(1) {
        Some(0) => ("recoverable", "UE", Critical),
        Some(1) => ("fatal", "FATAL", Critical),
        Some(2) => ("corrected", "CE", Warn),
        Some(3) => ("informational", "INFO", Severity::Info),
        _ => ("unknown", "?", Critical),
    };
    let unit = told.text(0);
    Hardware {
        reporter: "ras:extlog_mem_event",
        severity: Some(severity),
        text: format!("{word} memory error ({kind}) on {}", unit.as_deref().unwrap_or("an unknown module")),
        labels: given([("class", Some(class.to_owned())), ("dimm", unit)]),
        details: details([
            ("type", Some(json!(kind))),
            ("severity", Some(json!(word))),
            ("address", told.number(2).map(hex)),
            ("sequence", told.number(3).map(Value::from)),
        ]),
        ..MEMORY
    }
}

fn transmit_timeout(told: &Told<'_>) -> Hardware {
    let (interface, driver) = (told.text(0), told.text(1));
    let queue = told.signed(0);
    Hardware {
        rule: "nic_hang",
        reporter: "net:net_dev_xmit_timeout",
        severity: Some(Warn),
        meaning: "a network adapter does not send",
        text: format!(
            "transmit queue {} of {} ({}) timed out",
            queue.map_or("?".to_owned(), |n| n.to_string()),
            interface.as_deref().unwrap_or("an unknown interface"),
            driver.as_deref().unwrap_or("unknown driver"),
        ),
        labels: given([("interface", interface), ("driver", driver)]),
        details: details([("queue", queue.map(Value::from))]),
        advice: "the driver resets the adapter now; if it comes back, update driver and firmware, \
                 and look at the switch for flow control (pause frames)",
    }
}

fn thermal_trip(told: &Told<'_>) -> Hardware {
    // enum thermal_trip_type, include/uapi/linux/thermal.h
    let (rule, word, severity, meaning) = match told.number(2) {
        Some(0) => ("thermal_throttle", "active", None, "a fan is switched on"),
        Some(1) => ("thermal_throttle", "passive", Some(Warn), "it is too hot, and the machine runs slower"),
        Some(2) => ("thermal_critical", "hot", Some(Critical), "a temperature is close to critical"),
        Some(3) => (
            "thermal_critical",
            "critical",
            Some(Emergency),
            "a temperature is critical; the machine shuts down",
        ),
        _ => ("thermal_throttle", "unknown", Some(Warn), "a temperature passed a limit"),
    };
    let zone = told.signed(0).map(|n| format!("thermal_zone{n}"));
    let kind = told.text(0);
    let degrees = told.signed(3).map(|n| n as f64 / 1000.0);
    let at = degrees.map(|d| format!(" at {d:.1} °C")).unwrap_or_default();
    let name = zone.as_deref().unwrap_or("an unknown zone");
    let of = kind.as_deref().map(|k| format!(" ({k})")).unwrap_or_default();
    Hardware {
        rule,
        reporter: "thermal:thermal_zone_trip",
        severity,
        meaning,
        text: format!("{name}{of} passed its {word} trip point{at}"),
        labels: given([("zone", zone), ("sensor", kind)]),
        details: details([
            ("trip", told.signed(1).map(Value::from)),
            ("trip_type", Some(json!(word))),
            ("celsius", degrees.map(Value::from)),
        ]),
        advice: "look at fans, filters and the room's temperature",
    }
}

/// Names of the bits set; of those without a name, their numbers.
fn bits(status: u64, names: &[(u32, &str)]) -> Vec<String> {
    let name = |bit: u32| names.iter().find(|(n, _)| *n == bit).map(|(_, name)| (*name).to_owned());
    (0..32)
        .filter(|bit| status >> bit & 1 == 1)
        .map(|bit| name(bit).unwrap_or_else(|| format!("bit {bit}")))
        .collect()
}

fn hex(number: u64) -> Value {
    json!(format!("{number:#x}"))
}

fn given<const N: usize>(labels: [(&'static str, Option<String>); N]) -> Vec<(&'static str, String)> {
    labels.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn details<const N: usize>(values: [(&'static str, Option<Value>); N]) -> Vec<(&'static str, Value)> {
    values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

#[cfg(test)]
#[path = "hardware_tests.rs"]
mod tests;
