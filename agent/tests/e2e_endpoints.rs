//! The endpoints of the real agent: clean for `promtool`, and value by value what `node_exporter` says.
#![cfg(feature = "prometheus")]
#![expect(clippy::disallowed_methods, reason = "runs the agent and other programs beside it")]

mod e2e;
mod lab;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use e2e::agent::Home;
use e2e::confine::Confine;
use lab::ports::free_address;
use lab::{skip, wait_for};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);
const NOWHERE: &str = "http://127.0.0.1:9/";
const OPEN_METRICS: &str = "Accept: application/openmetrics-text; version=1.0.0\r\n";

/// The body of a good answer.
fn get(address: SocketAddr, path: &str, headers: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: h\r\n{headers}\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.contains(" 200 OK").then(|| body.to_owned())
}

/// Everything each second, nothing left out; text at one address, JSON with a key at the other.
fn settings(text: SocketAddr, json: SocketAddr, node_names: bool) -> String {
    let paces = ["cpu", "memory", "disk", "disk_io", "network", "process", "fd"];
    let paces = paces.map(|pace| format!("{pace}_interval_secs = 1\n")).concat();
    format!(
        "[agent]\nlabels = {{ env = \"a\\\"b\\\\c\" }}\n\
         [collector]\n{paces}exclude_interfaces = []\nexclude_devices = []\n\
         [prometheus]\nenabled = true\nbind = \"{text}\"\nnode_exporter_names = {node_names}\n\
         [http]\nenabled = true\nbind = \"{json}\"\nauth_key = \"s3cret\"\n"
    )
}

/// What a program says of this input; nothing if it has nothing to say.
fn judge(program: &str, args: &[&str], input: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    child.stdin.take()?.write_all(input.as_bytes()).ok()?;
    let done = child.wait_with_output().ok()?;
    Some(e2e::agent::words(&done))
}

#[test]
fn promtool_has_nothing_to_say() {
    // Another program has the port at first: the agent says so, runs on, and takes it when it is free.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (text, json) = (taken.local_addr().expect("its address"), free_address());
    let home = Home::new(NOWHERE, &settings(text, json, false));
    let agent = home.start(&Confine::No);
    let told = || home.log().contains(&format!("The endpoint cannot listen on {text}")).then_some(());
    wait_for(SOON, told).expect("it is said");
    // Whoever has it does not answer; the other address is the agent's own.
    let doctor = home.doctor(&Confine::No);
    doctor.check_refused("endpoint.prometheus", "another program listens there", "prometheus.bind");
    assert!(doctor.is_on("endpoint.http"), "{doctor:?}");
    drop(taken);

    wait_for(SOON, || get(text, "/healthz", "")).expect("it listens, and readings pass");
    // Rates need two readings.
    let page =
        wait_for(SOON, || get(text, "/metrics", "").filter(|page| page.contains("sysops_cpu_usage_percent")));
    let page = page.expect("a page");
    let open = get(text, "/metrics", OPEN_METRICS).expect("the same in OpenMetrics");
    assert!(open.ends_with("# EOF\n") && open.contains("# UNIT sysops_memory_total_bytes bytes\n"));
    assert!(page.contains("sysops_forks_total{env=\"a\\\"b\\\\c\"} "), "labels of the agent, escaped");
    assert!(page.lines().filter(|line| line.starts_with("# TYPE ")).count() > 120);
    assert!(!page.contains("_per_second"), "no rates");

    let unit = get(json, "/metrics", "Authorization: Bearer s3cret\r\n").expect("JSON");
    let unit: Value = serde_json::from_str(&unit).expect("JSON");
    assert!(
        unit["data"]["cpu"]["cores"].as_u64() > Some(0) && unit["data"]["host"]["hostname"] == "lab",
        "{unit}"
    );
    assert!(get(json, "/metrics", "").is_none() && get(json, "/status", "").is_none(), "a key is needed");
    let status = get(json, "/status", "Authorization: Bearer s3cret\r\n").expect("the status");
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["pid"], agent.pid());
    assert!(!home.log().contains("s3cret"));

    for page in [&page, &open] {
        match judge("promtool", &["check", "metrics"], page) {
            None => skip("promtool missing: apt-get install prometheus"),
            // Debian's promtool reads the classic text only; the other form has a strict reader of its own.
            Some(_) if page.ends_with("# EOF\n") => read_strictly(page),
            Some(said) => assert_eq!(said, ""),
        }
    }
    agent.stop();
}

/// The reader of `OpenMetrics` that Prometheus' Python client has: it refuses what the specification forbids.
fn read_strictly(page: &str) {
    const READ: &str = "import sys\ntry:\n from prometheus_client.openmetrics.parser import \
        text_string_to_metric_families as read\nexcept ImportError:\n sys.exit(print('missing'))\n\
        print(sum(len(family.samples) for family in read(sys.stdin.read())))";
    let samples = page.lines().filter(|line| !line.starts_with('#')).count();
    match judge("/usr/bin/python3", &["-c", READ], page).as_deref().map(str::trim) {
        None | Some("missing") => {
            skip("prometheus_client missing: apt-get install python3-prometheus-client");
        }
        Some(said) => assert_eq!(said, samples.to_string()),
    }
}

type Series = (String, BTreeMap<String, String>);

/// `name{label="value"} 1.5e+09`, without labels of the agent and empty ones.
fn series(page: &str) -> BTreeMap<Series, f64> {
    let line = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split("\",").filter_map(|pair| pair.split_once("=\""));
        let labels = labels.map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned()));
        let labels = labels.filter(|(name, value)| name != "env" && !value.is_empty()).collect();
        Some(((name.to_owned(), labels), value.parse().ok()?))
    };
    page.lines().filter(|line| line.starts_with("node_")).filter_map(line).collect()
}

/// By how much a value may lie outside of our two readings, and why it cannot be between them.
fn allowed(name: &str) -> f64 {
    match name {
        // The question is a connection of two sockets itself.
        "node_netstat_Tcp_CurrEstab" | "node_tcp_connection_states" | "node_sockstat_TCP_alloc" => 40.0,
        // The moment differs.
        "node_filefd_allocated" => 1000.0,
        "node_procs_running" | "node_procs_blocked" | "node_disk_io_now" => 64.0,
        "node_processes_pids" | "node_processes_threads" | "node_processes_state" => 100.0,
        "node_sockstat_sockets_used" | "node_sockstat_TCP_tw" | "node_sockstat_TCP_orphan" => 101.0,
        "node_load1" | "node_load5" | "node_load15" => 0.5,
        "node_memory_CommitLimit_bytes" | "node_memory_MemTotal_bytes" => 0.0,
        name if name.starts_with("node_memory_") && name.ends_with("_bytes") => 256e6,
        name if name.starts_with("node_sockstat_") => 1e6,
        "node_filesystem_free_bytes" | "node_filesystem_avail_bytes" => 256e6,
        "node_filesystem_files_free" => 5000.0,
        "node_time_seconds" => 2.0,
        // Idle and waiting time of a sleeping CPU is counted when it wakes up.
        "node_cpu_seconds_total" => 0.05,
        name if name.starts_with("node_timex_") => 0.01,
        _ => 0.0,
    }
}

/// Names of ours whose values are our own: our collectors are others, and what a build of the exporter says of itself.
const OWN: [&str; 3] = ["node_scrape_collector_", "node_netstat_TcpExt_TCPRcvQDrop", "node_exporter_"];

/// What existing dashboards ask for, with how often.
const DASHBOARDS: &str = include_str!("../src/serve/node_names/dashboards.txt");

/// Theirs as we tell it: softnet of all CPUs together; an interface without a state of its own counts as up with us, so
/// theirs that are not plainly up or down are left out.
fn as_ours(theirs: BTreeMap<Series, f64>) -> BTreeMap<Series, f64> {
    let mut all = BTreeMap::new();
    for ((name, mut labels), value) in theirs {
        if name.starts_with("node_softnet_") {
            labels.clear();
        }
        if name == "node_network_up" && !labels.get("device").is_some_and(|device| has_state(device)) {
            continue;
        }
        *all.entry((name, labels)).or_insert(0.0) += value;
    }
    all
}

fn has_state(interface: &str) -> bool {
    let state = std::fs::read_to_string(format!("/sys/class/net/{interface}/operstate"));
    state.is_ok_and(|state| state.trim() != "unknown")
}

/// Each name that dashboards ask for and what became of it; returns how many were compared and how many could be.
fn tell(theirs: &BTreeSet<&str>, ours: &BTreeSet<&str>, compared: &BTreeSet<&str>) -> (usize, usize) {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in DASHBOARDS.lines().filter_map(|line| line.split_whitespace().last()) {
        let group = match () {
            () if compared.contains(name) => "compared, and agree",
            () if !theirs.contains(name) => "not on this host: node_exporter has no such series here",
            () if !ours.contains(name) => "not told by the agent",
            () => "told by both, with other labels or another meaning",
        };
        groups.entry(group).or_default().push(name);
    }
    for (group, names) in &groups {
        println!("{:4} {group}: {}", names.len(), names.join(" "));
    }
    let count = |group: &str| groups.get(group).map_or(0, Vec::len);
    let absent = count("not on this host: node_exporter has no such series here");
    (count("compared, and agree"), groups.values().map(Vec::len).sum::<usize>() - absent)
}

struct Exporter(Child);

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn exporter(address: SocketAddr) -> Option<Exporter> {
    let child = Command::new("prometheus-node-exporter")
        .arg(format!("--web.listen-address={address}"))
        .args(["--collector.diskstats.device-exclude=^$", "--collector.processes", "--collector.tcpstat"])
        .arg("--no-collector.systemd")
        .stderr(Stdio::null())
        .spawn();
    child.ok().map(Exporter)
}

#[test]
fn dashboards_see_what_node_exporter_shows() {
    let (text, json, theirs) = (free_address(), free_address(), free_address());
    let Some(_exporter) = exporter(theirs) else {
        return skip("node_exporter missing: apt-get install prometheus-node-exporter");
    };
    let home = Home::new(NOWHERE, &settings(text, json, true));
    let agent = home.start(&Confine::No);
    let page =
        |address| get(address, "/metrics", "").map(|page| series(&page)).filter(|page| !page.is_empty());
    wait_for(SOON, || page(theirs)).expect("node_exporter answers");
    wait_for(SOON, || page(text)).expect("the agent answers");

    // A reading of theirs lies between two of ours; what did not is looked at again.
    let (mut agreed, mut wrong) = (BTreeMap::new(), BTreeMap::new());
    for _ in 0..15 {
        let before = page(text).expect("ours");
        let read = as_ours(page(theirs).expect("theirs"));
        // Every second a new reading: wait until all are newer.
        std::thread::sleep(Duration::from_millis(2100));
        let after = page(text).expect("ours");
        wrong.clear();
        for (series, theirs) in &read {
            let (Some(a), Some(b)) = (before.get(series), after.get(series)) else { continue };
            let name = series.0.as_str();
            if agreed.contains_key(series) || OWN.iter().any(|own| name.starts_with(own)) {
                continue;
            }
            let room = allowed(name) + 1e-9 * theirs.abs();
            if (a.min(*b) - room..=a.max(*b) + room).contains(theirs) {
                agreed.insert(series.clone(), *theirs);
            } else {
                wrong.insert(series.clone(), (*a, *theirs, *b));
            }
        }
        if wrong.is_empty() && agreed.len() > 100 {
            break;
        }
    }
    assert!(wrong.is_empty(), "before, theirs, after: {wrong:#?}");
    let told_in =
        |of: &BTreeMap<Series, f64>| of.keys().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
    let (shown, told) = (told_in(&page(theirs).expect("theirs")), told_in(&page(text).expect("ours")));
    let names: BTreeSet<&str> = agreed.keys().map(|(name, _)| name.as_str()).collect();
    read_strictly(&get(text, "/metrics", OPEN_METRICS).expect("a page with both sets of names"));
    match judge("promtool", &["check", "metrics"], &get(text, "/metrics", "").expect("the same as text")) {
        None => skip("promtool missing: apt-get install prometheus"),
        // It dislikes some of their names, and none of ours.
        Some(said) => {
            assert!(said.lines().all(|line| line.is_empty() || line.starts_with("node_")), "{said}");
        }
    }
    println!("{} names, {} values agree with node_exporter", names.len(), agreed.len());
    let borrow = |of| -> BTreeSet<&str> { BTreeSet::iter(of).map(String::as_str).collect() };
    let (compared, possible) = tell(&borrow(&shown), &borrow(&told), &names);
    // A plain virtual machine has 190 of those that dashboards ask for; a container may have fewer.
    assert!(compared >= 150.min(possible.saturating_sub(40)), "{compared} of {possible}");
    agent.stop();
}
