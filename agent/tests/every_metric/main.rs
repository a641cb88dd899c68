//! Every metric is read by some test with a value other than zero: `every.host` is a host that has everything, with numbers
//! that all differ, and `every.txt` is what is read of it. `UPDATE_HOSTS=1` writes it anew.
#![expect(clippy::disallowed_methods, reason = "reads the host, writes the expectation")]

#[path = "../bench/mod.rs"]
mod bench;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use bench::Bench;
use sysops_agent::config::Config;
use sysops_agent::edge;
use sysops_agent::host::fixture::FixtureHost;
use sysops_agent::metric::Unit;

/// Metrics that no host written as text can have, and the unit tests that read a value of them.
const ELSEWHERE: &[(&str, &[&str])] = &[
    (
        "src/service/journal_health.rs",
        &[
            "journal_up",
            "journal_starts_total",
            "journal_entries_total",
            "journal_unreadable_total",
            "journal_doubted_total",
        ],
    ),
    #[cfg(feature = "nats")]
    (
        "src/service/publish.rs",
        &[
            "nats_up",
            "nats_messages_total",
            "nats_sent_bytes_total",
            "nats_failures_total",
            "nats_too_large_total",
            "nats_spool_rounds_count",
            "nats_spool_bytes",
            "nats_spool_dropped_total",
            "nats_spool_torn_total",
        ],
    ),
    (
        "src/service/push.rs",
        &[
            "push_up",
            "push_payloads_total",
            "push_sent_bytes_total",
            "push_failures_total",
            "agent_push_failing",
            "push_waiting_count",
            "push_backup_files_count",
            "push_backup_bytes",
            "push_dropped_total",
            "push_refused_total",
            "push_backup_unreadable_total",
        ],
    ),
    (
        "src/service/ship.rs",
        &[
            "log_shipper_up",
            "log_shipper_lines_total",
            "log_shipper_sent_bytes_total",
            "log_shipper_failures_total",
            "log_shipper_files_count",
            "log_shipper_files_left_out_count",
            "log_shipper_files_unreadable_count",
            "log_shipper_unread_bytes",
            "log_shipper_rotations_total",
            "log_shipper_lost_bytes_total",
            "log_shipper_lines_changed_total",
            "log_shipper_places_unsaved",
        ],
    ),
    (
        "src/service/vitals_tests.rs",
        &[
            "collector_stuck",
            "agent_queue_used_percent",
            "agent_channel_failing",
            "agent_channel_refusing",
            "agent_endpoint_turned_away_total",
            "agent_channel_queued_count",
            "agent_outbox_unsaved",
            "agent_history_unsaved",
        ],
    ),
    ("src/collect/agent.rs", &["agent_cpu_percent"]),
    ("src/collect/units.rs", &["cgroups_left_out_count"]),
    ("src/collect/ports.rs", &["listening_ports_left_out_count"]),
    ("src/collect/docker_tests.rs", &["docker_stuck"]),
    ("src/collect/hwmon_tests.rs", &["hwmon_stuck"]),
    ("src/collect/runner.rs", &["collector_duration_seconds"]),
    (
        "src/collect/systemd_tests.rs",
        &[
            "systemd_units_count",
            "systemd_unit_failed",
            "systemd_unit_restarts_total",
            "systemd_unit_restarts_recent_count",
        ],
    ),
    ("src/engine/analysis/tests.rs", &["analyzer_findings_total"]),
    (
        "src/engine/tests/counted.rs",
        &[
            "kernel_oom_kills_total",
            "oom_witness_disagreements_total",
            "oom_marks_of_dying_total",
            "user_oom_kills_total",
            "kernel_hung_tasks_total",
            "kernel_events_total",
            "kernel_log_events_total",
            "kernel_log_events_explained_total",
            "kernel_hardware_events_total",
            "inventory_changes_total",
            "kernel_events_lost_total",
            "block_io_slow_total",
            "kernel_io_errors_total",
            "block_io_latency_ms",
        ],
    ),
];

/// The same, of eBPF programs.
const OF_EBPF: &[(&str, &[&str])] = &[
    (
        "src/ebpf/hist_tests.rs",
        &[
            "block_io_latency_p50_ms",
            "block_io_latency_p90_ms",
            "block_io_latency_p99_ms",
            "block_io_latency_p999_ms",
            "block_io_latency_max_ms",
            "block_io_requests_total",
            "block_io_latency_seconds_total",
            "block_io_duration_seconds",
            "block_io_queue_duration_seconds",
            "block_io_errors_total",
            "block_io_queue_p50_ms",
            "block_io_queue_p90_ms",
            "block_io_queue_p99_ms",
            "block_io_queue_p999_ms",
            "block_io_queue_max_ms",
            "block_io_queued_requests_total",
            "block_io_queue_seconds_total",
            "ebpf_drops_total",
            "ebpf_map_bytes",
        ],
    ),
    ("src/ebpf/programs.rs", &["ebpf_recursion_misses_total", "ebpf_runs_total", "ebpf_run_seconds_total"]),
    (
        "src/ebpf/remotes_tests.rs",
        &["tcp_remote_retransmits_total", "tcp_remote_resets_sent_total", "tcp_remote_resets_received_total"],
    ),
    (
        "src/ebpf/waits.rs",
        &[
            "kernel_wait_p50_ms",
            "kernel_wait_p99_ms",
            "kernel_wait_max_ms",
            "kernel_waits_total",
            "kernel_wait_seconds_total",
            "kernel_wait_percent",
            "kernel_wait_duration_seconds",
        ],
    ),
];

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A host with two halves, upon the base of all hosts.
fn host(text: &str) -> (FixtureHost, String) {
    let (first, later) = text.split_once("//= ").unwrap_or((text, "\n"));
    let host = FixtureHost::parse(&read(&dir().join("hosts/base.host"))).expect("the base is well-formed");
    host.apply(first).expect("the host is well-formed");
    (host, later.split_once('\n').map_or("", |(_, later)| later).to_owned())
}

/// Everything on.
fn config() -> Config {
    let mut config = Config::default();
    config.collector.disk_interval_secs = 10;
    config.collector.process_interval_secs = 10;
    config.collector.track_patterns = vec!["sshd".into()];
    config.collector.docker.enabled = true;
    config.collector.docker.socket = "/run/docker.sock".into();
    config.collector.redis.enabled = true;
    config.collector.redis.addr = "redis:6379".into();
    config
}

/// What is read of a host within a bit more than a minute; of each series the newest value that is not 0.
fn readings((host, later): (FixtureHost, String), config: &Config) -> BTreeMap<String, f64> {
    let mut bench = Bench::on(&host, config);
    let mut all = BTreeMap::new();
    for secs in (0..=70).step_by(10) {
        bench.pass(secs);
        if secs == 0 {
            host.apply(&later).expect("the second half is well-formed");
        }
        all.extend(bench.readings().into_iter().filter(|(_, value)| *value != 0.0));
    }
    all
}

/// Hosts with too much of something, and that alone switched on.
fn crowds() -> Vec<(FixtureHost, Config)> {
    let mut few = config();
    few.collector.max_series = 100;
    let only = |name: &str| {
        let mut config = Config::default();
        config.collector.enabled = vec![name.to_owned()];
        config.collector.process_interval_secs = 60;
        config.collector.memory_interval_secs = 60;
        config
    };
    let crowd = |paths: &mut dyn Iterator<Item = String>| {
        let (host, _) = host("//- /sys/fs/cgroup/cgroup.controllers\nmemory\n");
        paths.for_each(|path| host.set(&path, "1\n"));
        host
    };
    let groups = &mut (0..2100).map(|n| format!("/sys/fs/cgroup/g{n}/memory.max"));
    let processes = &mut (1000..66_600).map(|pid| format!("/proc/{pid}/comm"));
    vec![
        (host(&every()).0, few),
        (crowd(groups), only("cgroup")),
        (crowd(processes), only("process")),
        (host(&(gpu("t4") + "//- command nvidia-smi hang\n")).0, only("gpu")),
        (host(&(gpu("t4") + "//- command nvidia-smi --query-gpu\nit has failed\n")).0, only("gpu")),
    ]
}

fn every() -> String {
    read(&dir().join("every_metric/every.host"))
}

fn gpu(name: &str) -> String {
    read(&dir().join(format!("../src/collect/gpu/testdata/{name}.host")))
}

fn name(series: &str) -> &str {
    series.split('{').next().unwrap_or_default()
}

/// Whether there is a line with a metric's name that is not the one that defines it.
fn names(text: &str, metric: &str) -> bool {
    let is_definition = |line: &str| line.contains(": Gauge ") || line.contains(": Counter ");
    let is_named =
        |line: &str| line.contains(&format!("\"{metric}\"")) || line.contains(&format!("\"{metric}{{"));
    text.lines().any(|line| is_named(line) && !is_definition(line))
}

#[test]
fn a_definition_is_no_reading() {
    let definition = "    LEFT_OUT: Gauge Count \"a_count\" [] \"Help.\", \"source\";\n";
    assert!(!names(definition, "a_count"));
    assert!(names(&format!("{definition}bench.expect(&[(\"a_count\", 3.0)]);"), "a_count"));
    assert!(names("(\"a_count{x}\", 3.0)", "a_count"));
    assert!(!names("(\"a_counted\", 3.0)", "a_count"));
}

#[test]
fn each_metric_is_read_with_a_value() {
    let every = readings(host(&every()), &config());
    let mut text = String::new();
    for (series, value) in every.iter().filter(|(series, _)| name(series) != "collector_duration_seconds") {
        let _ = writeln!(text, "{series} {}", (value * 1e6).round() / 1e6);
    }
    let path = dir().join("every_metric/every.txt");
    if std::env::var_os("UPDATE_HOSTS").is_some() {
        fs::write(&path, &text).expect("the expectation can be written");
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == text,
        "look at `git diff` after UPDATE_HOSTS=1\n{text}"
    );

    let mut seen: BTreeSet<String> = every.keys().map(|series| name(series).to_owned()).collect();
    let gpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/collect/gpu/testdata");
    for entry in fs::read_dir(gpus).expect("hosts with GPUs") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|kind| kind == "host") {
            seen.extend(readings(host(&read(&path)), &config()).keys().map(|series| name(series).to_owned()));
        }
    }
    for (host, config) in crowds() {
        seen.extend(readings((host, String::new()), &config).keys().map(|series| name(series).to_owned()));
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of_ebpf = if cfg!(feature = "ebpf") { OF_EBPF } else { &[] };
    for (file, metrics) in ELSEWHERE.iter().chain(of_ebpf) {
        let text = read(&source.join(file));
        for metric in *metrics {
            assert!(names(&text, metric), "{file} does not read {metric}");
            assert!(seen.insert((*metric).to_owned()), "{metric} is read here: take it out of the list");
        }
    }
    let never: Vec<&str> =
        edge::metrics().iter().map(|m| m.name).filter(|name| !seen.contains(*name)).collect();
    assert!(never.is_empty(), "{} metrics are never read with a value other than 0: {never:#?}", never.len());
}

/// Counters and computed values of the one host differ, so that two that are swapped would be seen.
#[test]
fn no_two_columns_could_be_swapped_unseen() {
    let every = readings(host(&every()), &config());
    let tables = [
        "/proc/vmstat",
        "/proc/meminfo",
        "/proc/net/snmp",
        "/proc/net/netstat",
        "/proc/net/dev",
        "/proc/diskstats",
    ];
    for table in tables {
        let mut values: BTreeMap<u64, &str> = BTreeMap::new();
        let of_table =
            edge::metrics().into_iter().filter(|m| m.source.starts_with(table) && m.unit != Unit::Percent);
        for metric in of_table {
            let same =
                every.iter().filter(|(series, _)| name(series) == metric.name && !series.contains("ipv6"));
            for (series, value) in same {
                let other = values.insert(value.to_bits(), series);
                assert_eq!(other, None, "{series} has the value of another one");
            }
        }
        assert!(values.len() > 8, "{table}: {values:?}");
    }
}

#[test]
fn each_name_is_there_once() {
    let mut names = BTreeSet::new();
    for metric in edge::metrics() {
        assert!(names.insert(metric.name), "{} is there twice", metric.name);
    }
    assert!(names.len() > 120, "{}", names.len());
}
