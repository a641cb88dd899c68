//! What a scenario works with: the running agent's features and alerts, children, and the host's monitor.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::inbox::{Alert, Inbox, now_ns};
use crate::init::Reporter;
use crate::machine::Group;
use crate::plan::GUEST;
use crate::report::{Doctor, Line, Monitor};

/// Until an alert must have come, with an agent without optimisation on an emulated and busy machine.
const SOON: Duration = Duration::from_secs(30);
/// For how long no alert may come.
const QUIET: Duration = Duration::from_secs(5);

/// What a scenario found.
pub type Verdict = Result<Seen, String>;

/// The alert of a scenario.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Who saw it; empty when rightly nobody did.
    pub sources: Vec<String>,
    /// From the kernel's event to the delivered alert, milliseconds.
    pub latency_ms: Option<f64>,
}

/// The surroundings of one run of the agent.
#[derive(Debug)]
pub struct Lab {
    doctor: Doctor,
    inbox: Inbox,
    reporter: Reporter,
    claimed: BTreeSet<String>,
}

impl Lab {
    /// Around a running agent.
    pub fn new(doctor: Doctor, inbox: Inbox, reporter: Reporter) -> Self {
        Self { doctor, inbox, reporter, claimed: BTreeSet::new() }
    }

    /// Whether the agent says that this feature works.
    pub fn is_on(&self, feature: &str) -> bool {
        self.doctor.features.iter().any(|f| f.name == feature && f.state == "on")
    }

    /// What the agent says of a feature.
    pub fn said(&self, feature: &str) -> Option<String> {
        self.doctor.features.iter().find(|f| f.name == feature).map(|f| format!("{}: {}", f.state, f.reason))
    }

    /// Waits for the one alert of a kill by this killer in user space, out of the journal.
    pub fn by_journal(&mut self, killer: &str, is_it: impl Fn(&Alert) -> bool) -> Result<Found, String> {
        let claimed = &self.claimed;
        let matches = |a: &Alert| a.rule == "user_oom_kill" && !claimed.contains(&a.id) && is_it(a);
        let alert = self.inbox.wait(crate::systemd::SOON, |all| all.iter().find(|a| matches(a)).cloned());
        let alert = alert.ok_or_else(|| format!("no alert of a kill by {killer}"))?;
        if alert.source != ["journal"] {
            return Err(format!("it comes from {:?}: {}", alert.source, alert.message));
        }
        self.claimed.insert(alert.id.clone());
        Ok(Found { first: alert.clone(), alert })
    }

    /// Waits for the one alert of a rule on a series with this label.
    pub fn condition(&mut self, rule: &str, label: &str, value: &str) -> Result<Found, String> {
        let claimed = &self.claimed;
        let is_it = |a: &Alert| a.rule == rule && a.labels.get(label).is_some_and(|v| v == value);
        let matches = |a: &Alert| a.status == "firing" && !claimed.contains(&a.id) && is_it(a);
        let alert = self.inbox.wait(crate::systemd::SOON, |all| all.iter().find(|a| matches(a)).cloned());
        let alert = alert.ok_or_else(|| format!("no alert of rule {rule} on {value}"))?;
        self.claimed.insert(alert.id.clone());
        Ok(Found { first: alert.clone(), alert })
    }

    /// Waits for the end of a condition.
    pub fn ends(&self, found: &Found) -> Result<(), String> {
        let id = &found.alert.id;
        let over = |all: &[Alert]| all.iter().any(|a| a.id == *id && a.status == "resolved").then_some(());
        self.inbox
            .wait(crate::systemd::SOON, over)
            .ok_or_else(|| format!("no end of: {}", found.alert.message))
    }

    /// Who must see an event that this probe and, with `logged`, the kernel log tell.
    fn witnesses(&self, probe: &str, logged: bool) -> Vec<&'static str> {
        let ebpf = self.is_on(probe).then_some("ebpf");
        ebpf.into_iter().chain((logged && self.is_on("kernel_log")).then_some("kmsg")).collect()
    }

    /// Waits for the one alert of `rule` that `is_it` knows and that `probe` (a feature's name) and, with `logged`, the
    /// kernel log tell, and until it names both. Where neither works there must be none.
    pub fn one(
        &mut self,
        rule: &str,
        probe: &str,
        logged: bool,
        is_it: impl Fn(&Alert) -> bool,
    ) -> Result<Option<Found>, String> {
        let first = self.first(rule, probe, logged, is_it)?;
        first.map(|first| self.whole(first, |_| true)).transpose()
    }

    /// The first message of that alert, for causes that must end before all is known.
    pub fn first(
        &mut self,
        rule: &str,
        probe: &str,
        logged: bool,
        is_it: impl Fn(&Alert) -> bool,
    ) -> Result<Option<First>, String> {
        let witnesses = self.witnesses(probe, logged);
        let claimed = &self.claimed;
        let matches = |a: &Alert| a.rule == rule && !claimed.contains(&a.id) && is_it(a);
        let limit = if witnesses.is_empty() { QUIET } else { SOON };
        let alert = self.inbox.wait(limit, |all| all.iter().find(|a| matches(a)).cloned());
        match alert {
            None if witnesses.is_empty() => Ok(None),
            None => Err(format!("no alert of rule {rule} within {} s", limit.as_secs())),
            Some(alert) if witnesses.is_empty() => {
                Err(format!("nobody could see it, yet somebody told: {}", alert.message))
            }
            Some(alert) if alert.status != "firing" => {
                Err(format!("its first message is `{}`: {}", alert.status, alert.message))
            }
            Some(alert) => {
                self.claimed.insert(alert.id.clone());
                Ok(Some(First { alert, witnesses }))
            }
        }
    }

    /// Waits for a later message of the same incident, or the first one, that names all who must have seen it and that
    /// is as it must be: a witness who comes late is named by the next message.
    pub fn whole(&self, first: First, is_it: impl Fn(&Alert) -> bool) -> Result<Found, String> {
        let First { alert: first, witnesses } = first;
        let last = |all: &[Alert]| all.iter().rev().find(|a| a.id == first.id).cloned();
        let complete = |a: &Alert| witnesses.iter().all(|w| a.source.iter().any(|s| s == w)) && is_it(a);
        let whole = self.inbox.wait(SOON, |all| last(all).filter(complete));
        whole.map(|alert| Found { first: first.clone(), alert }).ok_or_else(|| {
            let alert = self.inbox.wait(Duration::ZERO, last).unwrap_or_else(|| first.clone());
            let Alert { status, source, message, .. } = alert;
            format!("`{status}`, seen by {source:?} and not all of {witnesses:?}: {message}")
        })
    }

    /// Takes alerts that came so far and that the cause brought along.
    pub fn also(&mut self, is_it: impl Fn(&Alert) -> bool) {
        let more: Vec<String> = self.surplus().into_iter().filter(is_it).map(|a| a.id).collect();
        self.claimed.extend(more);
    }

    /// Incidents told that no scenario has caused. A virtual disk that is slow because the host is does not count, nor what is
    /// said of a disk that comes and of a file system that is mounted again after it was damaged.
    pub fn surplus(&self) -> Vec<Alert> {
        let mut alerts = self.inbox.unclaimed(&self.claimed);
        alerts.retain(|a| match a.rule.as_str() {
            "block_io_latency" => a.labels.get("device").is_none_or(|d| !d.starts_with("vd")),
            "scsi_reset" | "filesystem_warning" => false,
            _ => true,
        });
        alerts
    }

    /// A child that takes `mib` MiB inside a group and keeps them.
    pub fn eater(&self, name: &str, group: Option<&Group>, mib: usize) -> Result<Kin, String> {
        let group = group.map_or_else(|| "-".into(), |g| g.procs().display().to_string());
        Kin::new(&["eat", name, &group, &mib.to_string()])
    }

    /// A child that writes to a file.
    pub fn writer(&self, name: &str, file: &str) -> Result<Kin, String> {
        Kin::new(&["write", name, file])
    }

    /// A child that plays another role.
    pub fn kin(&self, role: &[&str]) -> Result<Kin, String> {
        Kin::new(role)
    }

    /// Has the host type a command into QEMU's monitor, e.g. `set_link nic0 off`, and gives it a moment.
    pub fn monitor(&mut self, command: &str) {
        self.reporter.tell(&Line::Monitor(Monitor { command: command.into() }));
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// The first message of an incident, and who must be named by a later one.
#[derive(Clone, Debug)]
pub struct First {
    alert: Alert,
    witnesses: Vec<&'static str>,
}

/// The alert of an incident: its first message, and the one that knows most.
#[derive(Clone, Debug)]
pub struct Found {
    first: Alert,
    /// The newest message of the incident.
    pub alert: Alert,
}

impl Found {
    /// Fails unless the context says exactly this.
    pub fn says(&self, name: &str, expect: impl Into<Value>) -> Result<&Self, String> {
        let (said, expect) = (self.alert.context.get(name), expect.into());
        if said == Some(&expect) {
            return Ok(self);
        }
        Err(format!("{name} is {said:?}, expected {expect}: {}", self.alert.message))
    }

    /// Fails unless the label says exactly this.
    pub fn label(&self, name: &str, expect: &str) -> Result<&Self, String> {
        let said = self.alert.labels.get(name);
        if said.is_some_and(|s| s == expect) {
            return Ok(self);
        }
        Err(format!("label {name} is {said:?}, expected {expect:?}: {}", self.alert.message))
    }

    /// Fails unless this part of the context, an object, says exactly this.
    pub fn detail(&self, part: &str, name: &str, expect: impl Into<Value>) -> Result<&Self, String> {
        let (said, expect) = (self.alert.context.get(part).and_then(|part| part.get(name)), expect.into());
        if said == Some(&expect) {
            return Ok(self);
        }
        Err(format!("{part}.{name} is {said:?}, expected {expect}: {}", self.alert.message))
    }

    /// What goes into the report. `happened_ns` stands in where the alert does not tell the kernel's time.
    pub fn seen(&self, happened_ns: u64) -> Seen {
        let begin = self.first.kernel_ns().unwrap_or(happened_ns);
        let latency = self.first.came_ns.saturating_sub(begin) as f64 / 1e6;
        Seen { sources: self.alert.source.clone(), latency_ms: Some(latency) }
    }

    /// As [`Found::seen`], with now as the moment.
    pub fn seen_now(&self) -> Seen {
        self.seen(now_ns())
    }
}

/// A child of ours; killed when it goes out of scope.
#[derive(Debug)]
pub struct Kin(Child);

impl Kin {
    fn new(args: &[&str]) -> Result<Self, String> {
        let child = Command::new(GUEST).args(args).stdin(Stdio::null()).spawn();
        Ok(Self(child.map_err(|e| format!("{GUEST} cannot be started: {e}"))?))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it ends.
    pub fn end(mut self) -> Result<(), String> {
        self.0.wait().map(drop).map_err(|e| format!("a child cannot be waited for: {e}"))
    }
}

impl Drop for Kin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
