//! systemd in scripts of what it prints.

use super::*;
use crate::collect::testing::Bench;

const LIST: &str = "//- command systemctl list-units";
const SHOW: &str = "//- command systemctl show";
const BOOT: &str = "//- /run/systemd/system/x\n\n";

fn bench(list: &str, show: &str) -> Bench {
    let text = format!("{BOOT}{LIST}\n{list}{SHOW}\n{show}");
    let mut collector = Systemd::new();
    collector.patience = Duration::from_secs(20);
    Bench::new(&text, collector)
}

fn set(bench: &Bench, list: &str, show: &str) {
    bench.host.set("$ systemctl list-units", list);
    bench.host.set("$ systemctl show", show);
}

const FAILED: &str = "a.service loaded failed failed What it is\nb.service loaded active running B\n-.mount loaded active mounted Root\n";
const WHY: &str = "Result=exit-code\nNRestarts=0\nExecMainStartTimestamp=Sun 2026-11-22 06:50:01 UTC\nExecMainCode=1\nExecMainStatus=3\nId=a.service\nActiveState=failed\n";

#[test]
fn a_unit_that_failed_is_told_with_its_reason_until_it_is_well() {
    let mut bench = bench(FAILED, WHY);
    bench.pass().unwrap();
    let failed = "systemd_unit_failed{a.service,exit-code,(exit-code, exit status 3),started Sun 2026-11-22 06:50:01 UTC}";
    bench.expect(&[
        ("systemd_units_count{active}", 2.0),
        ("systemd_units_count{failed}", 1.0),
        ("systemd_units_count{inactive}", 0.0),
        (failed, 1.0),
    ]);
    bench.pass().unwrap();
    bench.expect(&[(failed, 1.0)]);
    // It fails again, later.
    set(&bench, FAILED, &WHY.replace("06:50", "06:51"));
    bench.pass().unwrap();
    bench.expect(&[(failed, 0.0), (&failed.replace("06:50", "06:51"), 1.0)]);
    set(&bench, &FAILED.replace("failed failed", "active running"), "");
    bench.pass().unwrap();
    bench.expect(&[(&failed.replace("06:50", "06:51"), 0.0)]);
    bench.pass().unwrap();
    assert!(
        !bench.readings.keys().any(|name| name.starts_with("systemd_unit_failed")),
        "{:?}",
        bench.readings
    );
}

/// A unit between two starts, that was restarted so often.
fn restarted(bench: &mut Bench, sub: &str, restarts: u64) {
    let (active, sub) = sub.split_once(' ').unwrap();
    let show = format!("Id=w.service\nActiveState={active}\nNRestarts={restarts}\n");
    set(bench, &format!("w.service loaded {active} {sub} W\n"), &show);
    bench.pass().unwrap();
}

#[test]
fn a_unit_that_restarts_over_and_over_is_one_condition() {
    let mut bench = bench("w.service loaded active running W\n", "");
    bench.pass().unwrap();
    let looping = "systemd_unit_restarts_recent_count{w.service}";
    restarted(&mut bench, "activating auto-restart", 1);
    assert!(!bench.has(looping));
    restarted(&mut bench, "activating auto-restart", 40);
    bench.expect(&[(looping, 4.0), ("systemd_unit_restarts_total{w.service}", 40.0)]);
    // Started by hand: its number begins anew.
    restarted(&mut bench, "activating auto-restart", 1);
    bench.expect(&[(looping, 5.0), ("systemd_unit_restarts_total{w.service}", 41.0)]);
    for _ in 0..59 {
        restarted(&mut bench, "active running", 1);
        assert!(bench.value(looping) > 0.0);
    }
    for _ in 0..3 {
        restarted(&mut bench, "active running", 1);
    }
    assert!(!bench.has(looping), "well, and told so once");
}

#[test]
fn a_process_that_is_another_one_is_asked_about() {
    let mut bench =
        bench("w@1.service loaded active running W\n", "Id=w@1.service\nActiveState=active\nNRestarts=2\n");
    let procs = "/sys/fs/cgroup/system.slice/system-w.slice/w@1.service/cgroup.procs";
    let restarts = "systemd_unit_restarts_total{w@1.service}";
    bench.host.set(procs, "7\n8\n");
    bench.pass().unwrap();
    bench.pass().unwrap();
    assert!(!bench.has(restarts));
    bench.host.set(procs, "9\n");
    bench.pass().unwrap();
    // Once at least.
    bench.expect(&[(restarts, 1.0)]);
}

#[test]
fn where_it_does_not_run_or_does_not_answer() {
    let mut bench = Bench::new("", Systemd::new());
    assert_eq!(bench.pass(), Err(CollectError::Absent { path: BOOTED.to_owned() }));
    let mut bench = Bench::new(BOOT, Systemd::new());
    let error = bench.pass().unwrap_err().to_string();
    assert!(error.contains("no systemctl"), "{error}");
}

#[test]
fn lines_of_all_sorts() {
    let check = |line: &str, expect: &str| {
        let is: Vec<String> = text::list(line)
            .into_iter()
            .map(|unit| format!("{} {} {} {}", unit.name, unit.loaded, unit.active, unit.sub))
            .collect();
        assert_eq!(is.join("|"), expect, "{line:?}");
    };
    check("a.service loaded active running A", "a.service true active running");
    check("● a.service not-found failed failed", "a.service false failed failed");
    check(
        "dev-disk-by\\x2duuid.device loaded active plugged x",
        "dev-disk-by\\x2duuid.device true active plugged",
    );
    check("-.mount loaded active mounted Root", "-.mount true active mounted");
    check("a\u{1b}[31m.service loaded active running", "a?[31m.service true active running");
    for none in
        ["", "\n\n", "a.service loaded active", "37 loaded units listed. Pass --all", "no dot here at"]
    {
        check(none, "");
    }
    let long = format!("{}.service loaded active running", "x".repeat(10_000));
    assert!(text::list(&long)[0].name.chars().count() <= 256);
}

#[test]
fn causes_of_all_sorts() {
    let check = |block: &str, expect: &str| {
        let units = text::shown(block);
        let is: Vec<String> =
            units.iter().map(|unit| format!("{} {} {}", unit.name, unit.cause(), unit.started)).collect();
        assert_eq!(is.join("|"), expect, "{block:?}");
    };
    check(
        "Id=a\nResult=signal\nExecMainCode=2\nExecMainStatus=9\n\nId=b\nResult=success",
        "a (signal, signal 9) |b (success) ",
    );
    check(
        "Id=a\nResult=core-dump\nExecMainCode=3\nExecMainStatus=6",
        "a (core-dump, signal 6 with a core dump) ",
    );
    check("Id=a.mount\nResult=exit-code\nExecMainStartTimestamp=n/a", "a.mount (exit-code) ");
    check("Id=a\nExecMainCode=1\nExecMainStatus=-5\nNRestarts=x", "a (unknown, exit status 0) ");
    check("Id=a\nResult=x\u{1b}y", "a (x?y) ");
    check("Result=exit-code\n\n\n", "");
}

#[test]
fn a_list_that_is_cut_is_said() {
    let mut list = FAILED.replace("a.service loaded failed failed", "a.service loaded active running");
    list.push_str(&"x".repeat(5 << 20));
    list.push_str(".service loaded failed failed X\n");
    let mut bench = bench(&list, "");
    let error = bench.pass().unwrap_err().to_string();
    assert!(error.contains("systemctl list-units") && error.contains("more than 4 MiB"), "{error}");
    bench.expect(&[("systemd_units_count{active}", 3.0), ("systemd_units_count{failed}", 0.0)]);
    set(&bench, FAILED, WHY);
    bench.pass().unwrap();
}
