//! What the firmware tells of memory modules, and disks of their own health. The machine behind it is
//! `guest::disks` on the host's side: the same names stand there.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::own::{self, Own};
use crate::inbox::now_ns;
use crate::lab::{Lab, Seen, Verdict};
use crate::machine;
use crate::readings::Readings;

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
    // QEMU's SCSI disk has no log pages, and nothing is said of its health.
    let expect =
        json!([["nvme0n1", "NVMe", "N-1", true], ["sda", "SATA", "A-1", true], ["sdb", "SCSI", "S-1", null]]);
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

/// Until a disk that is asked every second is idle for a moment.
const IDLE: Duration = Duration::from_secs(20);

/// The kernel's own SCSI disk has log pages; then each command takes it 0.9 s.
pub(super) fn scsi(_: &mut Lab) -> Verdict {
    const DISK: &str = "sdc";
    const DELAY: &str = "/sys/bus/pseudo/drivers/scsi_debug/ndelay";
    machine::load("scsi_debug", "dev_size_mb=8 delay=0 ndelay=1000")
        .map_err(|e| format!("scsi_debug: {e}"))?;
    // Refused while a command is under way.
    let delay = |ns: &str| {
        let begin = Instant::now();
        loop {
            match fs::write(DELAY, ns) {
                Err(busy) if busy.raw_os_error() == Some(libc::EBUSY) && begin.elapsed() < IDLE => {
                    sleep(Duration::from_millis(5));
                }
                other => return other.map_err(|e| format!("{DELAY}: {e}")),
            }
        }
    };
    let of = |metric: &str, disk: &str| format!("{metric}{{{disk}}}");
    let readings = Readings::start("smart")?;
    // `resp_temp_l_pg` and `resp_ie_l_pg` of drivers/scsi/scsi_debug.c: 38 °C, and nothing to tell of.
    readings.until("the log pages of a SCSI disk", |pass| {
        pass.is(&of("smart_temperature_celsius", DISK), 38.0)
            && pass.is(&of("smart_healthy", DISK), 1.0)
            && pass.is("smart_warning{sdc,failing}", 0.0)
            && pass.lacks(&of("smart_healthy", "sdb"))
    })?;
    delay("900000000")?;
    let stuck = readings.until("a disk that does not answer", |pass| pass.is(&of("smart_stuck", DISK), 1.0));
    // The others are asked as before, each second.
    let others = readings.until("the other disks", |pass| {
        pass.is(&of("smart_stuck", DISK), 1.0)
            && pass.is(&of("smart_healthy", "nvme0n1"), 1.0)
            && pass.is(&of("smart_healthy", "sda"), 1.0)
    });
    delay("1000")?;
    stuck.and(others)?;
    readings.until("its answers again", |pass| {
        pass.is(&of("smart_stuck", DISK), 0.0) && pass.is(&of("smart_temperature_celsius", DISK), 38.0)
    })?;
    readings.end()?;
    Ok(Seen::default())
}

fn same(what: &str, is: &Value, expect: &Value) -> Result<(), String> {
    if is == expect { Ok(()) } else { Err(format!("{what} is {is}, expected {expect}")) }
}

/// Asks disks often.
const SETTINGS: &str =
    "[collector]\nenabled = [\"smart\"]\nsmart_interval_secs = 10\n[inventory]\ninclude_smart = true";
