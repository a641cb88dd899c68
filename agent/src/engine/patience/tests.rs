//! A day of a host, through the whole engine with the built-in limits: what is a page and what is not.

use super::super::tests::settings;
use super::super::{Engine, Input, Output, builtin};
use super::*;
use crate::alert::{Severity, Status};
use crate::config::Config;
use crate::metric::{Kind, Unit};
use crate::sample::{ProcTable, Samples};
use crate::time::Now;

const fn gauge(name: &'static str, labels: &'static [&'static str]) -> Metric {
    Metric { name, prometheus: "", kind: Kind::Gauge, unit: Unit::Percent, labels, help: "", source: "" }
}
static USE: Metric = gauge("cpu_usage_percent", &[]);
static WAITING: Metric = gauge(PRESSURE, &["resource"]);
static PER_CPU: Metric = gauge(LOAD, &[]);
static MODE: Metric = gauge("cpu_mode_percent", &["mode"]);
static BUSY: Metric = gauge("disk_busy_percent", &["device"]);

/// What is read at a second.
type At<'a> = &'a dyn Fn(u64) -> Vec<(&'static Metric, &'static [&'static str], f64)>;

/// The worst that is told in so many minutes, and when; the processes that work are that old, in minutes.
fn worst(config: &Config, minutes: u64, age: Option<u64>, at: At<'_>) -> Vec<(u64, Severity, String)> {
    let start = Now { mono_ns: 36_000 * SECOND, wall_ns: 0 };
    let mut plan = settings(0);
    plan.rules = builtin::rules(&config.thresholds);
    let mut engine = Engine::new(plan, start);
    let (mut samples, mut out, mut told) =
        (Samples::new(100), Vec::new(), Vec::<(u64, Severity, String)>::new());
    for reading in 0..minutes * 6 {
        let now = start.plus_secs(reading * 10);
        samples.begin("host", now, None);
        for (metric, labels, value) in at(reading * 10) {
            samples.put(metric, labels, value);
        }
        if let Some(age) = age {
            // Begun with the work, and replaced by the next as soon as it has that age.
            let lived = (reading / 6) % age.max(1);
            let start_ticks = (now.mono_ns / SECOND - lived * 60) * TICKS;
            let row = ProcRow { pid: 7, start_ticks, cpu_percent: 190.0, ..ProcRow::default() };
            samples.put_processes(ProcTable { rows: vec![row], total: 1, ..ProcTable::default() });
        }
        engine.step(now, Input::Batch(&mut samples.finish()), &mut out);
        for output in out.drain(..) {
            let Output::Alert(alert) = output else { continue };
            if alert.status != Status::Resolved && told.last().is_none_or(|last| alert.severity > last.1) {
                told.push((reading / 6, alert.severity, alert.rule.clone()));
            }
        }
    }
    told
}

fn check(minutes: u64, age: Option<u64>, at: At<'_>, expect: &[(u64, Severity)]) {
    let found = worst(&Config::default(), minutes, age, at);
    let short: Vec<_> = found.iter().map(|(minute, severity, _)| (*minute, *severity)).collect();
    assert_eq!(short, expect, "{found:?}");
}

use Severity::{Critical, Info, Warn};

fn full(usage: f64, pressure: f64) -> Vec<(&'static Metric, &'static [&'static str], f64)> {
    vec![(&WAITING, &["cpu"], pressure), (&PER_CPU, &[], usage / 20.0), (&USE, &[], usage)]
}

#[test]
fn builds_are_no_page() {
    // For three hours, by compilers of which none lives for ten minutes.
    check(180, Some(10), &|_| full(100.0, 98.0), &[(0, Info)]);
    // With a pause now and then whoever it is.
    check(
        300,
        None,
        &|secs| if secs / 60 % 25 == 0 { full(30.0, 10.0) } else { full(99.0, 90.0) },
        &[(1, Info)],
    );
    // Nobody waits: one thread on each processor.
    check(300, Some(500), &|_| vec![(&WAITING, &["cpu"], 10.0), (&USE, &[], 100.0)], &[(0, Info)]);
}

#[test]
fn what_is_overrun_is_told_in_time() {
    // What runs away: it is no build as soon as it is half an hour old, and that was seen for five minutes. A server.
    check(60, Some(500), &|_| full(100.0, 95.0), &[(0, Info), (34, Critical)]);
    check(60, Some(500), &|_| full(86.0, 95.0), &[(0, Info), (34, Critical)]);
    let late = |secs| if secs < 3600 { full(30.0, 1.0) } else { full(100.0, 95.0) };
    check(120, Some(500), &late, &[(60, Info), (89, Critical)]);
    check(60, None, &|_| full(30.0, 95.0), &[]);
    // Even young ones, in the end.
    check(250, Some(10), &|_| full(100.0, 98.0), &[(0, Info), (240, Critical)]);
    // Without pressure information: by the run queue.
    check(
        60,
        None,
        &|_| vec![(&PER_CPU, &[], 3.0), (&USE, &[], 99.0)],
        &[(0, Info), (30, Warn), (30, Critical)],
    );
    // Tasks that wait for something else than a processor.
    check(
        60,
        Some(10),
        &|_| vec![(&WAITING, &["cpu"], 3.0), (&PER_CPU, &[], 9.0)],
        &[(0, Info), (30, Critical)],
    );
}

/// The load average falls for minutes after the last task that wanted a processor.
fn echo(of: f64, secs: u64) -> Vec<(&'static Metric, &'static [&'static str], f64)> {
    vec![(&WAITING, &["cpu"], 1.0), (&PER_CPU, &[], of * (-(secs as f64) / 60.0).exp()), (&USE, &[], 3.0)]
}

fn loaded(load: f64) -> Vec<(&'static Metric, &'static [&'static str], f64)> {
    vec![(&WAITING, &["cpu"], 98.0), (&PER_CPU, &[], load)]
}

#[test]
fn an_echo_is_no_page() {
    // Of work that lasted for an hour, and of what would have been told half a minute later.
    check(80, Some(10), &|secs| if secs < 3600 { loaded(9.0) } else { echo(9.0, secs - 3600) }, &[(0, Info)]);
    check(
        40,
        Some(500),
        &|secs| if secs < 1770 { loaded(9.0) } else { echo(9.0, secs - 1770) },
        &[(0, Info)],
    );
    // Of load that does not fade others are the cause.
    let hangs = |secs| {
        if secs < 3600 { loaded(9.0) } else { vec![(&WAITING, &["cpu"][..], 1.0), (&PER_CPU, &[], 9.0)] }
    };
    check(120, Some(10), &hangs, &[(0, Info), (89, Critical)]);
}

#[test]
fn what_the_user_sets_and_what_stands_alone_is_told_as_it_is_written() {
    check(5, None, &|_| vec![(&USE, &[], 99.0)], &[(0, Critical)]);
    let mut config = Config::default();
    config.thresholds.cpu_percent.is_builtin = false;
    let found = worst(&config, 5, Some(10), &|_| vec![(&WAITING, &["cpu"], 1.0), (&USE, &[], 99.0)]);
    assert_eq!(found.iter().map(|told| told.1).collect::<Vec<_>>(), [Critical], "{found:?}");
}

#[test]
fn disks_and_steal_wait_likewise() {
    let steal = |percent| {
        move |_| -> Vec<(&'static Metric, &'static [&'static str], f64)> {
            vec![(&WAITING, &["cpu"], 0.0), (&MODE, &["steal"], percent)]
        }
    };
    check(20, None, &steal(50.0), &[(0, Info)]);
    check(40, None, &steal(50.0), &[(0, Info), (30, Critical)]);
    let disk = |pressure| {
        move |_| -> Vec<(&'static Metric, &'static [&'static str], f64)> {
            vec![(&WAITING, &["io"], pressure), (&BUSY, &["sda"], 99.0)]
        }
    };
    check(300, None, &disk(5.0), &[(0, Info)]);
    check(40, None, &disk(80.0), &[(0, Info), (30, Critical)]);
}
