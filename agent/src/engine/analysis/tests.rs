use super::super::tests::settings;
use super::super::{Engine, Input, Output};
use super::*;
use crate::alert::Alert;
use crate::config::Config;
use crate::config::Loudness::{Info, Warn};
use crate::engine::builtin;
use crate::metric::Unit;
use crate::sample::{ProcRow, Samples};
use crate::time::{Now, SECOND};

const fn metric(name: &'static str, unit: Unit, labels: &'static [&'static str]) -> Metric {
    Metric { name, prometheus: "", kind: Kind::Gauge, unit, labels, help: "", source: "" }
}
static CPU: Metric = metric("cpu_usage_percent", Unit::Percent, &[]);
static RSS: Metric = metric("process_resident_memory_bytes", Unit::Bytes, &["pid", "comm"]);
static FDS: Metric = metric("process_open_fds_count", Unit::Count, &["pid", "comm"]);
static GROUP: Metric = metric("cgroup_memory_working_set_bytes", Unit::Bytes, &["cgroup"]);
static LIMIT: Metric = metric("cgroup_memory_limit_bytes", Unit::Bytes, &["cgroup"]);
static AVAILABLE: Metric = metric("memory_available_bytes", Unit::Bytes, &[]);
static TOTAL: Metric = metric("memory_total_bytes", Unit::Bytes, &[]);
static EXHAUSTED: Metric = metric("memory_exhausted_hours", Unit::Hours, &[]);
static ROOMS: &[rooms::Room] = &[rooms::Room { free: &AVAILABLE, size: &TOTAL, out: &EXHAUSTED }];

const MB: f64 = 1e6;

struct Run {
    engine: Engine,
    samples: Samples,
    now: Now,
    alerts: Vec<Alert>,
}

fn run(change: impl FnOnce(&mut Config)) -> Run {
    let mut config = Config::default();
    change(&mut config);
    let mut settings = settings(0);
    settings.rules = builtin::rules(&config.thresholds);
    settings.analysis = builtin::analysis(&config.analyzer);
    settings.rooms = ROOMS;
    let now = Now { mono_ns: 1_000 * SECOND, wall_ns: 0 };
    Run { engine: Engine::new(settings, now), samples: Samples::new(20_000), now, alerts: Vec::new() }
}

impl Run {
    fn read(&mut self, pace_secs: u64, rows: &[(&'static Metric, &[&str], f64)], processes: &[(u32, u64)]) {
        self.now = self.now.plus_secs(pace_secs);
        self.samples.begin("test", self.now, None);
        for (metric, labels, value) in rows {
            self.samples.put(metric, labels, *value);
        }
        if !processes.is_empty() {
            let row = |(pid, start_ticks): &(u32, u64)| ProcRow {
                pid: *pid,
                start_ticks: *start_ticks,
                ..ProcRow::default()
            };
            self.samples.put_processes(ProcTable {
                rows: processes.iter().map(row).collect(),
                ..ProcTable::default()
            });
        }
        let mut out = Vec::new();
        self.engine.step(self.now, Input::Batch(&mut self.samples.finish()), &mut out);
        self.alerts.extend(out.into_iter().filter_map(|output| match output {
            Output::Alert(alert) => Some(*alert),
            _ => None,
        }));
    }

    fn told(&self) -> Vec<String> {
        let told = |alert: &Alert| {
            format!("{} {} {}: {}", alert.severity.name(), alert.status.name(), alert.rule, alert.message)
        };
        self.alerts.iter().map(told).collect()
    }
}

/// 20 to 30, restless.
fn noise(at: u64) -> f64 {
    20.0 + (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / f64::from(1 << 24) * 10.0
}

#[test]
fn an_unusual_course_is_an_info() {
    let mut run = run(|_| {});
    for at in 0..300 {
        run.read(300, &[(&CPU, &[], if at >= 290 { 75.0 } else { noise(at) })], &[]);
    }
    let told = run.told();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].starts_with("info firing anomaly: cpu_usage_percent "), "{told:#?}");
    assert_eq!(run.alerts[0].context["analyzer"], "surprise");
    let counted = run.engine.tally().events.get(&("analyzer_findings_total", "surprise".to_owned()));
    assert_eq!(counted, Some(&1));
}

#[test]
fn statistics_alone_speak_only_where_the_user_wants_it() {
    let check = |change: fn(&mut Config), expect: &[&str]| {
        let mut run = run(change);
        for at in 0..420 {
            run.read(10, &[(&CPU, &[], if at >= 400 { 70.0 } else { noise(at) })], &[]);
        }
        let told = run.told();
        let fits = told.iter().zip(expect).all(|(told, expect)| told.starts_with(expect));
        assert!(told.len() == expect.len() && fits, "{told:#?} instead of {expect:#?}");
    };
    check(|_| {}, &[]);
    check(|c| c.analyzer.zscore_severity = Warn, &["warn firing zscore: cpu_usage_percent is 70 %, "]);
    check(|c| c.analyzer.ema_severity = Info, &["info firing ema: cpu_usage_percent is 70 %, "]);
    check(|c| (c.analyzer.zscore_severity, c.analyzer.zscore_threshold) = (Warn, 60.0), &[]);
}

#[test]
fn other_alerts_say_that_a_reading_is_unusual() {
    let mut run = run(|_| {});
    for at in 0..420 {
        run.read(10, &[(&CPU, &[], if at >= 410 { 99.0 } else { noise(at) })], &[]);
    }
    let alert =
        run.alerts.iter().find(|alert| alert.rule == "cpu_usage_percent").expect("it is over its limit");
    let unusual = &alert.context["unusual"];
    assert!(unusual["zscore"].as_f64().is_some_and(|z| z > 3.0), "{unusual}");
}

#[test]
fn a_group_that_leaks_is_told_with_what_is_left() {
    let mut run = run(|_| {});
    for minute in 0..400 {
        let bytes = 200.0 * MB + 2.0 * MB * f64::from(minute);
        run.read(60, &[(&GROUP, &["/web"], bytes), (&LIMIT, &["/web"], 1024.0 * MB)], &[]);
    }
    let told = run.told();
    // When it may be, when it is, and when twice as much is gone.
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told[0].starts_with("info firing leak: The memory of /web grew by "), "{told:#?}");
    assert!(told[0].contains("; if it goes on, its limit of 976.6 MiB is reached in "), "{told:#?}");
    assert!(told[1].starts_with("warn firing leak: "), "{told:#?}");
}

#[test]
fn a_process_that_came_after_another_is_not_its_growth() {
    let check = |starts: [u64; 2], expect: usize| {
        let mut run = run(|_| {});
        for minute in 0..80 {
            let start = starts[usize::from(minute > 40)];
            let labels: &[&str] = &["7", "java"];
            let rows = [
                (&RSS, labels, 100.0 * MB + 2.0 * MB * f64::from(minute)),
                (&FDS, labels, 20.0 + 3.0 * f64::from(minute)),
            ];
            run.read(60, &rows, &[(7, start)]);
        }
        assert_eq!(run.told().len(), expect, "{starts:?}: {:#?}", run.told());
    };
    check([5, 5], 2);
    check([5, 6], 0);
}

#[test]
fn memory_that_runs_out_is_told_ahead_and_ends() {
    let mut run = run(|_| {});
    let mut read = |minutes: u64, mb: &dyn Fn(f64) -> f64| {
        for minute in 0..minutes {
            run.read(60, &[(&AVAILABLE, &[], mb(minute as f64) * MB), (&TOTAL, &[], 16_000.0 * MB)], &[]);
        }
        run.told()
    };
    assert_eq!(read(120, &|_| 4000.0), [""; 0]);
    let told = read(300, &|minute| 4000.0 - 10.0 * minute);
    assert!(
        told.last().is_some_and(|told| told.starts_with("critical")
            && told.contains("Memory will be exhausted in ")
            && told.contains(", if it goes on like this")),
        "{told:#?}"
    );
    let told = read(60, &|_| 9000.0);
    assert!(
        told.last().is_some_and(
            |told| told.contains("resolved memory_exhausted_hours: Memory does not run out any more")
        ),
        "{told:#?}"
    );
}

#[test]
fn more_series_than_there_is_room_for_are_counted() {
    let mut analysis = Analysis::default();
    let plan = builtin::analysis(&Config::default().analyzer);
    let def = |id: u32, metric| SeriesDef { id: SeriesId(id), metric, labels: Box::new([]) };
    for id in 0..MAX_WATCHED as u32 + 3 {
        analysis.define(&def(id, &CPU), &plan);
        analysis.define(&def(100_000 + id, &RSS), &plan);
    }
    assert_eq!((analysis.watched, analysis.refused()), (MAX_WATCHED, 3));
    assert_eq!((analysis.leaks, analysis.forgotten()), (MAX_LEAKS, 3));
    (0..MAX_WATCHED as u32 + 3).for_each(|id| analysis.retire(SeriesId(id)));
    assert_eq!((analysis.watched, analysis.usual), (0, 0));
    // The same again, under the same numbers.
    (0..9).for_each(|_| analysis.define(&def(1, &CPU), &plan));
    assert_eq!((analysis.watched, analysis.usual), (1, 1));
}

#[test]
fn nonsense_says_nothing() {
    let mut run = run(|config| config.analyzer.zscore_severity = Warn);
    let values = [1e308, -1e308, 0.0, 1e-308, 5.0];
    for at in 0..5000_u64 {
        let value = values[(at % 5) as usize];
        run.read(
            if at % 7 == 0 { 0 } else { 10 },
            &[(&RSS, &["1", "a"], value), (&GROUP, &["/"], value)],
            &[],
        );
    }
    assert_eq!(run.told(), [""; 0]);
}
