//! Block devices that are slow: the 99th percentile of an interval over its limit, or far over what is usual
//! for this device and kind of request. Both are one incident.
//!
//! What keeps it quiet: an interval with few requests is not judged (of fewer than a hundred, the 99th
//! percentile is the longest), a condition must hold, and a rise that nobody would feel is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::compose::{Draft, incident_id, io};
use super::condition::{Condition, Firing, Policy};
use crate::alert::{Severity, Status};
use crate::analyze::baseline::Baseline;
use crate::analyze::threshold::{Limits, Op};
use crate::sample::{DiskScene, DiskWindow};
use crate::time::{Now, SECOND};

/// Devices and kinds of request that are followed; further ones are not judged.
pub const MAX_DISKS: usize = 2048;
/// Fewest requests of an interval that is held against the limit.
pub const LEAST_REQUESTS: u64 = 20;
/// Fewest requests of an interval that is held against the usual, and that is learned from.
pub const LEAST_TO_COMPARE: u64 = 100;
/// An incident without an interval to judge for this long is over.
const QUIET_NS: u64 = 300 * SECOND;

/// What devices are held to.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskPolicy {
    /// Limits of the 99th percentile, milliseconds.
    pub limit: Policy,
    /// How many times the usual is far over it; 0: not compared.
    pub factor: f64,
    /// Milliseconds below which nothing is far over the usual.
    pub least_ms: f64,
    /// Seconds for which it must stay there.
    pub for_secs: u64,
}

impl DiskPolicy {
    /// The least 99th percentile that can begin an alert, milliseconds: who measures less need not
    /// look around.
    pub fn least_alert_ms(&self) -> f64 {
        let Limits { warn, critical, .. } = self.limit.limits;
        let compared = (self.factor > 0.0).then_some(self.least_ms);
        [warn, critical, compared].into_iter().flatten().fold(f64::INFINITY, f64::min)
    }

    /// What a percentile is held against when the usual is known. It clears at half the way.
    fn rise(&self, usual_ms: f64) -> Policy {
        let from = (usual_ms * self.factor).max(self.least_ms);
        let limits =
            Limits { op: Op::Above, warn: Some(from), critical: None, clear: Some(from / 2.0), whole: false };
        Policy { limits, for_secs: self.for_secs }
    }
}

/// What is told of a slow device.
#[derive(Debug)]
pub struct Finding<'a> {
    /// The interval; the newest that was judged when it is over.
    pub window: &'a DiskWindow,
    /// What surrounded it.
    pub scene: Option<&'a DiskScene>,
    /// Level; the worst one when it is over.
    pub severity: Severity,
    /// Where it stands.
    pub status: Status,
    /// The limit that is exceeded, milliseconds; `None` if only the usual is.
    pub limit_ms: Option<f64>,
    /// The usual 99th percentile, milliseconds, if it is known.
    pub usual_ms: Option<f64>,
    /// When it began.
    pub started: Now,
}

#[derive(Debug, Default)]
struct State {
    baseline: Baseline,
    limit: Held,
    rise: Held,
    told: Option<Told>,
    seen_ns: u64,
}

/// A condition of which not every interval can be judged.
#[derive(Debug, Default)]
struct Held {
    condition: Condition,
    judged_ns: u64,
}

/// An incident under way.
#[derive(Debug)]
struct Told {
    id: String,
    level: Severity,
    worst: Severity,
    started: Now,
    window: DiskWindow,
}

/// An incident under way, to be kept over a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeptDisk {
    device: String,
    op: String,
    /// Id of the incident.
    pub id: String,
    level: Severity,
    worst: Severity,
    /// When it began.
    pub started: Now,
}

impl KeptDisk {
    /// As an alert told it, which was made after the rest was kept.
    pub fn told(draft: &Draft) -> Option<Self> {
        let label = |name: &str| draft.labels.get(name).cloned();
        let (id, started, level) = (draft.id.clone(), draft.started, draft.severity);
        Some(Self { device: label("device")?, op: label("op")?, id, level, worst: level, started })
    }
}

/// Kinds of requests.
const OPS: [&str; 5] = ["read", "write", "flush", "discard", "other"];

/// All devices.
#[derive(Debug)]
pub struct Disks {
    states: BTreeMap<(Arc<str>, &'static str), State>,
    run_ns: i64,
    next: u64,
    refused: u64,
}

impl Disks {
    /// None yet; `run_ns` makes ids unique.
    pub fn new(run_ns: i64) -> Self {
        Self { states: BTreeMap::new(), run_ns, next: 0, refused: 0 }
    }

    /// Takes the windows of one pass, made at `at_ns`. With `learning`, nothing fires.
    pub fn take(
        &mut self,
        (now, at_ns): (Now, u64),
        windows: impl Iterator<Item = DiskWindow>,
        policy: &DiskPolicy,
        learning: bool,
        drafts: &mut Vec<Draft>,
    ) {
        let mut any = false;
        for window in windows {
            any = true;
            let key = (Arc::clone(&window.device), window.op);
            if self.states.len() >= MAX_DISKS && !self.states.contains_key(&key) {
                self.refused += 1;
                continue;
            }
            let state = self.states.entry(key).or_default();
            state.observe(at_ns, &window, policy, learning);
            drafts.extend(state.tell(now, window, policy, || {
                self.next += 1;
                format!("{}-d", incident_id(self.run_ns, self.next))
            }));
        }
        if any {
            self.forget_silent(now, at_ns, drafts);
        }
    }

    /// Goes on with an incident of an earlier run.
    pub fn resume(&mut self, now: Now, kept: KeptDisk) {
        let Some(op) = OPS.iter().find(|op| **op == kept.op) else { return };
        let since_ns = kept.started.mono_ns;
        let firing = Firing { level: kept.level, worst: kept.worst, since_ns, before_boot_ns: 0 };
        let held = Held { condition: Condition::firing_since(firing), judged_ns: now.mono_ns };
        let (limit, rise) =
            if kept.level == Severity::Info { (Held::default(), held) } else { (held, Held::default()) };
        let window = DiskWindow {
            device: kept.device.as_str().into(),
            op,
            errors: 0,
            latency: None,
            queue: None,
            scene: None,
        };
        let key = (Arc::clone(&window.device), *op);
        let KeptDisk { id, level, worst, started, .. } = kept;
        let told = Some(Told { id, level, worst, started, window });
        let state = State { baseline: Baseline::default(), limit, rise, told, seen_ns: now.mono_ns };
        self.states.insert(key, state);
    }

    /// Incidents under way.
    pub fn kept(&self) -> Vec<KeptDisk> {
        let told =
            self.states.iter().filter_map(|((device, op), state)| Some((device, op, state.told.as_ref()?)));
        told.map(|(device, op, told)| KeptDisk {
            device: device.to_string(),
            op: (*op).to_owned(),
            id: told.id.clone(),
            level: told.level,
            worst: told.worst,
            started: told.started,
        })
        .collect()
    }

    /// It was told to be over.
    pub fn forget(&mut self, id: &str) {
        self.states.retain(|_, state| state.told.as_ref().is_none_or(|told| told.id != id));
    }

    /// Gives up incidents of an earlier run whose device has not been measured since `start`.
    pub fn drop_unclaimed(&mut self, start: Now) {
        self.states.retain(|_, state| state.told.is_none() || state.seen_ns > start.mono_ns);
    }

    /// Ids of the incidents that this will end.
    pub fn answers_for(&self) -> impl Iterator<Item = &str> {
        self.states.values().filter_map(|state| Some(state.told.as_ref()?.id.as_str()))
    }

    /// Ends what has not been reported for long: the device is gone.
    fn forget_silent(&mut self, now: Now, at_ns: u64, drafts: &mut Vec<Draft>) {
        self.states.retain(|_, state| {
            let gone = at_ns.saturating_sub(state.seen_ns) >= QUIET_NS;
            if gone {
                drafts.extend(state.told.take().map(|told| told.resolved(now, None)));
            }
            !gone
        });
    }

    /// Windows refused because of [`MAX_DISKS`].
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

impl State {
    /// Holds a window against limit and usual, then learns from it.
    fn observe(&mut self, at_ns: u64, window: &DiskWindow, policy: &DiskPolicy, learning: bool) {
        self.seen_ns = at_ns;
        let p99_of = |least| window.latency.filter(|l| l.requests >= least).map(|l| l.p99_ms);
        self.limit.observe(at_ns, &policy.limit, p99_of(LEAST_REQUESTS), learning);
        let p99_ms = p99_of(LEAST_TO_COMPARE);
        if policy.factor > 0.0
            && let Some(usual) = self.baseline.usual()
        {
            self.rise.observe(at_ns, &policy.rise(usual), p99_ms, learning);
        }
        self.baseline.learn(p99_ms.unwrap_or_default());
    }

    /// The worse of both conditions. Over the usual alone is worth knowing and no more.
    fn level(&self) -> Option<Severity> {
        let rise = self.rise.condition.firing().map(|_| Severity::Info);
        self.limit.condition.firing().map(|f| f.level).max(rise)
    }

    fn tell(
        &mut self,
        now: Now,
        window: DiskWindow,
        policy: &DiskPolicy,
        new_id: impl FnOnce() -> String,
    ) -> Option<Draft> {
        let Some(level) = self.level() else {
            return self.told.take().map(|told| told.resolved(now, Some(window)));
        };
        let status = match &self.told {
            None => Status::Firing,
            Some(told) if told.level != level => Status::Updated,
            Some(_) => return None,
        };
        let firing = [self.limit.condition.firing(), self.rise.condition.firing()];
        let since_ns = firing.into_iter().flatten().map(|f| f.since_ns).min();
        let told = self.told.get_or_insert_with(|| Told {
            id: new_id(),
            level,
            worst: level,
            started: now.at_mono(since_ns.unwrap_or(now.mono_ns)),
            window: window.clone(),
        });
        (told.level, told.worst, told.window) = (level, told.worst.max(level), window);
        let limits = policy.limit.limits;
        let limit_ms = match self.limit.condition.firing() {
            Some(f) if f.level >= Severity::Critical => limits.critical,
            Some(_) => limits.warn.or(limits.critical),
            None => None,
        };
        let usual_ms = self.baseline.usual();
        Some(told.draft(now, status, limit_ms, usual_ms))
    }
}

impl Held {
    /// `None`: too few requests to judge. What was only pending begins anew, what fires stands for a while.
    fn observe(&mut self, at_ns: u64, policy: &Policy, value: Option<f64>, learning: bool) {
        if let Some(value) = value {
            self.judged_ns = at_ns;
            self.condition.observe(policy, at_ns, value, learning);
        } else if self.condition.firing().is_none() || at_ns.saturating_sub(self.judged_ns) >= QUIET_NS {
            self.condition.abandon();
        }
    }
}

impl Told {
    fn draft(&self, now: Now, status: Status, limit_ms: Option<f64>, usual_ms: Option<f64>) -> Draft {
        let severity = if status == Status::Resolved { self.worst } else { self.level };
        let (window, scene, started) = (&self.window, self.window.scene.as_deref(), self.started);
        let finding = Finding { window, scene, severity, status, limit_ms, usual_ms, started };
        io::slow_disk(&finding, self.id.clone(), now)
    }

    /// The end, with the window that is fine again, if there is one.
    fn resolved(mut self, now: Now, window: Option<DiskWindow>) -> Draft {
        match window {
            Some(window) if window.latency.is_some() => {
                let scene = self.window.scene.take();
                self.window = DiskWindow { scene, ..window };
            }
            Some(_) | None => self.window.latency = None,
        }
        self.draft(now, Status::Resolved, None, None)
    }
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
