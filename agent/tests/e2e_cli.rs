//! The command line as its user meets it: what it prints and its exit codes. Needs no rights.
#![expect(clippy::disallowed_methods, reason = "runs the agent and looks at what it leaves")]

mod e2e;
mod lab;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output};
use std::time::Duration;

use e2e::agent::{Home, words};
use e2e::confine::Confine;
use e2e::webhook::{Mood, Webhook};
use lab::wait_for;
use serde_json::Value;

const NOWHERE: &str = "http://127.0.0.1:9/";

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sysops-agent")).args(args).output().expect("the agent runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Runs with a configuration; expects this exit code.
fn check(home: &Home, args: &[&str], code: i32) -> Output {
    let done = home.command(&Confine::No, args).output().expect("the agent runs");
    assert_eq!(done.status.code(), Some(code), "{args:?}: {}", words(&done));
    done
}

/// Somebody without any right; us, if we are that already.
fn nobody() -> Confine {
    if rustix::process::geteuid().is_root() { Confine::nobody("") } else { Confine::No }
}

#[test]
fn version_and_help() {
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    assert_eq!(text(&version.stdout), concat!("sysops-agent ", env!("CARGO_PKG_VERSION"), "\n"));
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = text(&help.stdout);
    for word in ["--config", "--validate", "--inventory-dump", "--log-level", "doctor", "test-alert"] {
        assert!(help.contains(word), "{word} in {help}");
    }
}

#[test]
fn wrong_usage_is_2() {
    for args in
        [&["--nonsense"][..], &["dance"], &["--log-level", "loud"], &["--config"], &["doctor", "--xml"]]
    {
        let done = run(args);
        assert_eq!(done.status.code(), Some(2), "{args:?}: {}", words(&done));
        assert!(done.stdout.is_empty() && text(&done.stderr).contains("'--help'"), "{}", words(&done));
    }
}

#[test]
fn validate_tells_all_problems_at_once() {
    let home = Home::new(NOWHERE, "");
    let fine = check(&home, &["--validate"], 0);
    assert!(text(&fine.stdout).ends_with("config.toml is valid\n"), "{}", words(&fine));
    fs::write(home.config(), "[agent]\nhostnane = \"x\"\n[thresholds]\ncpu_percent = 900.0\n")
        .expect("written");
    for args in [&["--validate"][..], &[], &["doctor"], &["--inventory-dump"]] {
        let bad = text(&check(&home, args, 64).stderr);
        assert!(bad.contains("hostnane") && bad.contains("hostname") && bad.contains("cpu_percent"), "{bad}");
    }
    fs::remove_file(home.config()).expect("removed");
    let missing = text(&check(&home, &["--validate"], 64).stderr);
    assert!(missing.contains("cannot be read") && missing.contains("--config"), "{missing}");
}

#[test]
fn the_inventory_is_json_with_the_host_name() {
    let home = Home::new(NOWHERE, "");
    let done = check(&home, &["--inventory-dump"], 0);
    let inventory: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!(inventory["hostname"], "lab");
    assert!(inventory["cpu"]["total_threads"].as_u64().is_some_and(|n| n > 0), "{inventory:#}");
    assert!(inventory["os"]["kernel"].is_string() && inventory["collected_at"].is_string(), "{inventory:#}");
}

#[test]
fn doctor_speaks_table_and_json() {
    let home = Home::new(NOWHERE, "");
    let features: Value =
        serde_json::from_slice(&check(&home, &["doctor", "--json"], 0).stdout).expect("JSON");
    let names: Vec<&str> =
        features.as_array().expect("a list").iter().filter_map(|f| f["name"].as_str()).collect();
    for name in ["privileges", "namespaces", "kernel_log", "collector.cpu", "channel.webhook", "outbox"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let table = text(&check(&home, &["doctor"], 0).stdout);
    assert!(names.iter().all(|name| table.contains(name)), "{table}");
    for feature in features.as_array().expect("a list") {
        assert!(feature["reason"].as_str().is_some_and(|r| !r.is_empty()), "{feature}");
        // What docs/DOCTOR.md promises.
        let keys = feature.as_object().expect("an object").keys();
        assert!(
            keys.clone().all(|k| ["name", "state", "reason", "remedy"].contains(&k.as_str())),
            "{feature}"
        );
        let state = feature["state"].as_str().expect("a state");
        assert!(["on", "degraded", "off"].contains(&state), "{feature}");
        let remedy = feature["remedy"].as_str().unwrap_or_default();
        assert!(remedy.is_empty() == (state == "on") || state == "off", "{feature}");
    }
}

#[test]
fn test_alert_says_of_each_channel_how_it_went() {
    let mut webhook = Webhook::closed();
    let home = Home::new(&webhook.url(), "");
    let refused = text(&check(&home, &["test-alert"], 1).stdout);
    assert!(
        refused.contains("\nwebhook  FAILED ") && refused.contains("ms  cannot connect to 127.0.0.1"),
        "{refused}"
    );

    webhook.open();
    let path = home.file("syslog");
    let syslog = UnixDatagram::bind(&path).expect("a socket");
    home.configure(
        &webhook.url(),
        &format!("[alerting.syslog]\nenabled = true\nsocket = {:?}", path.display()),
    );
    let fine = text(&check(&home, &["test-alert"], 0).stdout);
    let lines: Vec<&str> = fine.lines().collect();
    assert_eq!(lines.len(), 3, "{fine}");
    for channel in ["webhook", "syslog"] {
        assert!(lines.iter().any(|l| l.starts_with(channel) && l.contains(" delivered ")), "{fine}");
    }
    let arrived = webhook.arrived();
    assert_eq!(arrived.len(), 1);
    assert_eq!((arrived[0].alert.rule.as_str(), arrived[0].alert.hostname.as_str()), ("test_alert", "lab"));
    syslog.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut buf = [0; 4096];
    let n = syslog.recv(&mut buf).expect("a line");
    assert!(text(&buf[..n]).contains("Test alert"), "{}", text(&buf[..n]));

    webhook.set(Mood::Answer(404));
    let mixed = text(&check(&home, &["test-alert"], 1).stdout);
    assert!(
        mixed.contains("answered 404") && mixed.contains("REFUSED") && mixed.contains(" delivered "),
        "{mixed}"
    );

    home.configure(&webhook.url(), "[alerting.webhook]\nenabled = false");
    assert!(text(&check(&home, &["test-alert"], 1).stdout).contains("no channel is enabled"));
}

#[test]
fn without_any_right_it_runs_and_says_what_is_missing() {
    let webhook = Webhook::start();
    // Below zero used memory there is always: the reading itself is the alert.
    let home = Home::new(
        &webhook.url(),
        "[collector]\nmemory_interval_secs = 1\n[alerting]\nstate_warmup_secs = 0\n\
         [thresholds]\nmemory_percent = { warn = 0.001, critical = 0.002, for_secs = 0 }",
    );
    let confine = nobody();
    let agent = home.start(&confine);
    let read = wait_for(Duration::from_secs(30), || {
        let high = webhook.taken(|a| a.metric == "memory_used_percent");
        (!high.is_empty()).then_some(high)
    });
    assert!(read.expect("memory is read")[0].value > 0.002);
    let screen = home.printed();
    assert!(screen.contains("OFF: ") || screen.contains("DEGRADED: "), "{screen}");
    for part in ["kernel_log", "-> ", "memory "] {
        assert!(screen.contains(part), "{part} in {screen}");
    }
    assert_eq!(screen.contains("ebpf.oom"), cfg!(feature = "ebpf"), "{screen}");
    let to = screen.lines().find_map(|line| line.trim().strip_prefix("alerts to"));
    assert_eq!(to.map(str::trim), Some("webhook"), "{screen}");
    agent.stop();
    let features = home.doctor(&confine);
    if cfg!(feature = "ebpf") {
        features.check_refused("ebpf.oom", "", "give the agent");
    }
    assert!(features.get("privileges", "remedy").contains("CAP_BPF"), "{features:#?}");
    assert!(features.is_on("collector.cpu") && features.is_on("collector.memory"), "{features:#?}");
}

#[test]
fn without_a_configuration_it_runs_on_built_in_defaults() {
    if fs::exists("/etc/sysops-agent/config.toml").is_ok_and(|there| there) {
        return lab::skip("there is a configuration at the default path");
    }
    // Never with rights: the defaults name places outside this test.
    let home = Home::new(NOWHERE, "");
    let mut agent = home.launch_without_file(&nobody());
    agent.await_ready();
    let shown = wait_for(Duration::from_secs(30), || home.printed().contains("alerts to").then_some(()));
    assert!(shown.is_some(), "{}", home.log());
    let screen = home.printed();
    assert!(screen.contains("built-in defaults") && screen.contains("terminal"), "{screen}");
    assert!(home.log().contains("/var/lib/sysops-agent"), "{}", home.log());
    agent.stop();
}

/// In a container the host is elsewhere: each path is then looked for there, and nothing of the container is told.
#[test]
fn another_root_is_the_host() {
    let root = tempfile::tempdir().expect("a directory");
    let at = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    };
    at("etc/os-release", "NAME=\"Elsewhere Linux\"\nVERSION=\"7.1\"\nID=elsewhere\n");
    at("proc/cpuinfo", "processor : 0\nmodel name : Another CPU\nvendor_id : Nobody\n");
    at("proc/meminfo", "MemTotal: 268435456 kB\nMemFree: 1 kB\n");
    at("sys/class/dmi/id/product_name", "Another Machine\n");
    at("sys/block/vdz/size", "8000000000\n");
    at("sys/block/vdz/device/vendor", "x\n");
    at("proc/uptime", "12345.00 1.00\n");
    let path = root.path().display();
    let section = format!(
        "[agent]\nhost_root = \"{path}\"\nproc_root = \"{path}/proc\"\nsys_root = \"{path}/sys\"\n\
         [inventory]\ninclude_bios = true"
    );
    let home = Home::new(NOWHERE, &section);
    let dump = check(&home, &["--inventory-dump"], 0);
    let json: Value = serde_json::from_str(&text(&dump.stdout)).expect("JSON");
    assert_eq!(json["os"]["distro"], "Elsewhere Linux");
    assert_eq!(json["cpu"]["model"], "Another CPU");
    assert_eq!(json["memory"]["total_gb"], 256);
    assert_eq!(json["bios"]["product"], "Another Machine");
    assert_eq!(json["disks"][0]["name"], "vdz");
    assert_eq!(json["disks"].as_array().map(Vec::len), Some(1), "{json}");
    let doctor = text(&check(&home, &["doctor", "--json"], 0).stdout);
    let features: Vec<Value> = serde_json::from_str(&doctor).expect("JSON");
    let state = |name: &str| {
        let feature = features.iter().find(|feature| feature["name"] == name).expect(name);
        (feature["state"].as_str().expect("a state").to_owned(), feature["reason"].to_string())
    };
    assert_eq!(state("collector.uptime").0, "on", "its file is there");
    let (stat, reason) = state("collector.cpu");
    assert!(stat != "on" && reason.contains("/proc/stat"), "{reason}");
}

/// What `replay` prints of a file, as objects, and says beside it.
fn replayed(home: &Home, file: &str) -> (Vec<Value>, String) {
    let done = check(home, &["replay", file, "--json"], 0);
    let alerts = text(&done.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (alerts, text(&done.stderr))
}

#[test]
fn what_was_recorded_is_replayed() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = |name: &str| dir.path().join(name).display().to_string();
    // Below zero used memory there is always: the reading itself is the alert.
    let home = Home::new(
        NOWHERE,
        "[ebpf]\nenabled = \"off\"\n[collector]\nmemory_interval_secs = 1\n[alerting]\nstate_warmup_secs = 0\n\
         [thresholds]\nmemory_percent = { warn = 0.001, critical = 0.002, for_secs = 0 }",
    );
    let (packed, plain) = (at("packed.zst"), at("plain.jsonl"));
    check(&home, &["record", &packed, "--for", "2s"], 0);
    let mut recording = home.command(&Confine::No, &["record", &plain]).spawn().expect("the agent runs");
    let written = || fs::read_to_string(&plain).ok().filter(|text| text.contains("\"pass\":\"memory\""));
    let came = wait_for(Duration::from_secs(30), written);
    let pid = rustix::process::Pid::from_child(&recording);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("told to end");
    assert!(came.is_some() && recording.wait().expect("it ends").success());
    for file in [&packed, &plain] {
        let (alerts, said) = replayed(&home, file);
        let high = alerts.iter().find(|alert| alert["metric"] == "memory_used_percent").expect("an alert");
        assert_eq!([&high["hostname"], &high["analyzer"]], ["lab", "threshold"], "{high}");
        assert!(high["value"].as_f64().is_some_and(|value| value > 0.002), "{high}");
        assert!(!said.contains("line ") && said.contains("memory_used_percent"), "{said}");
        assert!(said.contains(" readings and events a second"), "{said}");
        assert_eq!(replayed(&home, file).0, alerts, "the same again");
    }
    assert!(text(&check(&home, &["replay", "--log", &packed], 1).stderr).contains("leave out --log"));
    fs::write(at("log"), "EXT4-fs error (device sda1): x\n").expect("written");
    let by_rules = check(&home, &["replay", "--log", &at("log")], 0);
    assert!(text(&by_rules.stdout).contains("1 lines, 1 of them for a rule"), "{}", words(&by_rules));
    assert!(text(&by_rules.stderr).contains(" lines a second"), "{}", words(&by_rules));
    let whole = fs::read(&packed).expect("read");
    let lines = fs::read(&plain).expect("read");
    fs::write(at("torn.jsonl"), &lines[..lines.len() - 10]).expect("written");
    assert!(replayed(&home, &at("torn.jsonl")).1.contains("torn"));
    // What had not been flushed when the machine stopped.
    fs::write(at("torn.zst"), &whole[..whole.len() / 2]).expect("written");
    assert!(text(&check(&home, &["replay", &at("torn.zst")], 1).stderr).contains("torn"));
    let again = check(&home, &["record", &packed, "--for", "2s"], 1);
    assert!(text(&again.stderr).contains("exists already"), "{}", words(&again));
    assert_eq!(fs::read(&packed).expect("read"), whole);
    fs::write(at("nothing"), "").expect("written");
    assert!(text(&check(&home, &["replay", &at("nothing")], 1).stderr).contains("is empty"));
    assert!(text(&check(&home, &["replay", &at("missing")], 1).stderr).contains("cannot be read"));
}
