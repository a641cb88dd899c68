use std::collections::HashSet;

use super::testing::Bench;
use std::time::Duration;

use super::*;
use crate::config::Config;
use crate::host::live::LiveHost;
use crate::metric::{Kind, Metric, Unit};

fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_')
        && !name.contains("__")
        && !name.ends_with('_')
}

#[test]
fn names_follow_the_rules() {
    let mut names = HashSet::new();
    let mut exposed = HashSet::new();
    for metric in metrics() {
        let Metric { name, prometheus, kind, unit, labels, help, source } = metric;
        assert!(names.insert(name), "{name} is there twice");
        assert!(exposed.insert(prometheus), "{prometheus} is there twice");
        assert!(is_name(name) && is_name(prometheus), "{name} {prometheus}");
        assert!(labels.iter().all(|label| is_name(label)), "{name}: {labels:?}");
        assert_eq!(prometheus.ends_with("_total"), *kind == Kind::Counter, "{prometheus}");
        for bad in
            ["_ms", "_kb", "_mb", "_gb", "_mhz", "milliseconds", "microseconds", "minutes", "kilobytes"]
        {
            assert!(!prometheus.contains(bad), "{prometheus} is not in base units");
        }
        let stem = name.strip_suffix("_total").unwrap_or(name);
        let last = match unit {
            Unit::Percent => "_percent",
            Unit::Bytes => "_bytes",
            Unit::Seconds => "_seconds",
            Unit::Celsius => "_celsius",
            Unit::Watts => "_watts",
            Unit::Megahertz => "_mhz",
            Unit::Gibibytes => "_gb",
            Unit::Count | Unit::Ratio => "",
            other => panic!("{name} is {other:?}: rates and other units are the engine's"),
        };
        assert!(stem.ends_with(last), "{name} ends with its unit");
        assert!(help.ends_with('.') && !source.is_empty(), "{name}");
    }
}

#[test]
fn the_configuration_chooses_collectors() {
    let chosen = |enabled: &[&str], disabled: &[&str]| {
        let mut config = Config::default();
        config.collector.enabled = enabled.iter().map(|&name| name.to_owned()).collect();
        config.collector.disabled = disabled.iter().map(|&name| name.to_owned()).collect();
        super::enabled(&config).map(|entry| entry.name).collect::<Vec<_>>()
    };
    // Docker and Redis are asked only where that is wanted.
    assert_eq!(chosen(&[], &[]).len(), COLLECTORS.len() - 2);
    assert_eq!(chosen(&["memory", "cpu"], &[]), ["cpu", "memory"]);
    assert_eq!(chosen(&["memory", "cpu"], &["cpu"]), ["memory"]);
    assert_eq!(chosen(&[], &["cpu"]).len(), COLLECTORS.len() - 3);
}

/// Every collector on the machine that runs the test, twice.
#[test]
fn all_collectors_read_this_machine() {
    struct Boxed(Box<dyn Collector>);
    impl Collector for Boxed {
        fn collect(&mut self, host: &dyn Host, out: &mut Samples) -> Result<(), CollectError> {
            self.0.collect(host, out)
        }
    }
    let config = Config::default();
    let host = LiveHost::default();
    for entry in enabled(&config) {
        let mut bench = Bench::new("", Boxed((entry.make)(&config)));
        let mut ticks = 0.0;
        for pass in 0..2 {
            match bench.pass_on(&host) {
                Ok(()) => {}
                Err(CollectError::Absent { .. }) if entry.optional => continue,
                Err(error) => panic!("{}: {error}", entry.name),
            }
            let known: HashSet<_> = entry.all_metrics().map(|metric| metric.name).collect();
            for name in bench.readings.keys().filter_map(|name| name.split('{').next()) {
                assert!(known.contains(name), "{name} is not in the table of {}", entry.name);
            }
            match entry.name {
                "cpu" => {
                    let now = bench.value("cpu_all_seconds_total");
                    assert!(now > ticks, "{now} after {ticks}");
                    assert!(bench.value("cpu_busy_seconds_total") < now);
                    ticks = now;
                    std::thread::sleep(Duration::from_millis(if pass == 0 { 50 } else { 0 }));
                }
                "memory" => assert!(bench.value("memory_total_bytes") > bench.value("memory_used_bytes")),
                "load" => assert!(bench.value("tasks_count") > 1.0),
                "vmstat" => assert!(bench.value("page_faults_total") > 1000.0),
                "filesystem" => {
                    assert!(bench.readings.keys().any(|name| name.starts_with("disk_used_percent{/,")));
                }
                "uptime" => assert!(bench.value("host_uptime_seconds") > 1.0),
                "fd" => assert!(bench.value("fd_used_count") > 1.0),
                "agent" => assert!(bench.value("agent_resident_memory_bytes") > 1e5),
                "process" => {
                    let table = bench.processes.take().unwrap();
                    let own = table.rows.iter().find(|row| row.pid == std::process::id()).unwrap();
                    assert!(own.rss_bytes > 100_000 && own.start_ticks > 0);
                }
                _ => {}
            }
        }
    }
}
