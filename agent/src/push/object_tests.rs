//! The object of the collector API.

use super::*;
use crate::metric::{Kind, Metric, Unit};
use crate::time::Now;

/// Rows by name on the wire, with labels.
fn newest(rows: &[(&str, &[&str], f64)]) -> Newest {
    let known = crate::edge::metrics();
    let mut newest = Newest::default();
    newest.begin(Now { mono_ns: 1, wall_ns: 1_748_437_647_900_000_000 });
    for (name, labels, value) in rows {
        let metric: &'static Metric = known.iter().find(|metric| metric.name == *name).expect(name);
        assert_eq!(metric.labels.len(), labels.len(), "{name}");
        let labels = labels.iter().map(|&label| label.into()).collect();
        newest.put(Row { metric, labels, value: *value, at: Now::default() });
    }
    newest
}

fn object(newest: &Newest) -> Value {
    let about = About {
        agent_id: "Agent-01".into(),
        hostname: "web-1".into(),
        platform: "debian".into(),
        ..About::default()
    };
    let mut out = "of before".to_owned();
    render(newest, &about, &mut out);
    serde_json::from_str(&out).expect("JSON")
}

#[test]
fn the_object_is_that_of_the_api() {
    const GIB: f64 = 1_073_741_824.0;
    let newest = newest(&[
        ("cpu_mode_seconds_total", &["idle"], 59_606.991),
        ("cpu_mode_seconds_total", &["user"], 7761.12),
        ("cpu_mode_seconds_total", &["system"], 3084.39),
        ("cpu_usage_percent", &[], 1.7449),
        ("cpu_online_count", &[], 8.0),
        ("load_1min", &[], 2.9),
        ("load_5min", &[], 3.27),
        ("load_15min", &[], 3.16),
        ("memory_total_bytes", &[], 8.0 * GIB),
        ("memory_available_bytes", &[], 2.0 * GIB),
        ("memory_used_percent", &[], 75.0),
        ("swap_total_bytes", &[], GIB),
        ("swap_used_bytes", &[], 126_091_264.0),
        ("swap_used_percent", &[], 11.743),
        ("disk_total_bytes", &["/", "/dev/sda1", "ext4"], 1000.0),
        ("disk_used_bytes", &["/", "/dev/sda1", "ext4"], 300.0),
        ("disk_available_bytes", &["/", "/dev/sda1", "ext4"], 600.0),
        ("network_transmit_bytes_total", &["a"], 5.0),
        ("network_transmit_bytes_total", &["b"], 6.0),
        ("network_receive_bytes_total", &["a"], 1e15),
        ("network_transmit_packets_total", &["a"], 2.0),
        ("network_receive_packets_total", &["a"], 3.0),
        ("listening_ports_count", &[], 3.0),
        ("listening_port", &["8080", "0.0.0.0", "java"], 1.0),
        ("listening_port", &["22", "0.0.0.0", "sshd"], 1.0),
        ("listening_port", &["22", "::", "sshd"], 1.0),
        ("host_uptime_seconds", &[], 10_000.7),
        ("docker_containers_count", &["running"], 1.0),
        ("docker_container_info", &["test-nginx", "83c3e2e7b893", "nginx:latest", "running"], 1.0),
        ("docker_container_start_time_seconds", &["test-nginx"], 1_748_426_800.0),
        ("docker_container_info", &["db", "0011223344ff", "postgres", "exited"], 1.0),
        ("redis_up", &[], 1.0),
        ("redis_info", &["7.0.11"], 1.0),
        ("redis_uptime_seconds", &[], 4727.0),
        ("redis_connected_clients_count", &[], 2.0),
    ]);
    insta::assert_snapshot!("object", serde_json::to_string_pretty(&object(&newest)).expect("JSON"));
}

#[test]
fn what_is_not_read_is_left_out() {
    let check = |rows: &[(&str, &[&str], f64)], pointer: &str, expect: Option<Value>| {
        assert_eq!(object(&newest(rows)).pointer(pointer).cloned(), expect, "{rows:?} {pointer}");
    };
    for part in ["cpu", "memory", "disks", "net", "ports", "docker", "redis"] {
        check(&[], &format!("/data/{part}"), None);
    }
    check(&[], "/data/host/hostname", Some("web-1".into()));
    check(&[("cpu_online_count", &[], 4.0)], "/data/cpu/usage_percent", None);
    check(&[("cpu_online_count", &[], 4.0)], "/data/cpu/cores", Some(4.into()));
    check(&[("memory_total_bytes", &[], 4.0)], "/data/memory", None);
    check(&[("redis_up", &[], 0.0)], "/data/redis", Some(json!({ "status": "unreachable" })));
    let count: (&str, &[&str], f64) = ("docker_containers_count", &["running"], 0.0);
    let rows = &[count, ("docker_container_info", &["x", "1", "i", "created"], 1.0)];
    check(rows, "/data/docker/0/status", Some("Created".into()));
    check(&[("docker_containers_count", &["running"], 0.0)], "/data/docker", Some(json!([])));
    check(&[("listening_ports_count", &[], 0.0)], "/data/ports", Some(json!([])));
    // Hostile text stays text.
    let mount = "/\"},\u{0}\n\u{202e}";
    let rows: &[(&str, &[&str], f64)] = &[
        ("disk_total_bytes", &[mount, "d", "f"], 0.0),
        ("disk_used_bytes", &[mount, "d", "f"], 0.0),
        ("disk_available_bytes", &[mount, "d", "f"], 0.0),
    ];
    check(rows, "/data/disks/0/mount_point", Some(mount.into()));
    check(rows, "/data/disks/0/used_perc", Some(0.0.into()));
}

#[test]
fn numbers_that_are_none_are_no_harm() {
    static BAD: Metric = Metric {
        name: "load_1min",
        prometheus: "x",
        kind: Kind::Gauge,
        unit: Unit::Ratio,
        labels: &[],
        help: "",
        source: "",
    };
    let mut newest = newest(&[]);
    newest.put(Row { metric: &BAD, labels: [].into(), value: f64::NAN, at: Now::default() });
    assert_eq!(object(&newest).pointer("/data/cpu/load_1min"), Some(&Value::Null));
}
