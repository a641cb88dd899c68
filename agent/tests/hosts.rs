//! All collectors and the engine over whole hosts written as text (`agent/tests/hosts`): what they read, in
//! a form that a person can check. `UPDATE_HOSTS=1` writes the expectations anew.
#![expect(clippy::disallowed_methods, reason = "reads the hosts, writes the expectations")]

mod bench;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use bench::Bench;
use sysops_agent::alert::Alert;
use sysops_agent::config::Config;
use sysops_agent::host::fixture::FixtureHost;
use sysops_agent::metric::{Kind, Unit};

/// Series of one metric that are listed.
const LISTED: usize = 4;

/// Runs all collectors at 0 s and at 10 s, with `later` applied between them, then for two minutes more.
/// What is read at 10 s is listed, and what is told at any time.
fn run(host: &FixtureHost, later: &str) -> String {
    let mut config = Config::default();
    // All at one pace, so that all are read at 10 s.
    config.collector.disk_interval_secs = 10;
    config.collector.process_interval_secs = 10;
    let mut bench = Bench::on(host, &config);
    let (mut text, mut slow) = (String::new(), String::new());
    for secs in (0..=130).step_by(10) {
        bench.pass(secs);
        match secs {
            0 => host.apply(later).expect("the second half is well-formed"),
            10 => text = listed(&bench),
            60 => slow = listed(&bench),
            _ => {}
        }
    }
    // What is read once a minute.
    let slow =
        slow.lines().filter(|line| ["ecc_", "temperature", "fan_"].iter().any(|name| line.starts_with(name)));
    let slow: Vec<&str> = slow.collect();
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
    let line = |alert: &Alert| format!("{}: {}\n", alert.severity.name(), alert.message);
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
            assert!(value >= 0.0, "{name} is {value}");
        }
        Unit::Percent => assert!((0.0..=100.0).contains(&value), "{name} is {value}"),
        Unit::PerSecond | Unit::BytesPerSecond | Unit::Milliseconds => {
            assert!(value >= 0.0, "{name} is {value}");
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
        // A capture is a whole host.
        let base = if text.starts_with("//- # A capture") { String::new() } else { base() };
        let host = FixtureHost::parse(&base).expect("the base is well-formed");
        host.apply(first).expect("the host is well-formed");
        let later = later.split_once('\n').map_or("", |(_, later)| later);
        compare(&name, &run(&host, later));
        seen += 1;
    }
    assert!(seen >= 8, "only {seen} hosts");
}

/// Two sockets of 128 cores with two threads each, eight nodes, CPUs numbered as AMD's servers do, half of one
/// node offline: written by code, since nobody would read it.
#[test]
fn a_machine_of_512_threads() {
    let host = FixtureHost::parse(&base()).expect("the base is well-formed");
    let online = |cpu: u32| !(16..32).contains(&cpu);
    let stat = |busy: u32| {
        let mut text = format!("cpu  {} 0 0 {}\n", 744 * busy, 496 * 4 * busy);
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

/// A socket that stays busy is told, though the host as a whole is not.
#[test]
fn a_busy_socket_is_told() {
    let text = fs::read_to_string(dir().join("rocky8-two-sockets.host")).expect("a host");
    let host = FixtureHost::parse(&base()).expect("the base is well-formed");
    host.apply(text.split("//= ").next().unwrap_or_default()).expect("the host is well-formed");
    let mut bench = Bench::on(&host, &Config::default());
    for pass in 0..6 {
        let (busy, idle) = (1000 * pass, 100);
        let cpus = [(0, 0, 1000 * pass), (1, busy, idle), (2, 0, 1000 * pass), (3, busy, idle)];
        let lines: Vec<String> = cpus
            .iter()
            .map(|(cpu, busy, idle)| format!("cpu{cpu} {busy} 0 0 {idle} 0 0 0 0 0 0\n"))
            .collect();
        let whole = format!("cpu  {} 0 0 {} 0 0 0 0 0 0\n", 2 * busy, 2000 * pass + 200);
        host.set("/proc/stat", whole + &lines.concat());
        bench.pass(10 * pass);
    }
    let told: Vec<&str> = bench.alerts.iter().map(|alert| &*alert.message).collect();
    let busy = |message: &&str| message.starts_with("CPU usage of socket 1 is 100 %, over 80 % for 30 s. ");
    assert!(told.iter().any(busy), "{told:?}");
    assert!(!told.iter().any(|message| message.starts_with("CPU usage is")), "{told:?}");
}

type Exclude = dyn Fn(&mut Config);

/// Each key that leaves something out does so, in all collectors it is for.
#[test]
fn what_is_excluded_is_left_out() {
    let read = |exclude: &dyn Fn(&mut Config)| {
        let host = FixtureHost::parse(&base()).expect("the base is well-formed");
        let mut config = Config::default();
        exclude(&mut config);
        let mut bench = Bench::on(&host, &config);
        bench.pass(0);
        let labels = bench.engine.series().iter().flat_map(|(_, series)| series.labels.to_vec());
        labels.map(String::from).collect::<Vec<_>>()
    };
    let all = read(&|_| ());
    let cases: [(&str, &Exclude); 4] = [
        ("xfs", &|config| config.collector.exclude_fstypes = vec!["x*".into()]),
        ("/", &|config| config.collector.exclude_mountpoints = vec!["/".into()]),
        ("vda", &|config| config.collector.exclude_devices = vec!["vd?".into()]),
        ("eth0", &|config| config.collector.exclude_interfaces = vec!["eth*".into(), "lo".into()]),
    ];
    for (label, exclude) in cases {
        assert!(all.iter().any(|known| known == label), "{label} is read without the key");
        assert!(!read(exclude).iter().any(|known| known == label), "{label} is left out");
    }
}

/// What a file may be turned into.
fn spoil(content: &str, how: u8, at: usize) -> Vec<u8> {
    let bytes = content.as_bytes();
    let cut = at % (bytes.len() + 1);
    match how {
        0 => Vec::new(),
        1 => bytes[..cut].to_vec(),
        2 => content.replace(|c: char| c.is_ascii_digit(), "9").into_bytes(),
        3 => content.replace(' ', " -").into_bytes(),
        4 => [&bytes[..cut], b"\xff\xfe\x00", &bytes[cut..]].concat(),
        5 => content.replace(|c: char| c.is_ascii_digit() && c != '0', "0").into_bytes(),
        6 => content.replace(' ', "").into_bytes(),
        _ => content.repeat(50).into_bytes(),
    }
}

/// Files of a host and their content.
fn files(text: &str) -> Vec<(String, String)> {
    let parts = text.split("//- ").filter(|part| part.starts_with('/') && !part.contains(" -> "));
    parts
        .filter_map(|part| part.split_once('\n'))
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .collect()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]
    /// Whatever becomes of its files, no rate is negative, no percentage is what it cannot be, and nothing panics.
    #[test]
    fn spoiled_files(
        kind in 0usize..3,
        spoiled in proptest::collection::vec((0usize..1000, 0u8..9, 0usize..5000, 1u64..5), 1..40),
    ) {
        let name = ["rocky8-two-sockets", "centos7", "v2-kubernetes"][kind];
        let text = fs::read_to_string(dir().join(format!("{name}.host"))).expect("a host");
        let first = text.split("//= ").next().unwrap_or_default();
        let host = FixtureHost::parse(&base()).expect("the base is well-formed");
        host.apply(first).expect("the host is well-formed");
        let files = files(&(base() + first));
        let mut bench = Bench::on(&host, &Config::default());
        for pass in 0..5 {
            for (file, how, at, _) in spoiled.iter().filter(|(.., when)| *when == pass) {
                let (path, content) = &files[file % files.len()];
                match how {
                    8 => host.remove(path),
                    how => host.set(path, spoil(content, *how, *at)),
                }
            }
            bench.pass(10 * pass);
            listed(&bench);
        }
    }
}
