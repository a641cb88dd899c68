//! Pages for Prometheus, in both forms.

use super::*;
use crate::time::Now;
use table::{CLOCK, FORKS, LATENCY, MEMORY, RATE, SLOW, TASKS};

#[expect(unreachable_pub, dead_code, reason = "the table of a file, for these tests alone")]
mod table {
    crate::metric::metrics! {
    FORKS: Counter Count "forks_total" [] "Processes.", "x";
    LATENCY: Gauge Milliseconds "await_ms" as "await_seconds" ["device"] "Mean \\ time\nof all.", "x";
    MEMORY: Gauge Gibibytes "gpu_memory_gb" as "gpu_memory_bytes" [] "Memory.", "x";
    CLOCK: Gauge Megahertz "gpu_clock_mhz" as "gpu_clock_hertz" [] "Clock.", "x";
    RATE: Gauge PerSecond "forks_per_second" [] "A rate.", "x";
    TASKS: Gauge Count "tasks_count" [] "Tasks.", "x";
    SLOW: Histogram Seconds "io_duration_seconds" ["device"] "Requests.", "x";
    }
}

fn newest(rows: &[(&'static Metric, &[&str], f64)]) -> Newest {
    let mut newest = Newest::default();
    newest.begin(Now { mono_ns: 1, wall_ns: 1_500_000_000 });
    for (metric, labels, value) in rows {
        let labels = labels.iter().map(|&label| label.into()).collect();
        newest.put(Row { metric, labels, value: *value, at: Now::default() });
    }
    newest
}

fn page(newest: &Newest, manner: &Manner, format: Format) -> String {
    let mut out = "of before".to_owned();
    render(newest, manner, format, &mut out);
    out
}

#[test]
fn a_page_in_both_forms() {
    let newest = newest(&[
        (&LATENCY, &["sda"], 1500.0),
        (&FORKS, &[], 7.0),
        (&RATE, &[], 3.0),
        (&LATENCY, &["s\"d\\b\n"], 0.5),
        (&MEMORY, &[], 1.5),
        (&CLOCK, &[], 1410.0),
        (&TASKS, &[], 12.0),
    ]);
    let manner = Manner::new(&[("env".to_owned(), "prod".to_owned())].into(), None);
    insta::assert_snapshot!("text", page(&newest, &manner, Format::Text));
    insta::assert_snapshot!("openmetrics", page(&newest, &manner, Format::OpenMetrics));
    assert_eq!(page(&Newest::default(), &manner, Format::Text), "");
    assert_eq!(page(&Newest::default(), &manner, Format::OpenMetrics), "# EOF\n");
}

#[test]
fn histograms_are_cumulative() {
    let mut newest = newest(&[]);
    let mut counts = [0; BOUNDS + 1];
    (counts[0], counts[3], counts[BOUNDS]) = (2, 3, 1);
    newest.put_histograms(&[Histogram {
        metric: &SLOW,
        labels: ["sd\"a".into()].into(),
        counts,
        sum_secs: 40.25,
    }]);
    let text = page(&newest, &Manner::default(), Format::Text);
    let value = |name: &str| {
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.trim().parse::<f64>().unwrap()
    };
    for (bound, expect) in [
        ("0.000016384", 2.0),
        ("0.000065536", 2.0),
        ("0.000131072", 5.0),
        ("34.359738368", 5.0),
        ("+Inf", 6.0),
    ] {
        let name = format!("sysops_io_duration_seconds_bucket{{device=\"sd\\\"a\",le=\"{bound}\"}}");
        assert!((value(&name) - expect).abs() < 1e-9, "{name}");
    }
    assert!((value("sysops_io_duration_seconds_sum{device=\"sd\\\"a\"}") - 40.25).abs() < 1e-9);
    assert!((value("sysops_io_duration_seconds_count{device=\"sd\\\"a\"}") - 6.0).abs() < 1e-9);
    assert_eq!(text.lines().count(), 2 + BOUNDS + 3);
    assert!(text.contains("# TYPE sysops_io_duration_seconds histogram\n"));
}

#[test]
fn names_of_node_exporter_come_besides() {
    use crate::collect::{diskstats, filesystem, netstat, vmstat};
    let of =
        |all: &[&'static Metric], name: &str| *all.iter().find(|metric| metric.name == name).expect("known");
    let newest = newest(&[
        (of(vmstat::METRICS, "paged_in_bytes_total"), &[], 4096.0),
        (of(vmstat::METRICS, "swap_in_bytes_total"), &[], 8192.0),
        (of(diskstats::METRICS, "disk_discarded_bytes_total"), &["sda"], 1024.0),
        (of(filesystem::METRICS, "disk_total_bytes"), &["/a\"b", "/dev/sda1", "ext4"], 9.0),
        (of(netstat::METRICS, "udp_no_port_total"), &["ipv4"], 4.0),
        (of(netstat::METRICS, "udp_no_port_total"), &["ipv6"], 6.0),
    ]);
    let facts = Facts { page_bytes: 4096, nodename: "n".into(), ..Facts::default() };
    let text = page(&newest, &Manner::new(&BTreeMap::new(), Some(facts)), Format::Text);
    for expect in [
        "# TYPE node_vmstat_pgpgin untyped\nnode_vmstat_pgpgin 4\n",
        "node_vmstat_pswpin 2\n",
        "# TYPE node_disk_discarded_sectors_total counter\nnode_disk_discarded_sectors_total{device=\"sda\"} 2\n",
        "node_filesystem_size_bytes{mountpoint=\"/a\\\"b\",device=\"/dev/sda1\",fstype=\"ext4\"} 9\n",
        "node_netstat_Udp_NoPorts 4\n",
        "node_netstat_Udp6_NoPorts 6\n",
        "node_time_seconds 1.5\n",
        "nodename=\"n\",release=\"\",sysname=\"Linux\"",
        "sysops_udp_no_port_total{family=\"ipv6\"} 6\n",
    ] {
        assert!(text.contains(expect), "{expect}: {text}");
    }
    let plain = page(&newest, &Manner::default(), Format::Text);
    assert!(!plain.contains("node_") && plain.contains("sysops_"), "{plain}");
}

#[test]
fn names_follow_the_rules_of_prometheus() {
    let mut families = BTreeSet::new();
    for metric in crate::edge::metrics().into_iter().filter(|metric| !metric.prometheus.is_empty()) {
        let name = metric.prometheus;
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit()), "{name}");
        assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        for end in ["_count", "_sum", "_bucket", "_info_total", "_ms", "_gb", "_mhz", "_created"] {
            assert!(!name.ends_with(end), "{name}");
        }
        for taken in ["le", "quantile", "job", "instance", "__name__"] {
            let renamed = TAKEN.iter().any(|(ours, _)| *ours == taken);
            assert!(renamed || !metric.labels.contains(&taken), "{name}: label {taken}");
        }
        // In OpenMetrics a counter's family has no `_total`.
        let family = if metric.kind == Kind::Counter { name.trim_end_matches("_total") } else { name };
        assert!(families.insert(family), "{family} is two families");
        assert!(
            matches!(metric.unit, Unit::PerSecond | Unit::BytesPerSecond) == metric.prometheus.is_empty()
        );
    }
    assert!(families.len() > 200, "{}", families.len());
}

#[test]
fn labels_of_the_agent_have_good_names_once() {
    let labels =
        [("a-b", "1"), ("a.b", "2"), ("9", "3")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let text = page(&newest(&[(&FORKS, &[], 1.0)]), &Manner::new(&labels.into(), None), Format::Text);
    assert!(text.ends_with("sysops_forks_total{_9=\"3\",a_b=\"1\"} 1\n"), "{text}");
}
