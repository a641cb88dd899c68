//! What the firmware tells of memory modules, and disks of their own health. The machine behind it is
//! `guest::disks` on the host's side: the same names stand there.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::inbox::{Inbox, now_ns};
use crate::lab::{Lab, Seen, Verdict};
use crate::plan::AGENT;

const DIR: &str = "/run/health";
/// Until the alert must have come: disks are asked every ten seconds.
const SOON: Duration = Duration::from_secs(40);

/// The inventory lists what the machine was given, and both disks call themselves healthy.
pub(super) fn inventory(_: &mut Lab) -> Verdict {
    let config = configuration(9)?;
    let out = Command::new(AGENT).args(["--config", &config, "--inventory-dump"]).output();
    let out = out.map_err(|e| format!("{AGENT}: {e}"))?;
    let found: Value = serde_json::from_slice(&out.stdout)
        .map_err(|e| format!("no inventory ({e}): {}", String::from_utf8_lossy(&out.stderr)))?;
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
    let (inbox, port) = Inbox::start().map_err(|e| format!("no web server: {e}"))?;
    let agent = Agent::start(port)?;
    lab.monitor("qom-set /machine/peripheral/nvme0 smart_critical_warning 4");
    let done = now_ns();
    let told = |status: &'static str| {
        inbox.wait(SOON, |all| {
            let found =
                all.iter().rev().find(|a| a.rule == "smart_warning_reliability" && a.status == status);
            found.cloned()
        })
    };
    let alert = told("firing").ok_or("no alert of rule smart_warning_reliability")?;
    same("device", &json!(alert.labels.get("device")), &json!("nvme0n1"))?;
    if !alert.message.contains("too many errors to be relied on") {
        return Err(format!("it says: {}", alert.message));
    }
    lab.monitor("qom-set /machine/peripheral/nvme0 smart_critical_warning 0");
    told("resolved").ok_or("the alert is not resolved")?;
    drop(agent);
    let latency_ms = Some(alert.came_ns.saturating_sub(done) as f64 / 1e6);
    Ok(Seen { sources: vec!["smart".into()], latency_ms })
}

fn same(what: &str, is: &Value, expect: &Value) -> Result<(), String> {
    if is == expect { Ok(()) } else { Err(format!("{what} is {is}, expected {expect}")) }
}

/// An agent that asks disks often and tells conditions from the start. The one of the lab does neither.
fn configuration(port: u16) -> Result<String, String> {
    let text = format!(
        r#"
        [agent]
        data_dir = "{DIR}"
        [collector]
        enabled = ["smart"]
        smart_interval_secs = 10
        [inventory]
        include_smart = true
        [ebpf]
        enabled = "off"
        [alerting]
        state_warmup_secs = 0
        terminal = {{ enabled = "off" }}
        syslog = {{ enabled = false }}
        webhook = {{ enabled = true, url = "http://127.0.0.1:{port}/", timeout_secs = 5 }}
        "#
    );
    fs::create_dir_all(DIR).map_err(|e| format!("{DIR}: {e}"))?;
    let path = format!("{DIR}/config.toml");
    fs::write(&path, text).map_err(|e| format!("{path}: {e}"))?;
    Ok(path)
}

/// Killed when it goes out of scope.
struct Agent(Child);

impl Agent {
    fn start(port: u16) -> Result<Self, String> {
        let config = configuration(port)?;
        let child = Command::new(AGENT).args(["--config", &config]).stdin(Stdio::null()).spawn();
        child.map(Self).map_err(|e| format!("{AGENT}: {e}"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
