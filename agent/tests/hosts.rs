//! All collectors and the engine over whole hosts written as text (`agent/tests/hosts`): what they read, in
//! a form that a person can check. `UPDATE_HOSTS=1` writes the expectations anew.
#![expect(clippy::disallowed_methods, reason = "reads the hosts, writes the expectations")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use sysops_agent::alert::{Alert, Severity};
use sysops_agent::collect::runner::{Health, Runner, Sink};
use sysops_agent::config::Config;
use sysops_agent::engine::compose::Identity;
use sysops_agent::engine::incident::Witnesses;
use sysops_agent::engine::speak::Manners;
use sysops_agent::engine::{Engine, Input, Output, Settings, builtin};
use sysops_agent::formulas::FORMULAS;
use sysops_agent::host::Host;
use sysops_agent::host::fixture::FixtureHost;
use sysops_agent::metric::{Kind, Unit};
use sysops_agent::sample::Batch;
use sysops_agent::time::Now;

/// Series of one metric that are listed.
const LISTED: usize = 4;

struct Bench {
    engine: Engine,
    now: Now,
    health: BTreeMap<&'static str, String>,
    alerts: Vec<Alert>,
    out: Vec<Output>,
}

impl Sink for Bench {
    fn batch(&mut self, mut batch: Batch) -> Option<Batch> {
        self.engine.step(self.now, Input::Batch(&mut batch), &mut self.out);
        Some(batch)
    }

    fn health(&mut self, health: Health) {
        let told = health.result.err().map_or_else(String::new, |error| error.to_string());
        self.health.insert(health.collector, told);
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        identity: Identity {
            hostname: "host".to_owned(),
            zone: jiff::tz::TimeZone::UTC,
            boot_id: "boot".to_owned(),
            labels: BTreeMap::new(),
        },
        rules: builtin::rules(&config.thresholds),
        manners: Manners {
            min_interval_secs: 300,
            dedup_secs: [600, 600, 600, 0],
            group_secs: 0,
            recovery: true,
        },
        witnesses: Witnesses::default(),
        warmup_secs: 0,
        history_capacity: 100,
        formulas: FORMULAS,
        disks: builtin::disk_policy(config),
        oom_counter: "none",
    }
}

/// Runs all collectors at 0 s and at 10 s, with `later` applied between them, then for two minutes more.
/// What is read at 10 s is listed, and what is told at any time.
fn run(host: &FixtureHost, later: &str) -> String {
    let mut config = Config::default();
    // All at one pace, so that all are read at 10 s.
    config.collector.disk_interval_secs = 10;
    config.collector.process_interval_secs = 10;
    let start = Now { mono_ns: 1_000_000_000_000, wall_ns: 1_771_777_800_000_000_000 };
    let mut runner = Runner::new(&config, Arc::new(host.clone()) as Arc<dyn Host>, Vec::new(), start);
    let mut bench = Bench {
        engine: Engine::new(settings(&config), start),
        now: start,
        health: BTreeMap::new(),
        alerts: Vec::new(),
        out: Vec::new(),
    };
    let mut text = String::new();
    for secs in (0..=130).step_by(10) {
        bench.now = start.plus_secs(secs);
        let now = bench.now;
        runner.pass(&mut || now, &mut bench);
        let mut out = std::mem::take(&mut bench.out);
        bench.engine.step(bench.now, Input::Tick, &mut out);
        bench
            .alerts
            .extend(out.into_iter().filter_map(|o| if let Output::Alert(a) = o { Some(*a) } else { None }));
        match secs {
            0 => host.apply(later).expect("the second half is well-formed"),
            10 => text = listed(&bench),
            _ => {}
        }
    }
    // What is read once a minute.
    let slow = listed(&bench);
    let slow =
        slow.lines().filter(|line| ["ecc_", "temperature", "fan_"].iter().any(|name| line.starts_with(name)));
    let slow: Vec<&str> = slow.collect();
    text.retain(|c| c != '\r');
    let mut told = format!("# collectors that read less than all\n{}", unhealthy(&bench));
    let _ = write!(told, "\n# read after ten seconds, without counters and zeros\n{text}");
    if !slow.is_empty() {
        let _ = write!(told, "\n# read once a minute\n{}\n", slow.join("\n"));
    }
    let _ = write!(told, "\n# told within two minutes\n{}", alerts(&bench));
    told
}

fn unhealthy(bench: &Bench) -> String {
    bench
        .health
        .iter()
        .filter(|(_, why)| !why.is_empty())
        .map(|(name, why)| format!("{name}: {why}\n"))
        .collect::<Vec<_>>()
        .concat()
}

fn alerts(bench: &Bench) -> String {
    let line = |alert: &Alert| {
        let severity = if alert.severity >= Severity::Critical { "critical" } else { "warn" };
        format!("{severity}: {}\n", alert.message)
    };
    let mut lines: Vec<String> = bench.alerts.iter().map(line).collect();
    lines.sort();
    lines.concat()
}

fn listed(bench: &Bench) -> String {
    let at = bench.now.mono_ns;
    let mut by_metric: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (_, series) in bench.engine.series().iter() {
        let metric = series.metric;
        let own = metric.name.starts_with("collector_")
            || metric.name.starts_with("series_")
            || metric.name.starts_with("agent_");
        check(series.metric.name, metric.unit, metric.kind, series.value);
        if metric.kind == Kind::Counter || own || series.value == 0.0 || series.at_ns + 70_000_000_000 < at {
            continue;
        }
        let labels =
            if series.labels.is_empty() { String::new() } else { format!("{{{}}}", series.labels.join(",")) };
        let value = (series.value * 1e6).round() / 1e6;
        by_metric.entry(metric.name).or_default().push(format!("{}{labels} {value}\n", metric.name));
    }
    let mut text = String::new();
    for (name, mut lines) in by_metric {
        lines.sort();
        let more = lines.len().saturating_sub(LISTED);
        lines.iter().take(LISTED).for_each(|line| text.push_str(line));
        if more > 0 {
            let _ = writeln!(text, "{name} … {more} more");
        }
    }
    text
}

/// No rate and no percentage is what it cannot be.
fn check(name: &str, unit: Unit, kind: Kind, value: f64) {
    assert!(value.is_finite(), "{name} is {value}");
    match unit {
        Unit::Percent if name.starts_with("process_") || name.starts_with("cgroup_cpu") => {
            assert!(value >= 0.0, "{name} is {value}")
        }
        Unit::Percent => assert!((0.0..=100.0).contains(&value), "{name} is {value}"),
        Unit::PerSecond | Unit::BytesPerSecond | Unit::Milliseconds => {
            assert!(value >= 0.0, "{name} is {value}")
        }
        _ if kind == Kind::Counter => assert!(value >= 0.0, "{name} is {value}"),
        _ => {}
    }
}

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/hosts")
}

fn base() -> String {
    fs::read_to_string(dir().join("base.host")).expect("the base of all hosts")
}

fn compare(name: &str, told: &str) {
    let path = dir().join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_HOSTS").is_some() {
        fs::write(&path, told).expect("the expectation can be written");
    }
    let expect = fs::read_to_string(&path).unwrap_or_default();
    assert!(expect == told, "{name}: look at `git diff` after UPDATE_HOSTS=1\n{told}");
}

#[test]
fn hosts_are_read_as_expected() {
    let mut seen = 0;
    for entry in fs::read_dir(dir()).expect("the folder of hosts") {
        let path = entry.expect("a host").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_none_or(|kind| kind != "host") || name == "base" {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a host is text");
        let (first, later) = text.split_once("//= ").unwrap_or((&text, "\n"));
        let host = FixtureHost::parse(&base()).expect("the base is well-formed");
        host.apply(first).expect("the host is well-formed");
        let later = later.split_once('\n').map_or("", |(_, later)| later);
        compare(&name, &run(&host, later));
        seen += 1;
    }
    assert!(seen >= 6, "only {seen} hosts");
}

/// Two sockets of 128 cores with two threads each, eight nodes, CPUs numbered as AMD's servers do, half of one
/// node offline: written by code, since nobody would read it.
#[test]
fn a_machine_of_512_threads() {
    let host = FixtureHost::parse(&base()).expect("the base is well-formed");
    let online = |cpu: u32| !(16..32).contains(&cpu);
    let stat = |busy: u32| {
        let mut text = format!("cpu  {} 0 0 {}\n", 512 * busy, 512 * 1000);
        for cpu in (0..512).filter(|cpu| online(*cpu)) {
            // The second socket is twice as busy.
            let socket = cpu / 128 % 2;
            let _ = writeln!(text, "cpu{cpu} {} 0 0 {}", busy * (socket + 1), 4 * busy);
        }
        text
    };
    for cpu in (0..512).filter(|cpu| online(*cpu)) {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id");
        host.set(&path, format!("{}\n", cpu / 128 % 2));
    }
    for node in 0..8 {
        let (first, second) = (node * 32, 256 + node * 32);
        let cpus = match node {
            0 => format!("0-15,{second}-{}\n", second + 31),
            _ => format!("{first}-{},{second}-{}\n", first + 31, second + 31),
        };
        let dir = format!("/sys/devices/system/node/node{node}");
        host.set(&format!("{dir}/cpulist"), cpus);
        let memory = format!("Node {node} MemTotal: 1000 kB\nNode {node} MemFree: {} kB\n", 100 * (node + 1));
        host.set(&format!("{dir}/meminfo"), memory);
        host.set(&format!("{dir}/numastat"), "numa_hit 1\n");
    }
    host.set("/sys/devices/system/cpu/online", "0-15,32-511\n");
    host.set("/proc/stat", stat(100));
    compare("512-threads", &run(&host, &format!("//- /proc/stat\n{}", stat(200))));
}
