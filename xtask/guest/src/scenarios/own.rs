//! An agent beside the lab's, with settings of its own, that tells conditions from the start: the lab's does not,
//! since an emulated machine is busy.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::inbox::{Alert, Inbox};
use crate::plan::AGENT;

const DIR: &str = "/run/own";
/// Until an alert must have come.
const SOON: Duration = Duration::from_secs(40);

/// Killed when it goes out of scope.
pub(super) struct Own {
    child: Child,
    inbox: Inbox,
}

impl Own {
    /// `more`: TOML, beside where alerts go.
    pub(super) fn start(more: &str) -> Result<Self, String> {
        let (inbox, port) = Inbox::start().map_err(|e| format!("no web server: {e}"))?;
        let config = configuration(port, more)?;
        let child = Command::new(AGENT).args(["--config", &config]).stdin(Stdio::null()).spawn();
        Ok(Self { child: child.map_err(|e| format!("{AGENT}: {e}"))?, inbox })
    }

    /// Waits for an alert of this rule and status.
    pub(super) fn told(&self, rule: &str, status: &str) -> Result<Alert, String> {
        let fits = |alert: &&Alert| alert.rule == rule && alert.status == status;
        let found = self.inbox.wait(SOON, |all| all.iter().rev().find(fits).cloned());
        found.ok_or_else(|| format!("no alert of rule {rule} that is {status} within {} s", SOON.as_secs()))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `--inventory-dump` says with these settings.
pub(super) fn inventory(more: &str) -> Result<Value, String> {
    let config = configuration(9, more)?;
    let out = Command::new(AGENT).args(["--config", &config, "--inventory-dump"]).output();
    let out = out.map_err(|e| format!("{AGENT}: {e}"))?;
    serde_json::from_slice(&out.stdout)
        .map_err(|e| format!("no inventory ({e}): {}", String::from_utf8_lossy(&out.stderr)))
}

fn configuration(port: u16, more: &str) -> Result<String, String> {
    let text = format!(
        r#"{more}
        [agent]
        data_dir = "{DIR}"
        [ebpf]
        enabled = "off"
        [alerting]
        state_warmup_secs = 0
        terminal = {{ enabled = "off" }}
        syslog = {{ enabled = false }}
        webhook = {{ enabled = true, url = "http://127.0.0.1:{port}/", timeout_secs = 5 }}
        "#
    );
    // Nothing is remembered of an earlier one.
    let _ = fs::remove_dir_all(DIR);
    fs::create_dir_all(DIR).map_err(|e| format!("{DIR}: {e}"))?;
    let path = format!("{DIR}/config.toml");
    fs::write(&path, text).map_err(|e| format!("{path}: {e}"))?;
    Ok(path)
}
