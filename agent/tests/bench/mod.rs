//! All collectors and the engine over a host.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its part of it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use sysops_agent::alert::Alert;
use sysops_agent::collect::runner::{Health, Runner, Sink};
use sysops_agent::config::Config;
use sysops_agent::engine::board::Escalation;
use sysops_agent::engine::compose::Identity;
use sysops_agent::engine::incident::Witnesses;
use sysops_agent::engine::series::Series;
use sysops_agent::engine::speak::Manners;
use sysops_agent::engine::{Engine, Input, Output, Settings, builtin};
use sysops_agent::formulas::{FORMULAS, ROOMS};
use sysops_agent::host::fixture::FixtureHost;
use sysops_agent::host::{Host, clock};
use sysops_agent::sample::{Batch, ProcTable};
use sysops_agent::time::Now;

/// Collectors and engine over one host.
pub(crate) struct Bench {
    runner: Option<Runner>,
    pub(crate) engine: Engine,
    start: Now,
    pub(crate) now: Now,
    pub(crate) health: BTreeMap<&'static str, String>,
    pub(crate) alerts: Vec<Alert>,
    /// The newest look at all processes.
    pub(crate) processes: ProcTable,
    out: Vec<Output>,
}

impl Sink for Bench {
    fn batch(&mut self, mut batch: Batch) -> Option<Batch> {
        if let Some(table) = &batch.processes {
            self.processes = table.clone();
        }
        self.engine.step(batch.at, Input::Batch(&mut batch), &mut self.out);
        Some(batch)
    }

    fn health(&mut self, health: Health) {
        let told = health.result.err().map_or_else(String::new, |error| error.to_string());
        self.health.insert(health.collector, told);
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        known: Vec::new(),
        labels: sysops_agent::engine::KnownLabels::default(),
        identity: Identity {
            hostname: "host".to_owned(),
            zone: jiff::tz::TimeZone::UTC,
            boot_id: "boot".to_owned(),
            labels: BTreeMap::new(),
        },
        rules: builtin::rules(&config.thresholds),
        absences: Vec::new(),
        maintenance: Vec::new(),
        escalation: Escalation::default(),
        manners: Manners {
            min_interval_secs: 300,
            dedup_secs: [600, 600, 600, 0],
            group_secs: 0,
            recovery: true,
            join_ends: true,
        },
        witnesses: Witnesses::default(),
        warmup_secs: 0,
        history_capacity: 100,
        formulas: FORMULAS,
        analysis: builtin::analysis(&config.analyzer),
        rooms: ROOMS,
        disks: builtin::disk_policy(config),
        oom_counter: "none",
    }
}

impl Bench {
    /// At a moment that never was: time stands still but for [`Self::pass`].
    pub(crate) fn on(host: &FixtureHost, config: &Config) -> Self {
        let start = Now { mono_ns: 1_000_000_000_000, wall_ns: 1_771_777_800_000_000_000 };
        Self::at(Arc::new(host.clone()), config, start)
    }

    /// From this moment on.
    pub(crate) fn at(host: Arc<dyn Host>, config: &Config, start: Now) -> Self {
        Self {
            runner: Some(Runner::new(config, host, Vec::new(), start)),
            engine: Engine::new(settings(config), start),
            start,
            now: start,
            health: BTreeMap::new(),
            alerts: Vec::new(),
            processes: ProcTable::default(),
            out: Vec::new(),
        }
    }

    /// What is due after so many seconds.
    pub(crate) fn pass(&mut self, secs: u64) {
        self.pass_at(self.start.plus_secs(secs));
    }

    /// What is due now, on a clock that stands still.
    pub(crate) fn pass_at(&mut self, now: Now) {
        self.pass_by(&mut || now);
    }

    /// What is due, on the machine's clock.
    pub(crate) fn pass_live(&mut self) {
        self.pass_by(&mut clock::now);
    }

    fn pass_by(&mut self, clock: &mut impl FnMut() -> Now) {
        self.now = clock();
        let mut runner = self.runner.take().expect("it is put back below");
        runner.pass(clock, self);
        self.runner = Some(runner);
        let mut out = std::mem::take(&mut self.out);
        self.engine.step(self.now, Input::Tick, &mut out);
        let alert = |output| if let Output::Alert(alert) = output { Some(*alert) } else { None };
        self.alerts.extend(out.into_iter().filter_map(alert));
    }

    /// The newest value of each series, computed ones too: `name{label,label}`.
    pub(crate) fn readings(&self) -> BTreeMap<String, f64> {
        let name = |series: &Series| match &*series.labels {
            [] => series.metric.name.to_owned(),
            labels => format!("{}{{{}}}", series.metric.name, labels.join(",")),
        };
        self.engine.series().iter().map(|(_, series)| (name(series), series.value)).collect()
    }
}
