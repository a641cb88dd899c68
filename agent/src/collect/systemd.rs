//! Units of systemd: how many are in which state, which have failed and why, which restart over and over.
//!
//! `systemctl list-units` tells the states in one question; only of units that failed or whose processes are others than at the
//! last look more is asked. Both take a program and a message to process 1, so it is asked seldom and aside.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use super::{CollectError, Collector};
use crate::host::aside::{Answer, Aside};
use crate::host::{Host, Printed, read_text};
use crate::metric::metrics;
use crate::sample::Samples;
use crate::time::{Now, SECOND};

pub mod text;

use text::{Listed, Shown};

metrics! {
    UNITS: Gauge Count "systemd_units_count" ["state"]
        "Units by state: active, reloading, inactive, failed, activating, deactivating, other.", "systemctl list-units";
    FAILED: Gauge Count "systemd_unit_failed" ["unit", "result", "cause", "started"]
        "1 where a unit has failed: its result, exit status or signal, and when it was started last; 0 once it is well again.", "systemctl show";
    RESTARTS: Counter Count "systemd_unit_restarts_total" ["unit"]
        "Restarts by systemd, of units that it has restarted since the agent began.", "systemctl show, NRestarts";
    LOOPING: Gauge Count "systemd_unit_restarts_recent_count" ["unit"]
        "Restarts by systemd within ten minutes where they are three or more, until there is none for ten minutes; then 0.", "systemctl show, NRestarts";
}

/// Where there is such a folder systemd runs (`sd_booted`).
const BOOTED: &str = "/run/systemd/system";
/// How long a pass waits for the answer; what comes later is told in the next.
const PATIENCE: Duration = Duration::from_millis(500);
/// A systemd that takes longer does not answer.
const STUCK_AFTER: u64 = 30 * SECOND;
/// Units asked about at most in a pass; of more, others each minute.
pub const MAX_ASKED: usize = 64;
/// Units of which more than a state is remembered.
pub const MAX_KNOWN: usize = 1024;
/// So many restarts within this time are a loop.
const LOOP: (usize, u64) = (3, 600 * SECOND);
const STATES: [&str; 7] =
    ["active", "reloading", "inactive", "failed", "activating", "deactivating", "maintenance"];
const PROPERTIES: &str =
    "--property=Id,ActiveState,Result,NRestarts,ExecMainCode,ExecMainStatus,ExecMainStartTimestamp";

/// What is remembered of a service.
#[derive(Debug, Default)]
struct Service {
    /// First process of its control group at the last look; empty: none.
    first: String,
    restarts: Option<u64>,
    /// Restarts since the agent began.
    total: u64,
    recent: VecDeque<u64>,
    is_looping: bool,
}

/// Asks systemd.
pub struct Systemd {
    aside: Aside<Result<Found, CollectError>>,
    services: BTreeMap<String, Service>,
    /// Labels of the units told as failed.
    failed: BTreeMap<String, [String; 3]>,
    patience: Duration,
}

/// An answer.
struct Found {
    /// When it was asked.
    at: Now,
    units: Vec<Listed>,
    /// Units and the first processes of theirs.
    firsts: Vec<(String, String)>,
    /// More of some.
    shown: Vec<Shown>,
    /// There are more units than fit.
    is_cut: bool,
}

impl Systemd {
    /// Asks nothing yet.
    pub fn new() -> Self {
        let aside = Aside::new("systemd", 1).with_stack(256 << 10);
        Self { aside, services: BTreeMap::new(), failed: BTreeMap::new(), patience: PATIENCE }
    }
}

impl Default for Systemd {
    fn default() -> Self {
        Self::new()
    }
}

impl Collector for Systemd {
    fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
        if host.list(BOOTED, &mut |_| {}).is_err() {
            return Err(CollectError::Absent { path: BOOTED.to_owned() });
        }
        let (at, shared) = (out.at(), host.shared());
        let known: BTreeMap<String, String> =
            self.services.iter().map(|(name, service)| (name.clone(), service.first.clone())).collect();
        let found = match self.aside.ask("", at, self.patience, move || ask(shared.as_ref(), &known, at)) {
            Answer::Done(found) => found?,
            Answer::Stuck { since } if at.since(since) < STUCK_AFTER => return Ok(()),
            Answer::Stuck { .. } | Answer::NotAsked => {
                let error = "systemd does not answer".to_owned();
                return Err(CollectError::Read { path: "systemctl".to_owned(), error });
            }
        };
        let is_cut = found.is_cut;
        self.tell(found, out);
        if is_cut {
            let error = "it lists more than 4 MiB of units: those at its end are not seen".to_owned();
            return Err(CollectError::Read { path: "systemctl list-units".to_owned(), error });
        }
        Ok(())
    }
}

impl Systemd {
    fn tell(&mut self, found: Found, out: &mut Samples) {
        let Found { at, units, firsts, shown, .. } = found;
        for state in STATES {
            let count = units.iter().filter(|unit| unit.active == state).count();
            out.put(&UNITS, &[state], count as f64);
        }
        self.services.retain(|name, service| {
            service.is_looping || units.binary_search_by(|unit| unit.name.as_str().cmp(name)).is_ok()
        });
        for (name, first) in firsts {
            if self.services.len() < MAX_KNOWN || self.services.contains_key(&name) {
                self.services.entry(name).or_default().first = first;
            }
        }
        let mut failed = BTreeMap::new();
        for unit in shown {
            self.count_restarts(&unit, at);
            if unit.active == "failed" {
                let cause = unit.cause();
                failed.insert(unit.name, [unit.result, cause, unit.started]);
            }
        }
        // What there were too many of to ask about is as it was.
        let still = |name: &str| units.iter().any(|unit| unit.name == name && unit.active == "failed");
        for (name, labels) in std::mem::take(&mut self.failed) {
            let fresh = failed.get(&name);
            if !still(&name) || fresh.is_some_and(|fresh| *fresh != labels) {
                let [result, cause, started] = &labels;
                out.put(&FAILED, &[&name, result, cause, started], 0.0);
            } else if fresh.is_none() {
                failed.insert(name, labels);
            }
        }
        for (name, [result, cause, started]) in &failed {
            out.put(&FAILED, &[name, result, cause, started], 1.0);
        }
        self.failed = failed;
        self.put_restarts(at, out);
    }

    fn count_restarts(&mut self, unit: &Shown, at: Now) {
        let Some(now) = unit.restarts else { return };
        let Some(service) = self.services.get_mut(&unit.name) else { return };
        let grown = match service.restarts.replace(now) {
            Some(before) if now >= before => now - before,
            // Started by hand meanwhile, or never asked about before: it has been restarted at least once.
            _ => now.min(1),
        };
        service.total += grown;
        let new = usize::try_from(grown).unwrap_or(LOOP.0).min(LOOP.0);
        service.recent.extend(std::iter::repeat_n(at.mono_ns, new));
        // A unit that systemd has given up does not loop, it has failed.
        if unit.active == "failed" {
            service.recent.clear();
        }
    }

    fn put_restarts(&mut self, at: Now, out: &mut Samples) {
        for (name, service) in &mut self.services {
            service.recent.retain(|restart| at.mono_ns.saturating_sub(*restart) < LOOP.1);
            while service.recent.len() > 8 * LOOP.0 {
                service.recent.pop_front();
            }
            let count = service.recent.len();
            let was = service.is_looping;
            service.is_looping = if was { count > 0 } else { count >= LOOP.0 };
            if service.is_looping || was {
                out.put(&LOOPING, &[name], count as f64);
            }
            if service.total > 0 {
                out.put(&RESTARTS, &[name], service.total as f64);
            }
        }
    }
}

/// Asks for all units, and for more of those that failed or are not what they were.
fn ask(host: &dyn Host, known: &BTreeMap<String, String>, at: Now) -> Result<Found, CollectError> {
    let list = run(host, &["list-units", "--all", "--plain", "--full", "--no-legend", "--no-pager"])?;
    let is_cut = list.is_cut;
    // Half a line is none.
    let whole = if is_cut { list.text.rfind('\n').unwrap_or(0) } else { list.text.len() };
    let mut units = text::list(&list.text[..whole]);
    units.sort_by(|a, b| a.name.cmp(&b.name));
    let mut firsts = Vec::new();
    let mut asked: Vec<&str> =
        units.iter().filter(|unit| unit.active == "failed").map(|unit| unit.name.as_str()).collect();
    for unit in units.iter().filter(|unit| unit.name.ends_with(".service") && unit.loaded) {
        let first = if unit.active == "inactive" { String::new() } else { first_process(host, &unit.name) };
        let changed = known.get(&unit.name).is_some_and(|before| *before != first && !first.is_empty());
        if unit.sub.starts_with("auto-restart") || changed {
            asked.push(&unit.name);
        }
        firsts.push((unit.name.clone(), first));
    }
    if asked.len() > MAX_ASKED {
        // Others each minute.
        let from = (at.mono_ns / (60 * SECOND)) as usize * MAX_ASKED % asked.len();
        asked.rotate_left(from);
        asked.truncate(MAX_ASKED);
    }
    if asked.is_empty() {
        return Ok(Found { at, units, firsts, shown: Vec::new(), is_cut });
    }
    // Behind `--` since there are units like `-.mount`.
    let args: Vec<&str> = ["show", "--no-pager", PROPERTIES, "--"].into_iter().chain(asked).collect();
    let shown = text::shown(&run(host, &args)?.text);
    Ok(Found { at, units, firsts, shown, is_cut })
}

fn run(host: &dyn Host, args: &[&str]) -> Result<Printed, CollectError> {
    let path = || format!("systemctl {}", args.first().copied().unwrap_or_default());
    match host.run("systemctl", args) {
        Ok(printed) if printed.success => Ok(printed),
        Ok(_) => {
            let error = "it failed: its own user needs the D-Bus daemon to speak with systemd".to_owned();
            Err(CollectError::Read { path: path(), error })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(CollectError::Read { path: path(), error: "there is no systemctl here".to_owned() })
        }
        Err(error) => Err(CollectError::Read { path: path(), error: error.to_string() }),
    }
}

/// First process of a service, by where its control group is unless its unit says otherwise: who it is does not matter, only
/// that it is another one. A `-` in a slice's name stands for a level.
fn first_process(host: &dyn Host, unit: &str) -> String {
    let of = |template: &str| format!("system-{}.slice/", template.replace('-', "\\x2d"));
    let slice = unit.split_once('@').map_or_else(String::new, |(template, _)| of(template));
    let places = ["/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/systemd/system.slice"];
    let read = |place: &str| read_text(host, &format!("{place}/{slice}{unit}/cgroup.procs")).ok();
    let procs = places.into_iter().find_map(read).unwrap_or_default();
    procs.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
#[path = "systemd_tests.rs"]
mod tests;
