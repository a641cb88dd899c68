//! The running agent on this kernel: a real kill, a real hang, a real slow request become one alert each,
//! with what an operator needs to know. As root: `cargo test --test e2e_events -- --ignored`.
#![cfg(feature = "ebpf")]
#![expect(clippy::disallowed_methods, reason = "causes kernel events and looks at the machine by itself")]

mod e2e;
mod lab;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::{Duration, Instant};

use e2e::confine::Confine;
use e2e::scene::Scene;
use e2e::webhook::{hang_of, kill_of, known, slow, unforeseen};
use lab::{FreezableFs, LoopDevice, MemoryCgroup, detect_hangs, skip, wait_for};
use sysops_agent::alert::{Alert, Severity, Status};
use sysops_agent::host::clock;

/// Until an alert must have come.
const SOON: Duration = Duration::from_secs(30);
/// Time in which no second one may come.
const QUIET: Duration = Duration::from_secs(3);

/// A scene where both witnesses can run.
fn both_witnesses() -> Option<Scene> {
    let witnesses = ["kernel_log", "ebpf.oom", "ebpf.hung_task", "ebpf.block_io"];
    Scene::new("").filter(|scene| scene.has(&witnesses))
}

fn sources(alert: &Alert) -> Vec<&str> {
    let mut sources: Vec<&str> = alert.source.iter().map(String::as_str).collect();
    sources.sort_unstable();
    sources
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn an_oom_kill_is_one_alert_with_everything_known() {
    let Some(scene) = both_witnesses() else { return };
    let Scene { webhook, home, .. } = &scene;
    let agent = home.start(&Confine::No);
    let group = MemoryCgroup::new("sysops-e2e-oom", 32 << 20).expect("cgroup");
    let before = clock::now().mono_ns;
    let pid = group.oom_victim_with_adj(250).expect("a kill");
    let alert = webhook.exactly_one("the kill", SOON, QUIET, kill_of(pid));

    assert_eq!(sources(&alert), ["ebpf", "kmsg"]);
    assert_eq!((alert.severity, alert.status), (Severity::Critical, Status::Firing));
    assert_eq!((alert.hostname.as_str(), alert.metric.as_str()), ("lab", "kernel_oom_kills_total"));
    assert_eq!(alert.labels["process"], "tail");
    assert_eq!(alert.labels["scope"], "memcg");
    for (name, expect) in [
        ("victim_pid", pid.into()),
        ("victim_comm", "tail".into()),
        ("victim_uid", 0.into()),
        ("oom_score_adj", 250.into()),
        ("trigger_pid", pid.into()),
        ("trigger_comm", "tail".into()),
        ("constraint", "CONSTRAINT_MEMCG".into()),
        ("victim_tgid", pid.into()),
        ("trigger_tid", pid.into()),
        ("killer", "kernel".into()),
        ("order", 0.into()),
        ("oom_memcg", group.name().into()),
        ("victim_cgroup", group.name().into()),
        ("limit_kb", serde_json::Value::from(32 << 10)),
    ] {
        assert_eq!(known(&alert, name), expect, "{name} in {alert:#?}");
    }
    let kb = |name| known(&alert, name).as_u64().unwrap_or_else(|| panic!("{name} in {alert:#?}"));
    assert!((16 << 10..=34 << 10).contains(&kb("victim_rss_kb")), "{alert:#?}");
    assert!((16 << 10..=33 << 10).contains(&kb("anon_rss_kb")), "{alert:#?}");
    assert!(kb("total_vm_kb") >= kb("anon_rss_kb") && kb("pgtables_kb") > 0, "{alert:#?}");
    assert!(known(&alert, "gfp_mask").as_str().is_some_and(|mask| mask.contains("(GFP_")), "{alert:#?}");
    assert!(kb("usage_kb") >= 31 << 10 && known(&alert, "failcnt").is_u64(), "{alert:#?}");
    assert!(known(&alert, "memory_events")["oom_kill"].is_u64(), "{alert:#?}");
    assert!(
        kb("mem_total_kb") > kb("mem_available_kb") && kb("swap_total_kb") >= kb("swap_used_kb"),
        "{alert:#?}"
    );
    assert!(known(&alert, "memory_pressure_some_avg10_percent").is_f64(), "{alert:#?}");
    let largest = known(&alert, "largest_processes");
    let place = |p: &serde_json::Value| p.get("in").or_else(|| p.get("cgroup")).is_some();
    assert!(largest.as_array().is_some_and(|all| all.len() == 5 && all.iter().any(place)), "{largest:#?}");
    let at = known(&alert, "incident")["kernel_time_ns"].as_u64().expect("the kernel's time");
    assert!((before..clock::now().mono_ns).contains(&at), "{at}");
    for part in ["OOM kill: tail", &format!("pid {pid}"), "reached its limit of 32.0 MiB", &group.name()] {
        assert!(alert.message.contains(part), "{part} in {}", alert.message);
    }
    webhook.nothing("something else came", Duration::ZERO, unforeseen);
    agent.stop();
}

#[test]
#[ignore = "live: lets a task hang in the kernel"]
fn a_hung_task_is_one_alert_however_often_the_kernel_says_it() {
    let Some(scene) = both_witnesses() else { return };
    let Scene { webhook, home, .. } = &scene;
    let Some(_detector) = detect_hangs(10) else { return };
    let agent = home.start(&Confine::No);
    let mut frozen = FreezableFs::new().expect("a filesystem");
    frozen.freeze().expect("frozen");
    let mut writer = frozen.spawn_writer().expect("a writer");
    let pid = writer.id();
    // The kernel reports it every 2 s, to both witnesses, for as long as it hangs.
    let alert = webhook.exactly_one("the hang", Duration::from_secs(20), 2 * QUIET, hang_of(pid));
    frozen.thaw().expect("thawed");
    assert!(writer.wait().expect("ends").success());

    assert_eq!((alert.severity, alert.status), (Severity::Warn, Status::Firing));
    assert_eq!(known(&alert, "task_comm"), "dd");
    assert_eq!(known(&alert, "blocked_secs"), 2);
    assert_eq!((alert.value, known(&alert, "tasks_count")), (1.0, 1.into()));
    assert_eq!(known(&alert, "layer"), "frozen filesystem", "{alert:#?}");
    let stack = known(&alert, "kernel_stack").to_string();
    assert!(stack.contains("sb_start_write") || stack.contains("percpu_rwsem_wait"), "{alert:#?}");
    assert_eq!(known(&alert, "wait_channel"), "percpu_rwsem_wait", "{alert:#?}");
    assert!(alert.message.contains(&format!("dd (pid {pid})")), "{}", alert.message);
    let over =
        webhook.exactly_one("its end", SOON, QUIET, |a| hang_of(pid)(a) && a.status == Status::Resolved);
    assert_eq!((&over.id, over.ended_at.is_some()), (&alert.id, true));
    // Whose stack has to be named first may come after the first message.
    assert_eq!(sources(&over), ["ebpf", "kmsg"]);
    assert!(over.message.starts_with("Hang cleared after "), "{}", over.message);
    assert!(over.duration_secs >= 8, "{over:#?}");
    webhook.nothing("a hang that is over", Duration::ZERO, |a| hang_of(pid)(a) && a.id != alert.id);
    webhook.nothing("something else came", Duration::ZERO, unforeseen);
    agent.stop();
}

#[test]
#[ignore = "live: makes a block device slow"]
fn a_slow_request_is_one_alert_with_its_real_latency() {
    let Some(scene) = both_witnesses() else { return };
    let Scene { webhook, home, .. } = &scene;
    let agent = home.start(&Confine::No);
    let mut frozen = FreezableFs::new().expect("a filesystem");
    let device = LoopDevice::over(&frozen.backing_file().expect("a file")).expect("a loop device");
    device.direct_reads(8).expect("fast reads");
    frozen.freeze().expect("frozen");
    let frozen_ms = thread::scope(|scope| {
        let write = scope.spawn(|| device.direct_write(40_960));
        // From here on the request is under way.
        wait_for(SOON, || in_flight(device.name()).then_some(())).expect("a request under way");
        let begin = Instant::now();
        thread::sleep(Duration::from_millis(700));
        let ms = begin.elapsed().as_secs_f64() * 1e3;
        frozen.thaw().expect("thawed");
        write.join().expect("no panic").expect("written");
        ms
    });
    let alert = webhook.exactly_one("the slow write", SOON, QUIET, slow(device.name()));

    assert_eq!(sources(&alert), ["ebpf"]);
    assert_eq!((alert.severity, alert.status), (Severity::Warn, Status::Firing));
    assert_eq!((alert.labels["device"].as_str(), alert.labels["op"].as_str()), (device.name(), "write"));
    assert_eq!(alert.threshold, Some(300.0));
    assert!((frozen_ms..frozen_ms + 1000.0).contains(&alert.value), "{} and {frozen_ms} ms", alert.value);
    assert_eq!((known(&alert, "sector"), known(&alert, "bytes")), (80.into(), 4096.into()));
    assert_eq!(known(&alert, "error"), 0);
    assert!(known(&alert, "issuer_comm").is_string(), "{alert:#?}");
    webhook.nothing("something else came", Duration::ZERO, unforeseen);
    agent.stop();
}

/// Whether a request of a device is under way.
fn in_flight(device: &str) -> bool {
    let text = fs::read_to_string(format!("/sys/block/{device}/inflight")).expect("sysfs");
    text.split_whitespace().any(|n| n != "0")
}

#[test]
#[ignore = "live: kills two processes for lack of memory"]
fn two_kills_within_a_second_are_two_alerts() {
    let Some(scene) = both_witnesses() else { return };
    let Scene { webhook, home, .. } = &scene;
    let agent = home.start(&Confine::No);
    let groups = ["sysops-e2e-a", "sysops-e2e-b"].map(|name| MemoryCgroup::new(name, 8 << 20).expect(name));
    let pids = thread::scope(|scope| {
        let kills = groups.each_ref().map(|group| scope.spawn(|| group.oom_victim().expect("a kill")));
        kills.map(|kill| kill.join().expect("no panic"))
    });
    let alerts = pids.map(|pid| webhook.exactly_one("a kill", SOON, QUIET, kill_of(pid)));
    let times = alerts.each_ref().map(|a| known(a, "incident")["kernel_time_ns"].as_u64().expect("a time"));
    assert!(times[0].abs_diff(times[1]) < 1_000_000_000, "not within a second: {times:?}");
    assert_ne!(alerts[0].id, alerts[1].id);
    for (alert, group) in alerts.iter().zip(&groups) {
        assert_eq!(sources(alert), ["ebpf", "kmsg"], "seen by both, told once");
        assert_eq!(known(alert, "oom_memcg"), group.name().as_str());
    }
    agent.stop();
}

#[test]
#[ignore = "live: makes ext4 report an error"]
fn a_line_of_the_kernel_log_is_one_alert_of_each_rule_that_names_it() {
    const CUSTOM: &str = r#"
        [[log_analyzer.custom_patterns]]
        name = "provoked"
        pattern = "trigger_test_error.*comm (?P<who>\\S+): sysops"
        severity = "emergency"
    "#;
    let Some((scene, agent)) = Scene::running(CUSTOM) else { return };
    let webhook = &scene.webhook;
    let fs = FreezableFs::new().expect("a filesystem");
    let device = fs.device().expect("its device");
    let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
    if fs::write(&trigger, "sysops").is_err() {
        return skip("this kernel cannot provoke an ext4 error");
    }
    let by = |rule: &'static str| {
        let line = format!("(device {device})");
        move |a: &Alert| a.rule == rule && known(a, "line").as_str().is_some_and(|l| l.contains(&line))
    };
    let built_in = webhook.exactly_one("the error", SOON, QUIET, by("filesystem_error"));
    let own = webhook.exactly_one("the pattern", SOON, Duration::ZERO, by("provoked"));
    assert_eq!((built_in.severity, own.severity), (Severity::Critical, Severity::Emergency));
    assert_eq!((sources(&built_in), sources(&own)), (vec!["kmsg"], vec!["kmsg"]));
    assert_eq!(built_in.labels["device"], device);
    assert!(own.labels.contains_key("who"), "{own:#?}");
    assert!(built_in.message.contains("EXT4-fs error"), "{}", built_in.message);
    let others = |a: &Alert| unforeseen(a) && a.id != built_in.id && a.id != own.id;
    webhook.nothing("something else came", Duration::ZERO, others);
    agent.stop();
}

#[test]
#[ignore = "live: writes to the kernel log, kills a process for lack of memory"]
fn lines_that_a_process_wrote_raise_nothing() {
    const FORGED: [&str; 4] = [
        "Out of memory: Killed process 1 (init) total-vm:1kB, anon-rss:1kB, file-rss:0kB, shmem-rss:0kB",
        "<3>Memory cgroup out of memory: Killed process 1 (init) total-vm:1kB, anon-rss:1kB",
        "<0>INFO: task init:1 blocked for more than 120 seconds.",
        "<2>EXT4-fs error (device sda1): forged:1: comm forger: nothing",
    ];
    let Some((scene, agent)) = Scene::running("") else { return };
    let webhook = &scene.webhook;
    for line in FORGED {
        fs::write("/dev/kmsg", line).expect("written");
    }
    // A real one behind them: when it has come, they have been read.
    let group = MemoryCgroup::new("sysops-e2e-forged", 8 << 20).expect("cgroup");
    let pid = group.oom_victim().expect("a kill");
    webhook.exactly_one("the real kill", SOON, QUIET, kill_of(pid));
    webhook.nothing("forged", Duration::ZERO, |a| {
        unforeseen(a) || kill_of(1)(a) || hang_of(1)(a) || a.message.contains("init")
    });
    agent.stop();
}

#[test]
#[ignore = "live: kills a process for lack of memory"]
fn syslog_gets_the_traditional_line_with_its_priority() {
    let Some(scene) = Scene::new("") else { return };
    let Scene { webhook, home, .. } = &scene;
    let path = home.file("syslog");
    let syslog = UnixDatagram::bind(&path).expect("a socket");
    let section = format!(
        "[alerting.syslog]\nenabled = true\nfacility = \"local3\"\ntag = \"watcher\"\nsocket = {:?}",
        path.display()
    );
    home.configure(&webhook.url(), &section);
    let agent = home.start(&Confine::No);
    let group = MemoryCgroup::new("sysops-e2e-syslog", 8 << 20).expect("cgroup");
    let pid = group.oom_victim().expect("a kill");
    let alert = webhook.exactly_one("the kill", SOON, Duration::ZERO, kill_of(pid));
    syslog.set_read_timeout(Some(SOON)).expect("a timeout");
    let mut buf = [0; 8192];
    let line = loop {
        let n = syslog.recv(&mut buf).expect("a line about the kill");
        let line = String::from_utf8(buf[..n].to_vec()).expect("UTF-8");
        if line.contains(&format!("pid {pid}")) {
            break line;
        }
    };
    // local3 is 19, critical is 2.
    let rest = line.strip_prefix("<154>").unwrap_or_else(|| panic!("{line}"));
    let (time, text) = rest.split_at("Feb 22 16:30:00".len());
    let at: jiff::Timestamp = alert.timestamp.parse().expect("a time");
    let local = at.to_zoned(jiff::tz::TimeZone::system()).strftime("%b %e %H:%M:%S").to_string();
    assert_eq!(time, local);
    let expect = format!(" watcher[{}]: [critical] lab: OOM kill: tail (pid {pid}", agent.pid());
    assert!(text.starts_with(&expect), "{line}");
    assert!(!line.contains('\n'), "{line:?}");
    agent.stop();
}
