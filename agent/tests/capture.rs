//! A capture of a host is the host again: the machine that runs the test, and the hosts written as text.
#![expect(clippy::disallowed_methods, reason = "reads the hosts")]

mod bench;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use bench::Bench;
use sysops_agent::capture::{self, Scrubber};
use sysops_agent::config::Config;
use sysops_agent::host::fixture::FixtureHost;
use sysops_agent::host::live::LiveHost;
use sysops_agent::host::recorder::{Record, Recorder};
use sysops_agent::host::{Host, clock};

type Values = BTreeMap<String, Vec<u64>>;

/// Values by metric, in an order that does not depend on labels, which are scrubbed.
fn values(readings: &BTreeMap<String, f64>) -> Values {
    let mut values = Values::new();
    for (series, value) in readings {
        let name = series.split('{').next().unwrap_or_default();
        // Of this process, and of the clock on the wall.
        if !name.starts_with("collector_duration") {
            values.entry(name.to_owned()).or_default().push(value.to_bits());
        }
    }
    for values in values.values_mut() {
        values.sort_unstable();
    }
    values
}

/// What is read of a host, and of a fixture of it that was written meanwhile.
fn both(host: &Arc<dyn Host>) -> (Values, Values, usize) {
    let recorder = Recorder::new(Arc::clone(host));
    let config = Config::default();
    let mut bench = Bench::at(Arc::new(recorder.clone()), &config, clock::now());
    bench.pass_live();
    let record = Scrubber::of(&**host, 100_000).record(recorder.take());
    let text = capture::text(&record, &Record::default(), &**host);
    let (first, _) = text.split_once("//= ").expect("two halves");
    let again = FixtureHost::parse(first).unwrap_or_else(|error| panic!("{error}"));
    let mut replay = Bench::on(&again, &config);
    replay.pass(0);
    (values(&bench.readings()), values(&replay.readings()), text.len())
}

#[test]
fn this_machine_is_read_again_as_it_was() {
    let (live, again, bytes) = both(&(Arc::new(LiveHost::default()) as Arc<dyn Host>));
    assert!(live.len() > 120, "{}", live.len());
    assert!(bytes < capture::MAX_FIXTURE / 2, "{bytes} bytes");
    // Two collectors read /proc/net/snmp, one after the other: the record has the newer one. Two list a process's open files:
    // the record has them all.
    let moved = ["tcp_connections_count", "tcp_sockets_count", "process_open_fds_count"];
    for (name, values) in &live {
        let same = again.get(name) == Some(values);
        let source = moved.contains(&name.as_str())
            || name.starts_with("tcp_")
            || name.starts_with("ip_")
            || name.starts_with("udp_");
        assert!(same || source, "{name}: {values:?} and {:?}", again.get(name));
    }
}

#[test]
fn hosts_written_as_text_are_read_again_as_they_were() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let read = |path: &str| fs::read_to_string(tests.join(path)).expect("a host");
    for host in [
        "hosts/centos7",
        "hosts/rocky8-two-sockets",
        "hosts/v2-kubernetes",
        "hosts/hybrid-docker",
        "hosts/zfs",
    ] {
        let fixture = FixtureHost::parse(&read("hosts/base.host")).expect("the base is well-formed");
        let text = read(&format!("{host}.host"));
        fixture.apply(text.split("//= ").next().unwrap_or_default()).expect("the host is well-formed");
        let (first, again, _) = both(&(Arc::new(fixture) as Arc<dyn Host>));
        assert_eq!(first, again, "{host}");
    }
}
