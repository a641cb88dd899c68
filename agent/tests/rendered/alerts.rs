//! Alerts as the engine itself makes them, out of what sources would tell it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use jiff::tz::{TimeZone, offset};
use sysops_agent::alert::{Alert, Severity, Status};
use sysops_agent::config::Config;
use sysops_agent::engine::absent::Absence;
use sysops_agent::engine::compose::Identity;
use sysops_agent::engine::incident::Witnesses;
use sysops_agent::engine::{Engine, Input, Output, Settings};
use sysops_agent::event::{Constraint, Event, HostMemory, Oom, Source, Task, What};
use sysops_agent::metric::{Kind, Metric, Unit};
use sysops_agent::notify::channel::{Route, Sending};
use sysops_agent::notify::{Channel, Templates, test_alert};
use sysops_agent::sample::{ProcRow, ProcTable, Samples};
use sysops_agent::service;
use sysops_agent::time::{Now, SECOND};

const DISK: Metric = Metric {
    name: "disk_used_percent",
    prometheus: "",
    kind: Kind::Gauge,
    unit: Unit::Percent,
    labels: &["mount"],
    help: "",
    source: "",
};
const MEMORY: Metric = Metric { name: "memory_used_percent", labels: &[], ..DISK };

/// 2026-02-22 16:30:00 in Seoul, an hour after the agent's start.
const START: Now = Now { mono_ns: 86_400 * SECOND, wall_ns: 1_771_741_800_000_000_000 };
const HOUR: u64 = 3600;
/// Seconds between two readings.
const STEP: u64 = 10;
const CONTAINER: &str =
    "/system.slice/docker-4f1c2d3e5a6b79880f1e2d3c4b5a69788796a5b4c3d2e1f00112233445566778.scope";

struct Stage {
    engine: Engine,
    samples: Samples,
    now: Now,
    alerts: Vec<Alert>,
}

fn settings() -> Settings {
    let identity = Identity {
        hostname: "gpu-server-01".into(),
        zone: TimeZone::fixed(offset(9)),
        boot_id: "boot".into(),
        labels: BTreeMap::new(),
    };
    let witnesses = Witnesses { oom: vec![Source::Ebpf, Source::Kmsg], ..Witnesses::default() };
    service::settings(&Config::default(), identity, witnesses)
}

impl Stage {
    fn new() -> Self {
        Self::of(settings())
    }

    fn of(settings: Settings) -> Self {
        let engine = Engine::new(settings, START);
        Self { engine, samples: Samples::new(1000), now: START, alerts: Vec::new() }
    }

    fn step(&mut self, input: Input<'_>) {
        let mut out = Vec::new();
        self.engine.step(self.now, input, &mut out);
        self.alerts.extend(out.into_iter().filter_map(|output| match output {
            Output::Alert(alert) => Some(*alert),
            _ => None,
        }));
    }

    fn wait(&mut self, secs: u64) {
        for _ in 0..secs {
            self.now = self.now.plus_secs(1);
            self.step(Input::Tick);
        }
    }

    /// One pass of a collector, and the time to the next.
    fn read(&mut self, metric: &'static Metric, values: &[(&str, f64)]) {
        self.samples.begin("memory", self.now, None);
        for (label, value) in values {
            let labels: &[&str] = if metric.labels.is_empty() { &[] } else { &[label] };
            self.samples.put(metric, labels, *value);
        }
        let mut batch = self.samples.finish();
        self.step(Input::Batch(&mut batch));
        self.wait(STEP);
    }

    fn processes(&mut self) {
        self.samples.begin("process", self.now, None);
        let row = |(pid, comm, mib, cpu, cgroup): (u32, &str, u64, f32, Option<&str>)| ProcRow {
            pid,
            comm: comm.into(),
            rss_bytes: mib << 20,
            cpu_percent: cpu,
            state: b'S',
            cgroup: cgroup.map(Arc::from),
            ..ProcRow::default()
        };
        let rows: Vec<_> = [
            (4711, "java", 3276, 212.0, Some(CONTAINER)),
            (812, "postgres", 1418, 12.5, Some("/system.slice/postgresql.service")),
            (901, "prometheus", 655, 3.0, Some("/system.slice/prometheus.service")),
            (1, "systemd", 14, 0.0, Some("/init.scope")),
        ]
        .map(row)
        .into();
        self.samples.put_processes(ProcTable {
            total: rows.len(),
            rows,
            cmdlines: vec![Some("java -Xmx3g -jar shop.jar".into())],
            pss: vec![Some(3275 << 20), Some(402 << 20)],
            io: Vec::new(),
        });
        let mut batch = self.samples.finish();
        self.step(Input::Batch(&mut batch));
    }

    fn kill(&mut self, oom: &Oom) {
        for source in [Source::Ebpf, Source::Kmsg] {
            let what = What::Oom(Box::new(oom.clone()));
            self.step(Input::Event(Event { at: self.now, source, historic: false, what }));
        }
        self.wait(1);
    }

    fn last(&self, what: &str, fits: impl Fn(&Alert) -> bool) -> Alert {
        self.alerts
            .iter()
            .rfind(|a| fits(a))
            .unwrap_or_else(|| panic!("no {what}: {:#?}", self.alerts))
            .clone()
    }
}

/// A kill in a container, with all that is usually known.
fn java() -> Oom {
    let task = |pid, comm: &str| Task {
        pid: Some(pid),
        comm: Some(comm.into()),
        uid: Some(999),
        start_ticks: Some(77),
        cgroup: Some(CONTAINER.into()),
        ..Task::default()
    };
    let cmdline = Some("java -Xmx3g -jar /srv/shop-api.jar --spring.profiles.active=prod".to_owned());
    Oom {
        victim: Task { cmdline, ..task(4711, "java") },
        victim_tgid: Some(4711),
        trigger: task(4711, "java"),
        trigger_tid: Some(4790),
        total_vm_kb: Some(8_400_000),
        anon_rss_kb: Some(3_350_000),
        file_rss_kb: Some(5_300),
        shmem_rss_kb: Some(0),
        pgtables_kb: Some(7_100),
        oom_score_adj: Some(0),
        constraint: Some(Constraint::Memcg),
        oom_memcg: Some(CONTAINER.into()),
        limit_kb: Some(4 << 20),
        usage_kb: Some(4 << 20),
        failcnt: Some(512),
        gfp_mask: Some("GFP_KERNEL".into()),
        order: Some(0),
        host: Some(HostMemory {
            total_kb: Some(64 << 20),
            available_kb: Some(21 << 20),
            swap_total_kb: Some(0),
            swap_used_kb: Some(0),
            some_avg10: Some(1.3),
            full_avg10: Some(0.4),
        }),
        count: 1,
        ..Oom::default()
    }
}

fn oom() -> Alert {
    let mut stage = Stage::new();
    stage.wait(HOUR);
    stage.processes();
    stage.kill(&java());
    stage.last("kill", |a| a.rule == "oom_kill")
}

/// Memory that fills up: a reading over its limit, with its last minutes and the largest processes.
fn memory() -> Alert {
    let mut stage = Stage::new();
    for n in 0..HOUR / STEP {
        stage.read(&MEMORY, &[("", 52.0 + n as f64 * 0.122)]);
        if n % 6 == 0 {
            stage.processes();
        }
    }
    stage.last("reading", |a| a.rule == "memory_used_percent" && a.status != Status::Resolved)
}

/// Four disks that are full at once, and one of them that is not any more.
fn disks() -> [Alert; 2] {
    let mut stage = Stage::new();
    let all =
        |value: f64| [("/", value), ("/data", value + 3.2), ("/srv", value + 1.0), ("/var", value - 0.9)];
    for _ in 0..12 {
        stage.read(&DISK, &all(60.0));
    }
    for _ in 0..60 {
        stage.read(&DISK, &all(91.4));
    }
    let summary = stage.last("summary", |a| a.context.contains_key("grouped") && a.status == Status::Firing);
    for _ in 0..30 {
        stage.read(&DISK, &[("/", 71.3), ("/data", 94.6), ("/srv", 92.4), ("/var", 90.5)]);
    }
    [summary, stage.last("recovery", |a| a.status == Status::Resolved)]
}

/// A mount that is expected and not there any more.
fn absence() -> Alert {
    let mut settings = settings();
    settings.absences.push(Absence {
        name: "data-gone".into(),
        metric: DISK.name.into(),
        labels: vec![("mount".into(), "/data".into())],
        for_secs: 120,
        severity: Severity::Critical,
        message: String::new(),
        runbook_url: None,
    });
    let mut stage = Stage::of(settings);
    for _ in 0..HOUR / STEP {
        stage.read(&DISK, &[("/data", 41.7)]);
    }
    stage.wait(180);
    stage.last("absence", |a| a.rule == "data-gone")
}

/// Everything that a process may put into its name and its arguments.
pub(crate) const EVIL: &str = "@everyone <!channel> <@U12345> <@&42> <b onclick=x>&amp;</b> [a](http://evil) *b* _c_ `d` \\ \"q\" \
                               \x1b[31mred\r\nBcc: x@y\u{202e}txt.exe\u{0}{{message}}";

fn hostile() -> Alert {
    let mut oom = java();
    // The kernel keeps 15 bytes of a name; a container may bear a longer one.
    let cgroup = Some(format!("/system.slice/{EVIL}.service"));
    let cmdline = Some(EVIL.repeat(10_000 / EVIL.len()));
    oom.victim =
        Task { comm: Some("<b>@everyone\u{202e}\n".into()), cmdline, cgroup: cgroup.clone(), ..oom.victim };
    oom.trigger = Task { pid: Some(1), comm: Some("*_`<!here>".into()), ..Task::default() };
    (oom.trigger_tid, oom.oom_memcg) = (None, cgroup);
    let mut stage = Stage::new();
    stage.wait(HOUR);
    stage.kill(&oom);
    stage.last("kill", |a| a.rule == "oom_kill")
}

/// Takes what it gets.
struct Capture(SyncSender<Alert>);

impl Channel for Capture {
    fn name(&self) -> &'static str {
        "capture"
    }

    fn send<'a>(&'a self, alert: &'a Alert, _: &'a str) -> Sending<'a> {
        self.0.send(alert.clone()).expect("somebody wants it");
        Box::pin(async { Ok(()) })
    }
}

/// What `test-alert` sends.
fn test() -> Alert {
    let (taken, alerts) = sync_channel(1);
    let routes = [Route::new(Arc::new(Capture(taken)))];
    let templates = Templates::of(&Config::default()).expect("good ones");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(test_alert(&routes, &templates, "gpu-server-01", || START));
    let alert = alerts.recv().expect("an alert");
    // In the zone of whoever runs it.
    let at = "2026-02-22T15:30:00+09:00".to_owned();
    Alert { timestamp: at.clone(), started_at: at, ..alert }
}

/// One of each kind.
pub(crate) fn all() -> Vec<(&'static str, Alert)> {
    let [summary, recovery] = disks();
    vec![
        ("an OOM kill", oom()),
        ("a reading over its limit", memory()),
        ("several in one", summary),
        ("a recovery", recovery),
        ("what is not there", absence()),
        ("test-alert", test()),
        ("hostile text", hostile()),
    ]
}
