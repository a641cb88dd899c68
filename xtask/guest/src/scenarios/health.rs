//! What the firmware tells of memory modules, and disks of their own health. The machine behind it is
//! `guest::disks` on the host's side: the same names stand there.

use serde_json::{Value, json};

use super::own::{self, Own};
use crate::inbox::now_ns;
use crate::lab::{Lab, Seen, Verdict};

/// The inventory lists what the machine was given, and both disks call themselves healthy.
pub(super) fn inventory(_: &mut Lab) -> Verdict {
    let found = own::inventory(SETTINGS)?;
    let memory = &found["memory"];
    same("dimm_count", &memory["dimm_count"], &json!(1))?;
    // 384 MiB, as `guest::Guest` has it; QEMU calls its memory RAM with ECC.
    let dimm = json!({
        "slot": "DIMM_A 0", "size_gb": 0.375, "type": "RAM", "speed_mhz": 3200, "manufacturer": "ACME",
        "part_number": "P-17", "serial": "S-17", "ecc": true,
    });
    same("dimms", &memory["dimms"], &json!([dimm]))?;
    let disks = found["disks"].as_array().cloned().unwrap_or_default();
    let told: Vec<Value> = disks
        .iter()
        .map(|disk| json!([disk["name"], disk["interface"], disk["serial"], disk["smart_healthy"]]))
        .collect();
    let expect = json!([["nvme0n1", "NVMe", "N-1", true], ["sda", "SATA", "A-1", true]]);
    same("disks", &Value::Array(told), &expect)?;
    Ok(Seen::default())
}

/// The `NVMe` controller begins to warn of its reliability, and stops.
pub(super) fn warning(lab: &mut Lab) -> Verdict {
    let own = Own::start(SETTINGS)?;
    lab.monitor("qom-set /machine/peripheral/nvme0 smart_critical_warning 4");
    let done = now_ns();
    let alert = own.told("smart_warning_reliability", "firing")?;
    same("device", &json!(alert.labels.get("device")), &json!("nvme0n1"))?;
    if !alert.message.contains("too many errors to be relied on") {
        return Err(format!("it says: {}", alert.message));
    }
    lab.monitor("qom-set /machine/peripheral/nvme0 smart_critical_warning 0");
    own.told("smart_warning_reliability", "resolved")?;
    let latency_ms = Some(alert.came_ns.saturating_sub(done) as f64 / 1e6);
    Ok(Seen { sources: vec!["smart".into()], latency_ms })
}

fn same(what: &str, is: &Value, expect: &Value) -> Result<(), String> {
    if is == expect { Ok(()) } else { Err(format!("{what} is {is}, expected {expect}")) }
}

/// Asks disks often.
const SETTINGS: &str =
    "[collector]\nenabled = [\"smart\"]\nsmart_interval_secs = 10\n[inventory]\ninclude_smart = true";
