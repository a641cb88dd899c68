#![expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the method alone is not general enough in its lifetime"
)]

use super::plot::{columns, rows, spark};
use super::show::Sheet;
use super::*;
use crate::metric::Unit;

static USED: Metric = Metric {
    name: "test_used_percent",
    prometheus: "test_used_percent",
    kind: Kind::Gauge,
    unit: Unit::Percent,
    labels: &["mount", "device"],
    help: "How full.",
    source: "nowhere",
};

#[test]
fn an_unknown_metric_is_told_with_those_like_it() {
    let all = edge::metrics();
    let check = |name: &str, expect: &str| {
        let told = known(name, &all).map_or_else(|why| why, |metric| metric.name.to_owned());
        assert!(told.contains(expect), "{name}: {told}");
        assert!(!told.contains('\x1b'), "{name}: {told:?}");
    };
    check("cpu_usage_percent", "cpu_usage_percent");
    check("cpu_usage_procent", "there is no metric cpu_usage_procent; like it are: cpu_usage_percent");
    check("memory_percent", "memory_used_percent");
    check("", "there is no metric ; docs/METRICS.md lists all");
    check("\x1b[2Jevil", "there is no metric ?[2Jevil");
    check(&"x".repeat(10_000), "there is no metric xxx");
    check(
        "disk_read_bytes_total",
        "disk_read_bytes_total counts up for ever: history keeps what is computed from it: disk_",
    );
}

#[test]
fn a_label_the_metric_has_not_is_told_with_those_it_has() {
    let check = |metric, name: &str, expect: Result<(), &str>| {
        let told = labels_of(metric, &[(name.to_owned(), "x".to_owned())]);
        assert_eq!(told, expect.map_err(ToOwned::to_owned), "{name}");
    };
    check(&USED, "mount", Ok(()));
    check(&USED, "disk\n", Err("test_used_percent has no label disk?: it has: mount, device"));
}

fn line(labels: &[&str], points: &[(f64, f64)]) -> Line {
    let points = points.iter().map(|(at, value)| Dot(*at, *value, value - 1.0, value + 1.0, 2)).collect();
    Line { labels: labels.iter().map(|label| (*label).to_owned()).collect(), points }
}

fn shown(series: Vec<Line>, show: impl Fn(&Sheet<'_>) -> String) -> String {
    let answer = Answer { now: 1_771_777_800.0, matching: series.len(), series };
    let question = Question { since_secs: 3600, ..Question::default() };
    show(&Sheet { metric: &USED, question: &question, answer: &answer, notes: &["a note\n".to_owned()] })
}

#[test]
fn names_from_outside_are_harmless_in_every_form() {
    let evil = "=x\x1b[2J\u{202e}\n,\"y";
    let all = || vec![line(&[evil, "sda"], &[(1_771_777_000.0, 5.0), (1_771_777_010.0, 7.5)])];
    for text in [shown(all(), |s| s.table()), shown(all(), |s| s.plots()), shown(all(), |s| s.csv())] {
        assert!(!text.contains(['\x1b', '\u{202e}']), "{text:?}");
        assert!(!text.contains("\n,"), "{text:?}");
    }
    let csv = shown(all(), |s| s.csv());
    let expect = "time,mount,device,value,min,max,count\n\
                  2026-02-22T16:16:40.000Z,\"'=x?[2J??,\"\"y\",sda,5,4,6,2\n";
    assert!(csv.starts_with(expect), "{csv}");
    let json: serde_json::Value = serde_json::from_str(&shown(all(), |s| s.json())).unwrap();
    assert_eq!(json["series"][0]["labels"]["mount"], evil);
    assert_eq!(json["series"][0]["points"][1]["time"], "2026-02-22T16:16:50.000Z");
    assert_eq!(json["series"][0]["points"][1]["max"], 8.5);
    assert_eq!(json["unit"], "percent");
}

#[test]
fn a_table_has_a_row_for_each_series() {
    let text = shown(
        vec![
            line(&["/", "sda"], &[(1_771_777_000.0, 5.0)]),
            line(&["/data", "sdb"], &[(1_771_777_000.0, 50.0)]),
        ],
        |s| s.table(),
    );
    assert!(text.starts_with("test_used_percent, the last 1 h\n"), "{text}");
    let rows: Vec<&str> = text.lines().filter(|row| row.starts_with("mount=")).collect();
    assert_eq!(rows.len(), 2, "{text}");
    assert!(rows[1].contains("mount=/data device=sdb") && rows[1].contains("50 %"), "{text}");
    assert!(text.ends_with("(a note?)\n"), "{text}");
}

#[test]
fn a_plot_shows_the_course_and_its_gaps() {
    let ramp: Vec<(f64, f64)> = (0..72).map(|i| (f64::from(i), f64::from(i))).collect();
    let all = columns(&ramp, 0.0, 72.0, 72);
    assert_eq!(all.iter().flatten().count(), 72);
    let drawn = rows(&all);
    assert!(drawn[7].starts_with('▁') && drawn[0].ends_with('█') && drawn[0].starts_with(' '), "{drawn:?}");
    // A gap is a gap, and what is read rarely has none.
    let gap: Vec<_> = ramp.iter().copied().filter(|(at, _)| !(20.0..40.0).contains(at)).collect();
    assert_eq!(columns(&gap, 0.0, 72.0, 72)[20..40], [None; 20]);
    let rare: Vec<_> = ramp.iter().copied().step_by(6).collect();
    assert_eq!(columns(&rare, 0.0, 72.0, 72)[..67].iter().flatten().count(), 67);
    assert_eq!(spark(&columns(&[(1.0, 5.0), (2.0, 5.0)], 0.0, 4.0, 4)), " ▄▄ ");
    for odd in [
        vec![],
        vec![(0.0, f64::NAN)],
        vec![(f64::NAN, 1.0)],
        vec![(-5.0, 1.0), (99.0, 1.0)],
        vec![(1.0, f64::MAX), (2.0, f64::MIN)],
        vec![(1.0, 1e-300), (2.0, -1e-300)],
    ] {
        let all = columns(&odd, 0.0, 4.0, 4);
        assert!(rows(&all).iter().all(|row| row.chars().count() == 4), "{odd:?}");
        assert_eq!(columns(&odd, 4.0, 4.0, 4).len(), 4);
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn what_is_older_comes_before_the_ring() {
    let ring = || vec![line(&["/", "a"], &[(130.0, 1.0), (140.0, 2.0), (180.0, 3.0)])];
    let times = |line: &Line| line.points.iter().map(|dot| (dot.0, dot.1)).collect::<Vec<_>>();
    let minutes = |counts: [u32; 3]| {
        let mut older = line(&["/", "a"], &[(60.0, 9.0), (120.0, 8.0), (180.0, 7.0)]);
        older.points.iter_mut().zip(counts).for_each(|(dot, count)| dot.4 = count);
        older
    };
    // The minute in which the ring begins is told once: by whoever saw more of it.
    let mut all = ring();
    merge(&mut all, minutes([6, 2, 6]), 60);
    assert_eq!(times(&all[0]), [(60.0, 9.0), (130.0, 1.0), (140.0, 2.0), (180.0, 3.0)]);
    let mut all = ring();
    merge(&mut all, minutes([6, 6, 6]), 60);
    assert_eq!(times(&all[0]), [(60.0, 9.0), (120.0, 8.0), (180.0, 3.0)]);
    merge(&mut all, line(&["/", "b"], &[(40.0, 7.0)]), 60);
    assert_eq!(times(&all[1]), [(40.0, 7.0)]);
}
