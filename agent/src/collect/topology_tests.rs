use std::fmt::Write;

use super::*;
use crate::collect::cpu::{Cpu as Collector, Options};
use crate::collect::testing::Bench;

/// Two sockets with numbers 0 and 36, four CPUs numbered in turn, two nodes and one without CPUs.
const SYS: &str = "\
//- /sys/devices/system/cpu/cpu0/topology/physical_package_id
0
//- /sys/devices/system/cpu/cpu1/topology/physical_package_id
36
//- /sys/devices/system/cpu/cpu2/topology/physical_package_id
0
//- /sys/devices/system/cpu/cpu3/topology/physical_package_id
36
//- /sys/devices/system/node/node0/cpulist
0,2
//- /sys/devices/system/node/node1/cpulist
1,3
//- /sys/devices/system/node/node7/cpulist

//- /sys/devices/system/node/online
0-1,7
";

fn bench(text: &str) -> Bench {
    let groups = Wanted { sockets: true, nodes: true };
    Bench::new(text, Collector::new(Options { per_core: false, groups }))
}

/// Busy and idle ticks of these CPUs.
fn stat(cpus: &[(u64, u64, u64)]) -> String {
    let mut text = "cpu  1 0 0 1\n".to_owned();
    for (cpu, busy, idle) in cpus {
        writeln!(text, "cpu{cpu} {busy} 0 0 {idle} 0 0 0 0 0 0").unwrap();
    }
    text
}

fn check(bench: &mut Bench, cpus: &[(u64, u64, u64)], expect: &[(&str, f64)]) {
    bench.host.set("/proc/stat", stat(cpus));
    bench.pass().unwrap();
    bench.expect(expect);
}

#[test]
fn growth_is_added_up_by_socket_and_node() {
    let mut bench = bench(SYS);
    let all = [(0, 100, 900), (1, 200, 800), (2, 300, 700), (3, 400, 600)];
    check(
        &mut bench,
        &all,
        &[
            ("cpu_socket_cpus_count{36}", 2.0),
            ("cpu_socket_busy_seconds_total{36}", 0.0),
            ("cpu_numa_all_seconds_total{1}", 0.0),
        ],
    );
    let later = [(0, 150, 950), (1, 200, 900), (2, 400, 700), (3, 401, 699)];
    let expect = [
        ("cpu_socket_busy_seconds_total{0}", 1.5),
        ("cpu_socket_all_seconds_total{0}", 2.0),
        ("cpu_socket_busy_seconds_total{36}", 0.01),
        ("cpu_socket_all_seconds_total{36}", 2.0),
        ("cpu_numa_busy_seconds_total{0}", 1.5),
        ("cpu_numa_all_seconds_total{1}", 2.0),
        ("cpu_numa_cpus_count{1}", 2.0),
    ];
    check(&mut bench, &later, &expect);
    assert!(!bench.has("cpu_numa_cpus_count{7}"), "a node without CPUs has no use of them");
}

#[test]
fn cpus_go_offline_and_come_back() {
    let mut bench = bench(SYS);
    check(&mut bench, &[(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)], &[]);
    let busy = |socket, value| [(socket, value)];
    let key = "cpu_socket_busy_seconds_total{0}";
    check(&mut bench, &[(0, 100, 0), (1, 0, 0), (2, 100, 0), (3, 0, 0)], &busy(key, 2.0));
    // CPU 2 is gone with its 100 ticks, and is back much later with more.
    bench.host.remove("/sys/devices/system/cpu/cpu2");
    bench.host.set("/sys/devices/system/node/node0/cpulist", "0\n");
    check(&mut bench, &[(0, 200, 0), (1, 0, 0), (3, 0, 100)], &busy(key, 3.0));
    bench.expect(&[("cpu_socket_cpus_count{0}", 1.0), ("cpu_socket_all_seconds_total{36}", 1.0)]);
    bench.host.apply(SYS).unwrap();
    check(&mut bench, &[(0, 200, 0), (1, 0, 0), (2, 5000, 5000), (3, 0, 100)], &busy(key, 3.0));
    check(&mut bench, &[(0, 200, 0), (1, 0, 0), (2, 5100, 5000), (3, 0, 100)], &busy(key, 4.0));
    // The last and the first one.
    check(&mut bench, &[(1, 0, 0), (2, 5200, 5000)], &busy(key, 5.0));
    // Times that go back count for nothing.
    check(&mut bench, &[(1, 0, 0), (2, 5100, 5900)], &busy(key, 5.0));
    check(&mut bench, &[(1, 0, 0), (2, 5200, 5100)], &busy(key, 5.0));
}

#[test]
fn a_whole_socket_that_goes_offline_is_no_longer_told() {
    let mut bench = bench(SYS);
    check(&mut bench, &[(0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)], &[("cpu_socket_cpus_count{36}", 2.0)]);
    check(&mut bench, &[(0, 9, 0), (2, 9, 0)], &[]);
    assert!(
        !bench.readings.keys().any(|name| name.starts_with("cpu_socket") || name.starts_with("cpu_numa"))
    );
}

#[test]
fn hosts_where_it_says_nothing_have_no_series() {
    let each_alone = SYS.replace("_id\n36", "_id\n1").replace("cpu2/topology", "cpu9/topology");
    for (why, text) in [
        ("one socket, one node", SYS.replace("36", "0").replace("node1", "node7")),
        (
            "each CPU its own socket",
            each_alone.replace("cpu3/topology", "cpu8/topology").replace("node1", "x"),
        ),
        ("unknown sockets, bad lists", SYS.replace("36", "-1").replace("1,3", "x-,3-1")),
        ("nothing", String::new()),
    ] {
        let mut bench = bench(&text);
        for ticks in 0..2 {
            check(&mut bench, &[(0, ticks, 0), (1, ticks, 0), (2, ticks, 0), (3, ticks, 0)], &[]);
        }
        let told: Vec<_> = bench.readings.keys().filter(|name| name.starts_with("cpu_socket")).collect();
        assert!(told.is_empty(), "{why}: {told:?}");
        assert!(!bench.has("cpu_numa_all_seconds_total{0}"), "{why}");
    }
}

#[test]
fn there_are_no_more_sums_than_the_limit() {
    let (mut sys, mut cpus) = (String::new(), Vec::new());
    for cpu in 0..300 {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/physical_package_id");
        writeln!(sys, "//- {path}\n{}", cpu / 2).unwrap();
        cpus.push((cpu, 5, 5));
    }
    let mut bench = bench(&sys);
    check(&mut bench, &cpus, &[("cpu_socket_cpus_count{63}", 2.0)]);
    assert!(!bench.has("cpu_socket_cpus_count{64}"));
}
